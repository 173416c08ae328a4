/* Memory of a device's own that the guest reads without it: a slot of KVM's for each device. */
#include <errno.h>

#include "qvm-worker/vdev/private.h"

#define PAGE 4096u

static uint32_t number_of(const struct vdev_slot *slot)
{
    uint32_t i = 0;

    while (slot->host->slots[i] != slot) {
        i++;
    }
    return i;
}

/* Where the guest finds it; the places of a device that is not on PCI never change. */
int vdev_host_memory_show(struct vdev_slot *slot, uint32_t region, uint64_t offset, void *memory,
                          uint64_t size)
{
    const struct vdev_host_env *env = &slot->host->env;
    const struct vdev_region *place;
    uint64_t address;

    if (env->shown_slot == NULL || slot->is_on_pci || !slot->loaded->module.shows_memory) {
        return -ENOTSUP;
    }
    if (region >= slot->region_count || slot->regions[region].space != VDEV_SPACE_MEMORY) {
        return -EINVAL;
    }
    place = &slot->regions[region];
    address = place->start + offset;
    if (offset > place->size || size > place->size - offset || address % PAGE != 0 ||
        (uintptr_t)memory % PAGE != 0 || size % PAGE != 0) {
        return -EINVAL;
    }
    return env->shown_slot(env->context, number_of(slot), address, memory, size);
}

bool vdev_host_shows_memory(const struct vdev_host *host)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        if (host->slots[i]->loaded->module.shows_memory) {
            return true;
        }
    }
    return false;
}
