/* One KVM virtual machine: memory slots, interrupt chips, interrupt lines.
 *
 * KVM's ioctls stand in vm*.c, vcpu*.c and cpuid.c alone; no type of theirs leaves these rooms.
 * Slots are set before the interrupt chips exist (the other order waits for a grace period). There
 * is no timer unless it is declared as a device. */
#ifndef QVM_WORKER_VM_H
#define QVM_WORKER_VM_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct memory;
struct vm;
struct vm_ahead;

/* Pages that KVM on Intel needs in the guest's address space: reserved in the memory map. */
#define VM_RESERVED_START 0xfeffc000ull
#define VM_RESERVED_SIZE  0x4000ull

/* 0xC0000-0xFFFFF, where PC firmware keeps a copy of itself: segments of 16 KiB, in each of which
 * reads and writes go to RAM or do not. Reads that do not, find the end of the ROM from 0xE0000 on;
 * what finds nothing, and writes that RAM does not take, leave the guest as accesses to devices. */
#define VM_SHADOW_START    0xc0000ull
#define VM_SHADOW_END      0x100000ull
#define VM_SHADOW_SEGMENT  0x4000ull
#define VM_SHADOW_SEGMENTS 16u
#define VM_SHADOW_READ     1u
#define VM_SHADOW_WRITE    2u

#define VM_GSI_COUNT 24u /* pins of the interrupt controller in the kernel */

/* Where its interrupt controllers are; the local APICs are always KVM's. */
struct vm_chips {
    bool are_own;       /* IOAPIC and 8259 are devices of this process */
    bool has_timer;     /* KVM's interval timer, if they are KVM's */
    bool uses_line_0;   /* KVM's controllers: somebody does, so that its wire matters */
    uint32_t timer_pin; /* the IOAPIC's pin of line 0: 2 (as in PCs) or 0 */
    /* Own ones: a line's level. Any thread. */
    void (*line)(void *context, uint32_t gsi, bool is_high);
    void *context;
};

/* Take the VM of `ahead` (NULL: none) or create one. `kvm_fd` is borrowed until vm_create returns.
 * `has_shadow`: reads of the shadow find the ROM; otherwise it is RAM, for good.
 * -EOPNOTSUPP: this KVM lacks what we need, in words. */
int vm_create(int kvm_fd, struct vm_ahead *ahead, const struct memory *memory, bool has_shadow,
              const struct vm_chips *chips, struct vm **vm, struct err *err);
void vm_destroy(struct vm *vm);

int vm_fd(const struct vm *vm);
uint32_t vm_vcpus_max(const struct vm *vm);

/* More vCPUs than an 8-bit APIC id can tell apart: ids have 32 bits from here on, and 255 is an id
 * and no broadcast (KVM_CAP_X2APIC_API). Before the first vCPU. -EOPNOTSUPP. */
int vm_use_long_ids(struct vm *vm, struct err *err);

/* A vCPU that halts stays in the guest, and on its host CPU, until something comes for it. Before
 * the first vCPU. -EOPNOTSUPP. */
int vm_keep_halted(struct vm *vm, struct err *err);

/* Set a line. Any thread. Lines that do not exist are ignored. */
void vm_irq(struct vm *vm, uint32_t gsi, bool is_high);

/* An interrupt message, as MSI's. Any thread. One that addresses nobody is lost. */
void vm_message(struct vm *vm, uint64_t address, uint32_t data);

/* Routes, by which an event descriptor sends a message. vm_route_add: a new one, which leads
 * nowhere (its number, or -ENOSPC, -ENOMEM); before a vCPU runs. vm_route_set says where it leads;
 * KVM is told of all changes by the next vm_routes_commit, which costs nothing if there is none.
 * Any thread. */
#define VM_ROUTES_MAX 1024u
int vm_route_add(struct vm *vm);
void vm_route_set(struct vm *vm, uint32_t route, uint64_t address, uint32_t data);
void vm_routes_commit(struct vm *vm);

/* Have KVM send the message of a route when the eventfd `fd` is written to (what waits in it
 * counts, and stays), or no more, told with the same values; then nothing is on its way any more.
 * Any thread. One descriptor is heard for one route at a time: -EBUSY. */
int vm_route_hear(struct vm *vm, uint32_t route, int fd, bool is_on);

/* The same for a line, level-triggered: a write to `fd` raises it; when the guest ends its
 * interrupt KVM lowers it and writes to the eventfd `resample_fd`, and who still wants service
 * raises it again. No more: it is low. -EOPNOTSUPP: the controllers are not KVM's. */
int vm_line_hear(struct vm *vm, uint32_t gsi, int fd, int resample_fd, bool is_on);

/* Have KVM write to the eventfd `fd` when the guest writes `size` bytes (0: any number) there, and
 * of `value` alone if it is not NULL; or no more, told with the same values. Any thread. -EEXIST,
 * -ENOSPC, ...: as KVM_IOEVENTFD. */
int vm_doorbell(struct vm *vm, int fd, bool is_port, uint64_t address, uint32_t size,
                const uint64_t *value, bool is_there);

/* Own controllers: whether vCPUs leave the guest with KVM_EXIT_IOAPIC_EOI when a local APIC ends a
 * level-triggered interrupt of that vector. Any thread. */
void vm_watch_vector(struct vm *vm, uint8_t vector, bool is_watched);

/* has_shadow: what each segment is from now on. Control thread, no vCPU runs. */
int vm_shadow_set(struct vm *vm, const struct memory *memory,
                  const uint8_t segments[VM_SHADOW_SEGMENTS], struct err *err);

/* Memory of a device: slot number `slot` (from 0 on) has `size` bytes at guest-physical `address`
 * from now on; size 0: it is no more. Any thread; a guest that looks there meanwhile finds the old
 * or the new. */
int vm_device_slot(struct vm *vm, uint32_t slot, uint64_t address, void *host, uint64_t size);

/* The same, of memory that is only read: a write leaves the guest as if there were none. */
int vm_shown_slot(struct vm *vm, uint32_t slot, uint64_t address, void *host, uint64_t size);

/* Tell KVM of a group of VFIO whose device the guest gets: whether its DMA sees caches. */
int vm_add_group(struct vm *vm, int group_fd, struct err *err);

/* The interrupt chips back to power-on. No vCPU runs. */
int vm_reset(struct vm *vm, struct err *err);

#endif
