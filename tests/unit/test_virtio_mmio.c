/* The registers of virtio-mmio, rule by rule: virtio 1.2, 4.2. */
#include "tests/unit/virtio_mmio_unit.h"

START_TEST(registers_say_who_it_is_4_2_2_1)
{
    set_up();
    ck_assert_uint_eq(get(MAGIC), 0x74726976);
    ck_assert_uint_eq(get(VERSION), 2);
    ck_assert_uint_eq(get(DEVICE_ID), 42);
    ck_assert_uint_ne(get(VENDOR_ID), 0);
}
END_TEST

START_TEST(control_registers_are_read_and_written_in_32_bits_alone_4_2_2_2)
{
    static const uint32_t sizes[] = {1, 2, 8};

    set_up();
    for (size_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(ops.read(made_up, 0, MAGIC, sizes[i]), 0);
        ops.write(made_up, 0, STATUS, sizes[i], 1);
        ck_assert_uint_eq(get(STATUS), 0);
    }
    ck_assert_uint_eq(ops.read(made_up, 0, MAGIC + 2, 4), 0);
    ops.write(made_up, 0, STATUS - 2, 4, 0x10000);
    ck_assert_uint_eq(get(STATUS), 0);
}
END_TEST

START_TEST(write_only_and_unknown_registers_read_as_0)
{
    set_up();
    drive(BARE_FEATURES);
    for (uint64_t at = 0; at < CONFIG; at += 4) {
        switch (at) {
        case MAGIC:
        case VERSION:
        case DEVICE_ID:
        case VENDOR_ID:
        case FEATURES:
        case QUEUE_SIZE_MAX:
        case QUEUE_READY:
        case STATUS:
        case SHM_SIZE:
        case SHM_SIZE + 4:
        case SHM_BASE:
        case SHM_BASE + 4:
            break;
        default:
            ck_assert_uint_eq(get(at), 0);
        }
    }
}
END_TEST

START_TEST(feature_words_from_the_third_on_do_not_exist)
{
    set_up();
    set(FEATURES_SELECT, 0);
    ck_assert_uint_ne(get(FEATURES) & 1u << FEATURE, 0);
    set(FEATURES_SELECT, 1);
    ck_assert_uint_ne(get(FEATURES) & 1u, 0); /* VIRTIO_F_VERSION_1 */
    for (uint32_t select = 2; select != 0; select *= 2) {
        set(FEATURES_SELECT, select);
        ck_assert_uint_eq(get(FEATURES), 0);
        set(ACCEPTED_SELECT, select);
        set(ACCEPTED, UINT32_MAX);
    }
    ck_assert_uint_eq(made_up->virtio.accepted, 0);
}
END_TEST

START_TEST(queue_that_is_not_there_has_size_0_4_2_2)
{
    set_up();
    set(QUEUE_SELECT, 1);
    ck_assert_uint_eq(get(QUEUE_SIZE_MAX), SIZE_1);
    for (uint32_t select = 2; select != 0; select *= 2) {
        set(QUEUE_SELECT, select);
        ck_assert_uint_eq(get(QUEUE_SIZE_MAX), 0);
        set(QUEUE_SIZE, 4);
        set(QUEUE_READY, 1);
        ck_assert_uint_eq(get(QUEUE_READY), 0);
    }
}
END_TEST

START_TEST(interrupt_status_stays_until_it_is_acknowledged_4_2_2_1)
{
    set_up();
    drive(BARE_FEATURES);
    ck_assert_uint_eq(get(INTERRUPT_STATUS), 0);
    offer_one();
    ck_assert(use_one());
    ck_assert_uint_eq(get(INTERRUPT_STATUS), VIRTIO_USED);
    ck_assert_uint_eq(get(INTERRUPT_STATUS), VIRTIO_USED);
    ck_assert(slot.is_high);
    virtio_config_changed(&made_up->virtio);
    ck_assert_uint_eq(get(INTERRUPT_STATUS), VIRTIO_USED | VIRTIO_CHANGED);
    set(INTERRUPT_ACK, VIRTIO_USED);
    ck_assert_uint_eq(get(INTERRUPT_STATUS), VIRTIO_CHANGED);
    ck_assert(slot.is_high);
    set(INTERRUPT_ACK, 0xfffffffc); /* nothing that happened */
    ck_assert(slot.is_high);
    set(INTERRUPT_ACK, VIRTIO_CHANGED);
    ck_assert_uint_eq(get(INTERRUPT_STATUS), 0);
    ck_assert(!slot.is_high);
}
END_TEST

