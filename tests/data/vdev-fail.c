/* A register that, when 0xff is written to it, cannot go on. */
#include <qvm/vdev.h>

#include "tests/data/vdev-register.h"

static void fail_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                       uint64_t value)
{
    struct reg *reg = device;

    if (value == 0xff) {
        reg->host->request(reg->slot, VDEV_REQUEST_FAIL, 0);
    } else {
        reg_write(device, region, offset, size, value);
    }
}

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = reg_create,
    .destroy = reg_destroy,
    .reset = reg_reset,
    .read = reg_read,
    .write = fail_write,
    .timer = reg_timer,
    .state = reg_state,
};

static const struct vdev_module module = {MODULE("fail"), .size = sizeof(module), .ops = &ops};

QVM_VDEV_EXPORT(module);
