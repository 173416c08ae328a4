/* A vsock whose packets the host's kernel works off (vhost-vsock): programs of the host reach the
 * guest by its CID, by sockets of the family AF_VSOCK, and it reaches theirs. What is left for the
 * device is its event queue. */
#include "vdevs/virtio_vsock.h"

/* Features that rings may have there, and that of the device which the kernel knows of (5.10.3). */
#define THEIRS                                                                                     \
    (VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_F_EVENT_IDX) |                         \
     VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(F_SEQPACKET))

int vsock_kernel_create(struct vsock *vsock)
{
    struct virtio *virtio = &vsock->virtio;
    uint64_t offered = 0;
    int r = virtio_kernel_create(&vsock->kernel, virtio, EVENT_KERNEL, "vhost-vsock", "vhost off",
                                 &offered);

    if (vsock->kernel.is_there) {
        virtio->offered |= VIRTIO_BIT(F_SEQPACKET);
        virtio->offered &= VIRTIO_BIT(F_STREAM) | (THEIRS & offered);
    }
    return r;
}

void vsock_kernel_start(struct vsock *vsock)
{
    virtio_kernel_start(&vsock->kernel, 1);
}

void vsock_kernel_rest(struct vsock *vsock)
{
    if (virtio_kernel_rest(&vsock->kernel)) { /* who rang meanwhile was not heard */
        vsock->virtio.host->ring(vsock->virtio.slot, QUEUE_EVENT);
    }
}

static void begin_anew_if_moved(struct vsock *vsock)
{
    if (virtio_kernel_has_moved(&vsock->kernel)) {
        vsock_kernel_rest(vsock);
        vsock_kernel_start(vsock);
    }
}

void vsock_kernel_event(struct vsock *vsock, uint32_t event)
{
    if (virtio_kernel_event(&vsock->kernel, event)) {
        vsock_kernel_rest(vsock);
    }
    begin_anew_if_moved(vsock); /* MSI-X may be on by now */
}

void vsock_kernel_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                        uint64_t value)
{
    struct vsock *vsock = device;

    if (!vsock->kernel.is_stopping) { /* meanwhile the driver has nothing to write */
        virtio_write(device, region, offset, size, value);
        begin_anew_if_moved(vsock);
    }
}

void vsock_kernel_config_write(void *device, uint32_t cap, uint32_t offset, uint32_t size,
                               uint32_t value)
{
    const struct vsock *vsock = device;

    if (!vsock->kernel.is_stopping) {
        virtio_config_cap_write(device, cap, offset, size, value);
    }
}
