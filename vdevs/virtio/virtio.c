/* One virtio device, whatever carries it. */
#include "vdevs/virtio/virtio.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vdevs/virtio/registers.h"

#define RING_FEATURES                                                                              \
    (VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_F_EVENT_IDX) |                         \
     VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_RING_RESET))

/* Status bits that a driver may set. */
#define DRIVER_BITS                                                                                \
    (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK | VIRTIO_FAILED)

/* What the rows of VIRTIO_OPTIONS say, and VIRTIO_LEGACY_OPTION. */
static uint64_t read_options(struct virtio *virtio, const struct virtio_type *type,
                             const struct vdev_config *config)
{
    uint64_t features = 0;

    for (uint32_t i = 0; type->options != NULL && i < config->value_count; i++) {
        const struct vdev_value *value = &config->values[i];
        const char *name = type->options[value->option].name;

        if (value->boolean && strcmp(name, VIRTIO_OPTION_PACKED) == 0) {
            features |= VIRTIO_BIT(VIRTIO_F_RING_PACKED);
        } else if (value->boolean && strcmp(name, VIRTIO_OPTION_NOTIFIED) == 0) {
            features |= VIRTIO_BIT(VIRTIO_F_NOTIFICATION_DATA);
        } else if (value->boolean && strcmp(name, VIRTIO_OPTION_LEGACY) == 0) {
            virtio->can_legacy = true;
        }
    }
    return features;
}

int virtio_init(struct virtio *virtio, const struct virtio_type *type,
                const struct vdev_services *host, struct vdev_slot *slot,
                const struct vdev_config *place, uint64_t features, void *config,
                uint32_t config_size)
{
    *virtio = (struct virtio){
        .type = type,
        .host = host,
        .slot = slot,
        .is_pci = place->place == VDEV_PLACE_PCI,
        .offered = features | RING_FEATURES,
        .config = config,
        .config_size = config_size,
        .changed_vector = VIRTIO_NO_VECTOR,
    };
    virtio->offered |= read_options(virtio, type, place);
    virtio_legacy_reset(virtio);
    for (uint32_t i = 0; i < VIRTIO_QUEUES_MAX; i++) {
        virtq_init(&virtio->queues[i], i < type->queue_count ? type->queue_sizes[i] : 0, host,
                   slot);
        virtio->queue_vectors[i] = VIRTIO_NO_VECTOR;
    }
    if (virtio_shared_check(virtio) != 0) {
        return -EINVAL;
    }
    return virtio->is_pci ? virtio_pci_init(virtio) : virtio_mmio_init(virtio, place);
}

/* Queue `i` stops, and the device lets go of all that it took from it. */
static void stop_queue(struct virtio *virtio, uint32_t i)
{
    if (virtio->queues[i].is_enabled) {
        if (virtio->type->stop != NULL) {
            virtio->type->stop(virtio, i);
        }
        virtq_disable(&virtio->queues[i]);
    }
}

static void reset_device(struct virtio *virtio)
{
    for (uint32_t i = 0; i < virtio->type->queue_count; i++) {
        stop_queue(virtio, i);
        virtq_reset(&virtio->queues[i]);
        virtio->queue_vectors[i] = VIRTIO_NO_VECTOR;
    }
    virtio->status = 0;
    virtio->negotiated = 0;
    virtio->accepted = 0;
    virtio->offered_select = 0;
    virtio->accepted_select = 0;
    virtio->queue_select = 0;
    virtio->shared_select = 0;
    virtio->changed_vector = VIRTIO_NO_VECTOR;
    virtio_legacy_reset(virtio);
    virtio_acknowledge(virtio, VIRTIO_USED | VIRTIO_CHANGED);
    if (virtio->type->reset != NULL) {
        virtio->type->reset(virtio);
    }
}

void virtio_reset(void *device)
{
    struct virtio *virtio = device;

    reset_device(virtio);
    virtio->access_bar = 0; /* configuration space: not the driver's to reset by the status */
    virtio->access_offset = 0;
    virtio->access_length = 0;
}

static void set_line(struct virtio *virtio, bool is_high)
{
    virtio->is_high = is_high;
    virtio->host->intr(virtio->slot, 0, is_high);
}

