/* virtio over PCI: "Virtio Over PCI Bus", 4.1.
 *
 * All structures lie in BAR 0, a page each; MSI-X has BAR 1. A transitional device has its legacy
 * registers (legacy.c) in ports, which are BAR 0 then, and the structures are in BAR 2. Each queue
 * is notified at an address of its own, whatever is written there: the data of 2.9 cost nothing. */
#include <string.h>

#include "vdevs/virtio/registers.h"

#define VENDOR         0x1af4u
#define DEVICE_FIRST   0x1040u /* 4.1.2.1: and the device type */
#define SUBSYSTEM      0x1100u /* 4.1.2: 0x40 or higher */
#define REVISION       1u
#define STRUCTURES_BAR 2u /* of a transitional device */
#define SHARED_BAR     4u /* and 5 */
#define VECTOR_BAR     1u
#define BAR_SIZE       0x4000u
#define COMMON_AT      0x0000u
#define ISR_AT         0x1000u
#define DEVICE_AT      0x2000u
#define NOTIFY_AT      0x3000u
#define NOTIFY_STEP    4u /* notify_off_multiplier */
#define STRUCTURE_SIZE 0x1000u

/* 4.1.4 */
#define CAP_ID      0x09u
#define CAP_COMMON  1u
#define CAP_NOTIFY  2u
#define CAP_ISR     3u
#define CAP_DEVICE  4u
#define CAP_ACCESS  5u /* VIRTIO_PCI_CAP_PCI_CFG */
#define CAP_SHARED  8u /* VIRTIO_PCI_CAP_SHARED_MEMORY_CFG */
#define CAP_SIZE    16u
#define CAP_LONGER  20u /* with a multiplier, or with data */
#define CAP_64      24u /* with the upper halves of offset and length */
#define CAP_COUNT   5u
#define CAPS_MAX    (CAP_COUNT + VIRTIO_SHARED_MAX)
#define HEADER_SIZE 2u /* id and link, which are not ours */

/* The capability that reaches into the BARs, 4.1.4.9: counted from its id byte. */
#define ACCESS_BAR    4u
#define ACCESS_OFFSET 8u
#define ACCESS_LENGTH 12u
#define ACCESS_DATA   16u

/* 4.1.4.3 */
#define FEATURES_SELECT   0u
#define FEATURES          4u
#define ACCEPTED_SELECT   8u
#define ACCEPTED          12u
#define CHANGED_VECTOR    16u
#define QUEUE_COUNT       18u
#define STATUS            20u
#define GENERATION        21u
#define QUEUE_SELECT      22u
#define QUEUE_SIZE        24u
#define QUEUE_VECTOR      26u
#define QUEUE_ENABLE      28u
#define QUEUE_NOTIFY_OFF  30u
#define QUEUE_DESCRIPTORS 32u
#define QUEUE_DRIVER      40u
#define QUEUE_DEVICE      48u
#define QUEUE_NOTIFY_DATA 56u
#define QUEUE_RESET       58u
#define COMMON_SIZE       60u
#define HALF              4u

struct cap_bytes {
    uint8_t size, kind, bar, id, padding[2];
    uint32_t offset, length;
    uint32_t multiplier; /* or the upper half of the offset */
    uint32_t length_high;
} __attribute__((packed));
_Static_assert(sizeof(struct cap_bytes) == CAP_64 - HEADER_SIZE, "4.1.4");

/* 4.1.2.3: the ids of transitional devices, by their types; 0: there was none. */
static uint16_t transitional_id(uint16_t type)
{
    static const uint16_t ids[] = {0, 0x1000, 0x1001, 0x1003, 0x1005, 0x1002};

    return type < sizeof(ids) / sizeof(ids[0]) ? ids[type] : 0;
}

static uint8_t structures_bar(const struct virtio *virtio)
{
    return virtio->can_legacy ? STRUCTURES_BAR : 0;
}

/* 4.1.4.7 */
static struct cap_bytes shared_cap(const struct virtio *virtio, uint32_t i)
{
    const uint64_t offset = virtio_shared_offset(virtio, i), size = virtio->type->shared[i].size;

    return (struct cap_bytes){.size = CAP_64,
                              .kind = CAP_SHARED,
                              .bar = SHARED_BAR,
                              .id = virtio->type->shared[i].id,
                              .offset = (uint32_t)offset,
                              .length = (uint32_t)size,
                              .multiplier = (uint32_t)(offset >> 32),
                              .length_high = (uint32_t)(size >> 32)};
}

