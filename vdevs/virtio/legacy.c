/* What drivers from before virtio 1.0 find: the parts called "Legacy Interface", and the registers
 * of 4.1.4.10 and 4.2.4.
 *
 * A driver is one of these from its first write to such a register until the next reset; over MMIO
 * a device of version 1 has no other. It agrees to features without asking whether they are taken,
 * and may use queues before DRIVER_OK (3.1.2). A queue is one piece of memory that begins at a
 * page: its three parts are worked out here, and from there on it is a queue like any other. */
#include "vdevs/virtio/registers.h"

#define F_ANY_LAYOUT 27u /* 6.3: buffers are gathered whatever their pieces are */

#define DRIVER_BITS (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK | VIRTIO_FAILED)

/* 4.1.4.10: the registers in BAR 0 */
#define FEATURES       0u
#define ACCEPTED       4u
#define QUEUE_PAGE     8u
#define QUEUE_SIZE     12u
#define QUEUE_SELECT   14u
#define STATUS         18u
#define ISR            19u
#define CHANGED_VECTOR 20u /* while MSI-X is enabled; otherwise the configuration begins here */
#define QUEUE_VECTOR   22u
#define WITH_VECTORS   24u

/* 2.7.2: the parts of a queue, and what the driver says of where used elements begin */
#define DESCRIPTOR_SIZE   16u
#define AVAILABLE_SIZE(n) (2u * (3u + (n)))
#define ALIGNMENT_MIN     4u

uint32_t virtio_legacy_offered(const struct virtio *virtio)
{
    return (uint32_t)virtio->offered | (uint32_t)VIRTIO_BIT(F_ANY_LAYOUT);
}

void virtio_legacy_reset(struct virtio *virtio)
{
    virtio->is_legacy = virtio->can_legacy && !virtio->is_pci;
    virtio->page_size = VIRTIO_LEGACY_PAGE;
    virtio->queue_alignment = VIRTIO_LEGACY_PAGE;
}

void virtio_legacy_set_status(struct virtio *virtio, uint8_t value)
{
    uint8_t new = (uint8_t)(value & DRIVER_BITS & ~virtio->status);

    virtio->status |= new;
    if ((new &VIRTIO_DRIVER_OK) != 0 && (virtio->status & VIRTIO_NEEDS_RESET) == 0) {
        virtio_start(virtio);
    }
}

/* Features are settled as they are written, until a queue depends on them. */
void virtio_legacy_accept(struct virtio *virtio, uint32_t value)
{
    for (uint32_t i = 0; i < virtio->type->queue_count; i++) {
        if (virtio->queues[i].is_enabled) {
            return;
        }
    }
    virtio->accepted = value;
    virtio->negotiated = value & virtio_legacy_offered(virtio);
}