START_TEST(reset_clears_interrupts_and_ready_bits_4_2_2_1)
{
    set_up();
    drive(BARE_FEATURES);
    offer_one();
    ck_assert(use_one());
    set(STATUS, 0);
    ck_assert_uint_eq(get(STATUS), 0);
    ck_assert_uint_eq(get(INTERRUPT_STATUS), 0);
    ck_assert(!slot.is_high);
    for (uint32_t i = 0; i < 2; i++) {
        set(QUEUE_SELECT, i);
        ck_assert_uint_eq(get(QUEUE_READY), 0);
        ck_assert_uint_eq(made_up->stop_count[i], 1);
    }
}
END_TEST

START_TEST(generation_changes_when_a_change_is_seen_4_2_2_1)
{
    uint32_t before, between;

    set_up();
    drive(BARE_FEATURES);
    before = get(GENERATION);
    (void)get(CONFIG);
    ck_assert_uint_eq(get(GENERATION), before);
    for (unsigned i = 0; i < 256; i++) { /* a wrap would hide it */
        virtio_config_changed(&made_up->virtio);
    }
    (void)get(CONFIG);
    between = get(GENERATION);
    ck_assert_uint_ne(between, before);
    (void)get(CONFIG + 4);
    ck_assert_uint_eq(get(GENERATION), between);
}
END_TEST

START_TEST(queue_is_not_touched_while_it_is_not_ready_4_2_2_1)
{
    set_up();
    drive(BARE_FEATURES);
    set(QUEUE_SELECT, 0);
    set(QUEUE_READY, 0);
    ck_assert_uint_eq(get(QUEUE_READY), 0);
    ck_assert_uint_eq(made_up->stop_count[0], 1);
    offer_one();
    set(QUEUE_NOTIFY, 0);
    ck_assert(!use_one());
    ck_assert_uint_eq(ring_used_index(&rings[0]), 0);
    set(QUEUE_READY, 1); /* the geometry is still there */
    ck_assert_uint_eq(get(QUEUE_READY), 1);
    ck_assert(use_one());
}
END_TEST

START_TEST(queue_reset_reads_0_and_ready_falls_4_2_2_1)
{
    set_up();
    drive(BARE_FEATURES | VIRTIO_BIT(VIRTIO_F_RING_RESET));
    set(QUEUE_SELECT, 0);
    set(QUEUE_RESET, 1);
    ck_assert_uint_eq(get(QUEUE_RESET), 0);
    ck_assert_uint_eq(get(QUEUE_READY), 0);
    ck_assert_uint_eq(made_up->stop_count[0], 1);
    ck_assert_uint_eq(made_up->stop_count[1], 0);
    set(QUEUE_SELECT, 1);
    ck_assert_uint_eq(get(QUEUE_READY), 1);
    tell_queue(0, SIZE_0, RING_MEMORY_START + 0x3000);
    set(QUEUE_READY, 1);
    ck_assert_uint_eq(get(QUEUE_RESET), 0);
    fake_slot_run(&slot);
    ck_assert_uint_ge(made_up->kick_count[0], 1);
    offer_one();
    ck_assert(use_one());
}
END_TEST

START_TEST(queue_reset_needs_its_feature)
{
    set_up();
    drive(BARE_FEATURES);
    set(QUEUE_SELECT, 0);
    set(QUEUE_RESET, 1);
    ck_assert_uint_eq(get(QUEUE_READY), 1);
}
END_TEST

