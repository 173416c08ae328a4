/* Packed virtqueues, 2.8: one ring, into which the driver writes what is available and we, over it,
 * what is used. Whose turn a descriptor is, two of its bits say, against a counter that changes
 * with each lap.
 *
 * A place in the ring is an offset with the counter of its lap in bit 15, as the event structures
 * have it (2.8.14), and so it is saved. */
#include "vdevs/virtio/ring.h"

/* 2.8.1: the counter in a descriptor's flags */
#define F_AVAIL 0x0080u
#define F_USED  0x8000u

/* 2.8.10, 2.8.14: an event structure */
#define EVENT_PLACE      0u
#define EVENT_FLAGS      2u
#define EVENT_SIZE       4u
#define EVENT_FLAGS_MASK 3u
#define EVENTS_ENABLE    0u
#define EVENTS_DISABLE   1u
#define EVENTS_AT_PLACE  2u /* RING_EVENT_FLAGS_DESC */
#define OFFSET_MASK      0x7fffu
#define LAP              0x8000u

#define ALIGNMENT_RING  16u
#define ALIGNMENT_EVENT 4u

/* The descriptor of a used buffer, over which the device has no say: its address is not changed. */
#define USED_SIZE_AT  8u
#define USED_ID_AT    12u
#define USED_FLAGS_AT 14u

static uint16_t offset_of(uint16_t place)
{
    return place & OFFSET_MASK;
}

/* The place `count` behind, a lap away at most. */
static uint16_t forward(const struct virtq *queue, uint16_t place, uint16_t count)
{
    uint32_t offset = (uint32_t)offset_of(place) + count;

    return offset < queue->size ? (uint16_t)(place + count)
                                : (uint16_t)((offset - queue->size) | ((place & LAP) ^ LAP));
}

/* A place as one of the two laps' descriptors: what is subtracted from another. */
static uint32_t linear(const struct virtq *queue, uint16_t place)
{
    return offset_of(place) + ((place & LAP) != 0 ? 0 : (uint32_t)queue->size);
}

/* How many descriptors lie from `from` to `to`: below two laps. */
static uint32_t distance(const struct virtq *queue, uint16_t from, uint16_t to)
{
    uint32_t a = linear(queue, from), b = linear(queue, to);

    return b >= a ? b - a : b + 2 * (uint32_t)queue->size - a;
}

void packed_begin(struct virtq *queue)
{
    queue->next_available = queue->next_used = queue->decided_used = LAP;
    queue->undecided = 0;
}

int packed_place(struct virtq *queue)
{
    if (queue->descriptors % ALIGNMENT_RING != 0 || queue->driver % ALIGNMENT_EVENT != 0 ||
        queue->device % ALIGNMENT_EVENT != 0 || offset_of(queue->next_available) >= queue->size ||
        offset_of(queue->next_used) >= queue->size ||
        offset_of(queue->decided_used) >= queue->size) {
        return -EINVAL;
    }
    queue->undecided = distance(queue, queue->decided_used, queue->next_used);
    queue->table = ring_span(queue, queue->descriptors, (uint64_t)queue->size * DESCRIPTOR_SIZE);
    queue->available = ring_span(queue, queue->driver, EVENT_SIZE);
    queue->used = ring_span(queue, queue->device, EVENT_SIZE);
    return queue->table != NULL && queue->available != NULL && queue->used != NULL ? 0 : -EFAULT;
}

/* 2.8.1: available is one whose bits differ, of this lap. */
static bool is_available(uint16_t flags, uint16_t place)
{
    return (flags & (F_AVAIL | F_USED)) == ((place & LAP) != 0 ? F_AVAIL : F_USED);
}

/* 2.8.7: the descriptors of a table follow each other, whatever their flags say of it. */
static bool walk_table(struct walk *walk)
{
    if (walk->entries > walk->left) {
        return false;
    }
    for (uint32_t i = 0; i < walk->entries; i++) {
        struct descriptor descriptor;

        if (!walk_copy(walk, i, &descriptor) ||
            !walk_add(walk, &descriptor, (descriptor.second & F_WRITE) != 0)) {
            return false;
        }
    }
    return true;
}

/* Follow the list from `place` on; the id stands in its last descriptor. A list that goes over all
 * of the ring is too long, so loops end. */
static bool walk_list(struct walk *walk, uint16_t place, struct virtq_token *token)
{
    uint16_t most = (uint16_t)(walk->entries - walk->queue->in_flight);

    for (token->count = 1; token->count <= most; token->count++) {
        struct descriptor descriptor =
            ring_copy(walk->bytes + (size_t)offset_of(place) * DESCRIPTOR_SIZE);
        uint16_t flags = descriptor.second;

        if (!is_available(flags, place)) {
            return false; /* 2.8.6: the first is made available last */
        }
        token->head = descriptor.first;
        if ((flags & F_INDIRECT) != 0) { /* 2.8.19: no part of a list */
            return token->count == 1 && (flags & F_NEXT) == 0 && walk_enter(walk, &descriptor) &&
                   walk_table(walk);
        }
        if (!walk_add(walk, &descriptor, (flags & F_WRITE) != 0)) {
            return false;
        }
        if ((flags & F_NEXT) == 0) {
            return true;
        }
        place = forward(walk->queue, place, 1);
    }
    return false; /* longer than what we have given back */
}

