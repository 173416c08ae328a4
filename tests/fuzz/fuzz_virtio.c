/* Every virtio device, over MMIO and over PCI, under a driver that writes whatever it likes into
 * registers, rings and buffers, at any time. The device is brought up first, so that nonsense goes
 * deep; what the memory of the guest is, AddressSanitizer watches. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/packed_ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define VDEV(name) extern const struct vdev_module *const vdev_##name##_module;
#include "virtio_vdevs.inc"
#undef VDEV

enum { QUEUE_SIZE = 16, QUEUES = 6, STEP = 8, QUEUE_SPACE = 0x1000 };
/* Flags of the input's second byte. */
enum { ON_PCI = 8, READ_ONLY = 4, PACKED = 16, QUEUES_TWICE = 32, NOTIFIED = 64, LEGACY = 128 };

/* 4.1.4.10: the registers of a legacy driver over PCI. */
enum { PORTS_REGION = 1, PORTS_SIZE = 64, PORTS_PAGE = 8, PORTS_SELECT = 14 };

/* 4.2.2, and where 4.1.4.3 has the same (the structures lie in BAR 0, a page each). */
static const struct field {
    uint32_t mmio, pci, size;
} fields[] = {
    {0x10, 4, 4},  {0x14, 0, 4},  {0x20, 12, 4}, {0x24, 8, 4},  {0x30, 22, 2}, {0x38, 24, 2},
    {0x44, 28, 2}, {0x70, 20, 1}, {0x80, 32, 4}, {0x90, 40, 4}, {0xa0, 48, 4},
};

enum { NOTIFY = 0x50, NOTIFY_AT = 0x3000, NOTIFY_STEP = 4, CONFIG = 0x100, CONFIG_AT = 0x2000 };

static struct vdev_slot slot;
static bool is_pci, has_ports, has_legacy;
static struct packed_ring packed[QUEUES]; /* where the driver is */

static const struct field *find_field(uint64_t at)
{
    const struct field *field = fields;

    while (field->mmio != at) {
        field++; /* it is one of them */
    }
    return field;
}

/* One of the registers above. */
static void set(uint64_t at, uint32_t value)
{
    if (!is_pci) {
        fake_slot_write(&slot, 0, at, 4, value);
    } else if (at == NOTIFY) {
        fake_slot_write(&slot, 0, NOTIFY_AT + value % QUEUES * NOTIFY_STEP, 2, value);
    } else {
        fake_slot_write(&slot, 0, find_field(at)->pci, find_field(at)->size, value);
    }
}

static uint32_t get_features(void)
{
    return (uint32_t)slot.module->ops->read(slot.device, 0, is_pci ? 4 : 0x10, 4);
}

/* 3.1.1, with all features that are offered but one bit of the input's. */
static void bring_up(uint8_t flags)
{
    static const uint32_t statuses[] = {0, 1, 3, 11};
    struct ring ring;

    for (unsigned i = 0; i < 2; i++) {
        set(0x14, i);
        set(0x24, i);
        set(0x20, get_features() & ~(i == 0 ? (uint32_t)(flags & 3) << 28 : 0));
    }
    for (unsigned i = 0; i < 4; i++) {
        if (i > 0) { /* a reset would forget the features */
            set(0x70, statuses[i]);
        }
    }
    for (uint32_t i = 0; i < QUEUES; i++) {
        (void)ring_place(&ring, &slot, QUEUE_SIZE, RING_MEMORY_START + i * QUEUE_SPACE);
        set(0x30, i);
        set(0x38, QUEUE_SIZE);
        set(0x80, (uint32_t)ring.table);
        set(0x90, (uint32_t)ring.available);
        set(0xa0, (uint32_t)ring.used);
        set(0x44, 1);
        if (!is_pci) { /* 4.2.4: the same place, in the words of version 1 */
            fake_slot_write(&slot, 0, 0x3c, 4, 4);
            fake_slot_write(&slot, 0, 0x40, 4, (uint32_t)(ring.table / QUEUE_SPACE));
        }
        (void)packed_ring_place(&packed[i], &slot, QUEUE_SIZE, ring.table); /* in its table */
    }
    set(0x70, 15);
    fake_slot_run(&slot);
}

/* Any register, in any width. */
static void access_register(const uint8_t *step)
{
    uint32_t size = 1u << (step[1] >> 6);
    uint64_t at = is_pci ? (step[2] & 0x3fu) | (step[1] & 3u) << 12 : (step[1] & 0x7fu) * 4u;
    uint64_t value;

    if (!is_pci) {
        size = 4;
    }
    memcpy(&value, step, sizeof(value));
    at -= at % size;
    fake_slot_write(&slot, 0, at, size, value >> 24);
    (void)slot.module->ops->read(slot.device, 0, at, size);
}