/* Fill in the capabilities, their bytes and their number. */
static uint32_t list_caps(struct virtio *virtio, struct cap_bytes bytes[CAPS_MAX],
                          struct vdev_cap caps[CAPS_MAX])
{
    const uint8_t bar = structures_bar(virtio);
    const uint32_t queues = virtio->type->queue_count;
    const struct cap_bytes all[CAP_COUNT] = {
        {CAP_SIZE, CAP_COMMON, bar, 0, {0}, COMMON_AT, COMMON_SIZE, 0, 0},
        {CAP_LONGER, CAP_NOTIFY, bar, 0, {0}, NOTIFY_AT, queues * NOTIFY_STEP, NOTIFY_STEP, 0},
        {CAP_SIZE, CAP_ISR, bar, 0, {0}, ISR_AT, 1, 0, 0},
        {CAP_SIZE, CAP_DEVICE, bar, 0, {0}, DEVICE_AT, virtio->config_size, 0, 0},
        {CAP_LONGER, CAP_ACCESS, 0, 0, {0}, 0, 0, 0, 0},
    };
    uint32_t count = 0;

    memcpy(bytes, all, sizeof(all));
    for (uint32_t i = 0; i < virtio->type->shared_count; i++) {
        bytes[CAP_COUNT + i] = shared_cap(virtio, i);
    }
    for (uint32_t i = 0; i < CAP_COUNT + virtio->type->shared_count; i++) {
        if (bytes[i].kind == CAP_DEVICE && virtio->config_size == 0) {
            continue; /* 4.1.4.6: for devices that have a configuration */
        }
        if (bytes[i].kind == CAP_ACCESS) {
            virtio->access_cap = count;
        }
        caps[count++] = (struct vdev_cap){.id = CAP_ID,
                                          .size = (uint8_t)(bytes[i].size - HEADER_SIZE),
                                          .data = (const uint8_t *)&bytes[i],
                                          .is_live = bytes[i].kind == CAP_ACCESS};
    }
    return count;
}

/* BARs have powers of two. */
static uint64_t power_of_two(uint64_t least)
{
    uint64_t size = 16;

    while (size < least) {
        size *= 2; /* virtio_shared_check: there is one */
    }
    return size;
}

static int add_function(struct virtio *virtio)
{
    struct vdev_bar bars[3] = {
        {.index = structures_bar(virtio), .space = VDEV_SPACE_MEMORY, .size = BAR_SIZE},
    };
    struct cap_bytes bytes[CAPS_MAX];
    struct vdev_cap caps[CAPS_MAX];
    struct vdev_pci_function function = {
        .size = sizeof(function),
        .vendor = VENDOR,
        .device = (uint16_t)(DEVICE_FIRST + virtio->type->id),
        .subsystem_vendor = VENDOR,
        .subsystem = SUBSYSTEM,
        .class_code = virtio->type->class_code,
        .revision = REVISION,
        .has_intx = true,
        .vector_count = (uint16_t)virtio_vector_count(virtio),
        .vector_bar = VECTOR_BAR,
        .bars = bars,
        .bar_count = 1,
        .caps = caps,
    };

    if (virtio->can_legacy) { /* 4.1.2.3 */
        function.device = transitional_id(virtio->type->id);
        function.subsystem = virtio->type->id;
        function.revision = 0;
        bars[function.bar_count++] =
            (struct vdev_bar){.space = VDEV_SPACE_IO,
                              .size = power_of_two(VIRTIO_LEGACY_SIZE + virtio->config_size),
                              .region = VIRTIO_REGION_LEGACY};
    }
    if (virtio->type->shared_count > 0) {
        bars[function.bar_count++] =
            (struct vdev_bar){.index = SHARED_BAR,
                              .space = VDEV_SPACE_MEMORY,
                              .is_64bit = true,
                              .is_prefetchable = true,
                              .size = power_of_two(virtio_shared_size(virtio)),
                              .region = VIRTIO_REGION_SHARED};
    }
    function.cap_count = list_caps(virtio, bytes, caps);
    return virtio->host->pci_function(virtio->slot, &function);
}

