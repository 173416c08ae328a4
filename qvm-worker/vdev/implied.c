/* Devices that the configuration does not name, and that its firmware wants. */
#include <string.h>

#include "qvm-worker/vdev/private.h"

static bool is_there(const struct vdev_host *host, const struct loaded_module *loaded)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        if (host->slots[i]->loaded == loaded) {
            return true;
        }
    }
    return false;
}

static bool has_region(const struct vdev_slot *slot, const struct vdev_region *region)
{
    for (uint32_t i = 0; i < slot->region_count; i++) {
        if (vdev_host_overlap(&slot->regions[i], region)) {
            return true;
        }
    }
    return false;
}

static bool has_line(const struct vdev_slot *slot, uint32_t line)
{
    for (uint32_t i = 0; i < slot->intr_count; i++) {
        if (slot->intrs[i] == line) {
            return true;
        }
    }
    return false;
}

static bool is_region_free(const struct vdev_host *host, const struct vdev_region *region,
                           const struct vdev_host_taken *taken)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        if (has_region(host->slots[i], region)) {
            return false;
        }
    }
    return !taken->region(taken->context, region);
}

static bool is_line_free(const struct vdev_host *host, uint32_t line,
                         const struct vdev_host_taken *taken)
{
    for (uint32_t i = 0; i < host->slot_count && line != QVM_VDEV_NO_INTR; i++) {
        if (has_line(host->slots[i], line)) {
            return false;
        }
    }
    return line == QVM_VDEV_NO_INTR || !taken->line(taken->context, line);
}

/* Whether nobody has its usual places and lines. */
static bool is_place_free(const struct vdev_host *host, const struct vdev_module *module,
                          const struct vdev_host_taken *taken)
{
    bool is_free = is_line_free(host, module->default_intr, taken);

    for (uint32_t i = 0; i < module->default_region_count; i++) {
        is_free = is_free && is_region_free(host, &module->default_regions[i], taken);
    }
    for (uint32_t i = 1; module->default_intrs != NULL && i < module->line_count; i++) {
        is_free = is_free && is_line_free(host, module->default_intrs[i - 1], taken);
    }
    return is_free;
}

int vdev_host_imply(struct vdev_host *host, const char *module, const char *where,
                    const struct vdev_host_taken *taken, struct err *err)
{
    const struct loaded_module *loaded;
    int r = vdev_host_load(host, module, where, err);

    if (r != 0) {
        return r;
    }
    loaded = vdev_host_find_module(host, module);
    if (is_there(host, loaded) || !is_place_free(host, &loaded->module, taken)) {
        return 0;
    }
    r = vdev_host_add(host, module, where, NULL, 0, err);
    if (r == 0) {
        host->slots[host->slot_count - 1]->is_implied = true;
    }
    return r;
}
