/* virtio-mmio: "Virtio Over MMIO", 4.2, version 2; and 1, which is the legacy interface (4.2.4). */
#include <inttypes.h>

#include "vdevs/virtio/registers.h"

/* 4.2.2 */
#define MAGIC             0x000u
#define VERSION           0x004u
#define DEVICE_ID         0x008u
#define VENDOR_ID         0x00cu
#define FEATURES          0x010u
#define FEATURES_SELECT   0x014u
#define ACCEPTED          0x020u
#define ACCEPTED_SELECT   0x024u
#define QUEUE_SELECT      0x030u
#define QUEUE_SIZE_MAX    0x034u
#define QUEUE_SIZE        0x038u
#define QUEUE_READY       0x044u
#define QUEUE_NOTIFY      0x050u
#define INTERRUPT_STATUS  0x060u
#define INTERRUPT_ACK     0x064u
#define STATUS            0x070u
#define QUEUE_DESCRIPTORS 0x080u /* low; high follows */
#define QUEUE_DRIVER      0x090u
#define QUEUE_DEVICE      0x0a0u
#define SHM_SELECT        0x0acu
#define SHM_SIZE          0x0b0u
#define SHM_BASE          0x0b8u
#define QUEUE_RESET       0x0c0u
#define GENERATION        0x0fcu

/* 4.2.4 */
#define PAGE_SIZE       0x028u
#define QUEUE_ALIGNMENT 0x03cu
#define QUEUE_PAGE      0x040u

#define HIGH 4u /* of two halves */

#define MAGIC_VALUE    0x74726976u /* "virt" */
#define VERSION_VALUE  2u
#define VERSION_LEGACY 1u
#define VENDOR_VALUE   0x004d5651u /* "QVM" */

int virtio_mmio_init(struct virtio *virtio, const struct vdev_config *place)
{
    const struct vdev_services *host = virtio->host;

    if (place->region_count != (virtio->type->shared_count > 0 ? 2 : 1) ||
        place->regions[0].space != VDEV_SPACE_MEMORY ||
        place->regions[0].size < VIRTIO_MMIO_CONFIG + virtio->config_size ||
        place->regions[0].start % 4 != 0) {
        return host->fail(
            virtio->slot, NULL,
            "at an address it wants one 'loc mem:ADDRESS,LEN', aligned, with at least "
            "%u bytes",
            VIRTIO_MMIO_CONFIG + virtio->config_size);
    }
    if (place->intr_count != 1 || place->intrs[0] == QVM_VDEV_NO_INTR) {
        return host->fail(virtio->slot, NULL, "at an address it wants an 'intr', as ioapic:16");
    }
    if (virtio->type->shared_count > 0) {
        if (place->regions[1].space != VDEV_SPACE_MEMORY ||
            place->regions[1].start % VIRTIO_SHARED_PAGE != 0 ||
            place->regions[1].size < virtio_shared_size(virtio)) {
            return host->fail(virtio->slot, NULL,
                              "its second 'loc mem:' is shared memory, %" PRIu64
                              " bytes from a page on",
                              virtio_shared_size(virtio));
        }
        virtio->shared_start = place->regions[1].start;
    }
    for (uint32_t i = 0; i < virtio->type->queue_count; i++) {
        if (host->doorbell(virtio->slot, 0, QUEUE_NOTIFY, 4, true, i, i) != 0) {
            return host->fail(virtio->slot, NULL, "there is no doorbell for its queues");
        }
    }
    return 0;
}

/* 2.10 and 4.2.2: size, or place, of the region that is selected; all ones: there is none. */
static uint32_t read_shared(const struct virtio *virtio, uint64_t offset)
{
    const struct virtio_shared *shared = virtio_shared_find(virtio, virtio->shared_select);
    uint64_t value = UINT64_MAX;

    if (shared != NULL && offset < SHM_BASE) {
        value = shared->size;
    } else if (shared != NULL) {
        value = virtio->shared_start +
                virtio_shared_offset(virtio, (uint32_t)(shared - virtio->type->shared));
    }
    return (uint32_t)(value >> (offset == SHM_SIZE + HIGH || offset == SHM_BASE + HIGH ? 32 : 0));
}

static uint32_t read_queue(struct virtio *virtio, uint64_t offset)
{
    const struct virtq *queue = virtio_selected(virtio);

    if (queue == NULL) {
        return 0;
    }
    switch (offset) {
    case QUEUE_PAGE:
        return virtio->can_legacy ? virtio_legacy_page(virtio, queue) : 0;
    case QUEUE_SIZE_MAX:
        return queue->size_max;
    case QUEUE_READY:
        return queue->is_enabled;
    default: /* QUEUE_RESET: it is over when the write was */
        return 0;
    }
}

