/* A module of a header that is still to come: its structures are longer than the qvm's. */
#include <qvm/vdev.h>

#include "tests/data/vdev-register.h"

static const struct {
    struct vdev_ops known;
    void (*unknown[4])(void);
} later_ops = {
    .known = {OPS, .size = sizeof(later_ops)},
    .unknown = {(void (*)(void))1, (void (*)(void))1, (void (*)(void))1, (void (*)(void))1}};

static const struct {
    struct vdev_module known;
    uint64_t unknown[4];
} later = {.known = {MODULE("later"), .size = sizeof(later), .ops = &later_ops.known},
           .unknown = {1, 2, 3, 4}};

QVM_VDEV_EXPORT(later.known);
