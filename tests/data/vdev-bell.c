/* A PCI function that is rung and wants interrupts: vector 0 three times, and vector 1. It counts
 * how often it heard that, at HEARD, and says at MASTER whether it is a bus master. */
#include <stdlib.h>

#include <qvm/vdev.h>

#define HEARD  16u
#define MASTER 20u

struct bell {
    const struct vdev_services *host;
    struct vdev_slot *slot;
    uint32_t heard;
};

static int bell_create(const struct vdev_services *host, struct vdev_slot *slot,
                       const struct vdev_config *config, void **device)
{
    static const struct vdev_bar bar = {.index = 0, .space = VDEV_SPACE_MEMORY, .size = 4096};
    static const struct vdev_pci_function function = {.size = sizeof(function),
                                                      .vendor = 0x1234,
                                                      .device = 0x0be1,
                                                      .class_code = 0xff0000,
                                                      .has_intx = true,
                                                      .bars = &bar,
                                                      .bar_count = 1,
                                                      .msi_count = 2};
    struct bell *bell = calloc(1, sizeof(*bell));
    int r;

    (void)config;
    if (bell == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    bell->host = host;
    bell->slot = slot;
    r = host->pci_function(slot, &function);
    if (r == 0 && host->doorbell(slot, 0, 0, 0, false, 0, 5) != 0) {
        r = host->fail(slot, NULL, "no doorbell");
    }
    if (r != 0) {
        free(bell);
        return r;
    }
    *device = bell;
    return 0;
}

static void bell_reset(void *device)
{
    (void)device;
}

static uint64_t bell_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    const struct bell *bell = device;

    if (offset == MASTER) {
        return bell->host->is_master(bell->slot);
    }
    return offset == HEARD ? bell->heard : region + offset + size;
}

/* Past the doorbell: one vector, at once. */
static void bell_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                       uint64_t value)
{
    struct bell *bell = device;

    (void)region;
    (void)offset;
    (void)size;
    (void)bell->host->vector(bell->slot, (uint32_t)value);
}

static void bell_event(void *device, uint32_t event)
{
    struct bell *bell = device;

    bell->heard++;
    for (uint32_t i = 0; i < 3; i++) {
        (void)bell->host->vector(bell->slot, 0);
    }
    (void)bell->host->vector(bell->slot, event == 5);
}

static void bell_state(void *device, vdev_state_fn add, void *context)
{
    (void)device;
    add(context, "bell", "there");
}

static const struct vdev_option options[] = {{.name = NULL}};

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = bell_create,
    .destroy = free,
    .reset = bell_reset,
    .read = bell_read,
    .write = bell_write,
    .event = bell_event,
    .state = bell_state,
};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "bell",
    .doc = "a doorbell",
    .options = options,
    .default_intr = QVM_VDEV_NO_INTR,
    .ops = &ops,
    .can_pci = true,
    .is_pci_usual = true,
};

QVM_VDEV_EXPORT(module);
