/* The device's end of a virtqueue: split ones, 2.7, and what does not depend on the layout. They
 * stand together since each call between files costs a buffer a nanosecond; packed.c has the other
 * layout. */
#include "vdevs/virtio/queue.h"

#include "vdevs/virtio/ring.h"

/* Split rings, 2.7.5, 2.7.6, 2.7.8: how the three parts are laid out */
#define AVAILABLE_FLAGS     0u
#define AVAILABLE_IDX       2u
#define AVAILABLE_RING      4u
#define AVAILABLE_ELEMENT   2u
#define NO_INTERRUPT        1u
#define USED_FLAGS          0u
#define USED_IDX            2u
#define USED_RING           4u
#define USED_ELEMENT        8u
#define NO_NOTIFY           1u
#define EVENT_SIZE          2u /* used_event and avail_event, behind the rings */
#define ALIGNMENT_TABLE     16u
#define ALIGNMENT_AVAILABLE 2u
#define ALIGNMENT_USED      4u

static uint8_t *used_event_at(const struct virtq *queue)
{
    return queue->available + AVAILABLE_RING + (size_t)queue->size * AVAILABLE_ELEMENT;
}

static uint8_t *avail_event_at(const struct virtq *queue)
{
    return queue->used + USED_RING + (size_t)queue->size * USED_ELEMENT;
}

static int split_place(struct virtq *queue)
{
    uint64_t available_size =
        AVAILABLE_RING + (uint64_t)queue->size * AVAILABLE_ELEMENT + EVENT_SIZE;
    uint64_t used_size = USED_RING + (uint64_t)queue->size * USED_ELEMENT + EVENT_SIZE;

    if ((queue->size & (queue->size - 1)) != 0 || queue->descriptors % ALIGNMENT_TABLE != 0 ||
        queue->driver % ALIGNMENT_AVAILABLE != 0 || queue->device % ALIGNMENT_USED != 0) {
        return -EINVAL;
    }
    if (!queue->has_event_idx) { /* what nobody uses need not be there */
        available_size -= EVENT_SIZE;
        used_size -= EVENT_SIZE;
    }
    queue->table = ring_span(queue, queue->descriptors, (uint64_t)queue->size * DESCRIPTOR_SIZE);
    queue->available = ring_span(queue, queue->driver, available_size);
    queue->used = ring_span(queue, queue->device, used_size);
    return queue->table != NULL && queue->available != NULL && queue->used != NULL ? 0 : -EFAULT;
}

/* Follow the chain from `index` of the queue's own table to its end. Each step takes one away from
 * what is left, so loops end. */
static bool walk_chain(struct walk *walk, uint32_t index)
{
    for (;;) {
        struct descriptor descriptor;
        uint16_t flags;

        if (index >= walk->entries || walk->left == 0) {
            return false;
        }
        walk->left--;
        if (!walk_copy(walk, index, &descriptor)) {
            return false;
        }
        flags = descriptor.first;
        if ((flags & F_INDIRECT) != 0) {
            if ((flags & F_NEXT) != 0 || !walk_enter(walk, &descriptor)) {
                return false;
            }
            walk->left++; /* it is no part of the buffer, and happens once */
            index = 0;
            continue;
        }
        if (!walk_add(walk, &descriptor, (flags & F_WRITE) != 0)) {
            return false;
        }
        if ((flags & F_NEXT) == 0) {
            return true;
        }
        index = descriptor.second;
    }
}