/* 4.1.5.1.4 and 4.2.3.4: MSI-X has a message for each; otherwise a bit says why the line is high.
 */
static void interrupt(struct virtio *virtio, uint8_t why, uint16_t vector)
{
    if (virtio->is_pci && virtio->host->has_vectors(virtio->slot)) {
        if (why == VIRTIO_CHANGED) {
            virtio->interrupts |= why; /* 4.1.4.5.1 */
        }
        if (vector != VIRTIO_NO_VECTOR) {
            (void)virtio->host->vector(virtio->slot, vector);
        }
        return;
    }
    virtio->interrupts |= why;
    set_line(virtio, true);
}

void virtio_acknowledge(struct virtio *virtio, uint8_t bits)
{
    virtio->interrupts &= (uint8_t)~bits;
    if (virtio->interrupts == 0) {
        set_line(virtio, false);
    }
}

void virtio_config_changed(struct virtio *virtio)
{
    virtio->is_changed = true;
    if ((virtio->status & VIRTIO_DRIVER_OK) != 0) {
        interrupt(virtio, VIRTIO_CHANGED, virtio->changed_vector);
    }
}

void virtio_need_reset(struct virtio *virtio)
{
    if ((virtio->status & VIRTIO_NEEDS_RESET) != 0) {
        return;
    }
    virtio->status |= VIRTIO_NEEDS_RESET;
    virtio->reset_count++;
    virtio->host->log(virtio->slot, VDEV_LOG_DEBUG, "the driver broke a rule: needs a reset");
    if ((virtio->status & VIRTIO_DRIVER_OK) != 0) { /* 2.1.2 */
        interrupt(virtio, VIRTIO_CHANGED, virtio->changed_vector);
    }
}

bool virtio_is_live(const struct virtio *virtio, uint32_t queue)
{
    uint8_t wanted = virtio->is_legacy ? 0 : VIRTIO_DRIVER_OK; /* 3.1.2: they do not wait for it */

    return (virtio->status & (wanted | VIRTIO_NEEDS_RESET)) == wanted &&
           virtio->host->is_master(virtio->slot) && queue < virtio->type->queue_count &&
           virtio->queues[queue].is_enabled;
}

bool virtio_take(struct virtio *virtio, uint32_t queue, struct virtq_chain *chain)
{
    int r;

    if (!virtio_is_live(virtio, queue)) {
        return false;
    }
    r = virtq_take(&virtio->queues[queue], chain);
    if (r < 0) {
        virtio_need_reset(virtio);
    }
    return r > 0;
}

bool virtio_take_or_wait(struct virtio *virtio, uint32_t queue, struct virtq_chain *chain)
{
    if (!virtio_is_live(virtio, queue)) {
        return false;
    }
    virtq_silence(&virtio->queues[queue]);
    do {
        if (virtio_take(virtio, queue, chain)) {
            return true;
        }
    } while (virtio_is_live(virtio, queue) && !virtq_listen(&virtio->queues[queue]));
    return false;
}

void virtio_use(struct virtio *virtio, uint32_t queue, const struct virtq_chain *chain,
                uint32_t written)
{
    if (virtio_is_live(virtio, queue)) {
        (void)virtq_use(&virtio->queues[queue], chain, written); /* of before a reset: nobody's */
    }
}

void virtio_use_all(struct virtio *virtio, uint32_t queue, const struct virtq_chain *chains,
                    const uint32_t *written, uint32_t count)
{
    if (virtio_is_live(virtio, queue)) {
        (void)virtq_use_all(&virtio->queues[queue], chains, written, count);
    }
}

void virtio_tell(struct virtio *virtio, uint32_t queue)
{
    if (virtio_is_live(virtio, queue) && virtq_wants_interrupt(&virtio->queues[queue])) {
        interrupt(virtio, VIRTIO_USED, virtio->queue_vectors[queue]);
    }
}

void virtio_tell_used(struct virtio *virtio, uint32_t queue)
{
    if (virtio_is_live(virtio, queue)) {
        interrupt(virtio, VIRTIO_USED, virtio->queue_vectors[queue]);
    }
}

void virtio_event(void *device, uint32_t event)
{
    struct virtio *virtio = device;

    if (event >= virtio->type->queue_count && virtio->type->event != NULL) {
        virtio->type->event(virtio, event);
    } else if (virtio_is_live(virtio, event)) {
        virtio->type->kick(virtio, event);
    }
}

