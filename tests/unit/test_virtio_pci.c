/* The structures of virtio over PCI, rule by rule: virtio 1.2, 4.1. */
#include "tests/unit/virtio_mmio_unit.h"

/* Where the structures are; the capabilities say so (found by set_up_pci). */
static uint32_t common_at, notify_at, isr_at, device_at, multiplier, access_cap;

/* 4.1.4.3 */
enum {
    C_FEATURES_SELECT = 0,
    C_FEATURES = 4,
    C_ACCEPTED_SELECT = 8,
    C_ACCEPTED = 12,
    C_CHANGED_VECTOR = 16,
    C_QUEUE_COUNT = 18,
    C_STATUS = 20,
    C_GENERATION = 21,
    C_QUEUE_SELECT = 22,
    C_QUEUE_SIZE = 24,
    C_QUEUE_VECTOR = 26,
    C_QUEUE_ENABLE = 28,
    C_QUEUE_NOTIFY_OFF = 30,
    C_QUEUE_TABLE = 32,
    C_QUEUE_DRIVER = 40,
    C_QUEUE_DEVICE = 48,
    C_QUEUE_RESET = 58,
};

enum { NO_VECTOR = 0xffff };

static uint32_t cap_word(uint32_t cap, uint32_t at)
{
    uint32_t value;

    memcpy(&value, slot.caps[cap] + at, 4);
    return value;
}

static void set_up_pci(void)
{
    struct vdev_config config = {.place = VDEV_PLACE_PCI,
                                 .intr_count = 1,
                                 .intrs = {QVM_VDEV_NO_INTR},
                                 .values = &notified,
                                 .value_count = 1};

    ring_memory(&slot);
    ck_assert_int_eq(fake_slot_build(&slot, &module, &config), 0);
    for (uint32_t i = 0; i < slot.function.cap_count; i++) {
        uint32_t offset = cap_word(i, 6);

        switch (slot.caps[i][1]) {
        case 1:
            common_at = offset;
            break;
        case 2:
            notify_at = offset;
            multiplier = cap_word(i, 14);
            break;
        case 3:
            isr_at = offset;
            break;
        case 4:
            device_at = offset;
            break;
        default:
            access_cap = i;
        }
    }
}

static uint64_t cget(uint32_t at, uint32_t size)
{
    return ops.read(made_up, 0, common_at + at, size);
}

static void cset(uint32_t at, uint32_t size, uint64_t value)
{
    fake_slot_write(&slot, 0, common_at + at, size, value);
}

static void tell_queue_pci(uint16_t i, uint16_t size, uint64_t at)
{
    (void)ring_place(&rings[i], &slot, size, at);
    cset(C_QUEUE_SELECT, 2, i);
    cset(C_QUEUE_SIZE, 2, size);
    cset(C_QUEUE_TABLE, 8, rings[i].table);
    cset(C_QUEUE_DRIVER, 4, (uint32_t)rings[i].available);
    cset(C_QUEUE_DRIVER + 4, 4, rings[i].available >> 32);
    cset(C_QUEUE_DEVICE, 8, rings[i].used);
}