static bool is_power_of_two(uint32_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

uint32_t virtio_legacy_page(const struct virtio *virtio, const struct virtq *queue)
{
    return (uint32_t)(queue->descriptors / virtio->page_size);
}

void virtio_legacy_set_page(struct virtio *virtio, uint32_t page)
{
    struct virtq *queue = virtio_selected(virtio);
    uint64_t start = (uint64_t)page * virtio->page_size, used;

    if (queue == NULL) {
        return;
    }
    if (page == 0) { /* 4.2.4: the driver has done with it */
        virtio_disable_queue(virtio);
        virtq_reset(queue);
        return;
    }
    if (queue->is_enabled) {
        return;
    }
    if (!is_power_of_two(virtio->queue_alignment) || virtio->queue_alignment < ALIGNMENT_MIN) {
        virtio_need_reset(virtio);
        return;
    }
    queue->descriptors = start;
    queue->driver = start + (uint64_t)DESCRIPTOR_SIZE * queue->size; /* no sum is near 2^64 */
    used = queue->driver + AVAILABLE_SIZE(queue->size) + virtio->queue_alignment - 1;
    queue->device = used & ~((uint64_t)virtio->queue_alignment - 1);
    if (virtq_enable(queue, virtio->negotiated) != 0) {
        virtio_need_reset(virtio);
    }
}

void virtio_legacy_set_page_size(struct virtio *virtio, uint32_t size)
{
    if (is_power_of_two(size)) {
        virtio->page_size = size;
    }
}

/* ---- PCI ---- */

/* Where the configuration begins. */
static uint64_t config_at(const struct virtio *virtio)
{
    return virtio->host->has_vectors(virtio->slot) ? WITH_VECTORS : CHANGED_VECTOR;
}

static uint32_t read_queue(const struct virtio *virtio, const struct virtq *queue, uint64_t offset)
{
    if (queue == NULL) {
        return offset == QUEUE_VECTOR ? VIRTIO_NO_VECTOR : 0;
    }
    switch (offset) {
    case QUEUE_PAGE:
        return virtio_legacy_page(virtio, queue);
    case QUEUE_SIZE:
        return queue->size_max;
    default:
        return virtio->queue_vectors[virtio->queue_select];
    }
}

static uint64_t read_register(struct virtio *virtio, uint64_t offset)
{
    switch (offset) {
    case FEATURES:
        return virtio_legacy_offered(virtio);
    case ACCEPTED:
        return (uint32_t)virtio->accepted;
    case QUEUE_SELECT:
        return virtio->queue_select;
    case STATUS:
        return virtio->status;
    case ISR:
        return virtio_take_interrupts(virtio);
    case CHANGED_VECTOR:
        return virtio->changed_vector;
    case QUEUE_PAGE:
    case QUEUE_SIZE:
    case QUEUE_VECTOR:
        return read_queue(virtio, virtio_selected(virtio), offset);
    default:
        return 0;
    }
}

static void write_register(struct virtio *virtio, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case ACCEPTED:
        virtio_legacy_accept(virtio, value);
        break;
    case QUEUE_PAGE:
        virtio_legacy_set_page(virtio, value);
        break;
    case QUEUE_SELECT:
        virtio->queue_select = (uint16_t)value;
        break;
    case VIRTIO_LEGACY_NOTIFY: /* where there was no doorbell left */
        if (value < virtio->type->queue_count) {
            virtio->host->ring(virtio->slot, value);
        }
        break;
    case STATUS:
        virtio_set_status(virtio, (uint8_t)value);
        break;
    case CHANGED_VECTOR:
        virtio->changed_vector = virtio_known_vector(virtio, value);
        break;
    case QUEUE_VECTOR:
        if (virtio_selected(virtio) != NULL) {
            virtio->queue_vectors[virtio->queue_select] = virtio_known_vector(virtio, value);
        }
        break;
    default:
        break;
    }
}

/* How wide the register at `offset` is; 0: there is none. */
static uint32_t width_of(uint64_t offset)
{
    return offset == STATUS || offset == ISR ? 1
           : offset <= QUEUE_PAGE            ? (offset % 4 == 0 ? 4 : 0)
                                             : (offset % 2 == 0 ? 2 : 0);
}

uint64_t virtio_legacy_read(struct virtio *virtio, uint64_t offset, uint32_t size)
{
    if (offset >= config_at(virtio)) {
        return virtio_config_read(virtio, offset - config_at(virtio), size);
    }
    return width_of(offset) == size ? read_register(virtio, offset) : 0;
}

void virtio_legacy_write(struct virtio *virtio, uint64_t offset, uint32_t size, uint64_t value)
{
    if (!virtio->is_legacy && (virtio->status & VIRTIO_FEATURES_OK) != 0 && offset != STATUS) {
        return; /* a driver of the other kind has it */
    }
    if (offset >= config_at(virtio)) { /* 3.1.2: also before anything else */
        virtio_config_write(virtio, offset - config_at(virtio), size, value);
        return;
    }
    if (width_of(offset) != size) {
        return;
    }
    if ((virtio->status & VIRTIO_FEATURES_OK) == 0) {
        virtio->is_legacy = true;
    }
    write_register(virtio, offset, (uint32_t)value);
}