int virtio_pci_init(struct virtio *virtio)
{
    const struct vdev_services *host = virtio->host;
    int r = add_function(virtio);

    for (uint32_t i = 0; r == 0 && i < virtio->type->queue_count; i++) {
        if (host->doorbell(virtio->slot, 0, NOTIFY_AT + i * NOTIFY_STEP, 0, false, 0, i) != 0) {
            return host->fail(virtio->slot, NULL, "there is no doorbell for its queues");
        }
        if (virtio->can_legacy) { /* none is left: the register rings */
            (void)host->doorbell(virtio->slot, VIRTIO_REGION_LEGACY, VIRTIO_LEGACY_NOTIFY, 2, true,
                                 i, i);
        }
    }
    return r;
}

static uint64_t *address_of(struct virtq *queue, uint64_t offset)
{
    return offset < QUEUE_DRIVER   ? &queue->descriptors
           : offset < QUEUE_DEVICE ? &queue->driver
                                   : &queue->device;
}

/* Fields of the selected queue. One that is not there has size 0. */
static uint32_t read_queue(struct virtio *virtio, uint64_t offset)
{
    struct virtq *queue = virtio_selected(virtio);

    if (queue == NULL) {
        return offset == QUEUE_VECTOR ? VIRTIO_NO_VECTOR : 0;
    }
    switch (offset) {
    case QUEUE_SIZE:
        return queue->size;
    case QUEUE_VECTOR:
        return virtio->queue_vectors[virtio->queue_select];
    case QUEUE_ENABLE:
        return queue->is_enabled;
    case QUEUE_NOTIFY_OFF:
    case QUEUE_NOTIFY_DATA:
        return virtio->queue_select;
    case QUEUE_RESET: /* it is over when the write was */
        return 0;
    default:
        return (uint32_t)(*address_of(queue, offset) >> (offset % 8 == HALF ? 32 : 0));
    }
}

static uint32_t read_common(struct virtio *virtio, uint64_t offset)
{
    switch (offset) {
    case FEATURES_SELECT:
        return virtio->offered_select;
    case FEATURES:
        return virtio_offered_word(virtio);
    case ACCEPTED_SELECT:
        return virtio->accepted_select;
    case ACCEPTED:
        return virtio_accepted_word(virtio);
    case CHANGED_VECTOR:
        return virtio->changed_vector;
    case QUEUE_COUNT:
        return virtio->type->queue_count;
    case STATUS:
        return virtio->status;
    case GENERATION:
        return virtio_generation(virtio);
    case QUEUE_SELECT:
        return virtio->queue_select;
    default:
        return read_queue(virtio, offset);
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
    case QUEUE_VECTOR:
        virtio->queue_vectors[virtio->queue_select] = virtio_known_vector(virtio, value);
        break;
    case QUEUE_ENABLE: /* 4.1.4.3.2: a driver never writes 0 */
        if (value == 1) {
            virtio_enable_queue(virtio);
        }
        break;
    case QUEUE_RESET:
        if (value == 1) {
            virtio_reset_queue(virtio);
        }
        break;
    case QUEUE_NOTIFY_OFF:
    case QUEUE_NOTIFY_DATA:
        break;
    default:
        virtio_set_half(queue, address_of(queue, offset), offset % 8 == HALF, value);
        break;
    }
}

static void write_common(struct virtio *virtio, uint64_t offset, uint32_t value)
{
    if (virtio->is_legacy && offset != STATUS) {
        return; /* a driver of the other kind has it */
    }
    switch (offset) {
    case FEATURES_SELECT:
        virtio->offered_select = value;
        break;
    case ACCEPTED_SELECT:
        virtio->accepted_select = value;
        break;
    case ACCEPTED:
        virtio_accept_word(virtio, value);
        break;
    case CHANGED_VECTOR:
        virtio->changed_vector = virtio_known_vector(virtio, value);
        break;
    case STATUS:
        virtio_set_status(virtio, (uint8_t)value);
        break;
    case QUEUE_SELECT:
        virtio->queue_select = value;
        break;
    case FEATURES:
    case QUEUE_COUNT:
    case GENERATION:
        break;
    default:
        write_queue(virtio, offset, value);
        break;
    }
}

/* How wide the field at `offset` is; 0: there is none. */
static uint32_t width_of(uint64_t offset)
{
    if (offset == STATUS || offset == GENERATION) {
        return 1;
    }
    if (offset >= COMMON_SIZE) {
        return 0;
    }
    if (offset < CHANGED_VECTOR || (offset >= QUEUE_DESCRIPTORS && offset < QUEUE_NOTIFY_DATA)) {
        return offset % 4 == 0 ? 4 : 0;
    }
    return offset % 2 == 0 ? 2 : 0;
}