static bool has_next(const struct virtq *queue)
{
    const uint8_t *at = queue->table + (size_t)offset_of(queue->next_available) * DESCRIPTOR_SIZE;

    return is_available(ring_load16(at + USED_FLAGS_AT), queue->next_available);
}

int packed_take(struct virtq *queue, struct virtq_chain *chain)
{
    struct walk walk = {.queue = queue,
                        .chain = chain,
                        .bytes = queue->table,
                        .entries = queue->size,
                        .left = queue->size_max};

    if (!has_next(queue)) {
        return 0;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* the rest of it, and of its list, after the flags */
    chain_begin(chain, queue);
    if (!walk_list(&walk, queue->next_available, &chain->token)) {
        return ring_break(queue);
    }
    queue->next_available = forward(queue, queue->next_available, chain->token.count);
    queue->in_flight += chain->token.count;
    return 1;
}

void packed_untake(struct virtq *queue, const struct virtq_token *token)
{
    uint32_t offset = offset_of(queue->next_available);
    uint32_t lap = queue->next_available & LAP;

    if (offset < token->count) { /* it began before this lap */
        offset += queue->size;
        lap ^= LAP;
    }
    queue->next_available = (uint16_t)((offset - token->count) | lap);
}

/* All of a used descriptor but its flags, which are `*flags` and go to the address returned. */
static uint8_t *put(struct virtq *queue, const struct virtq_token *token, uint32_t written,
                    uint16_t *flags)
{
    uint8_t *at = queue->table + (size_t)offset_of(queue->next_used) * DESCRIPTOR_SIZE;

    *flags = (uint16_t)(((queue->next_used & LAP) != 0 ? F_AVAIL | F_USED : 0) |
                        (written > 0 ? F_WRITE : 0));
    memcpy(at + USED_SIZE_AT, &written, sizeof(written));
    memcpy(at + USED_ID_AT, &token->head, sizeof(token->head));
    queue->next_used = forward(queue, queue->next_used, token->count);
    if (queue->undecided < LAP) { /* more than all laps that are told apart, whatever the size */
        queue->undecided += token->count;
    }
    return at + USED_FLAGS_AT;
}

static void show(uint8_t *at, uint16_t flags)
{
    __atomic_thread_fence(__ATOMIC_RELEASE); /* data, size and id before the flags */
    ring_store16(at, flags);
}

void packed_use(struct virtq *queue, const struct virtq_token *token, uint32_t written)
{
    uint16_t flags;
    uint8_t *at = put(queue, token, written, &flags);

    show(at, flags);
}

/* The driver looks at them in their order: what is behind the first is there when that is shown. */
void packed_use_all(struct virtq *queue, const struct virtq_chain *chains, const uint32_t *written,
                    uint32_t count)
{
    uint16_t flags;
    uint8_t *at = put(queue, &chains[0].token, written[0], &flags);

    for (uint32_t i = 1; i < count; i++) {
        packed_use(queue, &chains[i].token, written[i]);
    }
    show(at, flags);
}

/* Whether the place at which the driver waits is among the last `count` that were used. Nonsense is
 * told: it costs the driver alone. */
static bool is_passed(const struct virtq *queue, uint16_t event, uint32_t count)
{
    if (offset_of(event) >= queue->size) {
        return true;
    }
    event = forward(queue, event, 1);
    return distance(queue, event, queue->next_used) < count;
}

bool packed_wants_interrupt(struct virtq *queue)
{
    uint32_t count = queue->undecided;
    uint16_t flags;

    if (count == 0) {
        return false;
    }
    queue->decided_used = queue->next_used;
    queue->undecided = 0;
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the flags are seen before we look at the wish */
    flags = ring_load16(queue->available + EVENT_FLAGS) & EVENT_FLAGS_MASK;
    if (flags == EVENTS_AT_PLACE && queue->has_event_idx) {
        return is_passed(queue, ring_load16(queue->available + EVENT_PLACE), count);
    }
    return flags != EVENTS_DISABLE;
}

/* Place and flags at once: a driver that reads them sees both of before, or both of now. */
static void store_event(struct virtq *queue, uint16_t place, uint16_t flags)
{
    __atomic_store_n((uint32_t *)(void *)queue->used, place | (uint32_t)flags << 16,
                     __ATOMIC_RELAXED);
}

void packed_silence(struct virtq *queue)
{
    store_event(queue, 0, EVENTS_DISABLE);
}

bool packed_listen(struct virtq *queue)
{
    if (queue->has_event_idx) {
        store_event(queue, queue->next_available, EVENTS_AT_PLACE);
    } else {
        store_event(queue, 0, EVENTS_ENABLE);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the wish is seen before we look for the last time */
    return !has_next(queue);
}
