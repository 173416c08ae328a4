/* The legacy interface, rule by rule: virtio 1.2, the parts of that name, 4.1.4.10 and 4.2.4. */
#include "tests/unit/virtio_net_unit.h"

extern const struct vdev_module *const vdev_virtio_console_module;
extern const struct vdev_module *const vdev_virtio_entropy_module;

/* 4.1.4.10, BAR 0 */
enum {
    P_FEATURES = 0,
    P_ACCEPTED = 4,
    P_PAGE = 8,
    P_SIZE = 12,
    P_SELECT = 14,
    P_NOTIFY = 16,
    P_STATUS = 18,
    P_ISR = 19,
    P_CONFIG = 20,
    P_CHANGED_VECTOR = 20,
    P_QUEUE_VECTOR = 22,
    P_CONFIG_WITH_VECTORS = 24,
};
/* 4.2.4 */
enum { M_PAGE_SIZE = 0x28, M_SIZE = 0x38, M_ALIGNMENT = 0x3c, M_PAGE = 0x40 };

enum { ANY_LAYOUT = 27, PAGE = 4096, WHOLE = 64, CARD = 256, PORTS = 1, MAX_PORTS = 4 };
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };

static uint32_t row_of(const struct vdev_module *module, const char *name)
{
    uint32_t row = 0;

    while (strcmp(module->options[row].name, name) != 0) {
        row++; /* it has one */
    }
    return row;
}

static void create_legacy(const struct vdev_module *module)
{
    struct vdev_value value = {.option = row_of(module, "legacy"), .boolean = true};

    slot.has_network = true;
    ck_assert_int_eq(create(module, &value, 1), 0);
}

static void create_transitional(const struct vdev_module *module)
{
    struct vdev_value value = {.option = row_of(module, "legacy"), .boolean = true};
    struct vdev_config config = {.place = VDEV_PLACE_PCI,
                                 .intr_count = 1,
                                 .intrs = {QVM_VDEV_NO_INTR},
                                 .values = &value,
                                 .value_count = 1};

    slot.has_network = true;
    ring_memory(&slot);
    ck_assert_int_eq(fake_slot_build(&slot, module, &config), 0);
    memset(bytes, 9, sizeof(bytes));
    memset(bytes, 0, HEADER);
}

static uint32_t pget(uint64_t at, uint32_t size)
{
    return (uint32_t)slot.module->ops->read(slot.device, PORTS, at, size);
}

static void pset(uint64_t at, uint32_t size, uint32_t value)
{
    fake_slot_write(&slot, PORTS, at, size, value);
    fake_slot_run(&slot);
}

/* Where the parts of a queue of `size` are, if used elements begin at such an address (2.7.2). */
static void place(uint32_t queue, uint16_t size, uint64_t at, uint64_t alignment)
{
    (void)ring_place(&rings[queue], &slot, size, at);
    rings[queue].used =
        (rings[queue].available + 6 + UINT64_C(2) * size + alignment - 1) / alignment * alignment;
}

static uint64_t queue_at(uint32_t queue)
{
    return RING_MEMORY_START + (uint64_t)queue * 0x4000;
}

/* As a driver of that time, up to DRIVER_OK, which it says later, or never. */
static void drive_ports(uint32_t features, uint16_t size)
{
    pset(P_STATUS, 1, 0);
    pset(P_STATUS, 1, ACKNOWLEDGE);
    pset(P_STATUS, 1, ACKNOWLEDGE | DRIVER);
    pset(P_ACCEPTED, 4, features);
    for (uint32_t i = 0; i < 2; i++) {
        place(i, size, queue_at(i), PAGE);
        pset(P_SELECT, 2, i);
        ck_assert_uint_eq(pget(P_SIZE, 2), size);
        pset(P_PAGE, 4, (uint32_t)(queue_at(i) / PAGE));
        ck_assert_uint_eq(pget(P_PAGE, 4), queue_at(i) / PAGE);
    }
}

static void offer(uint32_t queue, uint64_t at, uint32_t size, unsigned flags)
{
    ring_describe(&rings[queue], 0, at, size, flags, 0);
    ring_offer(&rings[queue], 0);
    pset(P_NOTIFY, 2, queue);
}

#define BUFFER (RING_MEMORY_START + 0x8000)