/* ---- registers ---- */

/* 3.1.1, steps 5 and 6: refused by not being set. A device of this version alone has no other. */
static bool accept_features(struct virtio *virtio)
{
    if ((virtio->accepted & ~virtio->offered) != 0 ||
        (virtio->accepted & VIRTIO_BIT(VIRTIO_F_VERSION_1)) == 0) {
        return false;
    }
    virtio->negotiated = virtio->accepted;
    return true;
}

void virtio_start(struct virtio *virtio)
{
    if (virtio->type->start != NULL) {
        virtio->type->start(virtio);
    }
    for (uint32_t i = 0; i < virtio->type->queue_count; i++) {
        virtio->host->ring(virtio->slot, i); /* what was offered before is not told again */
    }
}

void virtio_set_status(struct virtio *virtio, uint8_t value)
{
    uint8_t new = (uint8_t)(value & DRIVER_BITS & ~virtio->status);

    if (value == 0) {
        reset_device(virtio);
        return;
    }
    if (virtio->is_legacy) {
        virtio_legacy_set_status(virtio, value);
        return;
    }
    if ((new &VIRTIO_FEATURES_OK) != 0 && !accept_features(virtio)) {
        new &= (uint8_t)~VIRTIO_FEATURES_OK;
    }
    virtio->status |= (uint8_t)(new & ~VIRTIO_DRIVER_OK); /* 2.1.1: none is ever cleared */
    if ((new &VIRTIO_DRIVER_OK) != 0 && (virtio->status & VIRTIO_FEATURES_OK) != 0) {
        virtio->status |= VIRTIO_DRIVER_OK;
        if ((virtio->status & VIRTIO_NEEDS_RESET) != 0) { /* it was too early to say so */
            interrupt(virtio, VIRTIO_CHANGED, virtio->changed_vector);
        } else {
            virtio_start(virtio);
        }
    }
}

uint32_t virtio_offered_word(const struct virtio *virtio)
{
    if (virtio->is_legacy) {
        return virtio->offered_select == 0 ? virtio_legacy_offered(virtio) : 0;
    }
    return virtio->offered_select < 2 ? (uint32_t)(virtio->offered >> (32 * virtio->offered_select))
                                      : 0;
}

uint32_t virtio_accepted_word(const struct virtio *virtio)
{
    return virtio->accepted_select < 2
               ? (uint32_t)(virtio->accepted >> (32 * virtio->accepted_select))
               : 0;
}

void virtio_accept_word(struct virtio *virtio, uint32_t value)
{
    unsigned shift;

    if (virtio->is_legacy) {
        if (virtio->accepted_select == 0) {
            virtio_legacy_accept(virtio, value);
        }
        return;
    }
    if (virtio->accepted_select >= 2 || (virtio->status & VIRTIO_FEATURES_OK) != 0) {
        return;
    }
    shift = 32 * virtio->accepted_select;
    virtio->accepted &= ~((uint64_t)UINT32_MAX << shift);
    virtio->accepted |= (uint64_t)value << shift;
}

struct virtq *virtio_selected(struct virtio *virtio)
{
    return virtio->queue_select < virtio->type->queue_count ? &virtio->queues[virtio->queue_select]
                                                            : NULL;
}

void virtio_set_size(struct virtq *queue, uint32_t value)
{
    if (!queue->is_enabled) {
        queue->size = value <= UINT16_MAX ? (uint16_t)value : 0; /* 0 is refused when enabled */
    }
}

void virtio_set_half(const struct virtq *queue, uint64_t *address, unsigned half, uint32_t value)
{
    if (!queue->is_enabled) {
        *address &= ~((uint64_t)UINT32_MAX << (32 * half));
        *address |= (uint64_t)value << (32 * half);
    }
}

void virtio_enable_queue(struct virtio *virtio)
{
    struct virtq *queue = virtio_selected(virtio);

    /* Without settled features nobody knows what the rings look like. */
    if (queue == NULL || queue->is_enabled || (virtio->status & VIRTIO_FEATURES_OK) == 0) {
        return;
    }
    if (virtq_enable(queue, virtio->negotiated) != 0) {
        virtio_need_reset(virtio);
        return;
    }
    if ((virtio->status & VIRTIO_DRIVER_OK) != 0) {
        virtio->host->ring(virtio->slot, virtio->queue_select); /* after a reset of the queue */
    }
}

