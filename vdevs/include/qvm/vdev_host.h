/* What a device has of the host, for <qvm/vdev.h>: what it may ask for, transfers with an image,
 * memory that guests share, frames of a network, back ends for queues, saved state. Same rules of
 * the contract: what is there never changes, only more comes. */
#ifndef QVM_VDEV_HOST_H
#define QVM_VDEV_HOST_H

#include <stdbool.h>
#include <stdint.h>

/* What a device can ask its qvm to do with the whole VM. */
enum vdev_request {
    VDEV_REQUEST_RESET,    /* as the reset button */
    VDEV_REQUEST_POWEROFF, /* the guest switched itself off */
    VDEV_REQUEST_EXIT,     /* end with exit status `value` (32-63) */
    VDEV_REQUEST_WATCHDOG, /* the guest's watchdog bit: end with the status of that */
    VDEV_REQUEST_DUMP,     /* dump the guest, which goes on; before a request that ends it */
    VDEV_REQUEST_STATUS,   /* end with exit status `value` (0-255), whatever it stands for */
    VDEV_REQUEST_RESTORE,  /* save, reset and restore all devices, for tests */
    VDEV_REQUEST_FAIL,     /* the device cannot go on, and not by the guest's fault: end the VM */
};

/* What the VM tells its firmware, by the name that fw_cfg has for it. */
struct vdev_firmware_file {
    char name[56];
    uint32_t size; /* bytes */
};

#define VDEV_IO_PIECES 256u  /* pieces of memory of one transfer */
#define VDEV_IO_MAX    1024u /* transfers of one device in flight */

/* The image behind the IMAGE option, as it is now. */
struct vdev_image {
    uint64_t size;  /* bytes, a multiple of 512; a format's own parts do not count. 0: nobody opened
                     * it, since no guest will run */
    uint32_t block; /* bytes; what is aligned to it is quickest */
    bool is_read_only;
    bool keeps_blocks; /* its format has no holes: what is discarded takes as much room as before */
};

/* DISCARD: nobody wants these bytes any more, the host may have its blocks back; ZERO: they read as
 * zero then; FILL: and their blocks stay. */
enum vdev_io_kind {
    VDEV_IO_READ,
    VDEV_IO_WRITE,
    VDEV_IO_FLUSH,
    VDEV_IO_DISCARD,
    VDEV_IO_ZERO,
    VDEV_IO_FILL
};

/* A transfer between an image and memory. A flush has no offset and no pieces; what moves no memory
 * has one piece, whose base is NULL and whose size is the range's. */
struct vdev_io {
    enum vdev_io_kind kind;
    uint64_t offset; /* bytes */
    const struct vdev_piece {
        void *base; /* guest memory of memory_span(), or the device's own */
        uint64_t size;
    } * pieces;           /* copied; what they point to stays until io_done */
    uint32_t piece_count; /* at most VDEV_IO_PIECES */
    uint64_t token;       /* the device's own; io_done gives it back */
};

/* For image_drop: whether it means the transfer of that token. */
typedef bool (*vdev_meant_fn)(void *context, uint64_t token);

#define VDEV_FIELDS_MAX 1024u      /* of one device's saved state */
#define VDEV_FIELD_SIZE (1u << 20) /* bytes of one field at most */

/* What a field of saved state holds. */
enum vdev_field_kind {
    VDEV_FIELD_NUMBER, /* unsigned, in 1, 2, 4 or 8 bytes; who reads may have others than who wrote
                        */
    VDEV_FIELD_TIME,   /* 8 bytes: ns of now_ns(). Kept as its distance from now; 0 stays 0 */
    VDEV_FIELD_BYTES,  /* as they are, always as many */
};

/* In a tag, when a field is put: a module that does not know it cannot restore this device. */
#define VDEV_FIELD_NEEDED UINT32_C(0x80000000)

#define VDEV_SHMEM_MAX      8u  /* regions that one device shares at once */
#define VDEV_SHMEM_CLIENTS  16u /* of one region */
#define VDEV_SHMEM_NAME_MAX 32u /* bytes of its name */

