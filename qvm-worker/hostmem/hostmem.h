/* Memory of the host that is no RAM, in a guest: `pass loc mem:`.
 *
 * /dev/mem would give its holder everything. What the kernel limits to a range is the memory of one
 * BAR of a PCI function, as the file `resourceN` below /sys (Linux,
 * Documentation/ABI/testing/sysfs-bus-pci): so a range must lie in one BAR, of a function that no
 * driver of the host has. The file is locked as long as somebody has a range of it. */
#ifndef QVM_WORKER_HOSTMEM_H
#define QVM_WORKER_HOSTMEM_H

#include <stdint.h>

struct bus;
struct err;
struct hostmem;

#define HOSTMEM_PAGE 4096u

/* Open the BAR in which `size` bytes (whole pages) at physical address `start` of the host lie;
 * *fd stands at them (lseek(2)), and is the lock. `sys` is where sysfs is, `iomem` the text of
 * /proc/iomem, or NULL. Words begin without place. -EINVAL: it is RAM; -ENOENT: no function has
 * it; -EBUSY: a driver or another VM does; -ENODEV: the function does not answer there. */
int hostmem_open(const char *sys, const char *iomem, uint64_t start, uint64_t size, int *fd,
                 struct err *err);

/* The same for this host, as root. */
int hostmem_open_here(uint64_t start, uint64_t size, int *fd, struct err *err);

struct hostmem_config {
    struct bus *bus;
    const char *name; /* for the bus, borrowed */
    uint64_t guest;   /* guest-physical */
    uint64_t size;
    uint32_t slot_number;

    /* As vm_device_slot (vm.h). */
    int (*slot)(void *context, uint32_t slot, uint64_t address, void *host, uint64_t size);
    void *context;
};

/* Map it and have the guest find it; takes `fd` over (also on failure). Control thread. */
int hostmem_create(const struct hostmem_config *config, int fd, struct hostmem **hostmem,
                   struct err *err);

/* The VM is gone. NULL is fine. */
void hostmem_destroy(struct hostmem *hostmem);

#endif