/* The same of a legacy driver; now and then where a queue may be. */
static void access_ports(const uint8_t *step)
{
    uint32_t size = 1u << step[1] % 3, value;
    uint64_t at = step[2] % PORTS_SIZE;

    memcpy(&value, step + 3, sizeof(value));
    if (!has_legacy || !is_pci) {
        return;
    }
    at -= at % size;
    if ((step[7] & 1) != 0) {
        fake_slot_write(&slot, PORTS_REGION, PORTS_SELECT, 2, step[3] % (QUEUES + 1));
        fake_slot_write(&slot, PORTS_REGION, PORTS_PAGE, 4,
                        RING_MEMORY_START / 4096 + step[4] % 32);
    }
    fake_slot_write(&slot, PORTS_REGION, at, size, value);
    (void)slot.module->ops->read(slot.device, PORTS_REGION, at, size);
}

/* The capability that reaches into the BARs (4.1.4.9); messages are switched on and off. */
static void access_configuration(const uint8_t *step)
{
    uint32_t value, size = 1u << step[1] % 3;

    memcpy(&value, step + 3, sizeof(value));
    if (is_pci) {
        slot.module->ops->config_write(slot.device, step[1] >> 4, step[2] % 24, size, value);
        (void)slot.module->ops->config_read(slot.device, step[1] >> 4, step[2] % 24, size);
        slot.has_messages = (step[7] & 1) != 0;
    }
}

static void end_transfers(const uint8_t *step)
{
    while (slot.io_count > 0 && (step[1] & 1) == 0) {
        fake_slot_end_io(&slot, step[2] % slot.io_count, (step[1] & 2) != 0 ? -5 : 0);
    }
}

static void write_memory(const uint8_t *step)
{
    uint64_t at = RING_MEMORY_START + (step[1] | (uint64_t)step[2] << 8);

    (void)fake_slot_services.memory_write(&slot, at, step + 3, STEP - 3);
}

/* A descriptor, and its number offered. */
static void offer(const uint8_t *step)
{
    struct ring ring;
    uint32_t queue = step[1] % QUEUES;
    uint64_t address =
        RING_MEMORY_START + QUEUES * QUEUE_SPACE + (step[3] | (uint64_t)step[4] << 8);

    (void)ring_place(&ring, &slot, QUEUE_SIZE, RING_MEMORY_START + queue * QUEUE_SPACE);
    ring_describe(&ring, step[2] % QUEUE_SIZE, address, step[5] | (step[6] & 3u) << 8,
                  step[6] >> 2 & 7, step[7] % (QUEUE_SIZE + 1));
    if ((step[6] & 0x80) != 0) {
        const uint16_t *index = fake_slot_memory(&slot, ring.available + 2, 2);

        ring.next_available = *index;
        ring_offer(&ring, step[2] % QUEUE_SIZE);
        set(0x50, queue);
    }
}

/* The next descriptor of a packed ring, or one whose bits say what they like. */
static void offer_packed(const uint8_t *step)
{
    uint32_t queue = step[1] % QUEUES;
    uint64_t address =
        RING_MEMORY_START + QUEUES * QUEUE_SPACE + (step[3] | (uint64_t)step[4] << 8);
    uint32_t size = step[5] | (step[6] & 3u) << 8;

    if ((step[6] & 0x40) != 0) {
        packed_ring_put(&packed[queue], step[2] % QUEUE_SIZE, address, size, step[7],
                        (step[6] >> 2 & 7) | (step[7] & 3u) << 7 | (step[7] & 4u) << 13);
    } else {
        packed_ring_offer(&packed[queue], address, size, step[2], step[6] >> 2 & 7);
    }
    if ((step[6] & 0x80) != 0) {
        set(0x50, queue);
    }
}

/* From the network: a header of the input's, a large segment of TCP behind it, or nonsense. */
static void receive_frame(const uint8_t *step)
{
    static const uint8_t head[] = {8, 0, 0x45, 0, 1, 0, 0, 1, 0, 0, 64, 6};
    uint8_t frame[VDEV_FRAME_HEADER + 320] = {
        1, step[2], 0, 0, step[3], step[4] & 1, step[5] & 1 ? 34 : step[5], 0, 16};

    if (!slot.has_network) {
        return;
    }
    slot.frame_room = (step[1] & 0x80) != 0 ? 0 : UINT32_MAX;
    memcpy(frame + VDEV_FRAME_HEADER + 12, head, sizeof(head));
    frame[VDEV_FRAME_HEADER + 34 + 12] = step[6];
    memcpy(frame + VDEV_FRAME_HEADER + step[7] % 240u, step, (step[1] & 0x40) != 0 ? STEP : 0);
    fake_slot_queue_frame(&slot, step[7] >> 7, frame, (step[1] & 0x3fu) * 5u);
}