void virtio_disable_queue(struct virtio *virtio)
{
    if (virtio_selected(virtio) != NULL) {
        stop_queue(virtio, virtio->queue_select);
    }
}

void virtio_reset_queue(struct virtio *virtio)
{
    if (virtio_selected(virtio) != NULL && virtio_has(virtio, VIRTIO_F_RING_RESET)) {
        stop_queue(virtio, virtio->queue_select);
        virtq_reset(virtio_selected(virtio));
    }
}

uint64_t virtio_config_read(struct virtio *virtio, uint64_t offset, uint32_t size)
{
    uint64_t value = 0;

    if (virtio->is_changed) { /* 4.1.4.3.1: counts what is seen, not what happens */
        virtio->is_changed = false;
        virtio->generation++;
    }
    for (uint32_t i = 0; i < size && offset + i < virtio->config_size; i++) {
        value |= (uint64_t)virtio->config[offset + i] << (8 * i);
    }
    return value;
}

void virtio_config_write(struct virtio *virtio, uint64_t offset, uint32_t size, uint64_t value)
{
    if (virtio->type->config_write != NULL && offset + size <= virtio->config_size) {
        virtio->type->config_write(virtio, (uint32_t)offset, size, value);
    }
}

uint8_t virtio_generation(struct virtio *virtio)
{
    return virtio->generation;
}

uint8_t virtio_take_interrupts(struct virtio *virtio)
{
    uint8_t why = virtio->interrupts;

    virtio_acknowledge(virtio, why);
    return why;
}

/* At an address there is no other beside the registers. */
static uint32_t shared_region(const struct virtio *virtio)
{
    return virtio->is_pci ? VIRTIO_REGION_SHARED : VIRTIO_REGION_SHARED - 1;
}

uint64_t virtio_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    struct virtio *virtio = device;

    if (region == shared_region(virtio)) {
        return virtio_shared_read(virtio, offset, size);
    }
    if (region == VIRTIO_REGION_LEGACY) {
        return virtio_legacy_read(virtio, offset, size);
    }
    return virtio->is_pci ? virtio_pci_read(virtio, offset, size)
                          : virtio_mmio_read(virtio, offset, size);
}

void virtio_write(void *device, uint32_t region, uint64_t offset, uint32_t size, uint64_t value)
{
    struct virtio *virtio = device;

    if (region == shared_region(virtio)) {
        virtio_shared_write(virtio, offset, size, value);
    } else if (region == VIRTIO_REGION_LEGACY) {
        virtio_legacy_write(virtio, offset, size, value);
    } else if (virtio->is_pci) {
        virtio_pci_write(virtio, offset, size, value);
    } else {
        virtio_mmio_write(virtio, offset, size, value);
    }
}

void virtio_state(void *device, vdev_state_fn add, void *context)
{
    const struct virtio *virtio = device;
    char name[32], text[128];

    (void)snprintf(text, sizeof(text), "%02x%s", virtio->status,
                   virtio->is_legacy ? " legacy" : "");
    add(context, "status", text);
    (void)snprintf(text, sizeof(text), "%016" PRIx64 " of %016" PRIx64, virtio->negotiated,
                   virtio->offered);
    add(context, "features", text);
    for (uint32_t i = 0; i < virtio->type->queue_count; i++) {
        const struct virtq *queue = &virtio->queues[i];

        (void)snprintf(name, sizeof(name), "queue-%u", i);
        (void)snprintf(text, sizeof(text), "%u of %u, %s%s, taken %u used %u in flight %u",
                       queue->size, queue->size_max,
                       !queue->is_enabled ? "off"
                       : queue->is_broken ? "broken"
                                          : "on",
                       queue->is_enabled && queue->is_packed ? ", packed" : "",
                       queue->next_available, queue->next_used, queue->in_flight);
        add(context, name, text);
    }
    (void)snprintf(text, sizeof(text), "%" PRIu64, virtio->reset_count);
    add(context, "resets-asked", text);
}