START_TEST(ids_are_those_of_a_transitional_device_4_1_2_3)
{
    create_transitional(vdev_virtio_console_module);
    ck_assert_uint_eq(slot.function.device, 0x1003);
    ck_assert_uint_eq(slot.function.revision, 0);
    ck_assert_uint_eq(slot.function.subsystem, 3);
    ck_assert_uint_eq(slot.function.bar_count, 2);
    for (uint32_t i = 0; i < slot.function.bar_count; i++) {
        bool is_ports = slot.function.bars[i].index == 0; /* 4.1.4.10 */

        ck_assert_int_eq(slot.function.bars[i].space, is_ports ? VDEV_SPACE_IO : VDEV_SPACE_MEMORY);
        ck_assert(!is_ports || slot.function.bars[i].size >= P_CONFIG_WITH_VECTORS + 12);
    }
    ck_assert_uint_eq(slot.caps[0][2], 2); /* the BAR of the structures */
    fake_slot_destroy(&slot);
    create_transitional(vdev_virtio_net_module);
    ck_assert_uint_eq(slot.function.device, 0x1000);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_queue_is_used_before_the_driver_is_ready_3_1_2)
{
    uint32_t id, size;

    create_transitional(vdev_virtio_console_module);
    drive_ports(0, WHOLE);
    memcpy(memory(BUFFER), "hello", 5);
    offer(TRANSMIT, BUFFER, 5, 0);
    ck_assert_uint_eq(slot.sent_count, 5);
    ck_assert(ring_take(&rings[TRANSMIT], &id, &size));
    pset(P_STATUS, 1, ACKNOWLEDGE | DRIVER | DRIVER_OK);
    ck_assert_uint_eq(pget(P_STATUS, 1), ACKNOWLEDGE | DRIVER | DRIVER_OK);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(reading_the_isr_acknowledges_4_1_4_10)
{
    create_transitional(vdev_virtio_console_module);
    drive_ports(0, WHOLE);
    offer(TRANSMIT, BUFFER, 5, 0);
    ck_assert(slot.is_high);
    ck_assert_uint_eq(pget(P_ISR, 1), 1);
    ck_assert(!slot.is_high);
    ck_assert_uint_eq(pget(P_ISR, 1), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(features_have_32_bits_and_need_no_consent_3_1_2)
{
    create_transitional(vdev_virtio_console_module);
    ck_assert_uint_ne(pget(P_FEATURES, 4) & FEATURE(ANY_LAYOUT), 0);
    pset(P_STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    ck_assert_uint_eq(pget(P_STATUS, 1), ACKNOWLEDGE | DRIVER); /* there was no such bit */
    pset(P_ACCEPTED, 4, 1);
    ck_assert_uint_eq(pget(P_ACCEPTED, 4), 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(vectors_move_the_configuration_4_1_4_10)
{
    create_transitional(vdev_virtio_console_module);
    ck_assert_uint_eq(pget(P_CONFIG + MAX_PORTS, 4), 1);
    slot.has_messages = true;
    ck_assert_uint_eq(pget(P_CONFIG_WITH_VECTORS + MAX_PORTS, 4), 1);
    drive_ports(0, WHOLE);
    pset(P_CHANGED_VECTOR, 2, 3); /* it has three */
    ck_assert_uint_eq(pget(P_CHANGED_VECTOR, 2), 0xffff);
    pset(P_SELECT, 2, TRANSMIT);
    pset(P_QUEUE_VECTOR, 2, 2);
    ck_assert_uint_eq(pget(P_QUEUE_VECTOR, 2), 2);
    offer(TRANSMIT, BUFFER, 5, 0);
    ck_assert_uint_eq(slot.messages[2], 1);
    ck_assert(!slot.is_high);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(page_0_gives_a_queue_back_4_1_4_10)
{
    create_transitional(vdev_virtio_console_module);
    drive_ports(0, WHOLE);
    pset(P_SELECT, 2, TRANSMIT);
    pset(P_PAGE, 4, 0);
    ck_assert_uint_eq(pget(P_PAGE, 4), 0);
    offer(TRANSMIT, BUFFER, 5, 0);
    ck_assert_uint_eq(slot.sent_count, 0);
    pset(P_STATUS, 1, 0);
    pset(P_SELECT, 2, RECEIVE);
    ck_assert_uint_eq(pget(P_PAGE, 4), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_queue_outside_ram_is_refused)
{
    create_transitional(vdev_virtio_console_module);
    pset(P_STATUS, 1, ACKNOWLEDGE | DRIVER);
    pset(P_SELECT, 2, 7); /* there is none */
    pset(P_PAGE, 4, 0x10);
    ck_assert_uint_eq(pget(P_PAGE, 4), 0);
    pset(P_SELECT, 2, 0);
    pset(P_PAGE, 4, UINT32_MAX);
    pset(P_NOTIFY, 2, 0);
    ck_assert_uint_ne(pget(P_STATUS, 1) & 0x40, 0);
    pset(P_STATUS, 1, 0);
    ck_assert_uint_eq(pget(P_STATUS, 1), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(each_kind_of_driver_has_the_device_until_a_reset)
{
    enum { C_ACCEPTED = 12, C_STATUS = 20 };

    create_transitional(vdev_virtio_console_module);
    drive_ports(1, WHOLE);
    fake_slot_write(&slot, 0, C_ACCEPTED, 4, 0);
    ck_assert_uint_eq(pget(P_ACCEPTED, 4), 1);
    fake_slot_write(&slot, 0, C_STATUS, 1, 0);
    ck_assert_uint_eq(pget(P_STATUS, 1), 0);
    fake_slot_write(&slot, 0, 8, 4, 1);
    fake_slot_write(&slot, 0, C_ACCEPTED, 4, 1); /* F_VERSION_1 */
    fake_slot_write(&slot, 0, C_STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    ck_assert_uint_eq(pget(P_STATUS, 1), ACKNOWLEDGE | DRIVER | FEATURES_OK);
    pset(P_SELECT, 2, 0);
    pset(P_PAGE, 4, (uint32_t)(queue_at(0) / PAGE));
    ck_assert_uint_eq(pget(P_PAGE, 4), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_header_of_a_frame_has_no_num_buffers_without_merging_5_1_6_1)
{
    enum { SHORT_HEADER = 10 };

    create_transitional(vdev_virtio_net_module);
    drive_ports(0, CARD);
    memset(memory(BUFFER), 0, SHORT_HEADER);
    memset(memory(BUFFER + SHORT_HEADER), 7, SIZE);
    offer(TRANSMIT, BUFFER, SHORT_HEADER + SIZE, 0);
    ck_assert_uint_eq(slot.out_count, 1);
    ck_assert_uint_eq(slot.out[0].size, HEADER + SIZE);
    ck_assert_uint_eq(slot.out[0].bytes[HEADER], 7);
    offer(RECEIVE, BUFFER, 1526, RING_WRITE);
    fake_slot_frame(&slot, bytes, HEADER + SIZE);
    expect_used(RECEIVE, 0, SHORT_HEADER + SIZE);
    ck_assert_uint_eq(*memory(BUFFER + SHORT_HEADER), 9);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(with_merging_it_has_them_5_1_6_1)
{
    create_transitional(vdev_virtio_net_module);
    drive_ports(1u << 15, CARD);
    offer(RECEIVE, BUFFER, 1526, RING_WRITE);
    fake_slot_frame(&slot, bytes, HEADER + SIZE);
    expect_used(RECEIVE, 0, HEADER + SIZE);
    ck_assert_uint_eq(*memory(BUFFER + HEADER - 2), 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_address_of_a_card_is_written_in_its_configuration_5_1_4_3)
{
    create_transitional(vdev_virtio_net_module);
    pset(P_STATUS, 1, ACKNOWLEDGE | DRIVER);
    for (uint32_t i = 0; i < 6; i++) {
        pset(P_CONFIG + i, 1, i == 0 ? 2 : i);
    }
    expect_state("mac=02:01:02:03:04:05");
    pset(P_CONFIG, 1, 1); /* a group's */
    expect_state("mac=02:01:02:03:04:05");
    fake_slot_destroy(&slot);
}
END_TEST

/* ---- MMIO, 4.2.4 ---- */

static void drive_mmio(uint32_t alignment)
{
    set(0x70, 0);
    set(0x70, ACKNOWLEDGE | DRIVER);
    set(0x24, 0);
    set(0x20, 0);
    set(0x24, 1);
    set(0x20, 0);
    set(M_PAGE_SIZE, PAGE);
    for (uint32_t i = 0; i < 2; i++) {
        place(i, QUEUE_SIZE, queue_at(i), alignment);
        set(0x30, i);
        set(M_SIZE, QUEUE_SIZE);
        set(M_ALIGNMENT, alignment);
        set(M_PAGE, (uint32_t)(queue_at(i) / PAGE));
    }
    set(0x70, ACKNOWLEDGE | DRIVER | DRIVER_OK);
    fake_slot_run(&slot);
}

START_TEST(version_1_has_pages_and_32_features_4_2_4)
{
    uint32_t id, size;

    create_legacy(vdev_virtio_console_module);
    ck_assert_uint_eq(get(0x04), 1);
    set(0x14, 1);
    ck_assert_uint_eq(get(0x10), 0);
    set(0x14, 0);
    ck_assert_uint_ne(get(0x10) & FEATURE(ANY_LAYOUT), 0);
    drive_mmio(PAGE);
    ck_assert_uint_eq(get(M_PAGE), queue_at(1) / PAGE);
    memcpy(memory(BUFFER), "hello", 5);
    ring_describe(&rings[TRANSMIT], 0, BUFFER, 5, 0, 0);
    ring_offer(&rings[TRANSMIT], 0);
    kick(TRANSMIT);
    ck_assert_uint_eq(slot.sent_count, 5);
    ck_assert(ring_take(&rings[TRANSMIT], &id, &size));
    ck_assert_uint_eq(get(0x60), 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(used_elements_are_aligned_as_the_driver_says_4_2_4)
{
    uint32_t id, size;

    create_legacy(vdev_virtio_entropy_module);
    drive_mmio(64);
    ring_describe(&rings[0], 0, BUFFER, 8, RING_WRITE, 0);
    ring_offer(&rings[0], 0);
    kick(0);
    ck_assert(ring_take(&rings[0], &id, &size));
    ck_assert_uint_eq(size, 8);
    drive_mmio(96); /* no power of two */
    ck_assert(needs_reset());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(registers_of_version_2_do_nothing_there)
{
    create_legacy(vdev_virtio_console_module);
    set(0x70, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    ck_assert_uint_eq(get(0x70), ACKNOWLEDGE | DRIVER);
    set(0x30, 0);
    set(0x80, RING_MEMORY_START);
    set(0x44, 1);
    ck_assert_uint_eq(get(0x44), 0);
    ck_assert_uint_eq(get(M_PAGE), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_legacy_driver_goes_on_after_a_restore)
{
    struct fields_writer saved = {0};

    create_transitional(vdev_virtio_console_module);
    drive_ports(1, WHOLE);
    pset(P_STATUS, 1, ACKNOWLEDGE | DRIVER | DRIVER_OK);
    ck_assert_int_eq(fake_slot_save(&slot, &saved), 0);
    fake_slot_reset(&slot);
    ck_assert_int_eq(fake_slot_restore(&slot, saved.bytes, saved.size), 0);
    ck_assert_uint_eq(pget(P_STATUS, 1), ACKNOWLEDGE | DRIVER | DRIVER_OK);
    offer(TRANSMIT, BUFFER, 5, 0);
    ck_assert_uint_eq(slot.sent_count, 5);
    fields_discard(&saved);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("virtio_legacy", ids_are_those_of_a_transitional_device_4_1_2_3,
          a_queue_is_used_before_the_driver_is_ready_3_1_2, reading_the_isr_acknowledges_4_1_4_10,
          features_have_32_bits_and_need_no_consent_3_1_2, vectors_move_the_configuration_4_1_4_10,
          page_0_gives_a_queue_back_4_1_4_10, a_queue_outside_ram_is_refused,
          each_kind_of_driver_has_the_device_until_a_reset,
          the_header_of_a_frame_has_no_num_buffers_without_merging_5_1_6_1,
          with_merging_it_has_them_5_1_6_1,
          the_address_of_a_card_is_written_in_its_configuration_5_1_4_3,
          version_1_has_pages_and_32_features_4_2_4,
          used_elements_are_aligned_as_the_driver_says_4_2_4,
          registers_of_version_2_do_nothing_there, a_legacy_driver_goes_on_after_a_restore)