static uint32_t read_register(struct virtio *virtio, uint64_t offset)
{
    switch (offset) {
    case MAGIC:
        return MAGIC_VALUE;
    case VERSION:
        return virtio->can_legacy ? VERSION_LEGACY : VERSION_VALUE;
    case DEVICE_ID:
        return virtio->type->id;
    case VENDOR_ID:
        return VENDOR_VALUE;
    case FEATURES:
        return virtio_offered_word(virtio);
    case QUEUE_PAGE:
    case QUEUE_SIZE_MAX:
    case QUEUE_READY:
    case QUEUE_RESET:
        return read_queue(virtio, offset);
    case INTERRUPT_STATUS:
        return virtio->interrupts;
    case STATUS:
        return virtio->status;
    case SHM_SIZE:
    case SHM_SIZE + HIGH:
    case SHM_BASE:
    case SHM_BASE + HIGH:
        return read_shared(virtio, offset);
    case GENERATION:
        return virtio_generation(virtio);
    default: /* not described, or write-only: nobody may read it (4.2.2.2) */
        return 0;
    }
}

/* What is in version 1 alone. */
static void write_legacy(struct virtio *virtio, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case PAGE_SIZE:
        virtio_legacy_set_page_size(virtio, value);
        break;
    case QUEUE_ALIGNMENT:
        virtio->queue_alignment = value; /* checked when a queue is placed */
        break;
    case QUEUE_PAGE:
        virtio_legacy_set_page(virtio, value);
        break;
    case QUEUE_SIZE:
        if (virtio_selected(virtio) != NULL) {
            virtio_set_size(virtio_selected(virtio), value);
        }
        break;
    default:
        break;
    }
}

static void write_queue(struct virtio *virtio, uint64_t offset, uint32_t value)
{
    struct virtq *queue = virtio_selected(virtio);

    if (queue == NULL) {
        return;
    }
    switch (offset) {
    case QUEUE_SIZE:
        virtio_set_size(queue, value);
        break;
    case QUEUE_DESCRIPTORS:
    case QUEUE_DESCRIPTORS + HIGH:
        virtio_set_half(queue, &queue->descriptors, offset != QUEUE_DESCRIPTORS, value);
        break;
    case QUEUE_DRIVER:
    case QUEUE_DRIVER + HIGH:
        virtio_set_half(queue, &queue->driver, offset != QUEUE_DRIVER, value);
        break;
    case QUEUE_DEVICE:
    case QUEUE_DEVICE + HIGH:
        virtio_set_half(queue, &queue->device, offset != QUEUE_DEVICE, value);
        break;
    case QUEUE_READY:
        if (value == 1) {
            virtio_enable_queue(virtio);
        } else if (value == 0) {
            virtio_disable_queue(virtio);
        }
        break;
    case QUEUE_RESET:
        if (value == 1) {
            virtio_reset_queue(virtio);
        }
        break;
    default:
        break;
    }
}

/* What is no doorbell: a queue that is not there, or one with data in the upper half (4.2.3.3),
 * which says where the driver is (2.9). The ring says that, too, and is what is believed. */
static void notify(struct virtio *virtio, uint32_t value)
{
    uint32_t queue = value & UINT16_MAX;

    if (virtio_has(virtio, VIRTIO_F_NOTIFICATION_DATA) && queue < virtio->type->queue_count) {
        virtio->host->ring(virtio->slot, queue);
    }
}

static void write_register(struct virtio *virtio, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case FEATURES_SELECT:
        virtio->offered_select = value;
        break;
    case ACCEPTED:
        virtio_accept_word(virtio, value);
        break;
    case ACCEPTED_SELECT:
        virtio->accepted_select = value;
        break;
    case QUEUE_SELECT:
        virtio->queue_select = value;
        break;
    case SHM_SELECT:
        virtio->shared_select = value;
        break;
    case QUEUE_NOTIFY:
        notify(virtio, value);
        break;
    case INTERRUPT_ACK:
        virtio_acknowledge(virtio, (uint8_t)value);
        break;
    case STATUS:
        virtio_set_status(virtio, (uint8_t)value);
        break;
    default:
        if (virtio->can_legacy) {
            write_legacy(virtio, offset, value);
        } else {
            write_queue(virtio, offset, value);
        }
        break;
    }
}

uint64_t virtio_mmio_read(struct virtio *virtio, uint64_t offset, uint32_t size)
{
    if (offset >= VIRTIO_MMIO_CONFIG) {
        return virtio_config_read(virtio, offset - VIRTIO_MMIO_CONFIG, size);
    }
    return size == 4 && offset % 4 == 0 ? read_register(virtio, offset) : 0;
}

void virtio_mmio_write(struct virtio *virtio, uint64_t offset, uint32_t size, uint64_t value)
{
    if (offset >= VIRTIO_MMIO_CONFIG) {
        virtio_config_write(virtio, offset - VIRTIO_MMIO_CONFIG, size, value);
    } else if (size == 4 && offset % 4 == 0) {
        write_register(virtio, offset, (uint32_t)value);
    }
}
