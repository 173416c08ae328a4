/* vdevs on the PCI buses. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/pci/pci.h"
#include "qvm-worker/vdev/private.h"

static uint32_t on_config_read(void *context, uint32_t cap, uint32_t offset, uint32_t size)
{
    struct vdev_slot *slot = context;
    uint32_t value;

    (void)pthread_mutex_lock(&slot->lock);
    value = slot->loaded->ops.config_read(slot->device, cap, offset, size);
    (void)pthread_mutex_unlock(&slot->lock);
    return value;
}

static void on_config_write(void *context, uint32_t cap, uint32_t offset, uint32_t size,
                            uint32_t value)
{
    struct vdev_slot *slot = context;

    (void)pthread_mutex_lock(&slot->lock);
    slot->loaded->ops.config_write(slot->device, cap, offset, size, value);
    (void)pthread_mutex_unlock(&slot->lock);
}

/* Doorbells go with their BAR. */
static void on_placed(void *context, enum bus_space space, uint32_t region, uint64_t address,
                      bool is_there)
{
    vdev_host_place_bells(context, region, space == BUS_IO ? VDEV_SPACE_IO : VDEV_SPACE_MEMORY,
                          address, is_there);
    vdev_host_place_shmem(context, region, address, is_there);
}

static void on_mastering(void *context, bool is_master)
{
    vdev_host_set_master(context, is_master);
}

static const struct pci_function_ops function_ops = {
    .access = vdev_host_access,
    .placed = on_placed,
    .mastering = on_mastering,
    .config_read = on_config_read,
    .config_write = on_config_write,
};

/* The module's rows into what the buses know; what is wrong with them is the module's fault. */
static int read_bars(struct pci_function_config *config, const struct vdev_pci_function *from,
                     struct err *err)
{
    for (uint32_t i = 0; i < from->bar_count; i++) {
        const struct vdev_bar *bar = &from->bars[i];

        if (bar->index >= PCI_BARS || config->bars[bar->index].size != 0 ||
            (bar->index > 0 && config->bars[bar->index - 1].is_64bit)) {
            return err_set(err, -EINVAL, "there is no BAR %u for row %u", bar->index, i);
        }
        config->bars[bar->index] =
            (struct pci_bar){.size = bar->size,
                             .space = bar->space == VDEV_SPACE_IO ? BUS_IO : BUS_MEMORY,
                             .is_64bit = bar->is_64bit,
                             .is_prefetchable = bar->is_prefetchable,
                             .region = bar->region};
        if (bar->size == 0) {
            return err_set(err, -EINVAL, "BAR %u has no size", bar->index);
        }
    }
    return 0;
}

static int read_caps(const struct vdev_slot *slot, struct pci_cap *caps,
                     const struct vdev_pci_function *from, struct err *err)
{
    if (from->cap_count > VDEV_CAPS_MAX) {
        return err_set(err, -EINVAL, "more than %u capabilities", VDEV_CAPS_MAX);
    }
    for (uint32_t i = 0; i < from->cap_count; i++) {
        const struct vdev_cap *cap = &from->caps[i];

        if (cap->is_live &&
            (slot->loaded->ops.config_read == NULL || slot->loaded->ops.config_write == NULL)) {
            return err_set(err, -EINVAL, "capability %u is live, and nobody answers for it", i);
        }
        caps[i] = (struct pci_cap){cap->id, cap->size, cap->data, cap->mask, cap->is_live};
    }
    return 0;
}

static int add_function(struct vdev_slot *slot, const struct vdev_pci_function *from,
                        struct err *err)
{
    struct pci_cap caps[VDEV_CAPS_MAX];
    struct pci_function_config config = {
        .name = slot->bus_name,
        .where = slot->where,
        .vendor = from->vendor,
        .device = from->device,
        .subsystem_vendor = from->subsystem_vendor,
        .subsystem = from->subsystem,
        .class_code = from->class_code,
        .revision = from->revision,
        .has_intx = from->has_intx,
        .vector_count = from->vector_count,
        .vector_bar = from->vector_bar,
        .msi_count = from->msi_count,
        .has_msi_masks = from->has_msi_masks,
        .caps = caps,
        .cap_count = from->cap_count,
        .ops = &function_ops,
        .context = slot,
    };
    int r = read_bars(&config, from, err);

