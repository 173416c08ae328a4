/* A disk, inside: what vdev-virtio-blk.c sets up, and virtio_blk_request.c works off. */
#ifndef QVM_VDEVS_VIRTIO_BLK_H
#define QVM_VDEVS_VIRTIO_BLK_H

#include "vdevs/virtio/rate.h"
#include "vdevs/virtio/virtio.h"

#define QUEUES_MAX   16u
#define QUEUE_SIZE   256u /* of each, as long as all together have no more than REQUESTS_MAX */
#define REQUESTS_MAX VDEV_IO_MAX
#define SEGMENTS_MAX (QUEUE_SIZE + 8u) /* some more where buffers go over borders of RAM */
#define SECTOR       512u
#define ROUND_MAX    (2 * QUEUE_SIZE) /* requests of one round: others want the lock, too */
#define ROUND_BYTES  (1u << 20) /* and bytes: the guest works on them while we do the next ones */
#define DISCARD_MAX  (UINT32_C(1) << 21) /* sectors of one request: 1 GiB */
#define ZEROES_MAX   (UINT32_C(1) << 16) /* 32 MiB: the host may have to write them */

/* Data segments of one request: header and status take one each. */
#define SEG_MAX (VDEV_IO_PIECES - 2u)

/* 5.2.3 */
#define F_SEG_MAX      2u
#define F_RO           5u
#define F_BLK_SIZE     6u
#define F_FLUSH        9u
#define F_TOPOLOGY     10u
#define F_MQ           12u
#define F_DISCARD      13u
#define F_WRITE_ZEROES 14u

/* 5.2.6 */
#define T_IN           0u
#define T_OUT          1u
#define T_FLUSH        4u
#define T_GET_ID       8u
#define T_DISCARD      11u
#define T_WRITE_ZEROES 13u
#define S_OK           0u
#define S_IOERR        1u
#define S_UNSUPP       2u
#define ID_SIZE        20u
#define HEADER_SIZE    16u
#define RANGE_SIZE     16u
#define RANGE_UNMAP    1u

/* 5.2.4, as far as its features are offered */
struct blk_config {
    uint64_t capacity; /* sectors */
    uint32_t size_max, seg_max;
    uint16_t cylinders;
    uint8_t heads, sectors;
    uint32_t blk_size;
    uint8_t physical_block_exp, alignment_offset;
    uint16_t min_io_size;
    uint32_t opt_io_size;
    uint8_t writeback, unused;
    uint16_t queue_count;
    uint32_t discard_max, discard_segments_max, discard_alignment;
    uint32_t zeroes_max, zeroes_segments_max;
    uint8_t zeroes_may_unmap, unused_too[3];
} __attribute__((packed));
_Static_assert(sizeof(struct blk_config) == 60, "5.2.4");

struct blk_header {
    uint32_t type, reserved;
    uint64_t sector;
};
_Static_assert(sizeof(struct blk_header) == HEADER_SIZE, "5.2.6");

/* What is to be discarded, or to be zero. */
struct blk_range {
    uint64_t sector;
    uint32_t count, flags;
};
_Static_assert(sizeof(struct blk_range) == RANGE_SIZE, "5.2.6");

/* A request that is in flight. */
struct request {
    struct virtq_token token;
    uint8_t *status;  /* in guest memory */
    uint32_t written; /* bytes of data that the driver will have, if it succeeds */
    uint16_t queue;
    bool is_flush_due; /* a write that is to be stable when it is told */
};

struct blk {
    struct virtio virtio;
    struct virtio_type type; /* as many queues as the configuration says */
    uint16_t queue_sizes[QUEUES_MAX];
    struct blk_config config;
    char id[ID_SIZE];
    struct rate requests_rate, bytes_rate;
    bool is_waiting;      /* for one of them */
    uint32_t first_queue; /* of those that the timer wakes up */
    struct vdev_piece segments[SEGMENTS_MAX];
    struct request requests[REQUESTS_MAX];
    uint16_t unused[REQUESTS_MAX]; /* a stack */
    uint32_t unused_count;
    uint64_t read_count, write_count, flush_count, discard_count, error_count, wait_count;
    uint64_t read_bytes, write_bytes, discard_bytes;
};

/* No request is in flight, and none will be told. */
void blk_forget_requests(struct blk *blk);

/* Operations of the type and of the vdev. */
void blk_kick(void *device, uint32_t queue);
void blk_stop(void *device, uint32_t queue);
void blk_timer(void *device, uint32_t timer);
void blk_io_done(void *device, uint64_t token, int result);

#endif
