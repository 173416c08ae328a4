/* A back end that follows another one: from where it works the queues off.
 *
 * Nobody tells what the last one had taken. If it gave buffers back in the order in which it took
 * them, the used index is it; if it did not, some would be given back twice, which no driver
 * stands. So it is looked for buffers that were given back before their turn; a queue with such
 * ones rests until the driver resets it. All of it lies in guest memory, and is the guest's to
 * spoil for itself. */
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/log.h"
#include "qvm-worker/memory/memory.h"
#include "qvm-worker/vdev/backend_private.h"
#include "qvm-worker/vdev/private.h"

#define SIZE_MAX_SPLIT 32768u /* virtio 1.2, 2.7 */

struct rings {
    const struct {
        uint16_t flags, index, ring[];
    } * driver;
    const struct {
        uint16_t flags, index;
        struct {
            uint32_t id, size;
        } ring[];
    } * device;
    uint16_t size;
};

/* Among those that were made available and given back from `from` to `to`: how much more often was
 * that one given back than made available? */
static int surplus(const struct rings *rings, uint16_t from, uint16_t to, uint16_t head)
{
    int more = 0;

    for (uint16_t i = from; i != to; i++) {
        more += rings->device->ring[i % rings->size].id == head;
        more -= rings->driver->ring[i % rings->size] == head;
    }
    return more;
}

/* Where to go on; false: that cannot be known. */
static bool find_base(const struct vdev_slot *slot, const struct vhost_queue *queue, uint16_t *base)
{
    const struct memory *memory = slot->host->env.memory;
    struct rings rings = {
        .driver = memory_span(memory, gpa(queue->driver), 4 + 2ull * queue->size),
        .device = memory_span(memory, gpa(queue->device), 4 + 8ull * queue->size),
        .size = queue->size,
    };
    uint16_t available, used, left;

    if (rings.driver == NULL || rings.device == NULL || queue->size == 0 ||
        queue->size > SIZE_MAX_SPLIT) {
        return false;
    }
    available = __atomic_load_n(&rings.driver->index, __ATOMIC_ACQUIRE);
    used = __atomic_load_n(&rings.device->index, __ATOMIC_ACQUIRE);
    left = (uint16_t)(available - used);
    *base = used;
    for (uint16_t i = 0; left <= queue->size && i < left; i++) {
        uint16_t head = rings.driver->ring[(uint16_t)(used + i) % rings.size];

        if (surplus(&rings, (uint16_t)(used + left - rings.size), used, head) > 0) {
            return false;
        }
    }
    return left <= queue->size;
}

void vdev_host_nudge(const struct vhost_queue *queue)
{
    uint64_t one = 1;

    (void)!write(queue->kick_fd, &one, sizeof(one)); /* full: it rings already */
    (void)!write(queue->call_fd, &one, sizeof(one));
}

void vdev_host_resume_backend(struct vdev_slot *slot, const struct backend_wish *wish)
{
    struct slot_backend *backend = slot->backend;
    bool has_features = false;

    for (uint32_t i = 0; i < VDEV_BACKEND_QUEUES_MAX; i++) {
        const struct backend_queue *queue = &wish->queues[i];
        bool is_known = queue->is_wanted && find_base(slot, &queue->place, &backend->bases[i]);

        /* a ring that is filled up no longer shows what was given back before its turn */
        backend->is_resting[i] = queue->is_wanted && (backend->is_resting[i] || !is_known);
        backend->is_resuming[i] = queue->is_wanted && !backend->is_resting[i];
        backend->is_running[i] = false;
        if (queue->is_wanted && !has_features) { /* who fails is lost */
            (void)vhost_set_features(&backend->vhost, wish->features);
            has_features = true;
        }
        if (backend->is_resting[i]) {
            log_line(LOG_warn, "vdev: a queue rests until its driver resets it device=%s queue=%u",
                     slot->name, i);
        }
    }
}