static int split_take(struct virtq *queue, struct virtq_chain *chain)
{
    uint16_t waiting =
        (uint16_t)(ring_load16(queue->available + AVAILABLE_IDX) - queue->next_available);
    struct walk walk = {.queue = queue,
                        .chain = chain,
                        .bytes = queue->table,
                        .entries = queue->size,
                        .left = queue->size_max};

    if (waiting == 0) {
        return 0;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* the ring and its descriptors after the index */
    /* Whoever offers more than there are descriptors did not wait for them to be used. */
    if (waiting > queue->size || queue->in_flight >= queue->size) {
        return ring_break(queue);
    }
    chain_begin(chain, queue);
    chain->token.head =
        ring_load16(queue->available + AVAILABLE_RING +
                    (size_t)(queue->next_available & (queue->size - 1)) * AVAILABLE_ELEMENT);
    chain->token.count = 1; /* the others are the driver's to count */
    if (!walk_chain(&walk, chain->token.head)) {
        return ring_break(queue);
    }
    queue->next_available++;
    queue->in_flight++;
    return 1;
}

static void split_untake(struct virtq *queue)
{
    queue->next_available--;
}

static void split_put(struct virtq *queue, const struct virtq_token *token, uint32_t written)
{
    uint32_t element[2] = {token->head, written};

    memcpy(queue->used + USED_RING + (size_t)(queue->next_used & (queue->size - 1)) * USED_ELEMENT,
           element, sizeof(element));
    queue->next_used++;
}

static void split_show(struct virtq *queue)
{
    __atomic_thread_fence(__ATOMIC_RELEASE); /* data and element before the index */
    ring_store16(queue->used + USED_IDX, queue->next_used);
}

static bool split_wants_interrupt(struct virtq *queue)
{
    uint16_t old = queue->decided_used, new = queue->next_used;
    uint16_t event;

    if (old == new) {
        return false;
    }
    queue->decided_used = new;
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* our index is seen before we look at the wish */
    if (!queue->has_event_idx) {
        return (ring_load16(queue->available + AVAILABLE_FLAGS) & NO_INTERRUPT) == 0;
    }
    event = ring_load16(used_event_at(queue));
    return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

static void split_silence(struct virtq *queue)
{
    ring_store16(queue->used + USED_FLAGS, NO_NOTIFY);
}

static bool split_listen(struct virtq *queue)
{
    if (queue->has_event_idx) {
        ring_store16(avail_event_at(queue), queue->next_available);
    } else {
        ring_store16(queue->used + USED_FLAGS, 0);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the wish is seen before we look for the last time */
    return ring_load16(queue->available + AVAILABLE_IDX) == queue->next_available;
}

/* ---- either layout ---- */

void virtq_init(struct virtq *queue, uint16_t size_max, const struct vdev_services *host,
                struct vdev_slot *slot)
{
    *queue = (struct virtq){.size_max = size_max, .size = size_max, .host = host, .slot = slot};
}

void virtq_reset(struct virtq *queue)
{
    uint32_t generation = queue->generation + 1;

    virtq_init(queue, queue->size_max, queue->host, queue->slot);
    queue->generation = generation;
}

void virtq_disable(struct virtq *queue)
{
    queue->is_enabled = false;
    queue->generation++;
}

static bool has(uint64_t features, unsigned feature)
{
    return (features & VIRTIO_BIT(feature)) != 0;
}

/* Nothing is in flight. */
static void begin(struct virtq *queue, uint64_t features)
{
    queue->is_packed = has(features, VIRTIO_F_RING_PACKED);
    queue->has_event_idx = has(features, VIRTIO_F_EVENT_IDX);
    queue->has_indirect = has(features, VIRTIO_F_INDIRECT_DESC);
    queue->in_flight = 0;
    queue->generation++;
}

static int place(struct virtq *queue)
{
    if (queue->size == 0 || queue->size > queue->size_max) {
        return -EINVAL;
    }
    return queue->is_packed ? packed_place(queue) : split_place(queue);
}

int virtq_enable(struct virtq *queue, uint64_t features)
{
    int r;

    begin(queue, features);
    queue->next_available = queue->next_used = queue->decided_used = 0;
    if (queue->is_packed) {
        packed_begin(queue);
    }
    queue->is_enabled = true;
    r = place(queue);
    queue->is_broken = r != 0;
    return r;
}

int virtq_resume(struct virtq *queue, uint64_t features)
{
    int r;

    begin(queue, features);
    r = queue->is_broken ? 0 : place(queue);
    queue->is_enabled = r == 0;
    return r;
}

/* How many of `size` bytes from `address` on lie together; 0: there is no RAM. */
static uint64_t find_run(const struct virtq *queue, uint64_t address, uint64_t size)
{
    uint64_t low = 0, high = size; /* `low` bytes do, `high` do not, or are all that is wanted */

    while (low + 1 < high) {
        uint64_t middle = low + (high - low) / 2;

        if (ring_span(queue, address, middle) != NULL) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return ring_span(queue, address, high) != NULL ? high : low;
}

bool chain_add_pieces(struct virtq_chain *chain, const struct virtq *queue, uint64_t address,
                      uint64_t size, bool is_write)
{
    while (size > 0) {
        uint64_t run = find_run(queue, address, size);
        void *at = run > 0 ? ring_span(queue, address, run) : NULL;

        if (at == NULL || !chain_add(chain, at, run, is_write)) {
            return false;
        }
        address += run;
        size -= run;
    }
    return true;
}

int virtq_take(struct virtq *queue, struct virtq_chain *chain)
{
    if (!queue->is_enabled || queue->is_broken) {
        return 0;
    }
    return queue->is_packed ? packed_take(queue, chain) : split_take(queue, chain);
}

void virtq_untake(struct virtq *queue, const struct virtq_chain *chain)
{
    if (chain->token.generation != queue->generation || queue->in_flight < chain->token.count) {
        return;
    }
    queue->in_flight -= chain->token.count;
    if (queue->is_packed) {
        packed_untake(queue, &chain->token);
    } else {
        split_untake(queue);
    }
}

bool virtq_use(struct virtq *queue, const struct virtq_chain *chain, uint32_t written)
{
    const struct virtq_token *token = &chain->token;

    if (token->generation != queue->generation || !queue->is_enabled || queue->used == NULL ||
        token->count == 0 || queue->in_flight < token->count) {
        return false;
    }
    queue->in_flight -= token->count;
    if (queue->is_packed) {
        packed_use(queue, token, written);
    } else {
        split_put(queue, token, written);
        split_show(queue);
    }
    return true;
}

bool virtq_use_all(struct virtq *queue, const struct virtq_chain *chains, const uint32_t *written,
                   uint32_t count)
{
    uint32_t taken = 0;

    for (uint32_t i = 0; i < count; i++) {
        taken += chains[i].token.count;
        if (chains[i].token.generation != queue->generation || chains[i].token.count == 0) {
            return false;
        }
    }
    if (count == 0 || !queue->is_enabled || queue->used == NULL || queue->in_flight < taken) {
        return false;
    }
    queue->in_flight -= (uint16_t)taken;
    if (queue->is_packed) {
        packed_use_all(queue, chains, written, count);
        return true;
    }
    for (uint32_t i = 0; i < count; i++) {
        split_put(queue, &chains[i].token, written[i]);
    }
    split_show(queue);
    return true;
}

bool virtq_wants_interrupt(struct virtq *queue)
{
    if (!queue->is_enabled || queue->used == NULL) {
        return false;
    }
    return queue->is_packed ? packed_wants_interrupt(queue) : split_wants_interrupt(queue);
}

void virtq_silence(struct virtq *queue)
{
    if (queue->is_enabled && !queue->is_broken && !queue->has_event_idx) {
        if (queue->is_packed) {
            packed_silence(queue);
        } else {
            split_silence(queue);
        }
    }
}

bool virtq_listen(struct virtq *queue)
{
    if (!queue->is_enabled || queue->is_broken) {
        return true;
    }
    return queue->is_packed ? packed_listen(queue) : split_listen(queue);
}
