/* What a virtio device saves, and how it is restored.
 *
 * The driver's words are all that is saved: status, features, where the queues are and how far they
 * were worked off. Nothing is in flight (qvm/vdev.h). After a restore every queue that lives is
 * looked at: a notification may have been on its way. */
#include <errno.h>
#include <inttypes.h>

#include <qvm/vdev_fields.h>

#include "vdevs/virtio/registers.h"

#define STATUS_BITS                                                                                \
    (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK |                  \
     VIRTIO_NEEDS_RESET | VIRTIO_FAILED)

static const struct vdev_field fields[] = {
    VDEV_NUMBER(1, struct virtio, status, STATUS_BITS),
    VDEV_NUMBER(2, struct virtio, generation, 0),
    VDEV_NUMBER(3, struct virtio, is_changed, 1),
    VDEV_NUMBER(4, struct virtio, interrupts, VIRTIO_USED | VIRTIO_CHANGED),
    VDEV_NUMBER(5, struct virtio, accepted, 0),
    VDEV_NUMBER(6, struct virtio, negotiated, 0),
    VDEV_NUMBER(7, struct virtio, offered_select, 0),
    VDEV_NUMBER(8, struct virtio, accepted_select, 0),
    VDEV_NUMBER(9, struct virtio, queue_select, 0),
    VDEV_NUMBER(10, struct virtio, changed_vector, 0),
    VDEV_NUMBER(11, struct virtio, access_bar, 0),
    VDEV_NUMBER(12, struct virtio, access_offset, 0),
    VDEV_NUMBER(13, struct virtio, access_length, 0),
    VDEV_NUMBER(14, struct virtio, is_high, 1),
    VDEV_NUMBER(15, struct virtio, is_legacy, 1),
    VDEV_NUMBER(16, struct virtio, page_size, 0),
    VDEV_NUMBER(17, struct virtio, queue_alignment, 0),
    VDEV_NUMBER(18, struct virtio, shared_select, 0),
    {0},
};

/* Tags of queue N are those of its table and 64 times N + 1. Those from 0x1000 on are the vdev's
 * own: queues that would be there are far behind them. */
#define QUEUES_BELOW  63u
#define QUEUES_ABOVE  0x10000u
#define QUEUE_TAGS(n) (64u * ((n) + 1) + ((n) < QUEUES_BELOW ? 0 : QUEUES_ABOVE))
#define TAG_VECTOR    32u
_Static_assert(64u * (QUEUES_BELOW + 1) == 0x1000, "the vdev's own tags begin there");

static const struct vdev_field queue_fields[] = {
    VDEV_NUMBER(1, struct virtq, size, 0), /* checked when the queue goes on */
    VDEV_NUMBER(2, struct virtq, descriptors, 0),
    VDEV_NUMBER(3, struct virtq, driver, 0),
    VDEV_NUMBER(4, struct virtq, device, 0),
    VDEV_NUMBER(5, struct virtq, is_enabled, 1),
    VDEV_NUMBER(6, struct virtq, is_broken, 1),
    VDEV_NUMBER(7, struct virtq, next_available, 0),
    VDEV_NUMBER(8, struct virtq, next_used, 0),
    VDEV_NUMBER(9, struct virtq, decided_used, 0),
    {0},
};

static int save_queue(const struct virtio *virtio, uint32_t i)
{
    const struct virtq *queue = &virtio->queues[i];
    int r = queue->in_flight == 0 || !queue->is_enabled ? 0 : -EBUSY;

    r = r == 0 ? vdev_put_fields(virtio->host, virtio->slot, queue_fields, QUEUE_TAGS(i), queue)
               : r;
    return r == 0 ? virtio->host->put(virtio->slot, QUEUE_TAGS(i) + TAG_VECTOR, VDEV_FIELD_NUMBER,
                                      &virtio->queue_vectors[i], sizeof(virtio->queue_vectors[i]))
                  : r;
}

