/* The functions of the host that one VM has: puts them on its PCI buses, lets them reach its RAM,
 * resets them with it.
 *
 * Order: vfio_passed_create; vfio_passed_add for each, in the order of the configuration;
 * vfio_passed_map once; vfio_passed_reset at each reset of the VM, before the buses';
 * vfio_passed_destroy. Control thread, no vCPU running. */
#ifndef QVM_WORKER_VFIO_PASSED_H
#define QVM_WORKER_VFIO_PASSED_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct loc_pci;
struct memory;
struct pci;
struct vfio_passed;

#define VFIO_PASSED_MAX 32u

/* Vectors of MSI-X of all of them together: each is a descriptor, of which a process usually may
 * have 1024, and a route. Each function has as many as are left, but for so many of each that may
 * come after it. */
#define VFIO_PASSED_VECTORS      640u
#define VFIO_PASSED_VECTORS_EACH 8u

struct vfio_passed_config {
    struct pci *pci;
    const struct memory *memory;

    /* As vm_device_slot and vm_add_group. */
    int (*slot)(void *context, uint32_t slot, uint64_t address, void *host, uint64_t size);
    int (*group)(void *context, int group_fd, struct err *err);

    /* Have vfio_passed_look called when that descriptor can be read. */
    int (*watch)(void *context, int fd, struct err *err);
    void *context;
};

int vfio_passed_create(const struct vfio_passed_config *config, struct vfio_passed **passed,
                       struct err *err);

/* A function with its descriptors, which are taken over (also on failure): container, group,
 * device. One container serves all functions, so the first one's counts. `loc` without a device:
 * anywhere. `name` and `where` are borrowed. Words begin with `where`. */
int vfio_passed_add(struct vfio_passed *passed, const char *name, const char *where,
                    const struct loc_pci *loc, const int fds[3], struct err *err);

/* Let all of them reach all RAM, which is pinned by that, and nothing else, for good: the
 * container's descriptor is closed then, so that nobody can map more. */
int vfio_passed_map(struct vfio_passed *passed, struct err *err);

/* Back to power-on. One that cannot be reset does no DMA until the guest allows it again; the log
 * has the reason. */
void vfio_passed_reset(struct vfio_passed *passed);

/* What the host says of its devices: one that failed is told in the log; whether it wants any back,
 * as when it is unplugged or its driver is taken away, which waits until vfio_passed_give_back. */
bool vfio_passed_look(struct vfio_passed *passed);

/* Let go of all that the host wants back: they are gone for the guest. */
void vfio_passed_give_back(struct vfio_passed *passed);

/* No DMA any more; everything is closed. NULL is fine. */
void vfio_passed_destroy(struct vfio_passed *passed);

#endif
