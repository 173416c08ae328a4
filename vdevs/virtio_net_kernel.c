/* A network card whose queues the host's kernel works off (vhost-net), but that for commands.
 *
 * It does so from the moment its driver is ready until the queues stop, or the driver writes
 * nonsense. Where it stopped is where the device's own queues stand, so all that looks at those
 * (saving, above all) need not know of it. */
#include "vdevs/virtio_net.h"

/* Features that rings may have there; those of the device that only the kernel knows of. */
#define RINGS                                                                                      \
    (VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_F_EVENT_IDX) |                         \
     VIRTIO_BIT(VIRTIO_F_VERSION_1))
#define THEIRS (RINGS | VIRTIO_BIT(F_MRG_RXBUF))
/* And those of the device that the tap knows of, or we do: it filters no addresses. */
#define OURS                                                                                       \
    (VIRTIO_BIT(F_CSUM) | VIRTIO_BIT(F_GUEST_CSUM) | VIRTIO_BIT(F_MAC) |                           \
     VIRTIO_BIT(F_GUEST_TSO4) | VIRTIO_BIT(F_GUEST_TSO6) | VIRTIO_BIT(F_GUEST_ECN) |               \
     VIRTIO_BIT(F_HOST_TSO4) | VIRTIO_BIT(F_HOST_TSO6) | VIRTIO_BIT(F_HOST_ECN) |                  \
     VIRTIO_BIT(F_STATUS) | VIRTIO_BIT(F_CTRL_VQ) | VIRTIO_BIT(F_MQ) |                             \
     VIRTIO_BIT(F_CTRL_MAC_ADDR))
/* What the interface of old and other rings are: a card that has them works them off itself. */
#define NOT_THERE (VIRTIO_BIT(VIRTIO_F_RING_PACKED) | VIRTIO_BIT(VIRTIO_F_NOTIFICATION_DATA))

int net_kernel_create(struct net *net)
{
    struct virtio *virtio = &net->virtio;
    const struct vdev_tap_services *tap = virtio->host->tap;
    bool is_required = false, is_other, is_old;
    uint64_t offered = tap != NULL ? tap->features(virtio->slot, EVENT_KERNEL, &is_required) : 0;

    if (offered == 0 && !is_required) {
        return 0;
    }
    is_other = (virtio->offered & NOT_THERE) != 0 || virtio->can_legacy;
    is_old = (offered & VIRTIO_BIT(VIRTIO_F_VERSION_1)) == 0;
    if (is_required && is_other) {
        return virtio->host->fail(virtio->slot, NULL,
                                  "the kernel knows neither packed rings nor the legacy interface "
                                  "nor notification data: leave these out, or take 'vhost auto'");
    }
    if (is_required && is_old) {
        return virtio->host->fail(virtio->slot, NULL,
                                  "this kernel's vhost-net is too old, or there are no event "
                                  "descriptors for it: take 'vhost auto'");
    }
    if (is_other || is_old) {
        return 0;
    }
    virtio->offered &= OURS | (THEIRS & offered);
    net->has_kernel = true;
    for (uint32_t i = 0; i < QUEUES_MAX; i++) {
        net->vectors[i] = -1;
        if (virtio->is_pci && i <= net->type.queue_count && offered != UINT64_MAX) {
            net->vectors[i] = virtio->host->vector_event(virtio->slot, i); /* negative: none */
        }
    }
    return 0;
}

static int call_of(const struct net *net, uint32_t queue)
{
    uint16_t vector = net->virtio.queue_vectors[queue];

    return net->virtio.host->has_vectors(net->virtio.slot) && vector < QUEUES_MAX
               ? net->vectors[vector]
               : -1;
}

static bool is_whole(const struct net *net, uint32_t pair)
{
    const struct virtq *queues = &net->virtio.queues[QUEUE_RECEIVE(pair)];

    return queues[0].is_enabled && !queues[0].is_broken && queues[1].is_enabled &&
           !queues[1].is_broken;
}

void net_kernel_start(struct net *net)
{
    struct virtio *virtio = &net->virtio;
    struct vdev_tap_queue queues[2 * LANES_MAX];
    uint32_t pairs = 0;

    if (!net->has_kernel || net->is_kernel || !net_is_up(net) ||
        (virtio->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) != VIRTIO_DRIVER_OK) {
        return;
    }
    for (; pairs < net_pairs(net) && is_whole(net, pairs); pairs++) {
        for (uint32_t i = QUEUE_RECEIVE(pairs); i <= QUEUE_TRANSMIT(pairs); i++) {
            const struct virtq *queue = &virtio->queues[i];

            net->calls[i] = call_of(net, i);
            queues[i] = (struct vdev_tap_queue){.place = {.index = i,
                                                          .size = queue->size,
                                                          .descriptors = queue->descriptors,
                                                          .driver = queue->driver,
                                                          .device = queue->device,
                                                          .call_fd = net->calls[i]},
                                                .base = queue->next_available};
        }
    }
    if (pairs == 0) {
        return; /* queues that come later are the device's own */
    }
    net->kernel_pairs = pairs;
    net->is_kernel = virtio->host->tap->run(virtio->slot, virtio->negotiated, queues, pairs) == 0;
    if (!net->is_kernel) {
        virtio_need_reset(virtio);
    }
}

void net_kernel_look(struct net *net)
{
    const struct vdev_tap_services *tap = net->virtio.host->tap;

    for (uint32_t i = 0; net->is_kernel && i < 2 * net->kernel_pairs; i++) {
        struct virtq *queue = &net->virtio.queues[i];

        queue->next_available = tap->base(net->virtio.slot, i);
        queue->next_used = queue->decided_used = queue->next_available; /* all is used */
    }
}

void net_kernel_rest(struct net *net)
{
    if (!net->is_kernel || net->is_stopping) {
        return;
    }
    net->is_stopping = true;
    net->virtio.host->tap->rest(net->virtio.slot);
    net->is_stopping = false;
    net_kernel_look(net);
    net->is_kernel = false;
    for (uint32_t i = 0; i < net->lane_count; i++) { /* who rang meanwhile was not heard */
        net->virtio.host->ring(net->virtio.slot, EVENT_NETWORK + i);
        net->virtio.host->ring(net->virtio.slot, QUEUE_TRANSMIT(i));
    }
    net->virtio.host->ring(net->virtio.slot, net_control_queue(net));
}

/* 4.1.5.1.2.1 has a driver choose vectors before it is ready; who chooses later is not to wait for
 * interrupts for ever. */
void net_kernel_write(struct net *net)
{
    for (uint32_t i = 0; net->is_kernel && !net->is_stopping && i < 2 * net->kernel_pairs; i++) {
        if (net->calls[i] != call_of(net, i)) {
            net_kernel_rest(net);
            net_kernel_start(net);
            return;
        }
    }
}

void net_kernel_event(struct net *net, uint32_t event)
{
    uint32_t queue = event - EVENT_KERNEL;

    if (!net->is_kernel || net->is_stopping) {
        return; /* of before a reset */
    }
    if (queue < 2 * net->kernel_pairs) {
        virtio_tell_used(&net->virtio, queue);
        net_kernel_write(net); /* MSI-X may be on by now */
    } else if (queue == 2 * LANES_MAX) {
        virtio_need_reset(&net->virtio);
        net_kernel_rest(net);
    }
}
