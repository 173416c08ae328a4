/* A port by which a guest ends its machine with an exit status of its choice.
 *
 * Two ways: the qvm's own, where the low five bits of what is written become a status of 32 to 63
 * (so that 0 to 31 and 32 to 63 both do what one expects); and that of QEMU's isa-debug-exit
 * (QEMU's documentation of that device: status = value * 2 + 1), for bare-metal tests that were
 * written for it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <qvm/vdev.h>

#define STATUS_FIRST 32u
#define STATUS_MASK  31u
#define SIZE_MAX_    4u

struct debug_exit {
    const struct vdev_services *host;
    struct vdev_slot *slot;
    bool is_qemu;
};

static int debug_exit_create(const struct vdev_services *host, struct vdev_slot *slot,
                             const struct vdev_config *config, void **device)
{
    struct debug_exit *exit_port;

    if (config->regions[0].size > SIZE_MAX_) {
        return host->fail(slot, NULL, "debug-exit has 1 to %u bytes, 'loc' gives %" PRIu64,
                          SIZE_MAX_, config->regions[0].size);
    }
    exit_port = calloc(1, sizeof(*exit_port));
    if (exit_port == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    exit_port->host = host;
    exit_port->slot = slot;
    for (uint32_t i = 0; i < config->value_count; i++) { /* `qemu` is the one option */
        exit_port->is_qemu = config->values[i].boolean;
    }
    *device = exit_port;
    return 0;
}

static void debug_exit_reset(void *device)
{
    (void)device; /* it keeps nothing */
}

static uint64_t debug_exit_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    (void)device;
    (void)region;
    (void)offset;
    (void)size;
    return 0;
}

static void debug_exit_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                             uint64_t value)
{
    struct debug_exit *exit_port = device;

    (void)region;
    (void)offset;
    (void)size;
    if (exit_port->is_qemu) {
        exit_port->host->request(exit_port->slot, VDEV_REQUEST_STATUS,
                                 (uint32_t)(value * 2 + 1) & 0xff);
    } else {
        exit_port->host->request(exit_port->slot, VDEV_REQUEST_EXIT,
                                 STATUS_FIRST + ((uint32_t)value & STATUS_MASK));
    }
}

static void debug_exit_state(void *device, vdev_state_fn add, void *context)
{
    const struct debug_exit *exit_port = device;

    add(context, "status", exit_port->is_qemu ? "value * 2 + 1" : "32 + value % 32");
}

static int debug_exit_save(void *device)
{
    (void)device;
    return 0;
}

static int debug_exit_restore(void *device)
{
    (void)device;
    return 0;
}

static const struct vdev_option options[] = {
    {
        .name = "qemu",
        .kind = VDEV_OPTION_BOOL,
        .fallback = "no",
        .doc = "the status is value * 2 + 1, as of QEMU's isa-debug-exit",
    },
    {.name = NULL},
};

static const struct vdev_region default_regions[] = {
    {.space = VDEV_SPACE_IO, .start = 0x501, .size = 2},
};

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = debug_exit_create,
    .destroy = free,
    .reset = debug_exit_reset,
    .read = debug_exit_read,
    .write = debug_exit_write,
    .state = debug_exit_state,
    .save = debug_exit_save,
    .restore = debug_exit_restore,
};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "debug-exit",
    .doc = "a port whose value becomes the exit status",
    .options = options,
    .default_regions = default_regions,
    .default_region_count = 1,
    .default_intr = QVM_VDEV_NO_INTR,
    .ops = &ops,
};

QVM_VDEV_EXPORT(module);