enum vdev_shmem_status {
    VDEV_SHMEM_OK,
    VDEV_SHMEM_FAILED,        /* for a reason that has no number */
    VDEV_SHMEM_NO_MEMORY,     /* the host's, or less than it has was offered */
    VDEV_SHMEM_TOO_MANY,      /* VDEV_SHMEM_CLIENTS are attached, or VDEV_SHMEM_MAX by the device */
    VDEV_SHMEM_ILLEGAL_NAME,  /* letters, digits, `.`, `-`, `_` alone */
    VDEV_SHMEM_NO_PERMISSION, /* the configuration does not allow it, or it is another user's */
    VDEV_SHMEM_DOES_NOT_EXIST, /* and no size was given */
};

/* A region of memory that the device shares with other guests. */
struct vdev_shmem {
    uint32_t size;   /* sizeof(struct vdev_shmem) of the module */
    uint32_t handle; /* below VDEV_SHMEM_MAX */
    uint32_t client; /* the device's number in it */
    uint64_t bytes;
};

/* A frame of a network begins with its header: that of virtio 1.2, 5.1.6, little-endian, with
 * num_buffers (which says nothing here). */
#define VDEV_FRAME_HEADER       12u
#define VDEV_NETWORK_QUEUES_MAX 8u
#define VDEV_FRAME_MAX          (VDEV_FRAME_HEADER + 65536u + 64u) /* bytes of one, its header included */

#define VDEV_SOCKETS_MAX       128u /* connections of one device with programs of the host */
#define VDEV_SOCKET_NO_RECEIVE 1u
#define VDEV_SOCKET_NO_SEND    2u

#define VDEV_BACKEND_QUEUES_MAX 16u  /* queues of one device */
#define VDEV_BACKEND_CONFIG_MAX 256u /* bytes of its configuration */

/* The back end behind the BACKEND option. In a dry run there is none: then it offers everything. */
struct vdev_backend {
    uint32_t size;        /* sizeof(struct vdev_backend) of the module */
    uint32_t queue_count; /* at most; 0: it does not say */
    uint64_t features;    /* virtio 1.2, 6 */
    bool is_dry;
};

/* A split queue (virtio 1.2, 2.7); addresses are guest-physical, and were checked. */
struct vdev_backend_queue {
    uint32_t index;
    uint16_t size;
    uint64_t descriptors, driver, device;
    int call_fd; /* of vector_event: the back end interrupts by it; -1: the event operation is
                  * called with VDEV_BACKEND_QUEUES_MAX + index instead */
};

/* A pair of queues of a network card or a vsock, receiving and sending, that the kernel works off;
 * as above, and where it goes on. */
struct vdev_tap_queue {
    struct vdev_backend_queue place; /* call_fd -1: the event operation is called */
    uint16_t base;                   /* index of the next buffer to be taken */
};

struct vdev_slot;

/* A tap whose queues the host's kernel works off (vhost-net), or the first two of a vsock
 * (vhost-vsock). As long as it does, their doorbells and the events of `network` do not come. */
struct vdev_tap_services {
    uint32_t size; /* sizeof(struct vdev_tap_services) of the host */

    /* During create, after `network`: what the kernel offers (virtio 1.2, 6); 0: it has no part in
     * it. `*is_required`: the configuration has it so. The event operation is called with `event`
     * and the number of a queue for its interrupts, with `event` + 2 * VDEV_NETWORK_QUEUES_MAX when
     * the driver wrote nonsense, or the kernel could not begin: the queues are to rest then. In a
     * dry run it offers everything. */
    uint64_t (*features)(struct vdev_slot *slot, uint32_t event, bool *is_required);

    /* Have it work the queues of the first `pairs` pairs off, all of which rest, with the features
     * that were agreed upon: its own, and what a tap may leave to the driver. Returns at once. 0;
     * -EINVAL. */
    int (*run)(struct vdev_slot *slot, uint64_t features, const struct vdev_tap_queue *queues,
               uint32_t pairs);

    /* Have all rest: when this returns nobody touches them, and what was taken is used. It waits
     * for the I/O thread, and lets go of the device's lock for that: other operations may come in
     * between. */
    void (*rest)(struct vdev_slot *slot);

    /* Where a queue stopped that rests, or that is not worked off because the device is held. */
    uint16_t (*base)(struct vdev_slot *slot, uint32_t queue);
};

#endif