START_TEST(geometry_is_frozen_while_the_queue_is_ready)
{
    set_up();
    drive(BARE_FEATURES);
    set(QUEUE_SELECT, 0);
    for (uint64_t at = QUEUE_TABLE; at <= QUEUE_DEVICE + 4; at += 4) {
        set(at, 0xdeadbeef);
    }
    set(QUEUE_SIZE, 1);
    offer_one();
    ck_assert(use_one());
    set(QUEUE_READY, 0);
    set(QUEUE_READY, 1);
    ck_assert_uint_eq(get(STATUS), ALL_SET); /* it still has the old one */
}
END_TEST

START_TEST(ready_takes_1_and_0_and_nothing_else)
{
    set_up();
    drive(BARE_FEATURES);
    set(QUEUE_SELECT, 0);
    set(QUEUE_READY, 2);
    ck_assert_uint_eq(get(QUEUE_READY), 1);
    set(QUEUE_READY, 0);
    set(QUEUE_READY, 3);
    ck_assert_uint_eq(get(QUEUE_READY), 0);
}
END_TEST

START_TEST(shared_memory_that_is_not_there_has_all_ones_4_2_2)
{
    set_up();
    set(SHM_SELECT, 0);
    ck_assert_uint_eq(get(SHM_SIZE), UINT32_MAX);
    ck_assert_uint_eq(get(SHM_SIZE + 4), UINT32_MAX);
    ck_assert_uint_eq(get(SHM_BASE), UINT32_MAX);
    ck_assert_uint_eq(get(SHM_BASE + 4), UINT32_MAX);
}
END_TEST

START_TEST(configuration_is_read_in_any_width_4_2_2_2)
{
    set_up();
    ck_assert_uint_eq(ops.read(made_up, 0, CONFIG + 1, 1), 0x11);
    ck_assert_uint_eq(ops.read(made_up, 0, CONFIG + 2, 2), 0x1312);
    ck_assert_uint_eq(ops.read(made_up, 0, CONFIG + 4, 4), 0x17161514);
    ck_assert_uint_eq(ops.read(made_up, 0, CONFIG, 8), UINT64_C(0x1716151413121110));
    ck_assert_uint_eq(ops.read(made_up, 0, CONFIG + 6, 4), 0x1716); /* the rest is not there */
    ck_assert_uint_eq(ops.read(made_up, 0, CONFIG + 8, 4), 0);
}
END_TEST

START_TEST(configuration_is_written_inside_it_alone)
{
    set_up();
    ops.write(made_up, 0, CONFIG + 4, 4, 0x12345678);
    ck_assert_uint_eq(made_up->write_count, 1);
    ck_assert_uint_eq(made_up->write_offset, 4);
    ck_assert_uint_eq(made_up->write_size, 4);
    ck_assert_uint_eq(made_up->write_value, 0x12345678);
    ops.write(made_up, 0, CONFIG + 5, 4, 0);
    ops.write(made_up, 0, CONFIG + 8, 1, 0);
    ops.write(made_up, 0, CONFIG + 0xfc, 4, 0);
    ck_assert_uint_eq(made_up->write_count, 1);
}
END_TEST

START_TEST(each_queue_has_a_doorbell_of_its_own_4_2_3_3)
{
    set_up();
    ck_assert_uint_eq(slot.doorbell_count, 2);
    drive(BARE_FEATURES);
    fake_slot_run(&slot);
    made_up->kick_count[0] = made_up->kick_count[1] = 0;
    set(QUEUE_NOTIFY, 1);
    ck_assert_uint_eq(made_up->kick_count[0], 0);
    ck_assert_uint_eq(made_up->kick_count[1], 1);
    for (uint32_t queue = 2; queue != 0; queue *= 2) {
        set(QUEUE_NOTIFY, queue); /* there is none */
    }
    ck_assert_uint_eq(made_up->kick_count[0] + made_up->kick_count[1], 1);
}
END_TEST

/* Whether queue `i` was told of a notification, and no other. */
static bool was_kicked(uint32_t i)
{
    bool was;

    fake_slot_run(&slot);
    was = made_up->kick_count[i] == 1 && made_up->kick_count[1 - i] == 0;
    made_up->kick_count[0] = made_up->kick_count[1] = 0;
    return was;
}

