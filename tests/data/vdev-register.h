/* A register that raises a line when it is written, and lowers it a millisecond later: the code of
 * modules that are built with other headers than today's. Include one of them before. */
#ifndef QVM_TESTS_VDEV_REGISTER_H
#define QVM_TESTS_VDEV_REGISTER_H

#include <stdio.h>
#include <stdlib.h>

struct reg {
    const struct vdev_services *host;
    struct vdev_slot *slot;
    uint8_t begin, value;
};

static void reg_reset(void *device)
{
    struct reg *reg = device;

    reg->value = reg->begin;
}

static int reg_create(const struct vdev_services *host, struct vdev_slot *slot,
                      const struct vdev_config *config, void **device)
{
    struct reg *reg = calloc(1, sizeof(*reg));

    if (reg == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    reg->host = host;
    reg->slot = slot;
    for (uint32_t i = 0; i < config->value_count; i++) {
        reg->begin = (uint8_t)config->values[i].number[0];
    }
    reg_reset(reg);
    *device = reg;
    return 0;
}

static void reg_destroy(void *device)
{
    free(device);
}

static uint64_t reg_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    const struct reg *reg = device;

    return reg->value + region + offset + size - 1; /* each is 0, and a size of 1 */
}

static void reg_write(void *device, uint32_t region, uint64_t offset, uint32_t size, uint64_t value)
{
    struct reg *reg = device;

    reg->value = (uint8_t)(value + region + offset + size - 1);
    reg->host->intr(reg->slot, 0, true);
    reg->host->timer(reg->slot, 0, reg->host->now_ns(reg->slot) + 1000000);
}

static void reg_timer(void *device, uint32_t timer)
{
    struct reg *reg = device;

    reg->host->intr(reg->slot, timer, false);
}

static void reg_state(void *device, vdev_state_fn add, void *context)
{
    const struct reg *reg = device;
    char text[8];

    (void)snprintf(text, sizeof(text), "%u", reg->value);
    add(context, "value", text);
}

static const struct vdev_option options[] = {
    {.name = "begin",
     .kind = VDEV_OPTION_NUMBER,
     .max = 255,
     .fallback = "7",
     .doc = "first value"},
    {.name = NULL},
};

static const struct vdev_region regions[] = {{VDEV_SPACE_IO, 0x700, 1}};

#define OPS                                                                                        \
    .create = reg_create, .destroy = reg_destroy, .reset = reg_reset, .read = reg_read,            \
    .write = reg_write, .timer = reg_timer, .state = reg_state

#define MODULE(name_)                                                                              \
    .abi = QVM_VDEV_ABI, .name = (name_), .doc = "a register", .options = options,                 \
    .default_regions = regions, .default_region_count = 1, .default_intr = QVM_VDEV_NO_INTR

#endif
