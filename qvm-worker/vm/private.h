/* Inside one virtual machine: shared by vm.c, chips.c, routes.c and shadow.c alone. */
#ifndef QVM_WORKER_VM_PRIVATE_H
#define QVM_WORKER_VM_PRIVATE_H

#include <linux/kvm.h>
#include <pthread.h>

#include "qvm-worker/vm/vm.h"

#define VM_IRQCHIP_COUNT 3u /* two 8259, one IOAPIC */
#define VM_VECTORS       256u
#define VM_WATCH_LINES   (2 * VM_GSI_COUNT) /* of KVM's table, with own chips */

/* Where a message of vm_route_set goes. */
struct vm_message {
    bool is_set;
    uint32_t data;
    uint64_t address;
};

/* KVM's table of GSIs, which is always set as a whole (routes.c). */
struct vm_routes {
    pthread_mutex_t lock;        /* orders changes; a leaf, see bus.c */
    struct vm_message *messages; /* GSIs behind the wires */
    uint32_t message_count;
    bool has_changed;             /* since KVM was told */
    bool is_watched[VM_VECTORS];  /* own chips */
    struct kvm_irq_routing *told; /* with room for all; NULL: there are no messages */
};

struct memory_region;

/* What is in a segment; host NULL: nothing. */
struct vm_shadow {
    uint8_t *host;
    bool is_read_only;
};

struct vm {
    int fd;
    uint32_t vcpus_max;
    struct vm_chips chips;
    struct kvm_irqchip power_on[VM_IRQCHIP_COUNT]; /* KVM's chips */
    struct kvm_pit_state2 timer_power_on;
    struct vm_routes routes;
    struct vm_shadow shadow[VM_SHADOW_SEGMENTS];
    uint32_t shadow_slot; /* number of the first segment's memory slot */
    int vfio_fd;          /* KVM's device that knows groups of VFIO; -1: none */
};

/* Give a memory slot its memory; size 0 takes it away. */
int vm_set_slot(const struct vm *vm, uint32_t slot, uint32_t flags,
                const struct memory_region *first, uint64_t size, struct err *err);

/* Make the controllers, in KVM or apart from it. */
int vm_chips_create(struct vm *vm, struct err *err);

/* Intel SDM 3A, 11.11.1: whether a local APIC takes what is written there; KVM does not look. */
static inline bool vm_is_message(uint64_t address)
{
    return (address & 0xfff00000u) == 0xfee00000u;
}

/* KVM's chips: wire them as a PC does. */
int vm_routes_wire(struct vm *vm, struct err *err);
void vm_routes_fini(struct vm *vm);

#endif
