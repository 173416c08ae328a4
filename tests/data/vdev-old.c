/* A module of the header that was released first: loads with every later qvm of the same ABI. */
#include "tests/data/vdev-abi3.h"

#include "tests/data/vdev-register.h"

static const struct vdev_ops ops = {OPS, .size = sizeof(ops)};

static const struct vdev_module module = {MODULE("old"), .size = sizeof(module), .ops = &ops};

QVM_VDEV_EXPORT(module);
