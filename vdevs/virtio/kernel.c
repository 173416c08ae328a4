/* Queues that the host's kernel works off. */
#include "vdevs/virtio/kernel.h"

/* What the interface of old and other rings are: a device that has them works them off itself. */
#define NOT_THERE (VIRTIO_BIT(VIRTIO_F_RING_PACKED) | VIRTIO_BIT(VIRTIO_F_NOTIFICATION_DATA))

int virtio_kernel_create(struct virtio_kernel *kernel, struct virtio *virtio, uint32_t event,
                         const char *name, const char *instead, uint64_t *offered)
{
    const struct vdev_tap_services *tap = virtio->host->tap;
    bool is_required = false, is_other, is_old;

    kernel->virtio = virtio;
    kernel->event = event;
    *offered = tap != NULL ? tap->features(virtio->slot, event, &is_required) : 0;
    if (*offered == 0 && !is_required) {
        return 0;
    }
    is_other = (virtio->offered & NOT_THERE) != 0 || virtio->can_legacy;
    is_old = (*offered & VIRTIO_BIT(VIRTIO_F_VERSION_1)) == 0;
    if (is_required && is_other) {
        return virtio->host->fail(virtio->slot, NULL,
                                  "the kernel knows neither packed rings nor the legacy interface "
                                  "nor notification data: leave these out, or take '%s'",
                                  instead);
    }
    if (is_required && is_old) {
        return virtio->host->fail(virtio->slot, NULL,
                                  "this kernel's %s is too old, or there are no event "
                                  "descriptors for it: take '%s'",
                                  name, instead);
    }
    if (is_other || is_old) {
        return 0;
    }
    kernel->is_there = true;
    for (uint32_t i = 0; i < VIRTIO_KERNEL_VECTORS_MAX; i++) {
        kernel->vectors[i] = -1;
        if (virtio->is_pci && i <= virtio->type->queue_count && *offered != UINT64_MAX) {
            kernel->vectors[i] = virtio->host->vector_event(virtio->slot, i); /* negative: none */
        }
    }
    return 0;
}

static int call_of(const struct virtio_kernel *kernel, uint32_t queue)
{
    const struct virtio *virtio = kernel->virtio;
    uint16_t vector = virtio->queue_vectors[queue];

    return virtio->host->has_vectors(virtio->slot) && vector < VIRTIO_KERNEL_VECTORS_MAX
               ? kernel->vectors[vector]
               : -1;
}

static bool is_whole(const struct virtio_kernel *kernel, uint32_t pair)
{
    const struct virtq *queues = &kernel->virtio->queues[2 * pair];

    return queues[0].is_enabled && !queues[0].is_broken && queues[1].is_enabled &&
           !queues[1].is_broken;
}

void virtio_kernel_start(struct virtio_kernel *kernel, uint32_t pairs)
{
    struct virtio *virtio = kernel->virtio;
    struct vdev_tap_queue queues[VIRTIO_KERNEL_QUEUES_MAX];
    uint32_t whole = 0;

    if (!kernel->is_there || kernel->is_running ||
        (virtio->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) != VIRTIO_DRIVER_OK) {
        return;
    }
    for (; whole < pairs && is_whole(kernel, whole); whole++) {
        for (uint32_t i = 2 * whole; i <= 2 * whole + 1; i++) {
            const struct virtq *queue = &virtio->queues[i];

            kernel->calls[i] = call_of(kernel, i);
            queues[i] = (struct vdev_tap_queue){.place = {.index = i,
                                                          .size = queue->size,
                                                          .descriptors = queue->descriptors,
                                                          .driver = queue->driver,
                                                          .device = queue->device,
                                                          .call_fd = kernel->calls[i]},
                                                .base = queue->next_available};
        }
    }
    if (whole == 0) {
        return; /* queues that come later are the device's own */
    }
    kernel->count = 2 * whole;
    kernel->is_running =
        virtio->host->tap->run(virtio->slot, virtio->negotiated, queues, whole) == 0;
    if (!kernel->is_running) {
        virtio_need_reset(virtio);
    }
}

void virtio_kernel_look(struct virtio_kernel *kernel)
{
    struct virtio *virtio = kernel->virtio;

    for (uint32_t i = 0; kernel->is_running && i < kernel->count; i++) {
        struct virtq *queue = &virtio->queues[i];

        queue->next_available = virtio->host->tap->base(virtio->slot, i);
        queue->next_used = queue->decided_used = queue->next_available; /* all is used */
    }
}

bool virtio_kernel_rest(struct virtio_kernel *kernel)
{
    struct virtio *virtio = kernel->virtio;

    if (!kernel->is_running || kernel->is_stopping) {
        return false;
    }
    kernel->is_stopping = true;
    virtio->host->tap->rest(virtio->slot);
    kernel->is_stopping = false;
    virtio_kernel_look(kernel);
    kernel->is_running = false;
    return true;
}

bool virtio_kernel_has_moved(const struct virtio_kernel *kernel)
{
    for (uint32_t i = 0; kernel->is_running && !kernel->is_stopping && i < kernel->count; i++) {
        if (kernel->calls[i] != call_of(kernel, i)) {
            return true;
        }
    }
    return false;
}

bool virtio_kernel_event(struct virtio_kernel *kernel, uint32_t event)
{
    uint32_t queue = event - kernel->event;

    if (!kernel->is_running || kernel->is_stopping) {
        return false; /* of before a reset */
    }
    if (queue < kernel->count) {
        virtio_tell_used(kernel->virtio, queue);
    } else if (queue == VIRTIO_KERNEL_QUEUES_MAX) {
        virtio_need_reset(kernel->virtio);
        return true;
    }
    return false;
}
