/* A PCI function of the guest's with a function of the host behind it.
 *
 * In the steady state the qvm takes no part: BARs are memory slots, messages go from the device to
 * KVM by event descriptors, INTx likewise. The qvm answers for configuration space, for MSI-X's
 * table and pending bits, and for what cannot be a memory slot.
 *
 * Threads: vfio_function_create, _reset and _destroy are the control thread's, with no vCPU
 * running; all else comes from the buses, on any thread. */
#ifndef QVM_WORKER_VFIO_FUNCTION_H
#define QVM_WORKER_VFIO_FUNCTION_H

#include "qvm-worker/vfio/device.h"

struct err;
struct loc_pci;
struct pci;
struct vfio_function;

/* Pieces of BARs that are memory slots, of all functions of a VM. */
#define VFIO_SLOTS_MAX 256u

struct vfio_function_config {
    struct pci *pci;
    const struct loc_pci *loc; /* where it is in the guest; NULL: anywhere */
    const char *name, *where;  /* for the buses, and for words; live as long as the function */
    struct vfio_device device; /* its operations outlive the function */
    uint32_t first_slot;       /* numbers of memory slots from here on are the function's */
    uint32_t vectors_most;     /* the guest is told of no more of MSI-X; at least 1 */

    /* Give memory slot number `slot` `size` bytes at guest-physical `address`; `size` 0 takes it
     * away. Any thread, with the lock of configuration held. */
    int (*slot)(void *context, uint32_t slot, uint64_t address, void *host, uint64_t size);
    void *context;
};

/* Put it on the buses; its interrupts and Bus Master are off. Words begin without place.
 * -EOPNOTSUPP: this VM cannot have it. */
int vfio_function_create(const struct vfio_function_config *config, struct vfio_function **function,
                         struct err *err);

/* How many memory slots it wants at most. */
uint32_t vfio_function_slots(const struct vfio_function *function);

/* How many vectors of MSI-X it has. */
uint32_t vfio_function_vectors(const struct vfio_function *function);

/* As a power-on finds it: no DMA, no interrupts, the device reset. The buses reset their part
 * themselves, afterwards. */
int vfio_function_reset(struct vfio_function *function, struct err *err);

/* The device is not there any more: it does nothing, its memory is no slot's, and registers read
 * all ones. Its operations are not called again. */
void vfio_function_forget(struct vfio_function *function);

/* No DMA and no interrupts any more. The buses are gone, or go before anybody looks. NULL is fine.
 */
void vfio_function_destroy(struct vfio_function *function);

#endif
