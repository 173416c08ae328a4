/* A network card whose queues the host's kernel works off (vhost-net), but that for commands.
 *
 * It does so from the moment its driver is ready until the queues stop, or the driver writes
 * nonsense. */
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
int net_kernel_create(struct net *net)
{
    struct virtio *virtio = &net->virtio;
    uint64_t offered = 0;
    int r = virtio_kernel_create(&net->kernel, virtio, EVENT_KERNEL, "vhost-net", "vhost auto",
                                 &offered);

    if (net->kernel.is_there) {
        virtio->offered &= OURS | (THEIRS & offered);
    }
    return r;
}

void net_kernel_start(struct net *net)
{
    if (net_is_up(net)) {
        virtio_kernel_start(&net->kernel, net_pairs(net));
    }
}

void net_kernel_rest(struct net *net)
{
    if (!virtio_kernel_rest(&net->kernel)) {
        return;
    }
    for (uint32_t i = 0; i < net->lane_count; i++) { /* who rang meanwhile was not heard */
        net->virtio.host->ring(net->virtio.slot, EVENT_NETWORK + i);
        net->virtio.host->ring(net->virtio.slot, QUEUE_TRANSMIT(i));
    }
    net->virtio.host->ring(net->virtio.slot, net_control_queue(net));
}

void net_kernel_write(struct net *net)
{
    if (virtio_kernel_has_moved(&net->kernel)) {
        net_kernel_rest(net);
        net_kernel_start(net);
    }
}

void net_kernel_event(struct net *net, uint32_t event)
{
    if (virtio_kernel_event(&net->kernel, event)) {
        net_kernel_rest(net);
    }
    net_kernel_write(net); /* MSI-X may be on by now */
}