/* Time goes on; somebody types, points, and changes sizes. */
static void time_and_people(const uint8_t *step)
{
    fake_slot_advance(&slot, (uint64_t)step[1] * 1000000);
    if (slot.module->ops->receive != NULL) {
        (void)fake_slot_type(&slot, step, STEP);
    }
    if (has_ports && slot.module->ops->port_receive != NULL) {
        (void)slot.module->ops->port_receive(slot.device, 1, step, STEP);
        slot.module->ops->port_resize(slot.device, 1, step[2], step[3]);
        slot.module->ops->resize(slot.device, step[4], step[5]);
    }
    if (slot.module->ops->point != NULL) {
        (void)slot.module->ops->point(slot.device, step[2], step[3]);
        (void)slot.module->ops->key(slot.device, step[4], (step[5] & 1) != 0);
    }
    if (slot.module->ops->balloon != NULL) {
        (void)slot.module->ops->balloon(slot.device, (uint64_t)step[2] << step[3] % 50);
    }
}

static void take_step(const uint8_t *step)
{
    uint64_t config = (is_pci ? CONFIG_AT : CONFIG) + (step[1] & 0x7fu);

    switch (step[0] % 15) {
    case 0:
        access_register(step);
        break;
    case 1:
        (void)slot.module->ops->read(slot.device, 0, config, 1);
        slot.module->ops->write(slot.device, 0, config, 1, step[2]);
        break;
    case 2:
        write_memory(step);
        break;
    case 3:
    case 4:
    case 5:
        offer(step);
        break;
    case 6:
        end_transfers(step);
        break;
    case 7:
        time_and_people(step);
        break;
    case 8:
        (void)fake_slot_state(&slot);
        if (step[1] == 0) {
            fake_slot_reset(&slot);
            bring_up(step[2]);
        }
        break;
    case 9:
    case 10:
        offer_packed(step);
        break;
    case 11:
        access_configuration(step);
        break;
    case 12:
        receive_frame(step);
        break;
    case 13:
        access_ports(step);
        break;
    default:
        set(0x70, step[1] & 0xf);
        bring_up(step[2]);
    }
    fake_slot_run(&slot);
}

/* A value for the row of a module's options with that name, if it has one. */
static void add_value(const struct vdev_module *module, const char *name, struct vdev_value *values,
                      uint32_t *count, struct vdev_value value)
{
    for (uint32_t i = 0; module->options[i].name != NULL; i++) {
        if (strcmp(module->options[i].name, name) == 0) {
            value.option = i;
            values[(*count)++] = value;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
#define VDEV(name) vdev_##name##_module,
    const struct vdev_module *const modules[] = {
#include "virtio_vdevs.inc"
    };
#undef VDEV
    struct vdev_region region = {VDEV_SPACE_MEMORY, 0xfeb00000, 512};
    struct vdev_config config = {
        .regions = &region, .region_count = 1, .intr_count = 1, .intrs = {16}};
    const struct vdev_module *module;
    uint32_t count;
    struct vdev_value values[6];

    if (size < 2) {
        return 0;
    }
    module = modules[data[0] % (sizeof(modules) / sizeof(modules[0]))];
    add_value(module, "packed", values, &config.value_count,
              (struct vdev_value){.boolean = (data[1] & PACKED) != 0});
    add_value(module, "notification-data", values, &config.value_count,
              (struct vdev_value){.boolean = (data[1] & NOTIFIED) != 0});
    add_value(module, "queues", values, &config.value_count,
              (struct vdev_value){.number = {(data[1] & QUEUES_TWICE) != 0 ? 2 : 1}});
    has_ports = (data[1] & QUEUES_TWICE) != 0;
    if (has_ports) { /* a console's: QUEUES in all */
        add_value(module, "port", values, &config.value_count,
                  (struct vdev_value){.text = "one", .number = {1}});
    }
    count = config.value_count;
    if ((data[1] & LEGACY) != 0) {
        add_value(module, "legacy", values, &config.value_count,
                  (struct vdev_value){.boolean = true});
    }
    has_legacy = config.value_count > count;
    is_pci = (data[1] & ON_PCI) != 0;
    if (is_pci) {
        config = (struct vdev_config){.place = VDEV_PLACE_PCI,
                                      .intr_count = 1,
                                      .intrs = {QVM_VDEV_NO_INTR},
                                      .value_count = config.value_count};
    }
    config.values = values;
    ring_memory(&slot);
    slot.has_image = true;
    slot.has_network = true;
    slot.image =
        (struct vdev_image){.size = 1u << 20, .block = 512, .is_read_only = data[1] & READ_ONLY};
    if (fake_slot_build(&slot, module, &config) != 0) {
        abort();
    }
    bring_up(data[1]);
    for (size_t at = 2; at + STEP <= size; at += STEP) {
        take_step(data + at);
    }
    (void)fake_slot_state(&slot);
    fake_slot_destroy(&slot);
    return 0;
}
