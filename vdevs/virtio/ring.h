/* What both layouts of a virtqueue do alike: for queue.c and packed.c alone.
 *
 * The walk along a buffer's descriptors copies each of them once; all that is checked is checked on
 * the copy. The parts that run for each descriptor are inline: they are what a request costs. */
#ifndef QVM_VDEVS_VIRTIO_RING_H
#define QVM_VDEVS_VIRTIO_RING_H

#include <errno.h>
#include <string.h>

#include <qvm/vdev.h>

#include "vdevs/virtio/queue.h"

#define DESCRIPTOR_SIZE 16u

/* Flags of a descriptor, 2.7.5 and 2.8.3 to 2.8.7 */
#define F_NEXT     1u
#define F_WRITE    2u
#define F_INDIRECT 4u

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rings are little-endian, and so are we");

/* A descriptor as both layouts have it: the last two fields are flags and next (2.7.5), or id and
 * flags (2.8.13). */
struct descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t first, second;
};
_Static_assert(sizeof(struct descriptor) == DESCRIPTOR_SIZE, "2.7.5, 2.8.13");

/* Where the walk along a buffer is. */
struct walk {
    const struct virtq *queue;
    struct virtq_chain *chain;
    const uint8_t *bytes; /* the table that it is in; NULL: an indirect one over a border */
    uint64_t table;       /* guest-physical, of an indirect one */
    uint32_t entries;     /* of the table it is in */
    uint32_t left;        /* descriptors until it is too long */
    uint64_t size;        /* bytes so far */
    bool is_indirect;
};

static inline uint16_t ring_load16(const uint8_t *at)
{
    return __atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_RELAXED);
}

static inline void ring_store16(uint8_t *at, uint16_t value)
{
    __atomic_store_n((uint16_t *)(void *)at, value, __ATOMIC_RELAXED);
}

static inline void *ring_span(const struct virtq *queue, uint64_t address, uint64_t size)
{
    return queue->host->memory_span(queue->slot, address, size);
}

/* A copy that the compiler cannot make again from what the guest may have changed meanwhile. */
static inline struct descriptor ring_copy(const uint8_t *from)
{
    uint64_t low, high;

    memcpy(&low, from, sizeof(low));
    memcpy(&high, from + sizeof(low), sizeof(high));
    __asm__ volatile("" : "+r"(low), "+r"(high));
    return (struct descriptor){.address = low,
                               .size = (uint32_t)high,
                               .first = (uint16_t)(high >> 32),
                               .second = (uint16_t)(high >> 48)};
}

/* Descriptor `index` of the table that the walk is in. False: it cannot be read. */
static inline bool walk_copy(const struct walk *walk, uint32_t index, struct descriptor *copy)
{
    const struct virtq *queue = walk->queue;
    uint64_t at = (uint64_t)index * DESCRIPTOR_SIZE;

    if (walk->bytes != NULL) {
        *copy = ring_copy(walk->bytes + at);
        return true;
    }
    /* The sum was checked by walk_enter. */
    return queue->host->memory_read(queue->slot, walk->table + at, copy, sizeof(*copy)) == 0;
}

/* Go on in the indirect table of a descriptor: 2.7.5.3, 2.8.7. The write flag of that descriptor is
 * ignored. False: it may not be one. */
static inline bool walk_enter(struct walk *walk, const struct descriptor *descriptor)
{
    uint64_t end;

    if (!walk->queue->has_indirect || walk->is_indirect || descriptor->size == 0 ||
        descriptor->size % DESCRIPTOR_SIZE != 0 ||
        __builtin_add_overflow(descriptor->address, descriptor->size, &end)) {
        return false;
    }
    walk->is_indirect = true;
    walk->table = descriptor->address;
    walk->bytes = ring_span(walk->queue, descriptor->address, descriptor->size);
    walk->entries = descriptor->size / DESCRIPTOR_SIZE;
    return true;
}

static inline bool chain_add(struct virtq_chain *chain, void *at, uint64_t size, bool is_write)
{
    uint32_t count = chain->read_count + chain->write_count;

    if (count == chain->room) {
        return false;
    }
    chain->segments[count] = (struct vdev_piece){at, size};
    if (is_write) {
        chain->write_count++;
        chain->write_size += size;
    } else {
        chain->read_count++;
        chain->read_size += size;
    }
    return true;
}

/* What goes over borders of RAM: as segments, one for each side. */
bool chain_add_pieces(struct virtq_chain *chain, const struct virtq *queue, uint64_t address,
                      uint64_t size, bool is_write);

/* A descriptor's bytes as segments. False: they are no part of a buffer. */
static inline bool walk_add(struct walk *walk, const struct descriptor *descriptor, bool is_write)
{
    uint64_t size = descriptor->size, end;
    void *at;

    if (!is_write && walk->chain->write_count > 0) {
        return false; /* 2.7.4.2, 2.8.17: readable ones come first */
    }
    walk->size += size;
    if (walk->size > UINT32_MAX || __builtin_add_overflow(descriptor->address, size, &end)) {
        return false;
    }
    if (size == 0) {
        return true;
    }
    at = ring_span(walk->queue, descriptor->address, size);
    return at != NULL
               ? chain_add(walk->chain, at, size, is_write)
               : chain_add_pieces(walk->chain, walk->queue, descriptor->address, size, is_write);
}

/* A chain at the beginning of a buffer. */
static inline void chain_begin(struct virtq_chain *chain, const struct virtq *queue)
{
    chain->token.generation = queue->generation;
    chain->read_count = chain->write_count = 0;
    chain->read_size = chain->write_size = 0;
}

static inline int ring_break(struct virtq *queue)
{
    queue->is_broken = true;
    return -EPROTO;
}

/* 2.8. All as in queue.h; the queue is enabled and not broken. */
void packed_begin(struct virtq *queue); /* 2.8.1 */
int packed_place(struct virtq *queue);
int packed_take(struct virtq *queue, struct virtq_chain *chain);
void packed_untake(struct virtq *queue, const struct virtq_token *token);
void packed_use(struct virtq *queue, const struct virtq_token *token, uint32_t written);
void packed_use_all(struct virtq *queue, const struct virtq_chain *chains, const uint32_t *written,
                    uint32_t count);
bool packed_wants_interrupt(struct virtq *queue);
void packed_silence(struct virtq *queue);
bool packed_listen(struct virtq *queue);

#endif
