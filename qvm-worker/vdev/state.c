/* What the vdevs of a VM say of themselves. */
#include <inttypes.h>
#include <stdio.h>

#include "qvm-worker/console/console.h"
#include "qvm-worker/image/image.h"
#include "qvm-worker/vdev/ports.h"

/* vdev_state_fn for one device. */
struct state_of {
    vdev_host_state_fn add;
    void *context;
    const char *device;
};

static void add_state(void *context, const char *name, const char *value)
{
    const struct state_of *of = context;

    of->add(of->context, of->device, name, value);
}

static void host_state(const struct vdev_slot *slot, struct state_of *of)
{
    const struct slot_stream *output = vdev_host_output(slot);
    char text[64];

    if (slot->is_implied) {
        add_state(of, "added", "for the firmware");
    }
    if (slot->function != NULL) {
        vdev_host_pci_loc(slot, text, sizeof(text));
        add_state(of, "loc", text);
    }
    for (uint32_t i = 0; i < slot->region_count; i++) {
        (void)snprintf(text, sizeof(text), "%s:0x%" PRIx64 ",%" PRIu64,
                       slot->regions[i].space == VDEV_SPACE_IO ? "io" : "mem",
                       slot->regions[i].start, slot->regions[i].size);
        add_state(of, "loc", text);
    }
    for (uint32_t i = 0; i < slot->intr_count; i++) {
        if (slot->intrs[i] != QVM_VDEV_NO_INTR) {
            (void)snprintf(text, sizeof(text), "ioapic:%u %s", slot->intrs[i],
                           slot->is_high[i] ? "high" : "low");
            add_state(of, "intr", text);
        }
    }
    if (slot->loaded->hostdev_option != UINT32_MAX) {
        add_state(of, "hostdev", output != NULL ? output->need.path : "none");
    }
    if (slot->streams[STREAM_INPUT].kind != STREAM_NONE) {
        add_state(of, "hostdev-in", slot->streams[STREAM_INPUT].need.path);
    }
    vdev_host_ports_state(slot, add_state, of);
    if (slot->image != NULL) {
        add_state(of, "image", slot->image_need.path);
        add_state(of, "engine", image_engine(slot->image));
    }
    if (output != NULL && output->console != NULL) {
        struct console_stats stats;

        console_get_stats(output->console, &stats);
        (void)snprintf(text, sizeof(text), "%" PRIu64, stats.written);
        add_state(of, "bytes-out", text);
        (void)snprintf(text, sizeof(text), "%" PRIu64, stats.lost);
        add_state(of, "bytes-lost", text);
    }
}

void vdev_host_state(struct vdev_host *host, vdev_host_state_fn add, void *context)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        struct vdev_slot *slot = host->slots[i];
        struct state_of of = {.add = add, .context = context, .device = slot->name};

        if (slot->is_in_kernel) {
            host_state(slot, &of);
            add_state(&of, "in", "KVM");
        }
        if (slot->device == NULL) {
            continue;
        }
        (void)pthread_mutex_lock(&slot->lock);
        host_state(slot, &of);
        slot->loaded->ops.state(slot->device, add_state, &of);
        (void)pthread_mutex_unlock(&slot->lock);
    }
}