int virtio_save(void *device)
{
    const struct virtio *virtio = device;
    int r = vdev_put_fields(virtio->host, virtio->slot, fields, 0, virtio);

    for (uint32_t i = 0; r == 0 && i < virtio->type->queue_count; i++) {
        r = save_queue(virtio, i);
    }
    return r;
}

/* Whether status and features are such as a driver can bring about. */
static bool is_possible_legacy(const struct virtio *virtio)
{
    return virtio->can_legacy && (virtio->status & VIRTIO_FEATURES_OK) == 0 &&
           (virtio->negotiated & ~(uint64_t)virtio_legacy_offered(virtio)) == 0;
}

static bool is_possible(const struct virtio *virtio)
{
    bool is_settled = (virtio->status & VIRTIO_FEATURES_OK) != 0;

    if ((virtio->status & ~STATUS_BITS) != 0 || (virtio->interrupts & ~3u) != 0 ||
        virtio->page_size == 0 || (virtio->page_size & (virtio->page_size - 1)) != 0) {
        return false;
    }
    if (virtio->is_legacy || (virtio->can_legacy && !virtio->is_pci)) {
        return virtio->is_legacy && is_possible_legacy(virtio);
    }
    if ((!is_settled && (virtio->negotiated != 0 || (virtio->status & VIRTIO_DRIVER_OK) != 0))) {
        return false;
    }
    return !is_settled ||
           ((virtio->negotiated & ~virtio->offered) == 0 && virtio_has(virtio, VIRTIO_F_VERSION_1));
}

static bool is_vector(const struct virtio *virtio, uint16_t vector)
{
    return vector == VIRTIO_NO_VECTOR || vector < virtio_vector_count(virtio);
}

static int restore_queue(struct virtio *virtio, uint32_t i)
{
    struct virtq *queue = &virtio->queues[i];
    uint16_t *vector = &virtio->queue_vectors[i];
    int r = vdev_get_fields(virtio->host, virtio->slot, queue_fields, QUEUE_TAGS(i), queue);
    bool was_enabled = queue->is_enabled;

    queue->is_enabled = false; /* nobody looks at it before it is whole */
    if (r == 0) {
        r = virtio->host->get(virtio->slot, QUEUE_TAGS(i) + TAG_VECTOR, VDEV_FIELD_NUMBER, vector,
                              sizeof(*vector), 0);
    }
    if (r != 0 && r != -ENOENT) {
        return r;
    }
    if (!is_vector(virtio, *vector)) {
        return virtio->host->fail(virtio->slot, NULL, "queue %" PRIu32 " has no vector %u", i,
                                  *vector);
    }
    if (!was_enabled) {
        return 0;
    }
    if ((!virtio->is_legacy && (virtio->status & VIRTIO_FEATURES_OK) == 0) ||
        (queue->is_broken && (virtio->status & VIRTIO_NEEDS_RESET) == 0) ||
        virtq_resume(queue, virtio->negotiated) != 0) {
        return virtio->host->fail(virtio->slot, NULL, "queue %" PRIu32 " cannot be where it was",
                                  i);
    }
    return 0;
}

int virtio_restore(void *device)
{
    struct virtio *virtio = device;
    int r = vdev_get_fields(virtio->host, virtio->slot, fields, 0, virtio);

    if (r == 0 && (!is_possible(virtio) || !is_vector(virtio, virtio->changed_vector))) {
        r = virtio->host->fail(virtio->slot, NULL, "no driver can have brought it there");
    }
    for (uint32_t i = 0; r == 0 && i < virtio->type->queue_count; i++) {
        r = restore_queue(virtio, i);
    }
    if (r != 0) {
        return r;
    }
    virtio->host->intr(virtio->slot, 0, virtio->is_high);
    if (virtio->type->restored != NULL) {
        virtio->type->restored(virtio);
    }
    for (uint32_t i = 0; i < virtio->type->queue_count; i++) {
        if (virtio_is_live(virtio, i)) {
            virtio->host->ring(virtio->slot, i);
        }
    }
    return 0;
}
