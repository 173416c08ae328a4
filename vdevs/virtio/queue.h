/* The device's end of a virtqueue, split or packed, and the only code that reads or writes one.
 *
 * Source: "Virtual I/O Device (VIRTIO) Version 1.2", OASIS, sections 2.7 and 2.8; numbers in this
 * folder are its sections. The other end is a stranger: each descriptor is copied once and checked
 * then; what is read again is never trusted to be the same; nothing that we need later is kept in
 * guest memory. Nonsense breaks the queue (virtq_take), once; it stays silent until it is reset.
 *
 * Geometry (size and the three addresses) is read by virtq_enable alone. A chain carries the
 * generation of its queue: what is used after a reset is dropped.
 *
 * Threads: the caller's lock is held around every call; the guest may write its memory at any time.
 * Nothing here allocates, blocks or logs. All that lies in guest memory is little-endian, as we. */
#ifndef QVM_VDEVS_VIRTIO_QUEUE_H
#define QVM_VDEVS_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIRTQ_SIZE_MAX 1024u /* of what a device may offer; the standard has 32768 */

/* 6: what the features that were negotiated say of rings */
#define VIRTIO_F_INDIRECT_DESC 28u
#define VIRTIO_F_EVENT_IDX     29u
#define VIRTIO_F_RING_PACKED   34u
#define VIRTIO_BIT(n)          (UINT64_C(1) << (n))

struct vdev_services;
struct vdev_slot;

/* A piece of a buffer, in our address space: struct vdev_piece. */
struct vdev_piece;

/* What is to be kept of a chain to give it back later: the rest may be empty then. */
struct virtq_token {
    uint32_t generation;
    uint16_t head;  /* descriptor (2.7), or buffer id (2.8): the driver's alone */
    uint16_t count; /* descriptors in the ring itself, that it takes up */
};

/* One buffer: a chain of descriptors. `segments` and `room` are the caller's, the rest is filled in
 * by virtq_take: first what the device may read, then what it may write; none is empty. */
struct virtq_chain {
    struct vdev_piece *segments;
    uint32_t room;
    uint32_t read_count, write_count; /* segments */
    uint64_t read_size, write_size;   /* bytes; together below 2^32 */
    struct virtq_token token;
};

struct virtq {
    /* As the transport's registers have it. */
    uint16_t size_max; /* 0: there is no such queue */
    uint16_t size;
    uint64_t descriptors, driver, device; /* guest-physical: the three areas of 2.6 */
    bool is_enabled;

    /* private, but for who saves them. Packed: an offset in the ring, and the wrap counter above
     * it, in bit 15. */
    bool is_broken;
    uint16_t next_available, next_used, decided_used;

    /* private */
    bool is_packed, has_event_idx, has_indirect;
    uint16_t in_flight; /* descriptors taken and not yet used; never above `size` */
    uint32_t undecided; /* packed: descriptors used since decided_used */
    uint32_t generation;
    const struct vdev_services *host;
    struct vdev_slot *slot;
    uint8_t *table;            /* packed: we write to it, too */
    uint8_t *available, *used; /* the driver writes the first, we the second */
};

/* A queue as after a reset of its device, of at most `size_max` descriptors (a power of two up to
 * VIRTQ_SIZE_MAX, or 0). `host` and `slot` give it guest memory, and are borrowed. */
void virtq_init(struct virtq *queue, uint16_t size_max, const struct vdev_services *host,
                struct vdev_slot *slot);

/* Back to that. Chains that were taken are forgotten. */
void virtq_reset(struct virtq *queue);

/* Take the geometry over; begin at the start of the rings, which are as `features` say. -EINVAL:
 * the size is 0 or above size_max, or no power of two (2.7), or an address is not aligned; -EFAULT:
 * an area does not lie in RAM, in one piece. The queue is broken then. */
int virtq_enable(struct virtq *queue, uint64_t features);

/* Take the geometry over and go on where the registers and the indices say, with nothing in flight.
 * Fails as virtq_enable, and the queue is not enabled then; one that was broken stays so. */
int virtq_resume(struct virtq *queue, uint64_t features);

/* Touch the rings no more; the geometry stays. Chains that were taken are forgotten. */
void virtq_disable(struct virtq *queue);

/* The next buffer: 1. 0: there is none, or the queue is not enabled or broken. -EPROTO: the driver
 * wrote nonsense; the queue is broken from now on (told once). */
int virtq_take(struct virtq *queue, struct virtq_chain *chain);

/* Undo the last virtq_take: the buffer stays where it was. */
void virtq_untake(struct virtq *queue, const struct virtq_chain *chain);

/* Give a buffer back, of which the device wrote `written` bytes from the first writable one on.
 * False, and nothing done: it is of another generation. */
bool virtq_use(struct virtq *queue, const struct virtq_chain *chain, uint32_t written);

/* The same for `count` buffers, which the driver finds all at once: 5.1.6.4 wants that of those
 * that are merged. They are of one generation, and used in the order in which they were taken. */
bool virtq_use_all(struct virtq *queue, const struct virtq_chain *chains, const uint32_t *written,
                   uint32_t count);

/* Whether the driver wants to be told of what was used since this was asked last. */
bool virtq_wants_interrupt(struct virtq *queue);

/* Ask the driver for no notifications while we look at the queue anyway. A wish alone. */
void virtq_silence(struct virtq *queue);

/* Ask to be told of the next buffer. False: one is there already, go on taking. */
bool virtq_listen(struct virtq *queue);

/* Copy from the readable bytes, or to the writable ones, from byte `offset` on, over as many
 * segments as it takes. Returns how many of `size` bytes there were. */
size_t virtq_read(const struct virtq_chain *chain, uint64_t offset, void *to, size_t size);
size_t virtq_write(const struct virtq_chain *chain, uint64_t offset, const void *from, size_t size);

/* The part of the readable (writable) segments that begins at byte `offset` and has `size` bytes:
 * cuts the segments themselves, and points `*first` at them. Returns their count; 0: there are not
 * so many bytes, or none are wanted. The chain's bytes are those of before no more. */
uint32_t virtq_cut(struct virtq_chain *chain, bool is_write, uint64_t offset, uint64_t size,
                   struct vdev_piece **first);

#endif