    if (r == 0) {
        r = read_caps(slot, caps, from, err);
    }
    return r == 0 ? pci_add(slot->host->env.pci, &slot->pci, &config, &slot->function, err) : r;
}

int vdev_host_pci_function(struct vdev_slot *slot, const struct vdev_pci_function *function)
{
    struct vdev_pci_function known = {0}; /* zeroes where the module is older than we are */
    struct err err = {0};

    if (slot->words == NULL || !slot->is_on_pci || slot->function != NULL ||
        function->size < offsetof(struct vdev_pci_function, msi_count)) {
        return vdev_host_services.fail(slot, NULL, "it is no PCI function here");
    }
    memcpy(&known, function, function->size < sizeof(known) ? function->size : sizeof(known));
    if (add_function(slot, &known, &err) != 0) {
        return vdev_host_services.fail(slot, NULL, "%s", err.msg);
    }
    slot->is_mute = true; /* as all functions at power-on */
    return 0;
}

bool vdev_host_vector(struct vdev_slot *slot, uint32_t vector)
{
    if (slot->function == NULL) {
        return false;
    }
    if (slot->is_dispatching && vector < VDEV_VECTORS_MAX && pci_has_messages(slot->function)) {
        slot->vectors_due |= UINT64_C(1) << vector;
        return true;
    }
    return pci_message(slot->function, vector);
}

void vdev_host_send_vectors(struct vdev_slot *slot)
{
    while (slot->vectors_due != 0) {
        uint32_t vector = (uint32_t)__builtin_ctzll(slot->vectors_due);

        slot->vectors_due &= slot->vectors_due - 1;
        (void)pci_message(slot->function, vector);
    }
}

bool vdev_host_has_vectors(struct vdev_slot *slot)
{
    return slot->function != NULL && pci_has_messages(slot->function);
}

int vdev_host_vector_event(struct vdev_slot *slot, uint32_t vector)
{
    bool is_time = slot->words != NULL && slot->device == NULL && slot->function != NULL;

    return is_time ? pci_event(slot->function, vector) : -EINVAL;
}

int vdev_host_intx_event(struct vdev_slot *slot, int *resample)
{
    bool is_time = slot->words != NULL && slot->device == NULL && slot->function != NULL;

    return is_time ? pci_intx_event(slot->function, resample) : -EINVAL;
}

int vdev_host_check_function(const struct vdev_slot *slot, struct err *err)
{
    if (slot->is_on_pci && slot->function == NULL) {
        return err_set(err, -ELIBBAD, "%s: vdev '%s' is broken: it is on PCI and no function",
                       slot->where, slot->name);
    }
    return 0;
}

void vdev_host_pci_loc(const struct vdev_slot *slot, char *text, size_t size)
{
    uint32_t devfn = slot->function->devfn; /* it never changes */

    (void)snprintf(text, size, "pci:%u:%u.%u", slot->function->bus, devfn >> 3, devfn & 7);
}

bool vdev_host_wants_pci(const struct vdev_host *host)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        if (host->slots[i]->is_on_pci) {
            return true;
        }
    }
    return false;
}

int vdev_host_reserve_pci(struct vdev_host *host, struct err *err)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        const struct vdev_slot *slot = host->slots[i];
        int r = 0;

        if (slot->is_on_pci && slot->pci.has_device) {
            r = pci_reserve(host->env.pci, &slot->pci, slot->bus_name, err);
        }
        if (r != 0) {
            (void)err_prefix(err, "%s: vdev '%s': ", slot->where, slot->name);
            return r;
        }
    }
    return 0;
}
