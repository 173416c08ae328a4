/* BARs of a function of the host as memory slots of the guest: whole pages that may be mapped, less
 * those in which the qvm answers (MSI-X's table and pending bits). What is left is trapped.
 *
 * Threads: vfio_bars_init on the control thread; vfio_bars_place with the buses' lock held. */
#ifndef QVM_WORKER_VFIO_BARS_H
#define QVM_WORKER_VFIO_BARS_H

#include "qvm-worker/vfio/registers.h"

#define VFIO_PIECES_MAX 32u

struct err;

struct vfio_piece {
    uint32_t bar;
    struct vfio_area area; /* whole pages */
    void *host;            /* where it is mapped */
    bool is_there;         /* a slot has it */
    uint64_t address;      /* then: where the guest finds it */
};

struct vfio_bars_config {
    const struct vfio_device *device;
    const struct vfio_registers *registers;
    uint32_t first_slot;
    int (*slot)(void *context, uint32_t slot, uint64_t address, void *host, uint64_t size);
    void *context;
};

struct vfio_bars {
    struct vfio_bars_config config;
    uint32_t piece_count;
    struct vfio_piece pieces[VFIO_PIECES_MAX];
};

/* Map all pieces; one that the kernel does not map is trapped. -ENOSPC: they are too many. */
int vfio_bars_init(struct vfio_bars *bars, const struct vfio_bars_config *config, struct err *err);

/* No piece is there any more, nor will be. */
void vfio_bars_forget(struct vfio_bars *bars);

/* The BAR answers there (a multiple of its size), or no more. The first error; all are tried. */
int vfio_bars_place(struct vfio_bars *bars, uint32_t bar, uint64_t address, bool is_there);

#endif