static void drive_pci(uint64_t features)
{
    cset(C_STATUS, 1, 0);
    cset(C_STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    cset(C_ACCEPTED_SELECT, 4, 0);
    cset(C_ACCEPTED, 4, (uint32_t)features);
    cset(C_ACCEPTED_SELECT, 4, 1);
    cset(C_ACCEPTED, 4, features >> 32);
    cset(C_STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    tell_queue_pci(0, SIZE_0, RING_MEMORY_START);
    cset(C_QUEUE_VECTOR, 2, 1);
    cset(C_QUEUE_ENABLE, 2, 1);
    cset(C_CHANGED_VECTOR, 2, 0);
    cset(C_STATUS, 1, ALL_SET);
    fake_slot_run(&slot);
}

START_TEST(ids_and_revision_are_those_of_a_device_without_legacy_4_1_2_1)
{
    set_up_pci();
    ck_assert_uint_eq(slot.function.vendor, 0x1af4);
    ck_assert_uint_eq(slot.function.device, 0x1040 + 42);
    ck_assert_uint_ge(slot.function.revision, 1);
    ck_assert_uint_ge(slot.function.subsystem, 0x40);
    ck_assert(slot.function.has_intx);
    ck_assert_uint_eq(slot.function.vector_count, 3);
}
END_TEST

START_TEST(each_structure_has_its_capability_4_1_4)
{
    unsigned seen = 0;

    set_up_pci();
    for (uint32_t i = 0; i < slot.function.cap_count; i++) {
        const struct vdev_cap *cap = &slot.cap_rows[i];
        uint32_t offset = cap_word(i, 6), length = cap_word(i, 10);

        ck_assert_uint_eq(cap->id, 0x09);
        ck_assert_uint_eq(slot.caps[i][0], cap->size + 2u);
        seen |= 1u << slot.caps[i][1];
        ck_assert_uint_eq(slot.caps[i][2], 0); /* the BAR */
        ck_assert_uint_eq(offset % 4, 0);
        ck_assert_uint_le(offset + length, slot.bar_rows[0].size);
    }
    ck_assert_uint_eq(seen, 0x3e); /* common, notify, ISR, device, access */
    ck_assert_uint_eq(multiplier % 2, 0);
    ck_assert(slot.cap_rows[access_cap].is_live);
}
END_TEST

START_TEST(structures_are_aligned_and_long_enough_4_1_4_3_1_4_1_4_4_1_4_1_4_6_1)
{
    uint32_t notify_length = 0, common_length = 0;

    set_up_pci();
    for (uint32_t i = 0; i < slot.function.cap_count; i++) {
        notify_length = slot.caps[i][1] == 2 ? cap_word(i, 10) : notify_length;
        common_length = slot.caps[i][1] == 1 ? cap_word(i, 10) : common_length;
    }
    ck_assert_uint_ge(common_length, C_QUEUE_RESET + 2);
    ck_assert_uint_eq(common_at % 4, 0);
    ck_assert_uint_eq(device_at % 4, 0);
    ck_assert_uint_eq(notify_at % 4, 0); /* as with notification data */
    ck_assert_uint_eq(multiplier & (multiplier - 1), 0);
    for (uint32_t queue = 0; queue < 2; queue++) {
        cset(C_QUEUE_SELECT, 2, queue);
        ck_assert_uint_ge(notify_length, cget(C_QUEUE_NOTIFY_OFF, 2) * multiplier + 4);
    }
}
END_TEST

START_TEST(queue_count_and_sizes_are_told_4_1_4_3_1)
{
    set_up_pci();
    ck_assert_uint_eq(cget(C_QUEUE_COUNT, 2), 2);
    cset(C_QUEUE_SELECT, 2, 1);
    ck_assert_uint_eq(cget(C_QUEUE_SIZE, 2), SIZE_1);
    cset(C_QUEUE_SELECT, 2, 2);
    ck_assert_uint_eq(cget(C_QUEUE_SIZE, 2), 0); /* there is none */
    cset(C_QUEUE_SELECT, 2, 0xffff);
    ck_assert_uint_eq(cget(C_QUEUE_SIZE, 2), 0);
}
END_TEST

START_TEST(feature_words_from_the_third_on_read_0_4_1_4_3_1)
{
    set_up_pci();
    cset(C_FEATURES_SELECT, 4, 1);
    ck_assert_uint_ne(cget(C_FEATURES, 4) & 1, 0);
    for (uint32_t select = 2; select != 0; select *= 2) {
        cset(C_FEATURES_SELECT, 4, select);
        ck_assert_uint_eq(cget(C_FEATURES, 4), 0);
    }
}
END_TEST

START_TEST(what_the_driver_accepted_is_read_back_4_1_4_3_1)
{
    set_up_pci();
    cset(C_ACCEPTED_SELECT, 4, 0);
    cset(C_ACCEPTED, 4, 1u << FEATURE);
    ck_assert_uint_eq(cget(C_ACCEPTED, 4), 1u << FEATURE);
}
END_TEST

START_TEST(status_of_0_resets_and_reads_0_4_1_4_3_1)
{
    set_up_pci();
    drive_pci(BARE_FEATURES);
    ck_assert_uint_eq(cget(C_STATUS, 1), ALL_SET);
    cset(C_STATUS, 1, 0);
    ck_assert_uint_eq(cget(C_STATUS, 1), 0);
    cset(C_QUEUE_SELECT, 2, 0);
    ck_assert_uint_eq(cget(C_QUEUE_ENABLE, 2), 0);
    ck_assert_uint_eq(cget(C_QUEUE_RESET, 2), 0);
    ck_assert_uint_eq(cget(C_QUEUE_SIZE, 2), SIZE_0);
    ck_assert_uint_eq(cget(C_QUEUE_VECTOR, 2), NO_VECTOR); /* 4.1.5.1.2.1 */
    ck_assert_uint_eq(cget(C_CHANGED_VECTOR, 2), NO_VECTOR);
}
END_TEST

START_TEST(queue_that_is_enabled_stays_so_and_as_it_is_4_1_4_3_2)
{
    set_up_pci();
    drive_pci(BARE_FEATURES);
    cset(C_QUEUE_SELECT, 2, 0);
    cset(C_QUEUE_ENABLE, 2, 0);
    ck_assert_uint_eq(cget(C_QUEUE_ENABLE, 2), 1);
    cset(C_QUEUE_SIZE, 2, 1);
    cset(C_QUEUE_TABLE, 8, 0);
    ck_assert_uint_eq(cget(C_QUEUE_SIZE, 2), SIZE_0);
    ck_assert_uint_eq(cget(C_QUEUE_TABLE, 8), RING_MEMORY_START);
    offer_one();
    ck_assert(use_one());
}
END_TEST

START_TEST(queue_reset_is_over_when_it_was_written_4_1_4_3_1)
{
    set_up_pci();
    drive_pci(BARE_FEATURES | VIRTIO_BIT(VIRTIO_F_RING_RESET));
    cset(C_QUEUE_SELECT, 2, 0);
    cset(C_QUEUE_RESET, 2, 1);
    ck_assert_uint_eq(cget(C_QUEUE_RESET, 2), 0);
    ck_assert_uint_eq(cget(C_QUEUE_ENABLE, 2), 0);
    ck_assert_uint_eq(made_up->stop_count[0], 1);
    tell_queue_pci(0, SIZE_0, RING_MEMORY_START);
    cset(C_QUEUE_ENABLE, 2, 1);
    ck_assert_uint_eq(cget(C_QUEUE_RESET, 2), 0);
    ck_assert_uint_eq(cget(C_QUEUE_ENABLE, 2), 1);
}
END_TEST

START_TEST(fields_are_accessed_in_their_width_4_1_3_1)
{
    set_up_pci();
    cset(C_STATUS, 2, 1);
    cset(C_STATUS, 4, 1);
    ck_assert_uint_eq(cget(C_STATUS, 1), 0);
    ck_assert_uint_eq(cget(C_QUEUE_COUNT, 1), 0);
    ck_assert_uint_eq(cget(C_QUEUE_COUNT, 4), 0);
    ck_assert_uint_eq(cget(C_QUEUE_COUNT + 1, 2), 0);
    cset(C_QUEUE_TABLE, 4, 0x11223340);
    cset(C_QUEUE_TABLE + 4, 4, 0x55667788);
    ck_assert_uint_eq(cget(C_QUEUE_TABLE, 8), UINT64_C(0x5566778811223340));
    ck_assert_uint_eq(cget(C_QUEUE_TABLE, 2), 0);
}
END_TEST

START_TEST(vector_that_does_not_exist_reads_none_4_1_5_1_2_1)
{
    set_up_pci();
    cset(C_QUEUE_SELECT, 2, 1);
    ck_assert_uint_eq(cget(C_QUEUE_VECTOR, 2), NO_VECTOR);
    cset(C_QUEUE_VECTOR, 2, 2);
    ck_assert_uint_eq(cget(C_QUEUE_VECTOR, 2), 2);
    cset(C_QUEUE_VECTOR, 2, 3);
    ck_assert_uint_eq(cget(C_QUEUE_VECTOR, 2), NO_VECTOR);
    cset(C_CHANGED_VECTOR, 2, 2);
    ck_assert_uint_eq(cget(C_CHANGED_VECTOR, 2), 2);
    cset(C_CHANGED_VECTOR, 2, NO_VECTOR);
    ck_assert_uint_eq(cget(C_CHANGED_VECTOR, 2), NO_VECTOR);
}
END_TEST

START_TEST(with_messages_each_event_has_its_own_4_1_5_3)
{
    set_up_pci();
    slot.has_messages = true;
    drive_pci(BARE_FEATURES);
    offer_one();
    ck_assert(use_one());
    ck_assert_uint_eq(slot.messages[1], 1);
    ck_assert_uint_eq(slot.messages[0], 0);
    ck_assert(!slot.is_high);
    virtio_config_changed(&made_up->virtio);
    ck_assert_uint_eq(slot.messages[0], 1);
    ck_assert_uint_eq(ops.read(made_up, 0, isr_at, 1), VIRTIO_CHANGED); /* 4.1.4.5.1 */
    cset(C_QUEUE_SELECT, 2, 0);
    cset(C_QUEUE_VECTOR, 2, NO_VECTOR);
    offer_one();
    ck_assert(use_one());
    ck_assert_uint_eq(slot.messages[1], 1); /* no vector: not told */
}
END_TEST

START_TEST(any_event_goes_to_any_vector_or_to_none_4_1_5_1_2_1)
{
    set_up_pci();
    slot.has_messages = true;
    drive_pci(BARE_FEATURES);
    cset(C_QUEUE_SELECT, 2, 0);
    for (uint32_t vector = 0; vector < slot.function.vector_count; vector++) {
        uint64_t before = slot.messages[vector];

        cset(C_QUEUE_VECTOR, 2, vector);
        cset(C_CHANGED_VECTOR, 2, vector);
        ck_assert_uint_eq(cget(C_QUEUE_VECTOR, 2), vector);
        ck_assert_uint_eq(cget(C_CHANGED_VECTOR, 2), vector);
        offer_one();
        ck_assert(use_one());
        ck_assert_uint_eq(slot.messages[vector], before + 1);
        virtio_config_changed(&made_up->virtio);
        ck_assert_uint_eq(slot.messages[vector], before + 2);
    }
}
END_TEST

START_TEST(change_of_configuration_without_a_vector_is_not_told_4_1_5_4_1)
{
    set_up_pci();
    slot.has_messages = true;
    drive_pci(BARE_FEATURES);
    cset(C_CHANGED_VECTOR, 2, NO_VECTOR);
    virtio_config_changed(&made_up->virtio);
    for (uint32_t vector = 0; vector < slot.function.vector_count; vector++) {
        ck_assert_uint_eq(slot.messages[vector], 0);
    }
    ck_assert(!slot.is_high);
}
END_TEST

START_TEST(change_of_configuration_without_messages_raises_the_line_4_1_5_4_1)
{
    set_up_pci();
    drive_pci(BARE_FEATURES);
    virtio_config_changed(&made_up->virtio);
    ck_assert(slot.is_high);
    ck_assert_uint_eq(ops.read(made_up, 0, isr_at, 1), VIRTIO_CHANGED);
    ck_assert(!slot.is_high);
}
END_TEST

START_TEST(without_messages_reading_the_isr_lets_the_line_fall_4_1_4_5_1)
{
    set_up_pci();
    drive_pci(BARE_FEATURES);
    offer_one();
    ck_assert(use_one());
    ck_assert(slot.is_high);
    ck_assert_uint_eq(ops.read(made_up, 0, isr_at, 1), VIRTIO_USED);
    ck_assert(!slot.is_high);
    ck_assert_uint_eq(ops.read(made_up, 0, isr_at, 1), 0);
}
END_TEST

START_TEST(each_queue_is_notified_at_its_place_4_1_4_4)
{
    set_up_pci();
    drive_pci(BARE_FEATURES);
    made_up->kick_count[0] = 0;
    cset(C_QUEUE_SELECT, 2, 0);
    fake_slot_write(&slot, 0, notify_at + cget(C_QUEUE_NOTIFY_OFF, 2) * multiplier, 2, 0);
    ck_assert_uint_eq(made_up->kick_count[0], 1);
    ck_assert_uint_eq(made_up->kick_count[1], 0);
}
END_TEST

START_TEST(notification_with_data_goes_to_the_place_of_its_queue_4_1_5_2)
{
    notified.boolean = true;
    set_up_pci();
    drive_pci(BARE_FEATURES | VIRTIO_BIT(VIRTIO_F_NOTIFICATION_DATA));
    ck_assert(virtio_has(&made_up->virtio, VIRTIO_F_NOTIFICATION_DATA));
    tell_queue_pci(1, SIZE_1, RING_MEMORY_START + 0x1000);
    cset(C_QUEUE_ENABLE, 2, 1);
    fake_slot_run(&slot);
    made_up->kick_count[0] = made_up->kick_count[1] = 0;
    for (uint32_t queue = 0; queue < 2; queue++) {
        uint64_t at;

        cset(C_QUEUE_SELECT, 2, queue);
        at = cget(C_QUEUE_NOTIFY_OFF, 2) * multiplier;
        ck_assert_uint_eq((notify_at + at) % 4, 0); /* 4.1.4.4.1 */
        fake_slot_write(&slot, 0, notify_at + at, 4, queue | 3u << 16 | 1u << 31);
        ck_assert_uint_eq(made_up->kick_count[queue], 1);
    }
    ck_assert_uint_eq(made_up->kick_count[0], 1);
}
END_TEST

START_TEST(configuration_and_its_generation_4_1_4_3_1)
{
    uint64_t before;

    set_up_pci();
    drive_pci(BARE_FEATURES);
    before = cget(C_GENERATION, 1);
    ck_assert_uint_eq(ops.read(made_up, 0, device_at + 4, 4), 0x17161514);
    ck_assert_uint_eq(cget(C_GENERATION, 1), before);
    virtio_config_changed(&made_up->virtio);
    (void)ops.read(made_up, 0, device_at, 1);
    ck_assert_uint_ne(cget(C_GENERATION, 1), before);
}
END_TEST

/* Through the capability: `length` bytes at `offset` of BAR 0. */
static void aim(uint8_t bar, uint32_t offset, uint32_t length)
{
    ops.config_write(made_up, access_cap, 4, 1, bar);
    ops.config_write(made_up, access_cap, 8, 4, offset);
    ops.config_write(made_up, access_cap, 12, 4, length);
}

START_TEST(everything_is_reached_through_the_capability_too_4_1_4_9_1)
{
    set_up_pci();
    aim(0, common_at + C_STATUS, 1);
    ck_assert_uint_eq(ops.config_read(made_up, access_cap, 8, 4), common_at + C_STATUS);
    ops.config_write(made_up, access_cap, 16, 1, VIRTIO_ACKNOWLEDGE);
    ck_assert_uint_eq(cget(C_STATUS, 1), VIRTIO_ACKNOWLEDGE);
    ck_assert_uint_eq(ops.config_read(made_up, access_cap, 16, 4), VIRTIO_ACKNOWLEDGE);
    aim(0, device_at, 4);
    ck_assert_uint_eq(ops.config_read(made_up, access_cap, 16, 4), 0x13121110);
    drive_pci(BARE_FEATURES);
    made_up->kick_count[0] = 0;
    aim(0, notify_at, 2);
    ops.config_write(made_up, access_cap, 16, 2, 0);
    fake_slot_run(&slot);
    ck_assert_uint_eq(made_up->kick_count[0], 1);
}
END_TEST

START_TEST(capability_that_aims_at_nothing_reads_0_and_writes_nothing)
{
    static const struct {
        uint8_t bar;
        uint32_t offset, length;
    } wrong[] = {{1, C_STATUS, 1},   {0, C_STATUS, 0},       {0, C_STATUS, 3},
                 {0, C_STATUS, 8},   {0, C_STATUS + 1, 2},   {0, 0x4000, 1},
                 {0, UINT32_MAX, 1}, {0, UINT32_MAX - 3, 4}, {255, C_STATUS, 1}};

    set_up_pci();
    cset(C_STATUS, 1, VIRTIO_ACKNOWLEDGE);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        aim(wrong[i].bar, common_at + wrong[i].offset, wrong[i].length);
        ck_assert_uint_eq(ops.config_read(made_up, access_cap, 16, 4), 0);
        ops.config_write(made_up, access_cap, 16, 4, 0);
        ck_assert_uint_eq(cget(C_STATUS, 1), VIRTIO_ACKNOWLEDGE);
    }
}
END_TEST

UNIT_MAIN("virtio_pci", ids_and_revision_are_those_of_a_device_without_legacy_4_1_2_1,
          each_structure_has_its_capability_4_1_4,
          structures_are_aligned_and_long_enough_4_1_4_3_1_4_1_4_4_1_4_1_4_6_1,
          any_event_goes_to_any_vector_or_to_none_4_1_5_1_2_1,
          change_of_configuration_without_a_vector_is_not_told_4_1_5_4_1,
          change_of_configuration_without_messages_raises_the_line_4_1_5_4_1,
          queue_count_and_sizes_are_told_4_1_4_3_1,
          feature_words_from_the_third_on_read_0_4_1_4_3_1,
          what_the_driver_accepted_is_read_back_4_1_4_3_1, status_of_0_resets_and_reads_0_4_1_4_3_1,
          queue_that_is_enabled_stays_so_and_as_it_is_4_1_4_3_2,
          queue_reset_is_over_when_it_was_written_4_1_4_3_1,
          fields_are_accessed_in_their_width_4_1_3_1,
          vector_that_does_not_exist_reads_none_4_1_5_1_2_1,
          with_messages_each_event_has_its_own_4_1_5_3,
          without_messages_reading_the_isr_lets_the_line_fall_4_1_4_5_1,
          each_queue_is_notified_at_its_place_4_1_4_4,
          notification_with_data_goes_to_the_place_of_its_queue_4_1_5_2,
          configuration_and_its_generation_4_1_4_3_1,
          everything_is_reached_through_the_capability_too_4_1_4_9_1,
          capability_that_aims_at_nothing_reads_0_and_writes_nothing)