START_TEST(notification_with_data_names_its_queue_in_the_lower_half_4_2_3_3)
{
    const uint32_t wrap = 1u << 31;

    notified.boolean = true;
    set_up();
    drive(BARE_FEATURES | VIRTIO_BIT(VIRTIO_F_NOTIFICATION_DATA));
    ck_assert(virtio_has(&made_up->virtio, VIRTIO_F_NOTIFICATION_DATA));
    fake_slot_run(&slot);
    made_up->kick_count[0] = made_up->kick_count[1] = 0;
    set(QUEUE_NOTIFY, 1 | 5 << 16);
    ck_assert(was_kicked(1));
    set(QUEUE_NOTIFY, 0 | 7 << 16 | wrap);
    ck_assert(was_kicked(0));
    set(QUEUE_NOTIFY, 1); /* the first place of a ring: a doorbell */
    ck_assert(was_kicked(1));
    for (uint32_t queue = 2; queue <= UINT16_MAX; queue *= 2) {
        set(QUEUE_NOTIFY, queue | 1 << 16); /* there is none */
    }
    fake_slot_run(&slot);
    ck_assert_uint_eq(made_up->kick_count[0] + made_up->kick_count[1], 0);
}
END_TEST

START_TEST(notification_data_are_of_who_negotiated_them_2_9)
{
    set_up();
    set(FEATURES_SELECT, 1);
    ck_assert_uint_eq(get(FEATURES) & 1u << (VIRTIO_F_NOTIFICATION_DATA - 32), 0); /* not asked */
    notified.boolean = true;
    set_up();
    set(FEATURES_SELECT, 1);
    ck_assert_uint_ne(get(FEATURES) & 1u << (VIRTIO_F_NOTIFICATION_DATA - 32), 0);
    drive(BARE_FEATURES);
    fake_slot_run(&slot);
    made_up->kick_count[0] = made_up->kick_count[1] = 0;
    set(QUEUE_NOTIFY, 1 | 5 << 16); /* a number that no queue has */
    fake_slot_run(&slot);
    ck_assert_uint_eq(made_up->kick_count[0] + made_up->kick_count[1], 0);
}
END_TEST

START_TEST(place_that_is_too_small_or_odd_is_refused_in_words)
{
    ck_assert_int_lt(create_at(0xfeb00000, 0x107, 1, 16), 0);
    ck_assert_ptr_nonnull(strstr(slot.failure, "at least 264 bytes"));
    ck_assert_int_eq(create_at(0xfeb00000, 0x108, 1, 16), 0);
    ck_assert_int_lt(create_at(0xfeb00002, 512, 1, 16), 0);
    ck_assert_int_lt(create_at(0xfeb00000, 512, 2, 16), 0);
    ck_assert_int_lt(create_at(0xfeb00000, 512, 1, QVM_VDEV_NO_INTR), 0);
    ck_assert_ptr_nonnull(strstr(slot.failure, "'intr'"));
}
END_TEST

UNIT_MAIN("virtio_mmio", registers_say_who_it_is_4_2_2_1,
          control_registers_are_read_and_written_in_32_bits_alone_4_2_2_2,
          write_only_and_unknown_registers_read_as_0, feature_words_from_the_third_on_do_not_exist,
          queue_that_is_not_there_has_size_0_4_2_2,
          interrupt_status_stays_until_it_is_acknowledged_4_2_2_1,
          reset_clears_interrupts_and_ready_bits_4_2_2_1,
          generation_changes_when_a_change_is_seen_4_2_2_1,
          queue_is_not_touched_while_it_is_not_ready_4_2_2_1,
          queue_reset_reads_0_and_ready_falls_4_2_2_1, queue_reset_needs_its_feature,
          geometry_is_frozen_while_the_queue_is_ready, ready_takes_1_and_0_and_nothing_else,
          shared_memory_that_is_not_there_has_all_ones_4_2_2,
          configuration_is_read_in_any_width_4_2_2_2, configuration_is_written_inside_it_alone,
          each_queue_has_a_doorbell_of_its_own_4_2_3_3,
          notification_with_data_names_its_queue_in_the_lower_half_4_2_3_3,
          notification_data_are_of_who_negotiated_them_2_9,
          place_that_is_too_small_or_odd_is_refused_in_words)