/* 4.1.3.1: fields are accessed in their width; those of 64 bits also as two of 32. */
static uint64_t common(struct virtio *virtio, uint64_t offset, uint32_t size, uint64_t value,
                       bool is_write)
{
    bool is_wide =
        size == 8 && offset >= QUEUE_DESCRIPTORS && offset < QUEUE_NOTIFY_DATA && offset % 8 == 0;

    if (is_wide) {
        return common(virtio, offset, HALF, (uint32_t)value, is_write) |
               common(virtio, offset + HALF, HALF, value >> 32, is_write) << 32;
    }
    if (width_of(offset) != size) {
        return 0;
    }
    if (is_write) {
        write_common(virtio, offset, (uint32_t)value);
        return 0;
    }
    return read_common(virtio, offset);
}

uint64_t virtio_pci_read(struct virtio *virtio, uint64_t offset, uint32_t size)
{
    switch (offset / STRUCTURE_SIZE * STRUCTURE_SIZE) {
    case COMMON_AT:
        return common(virtio, offset - COMMON_AT, size, 0, false);
    case ISR_AT:
        return offset == ISR_AT ? virtio_take_interrupts(virtio) : 0;
    case DEVICE_AT:
        return virtio_config_read(virtio, offset - DEVICE_AT, size);
    default:
        return 0;
    }
}

void virtio_pci_write(struct virtio *virtio, uint64_t offset, uint32_t size, uint64_t value)
{
    switch (offset / STRUCTURE_SIZE * STRUCTURE_SIZE) {
    case COMMON_AT:
        (void)common(virtio, offset - COMMON_AT, size, value, true);
        break;
    case DEVICE_AT:
        virtio_config_write(virtio, offset - DEVICE_AT, size, value);
        break;
    case NOTIFY_AT: /* through the capability alone: from the BAR it is a doorbell */
        if ((offset - NOTIFY_AT) / NOTIFY_STEP < virtio->type->queue_count) {
            virtio->host->ring(virtio->slot, (uint32_t)((offset - NOTIFY_AT) / NOTIFY_STEP));
        }
        break;
    default:
        break;
    }
}

/* Whether the data field leads somewhere: 4.1.4.9.2. */
static bool has_target(const struct virtio *virtio)
{
    uint32_t length = virtio->access_length;

    return virtio->access_bar == structures_bar(virtio) &&
           (length == 1 || length == 2 || length == 4) && virtio->access_offset % length == 0 &&
           virtio->access_offset < BAR_SIZE;
}

uint32_t virtio_config_cap_read(void *device, uint32_t cap, uint32_t offset, uint32_t size)
{
    struct virtio *virtio = device;
    uint8_t bytes[CAP_LONGER + 8] = {CAP_ID, 0, CAP_LONGER, CAP_ACCESS};
    uint32_t value = 0;

    if (cap != virtio->access_cap || offset >= CAP_LONGER || size > sizeof(value)) {
        return 0;
    }
    bytes[ACCESS_BAR] = virtio->access_bar;
    memcpy(bytes + ACCESS_OFFSET, &virtio->access_offset, 4);
    memcpy(bytes + ACCESS_LENGTH, &virtio->access_length, 4);
    if (offset + size > ACCESS_DATA && has_target(virtio)) {
        uint32_t data =
            (uint32_t)virtio_pci_read(virtio, virtio->access_offset, virtio->access_length);

        memcpy(bytes + ACCESS_DATA, &data, 4);
    }
    memcpy(&value, bytes + offset, size);
    return value;
}

static void put(uint32_t *field, uint32_t at, uint32_t size, uint32_t value)
{
    memcpy((uint8_t *)field + at, &value, size <= 4 - at ? size : 4 - at);
}

void virtio_config_cap_write(void *device, uint32_t cap, uint32_t offset, uint32_t size,
                             uint32_t value)
{
    struct virtio *virtio = device;

    if (cap != virtio->access_cap || size > sizeof(value)) {
        return;
    }
    if (offset == ACCESS_BAR) {
        virtio->access_bar = (uint8_t)value;
    } else if (offset >= ACCESS_OFFSET && offset < ACCESS_LENGTH) {
        put(&virtio->access_offset, offset - ACCESS_OFFSET, size, value);
    } else if (offset >= ACCESS_LENGTH && offset < ACCESS_DATA) {
        put(&virtio->access_length, offset - ACCESS_LENGTH, size, value);
    } else if (offset == ACCESS_DATA && has_target(virtio)) {
        virtio_pci_write(virtio, virtio->access_offset, virtio->access_length, value);
    }
}
