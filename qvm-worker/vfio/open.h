/* A qvm without qvmd opens functions of the host itself: finds them below /sys, and takes the
 * descriptors of VFIO (kernel.h) as qvmd's hands do. It binds no driver: a function has to be
 * vfio-pci's already. */
#ifndef QVM_WORKER_VFIO_OPEN_H
#define QVM_WORKER_VFIO_OPEN_H

#include <stdint.h>

struct err;

#define VFIO_OPEN_MAX 32u /* functions of one VM */

/* One container for all functions, and what was opened for it. Begin with zeroes. */
struct vfio_open {
    uint32_t count;
    struct {
        int container_fd, group_fd; /* borrowed: they were handed out */
        unsigned group;
    } opened[VFIO_OPEN_MAX];
};

/* Open the function `id`, DDDD:BB:DD.F or VVVV:DDDD/N (the N-th of the host, by address): all
 * three are the caller's. One that shares its group with an earlier one gets copies. Words begin
 * without place. */
int vfio_open_device(struct vfio_open *open, const char *id, int *container_fd, int *group_fd,
                     int *device_fd, struct err *err);

#endif
