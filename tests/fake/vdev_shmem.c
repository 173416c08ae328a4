#include "tests/fake/vdev_shmem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct vdev_module *const vdev_shmem_module;

struct fake_shmem fake_shmem;

static uint64_t fake_region_address(struct vdev_slot *slot, uint32_t region)
{
    (void)slot;
    return region != 1 || fake_shmem.is_nowhere ? UINT64_MAX : FAKE_SHMEM_START;
}

static enum vdev_shmem_status fake_attach(struct vdev_slot *slot, const char *name, uint64_t bytes,
                                          uint64_t most, struct vdev_shmem *shmem)
{
    uint64_t size = fake_shmem.there != 0 ? fake_shmem.there : bytes;
    uint32_t handle = 0;

    (void)slot;
    fake_shmem.wish_count++;
    (void)snprintf(fake_shmem.name, sizeof(fake_shmem.name), "%s", name);
    fake_shmem.bytes = bytes;
    fake_shmem.most = most;
    if (fake_shmem.meanwhile != NULL) {
        fake_shmem.meanwhile();
    }
    while (handle < VDEV_SHMEM_MAX && fake_shmem.regions[handle].is_there) {
        handle++;
    }
    if (fake_shmem.status != VDEV_SHMEM_OK || size == 0 || size > most ||
        handle == VDEV_SHMEM_MAX) {
        return fake_shmem.status != VDEV_SHMEM_OK ? fake_shmem.status : VDEV_SHMEM_NO_MEMORY;
    }
    fake_shmem.regions[handle].is_there = true;
    fake_shmem.regions[handle].bytes = size;
    shmem->handle = handle;
    shmem->client = handle + 3;
    shmem->bytes = size;
    return VDEV_SHMEM_OK;
}

/* What is no region would be a fault of the device's. */
static void check(uint32_t handle)
{
    if (handle >= VDEV_SHMEM_MAX || !fake_shmem.regions[handle].is_there) {
        abort();
    }
}

static void fake_detach(struct vdev_slot *slot, uint32_t handle)
{
    (void)slot;
    check(handle);
    memset(&fake_shmem.regions[handle], 0, sizeof(fake_shmem.regions[handle]));
    fake_shmem.left_count++;
}

/* Behind each region's control page, inside the window, and over no other. */
static int fake_show(struct vdev_slot *slot, uint32_t handle, uint32_t region, uint64_t offset)
{
    uint64_t bytes = fake_shmem.regions[handle].bytes;

    (void)slot;
    check(handle);
    if (region != 1 || offset < 4096 || offset % 4096 != 0 || bytes > FAKE_SHMEM_WINDOW ||
        offset > FAKE_SHMEM_WINDOW - bytes) {
        abort();
    }
    for (uint32_t i = 0; i < VDEV_SHMEM_MAX; i++) {
        if (fake_shmem.regions[i].is_shown &&
            offset - 4096 < fake_shmem.regions[i].offset + fake_shmem.regions[i].bytes &&
            fake_shmem.regions[i].offset - 4096 < offset + bytes) {
            abort();
        }
    }
    if (fake_shmem.show == 0) {
        fake_shmem.regions[handle].is_shown = true;
        fake_shmem.regions[handle].offset = offset;
    }
    return fake_shmem.show;
}

static void fake_notify(struct vdev_slot *slot, uint32_t handle, uint32_t clients)
{
    (void)slot;
    check(handle);
    fake_shmem.notified = clients;
}

static uint32_t fake_status(struct vdev_slot *slot, uint32_t handle)
{
    uint32_t news = fake_shmem.news;

    (void)slot;
    check(handle);
    fake_shmem.news &= 0xffff0000;
    return news;
}

int fake_shmem_create(struct vdev_slot *slot, bool is_on_pci)
{
    static struct vdev_services services;
    static const struct vdev_region regions[] = {
        {VDEV_SPACE_MEMORY, 0xd0000000, 4096},
        {VDEV_SPACE_MEMORY, FAKE_SHMEM_START, FAKE_SHMEM_WINDOW},
    };
    const struct vdev_value window = {
        .option = 3, .number = {FAKE_SHMEM_WINDOW}, .text = "128K", .where = "t:1"};
    struct vdev_config config = {.size = sizeof(config),
                                 .name = "shmem",
                                 .values = &window,
                                 .value_count = 1,
                                 .regions = regions,
                                 .region_count = is_on_pci ? 0 : 2,
                                 .place = is_on_pci ? VDEV_PLACE_PCI : VDEV_PLACE_BUS,
                                 .intr_count = 1,
                                 .intrs = {is_on_pci ? QVM_VDEV_NO_INTR : FAKE_SHMEM_LINE}};

    services = fake_slot_services;
    services.region_address = fake_region_address;
    services.shmem_attach = fake_attach;
    services.shmem_detach = fake_detach;
    services.shmem_show = fake_show;
    services.shmem_notify = fake_notify;
    services.shmem_status = fake_status;
    fake_shmem = (struct fake_shmem){0};
    memset(slot, 0, sizeof(*slot));
    slot->module = vdev_shmem_module;
    return vdev_shmem_module->ops->create(&services, slot, &config, &slot->device);
}
