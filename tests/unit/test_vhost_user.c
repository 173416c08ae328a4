/* The vdev whose queues a back end works off. */
#include "tests/unit/virtio_driver_unit.h"

extern const struct vdev_module *const vdev_vhost_user_module;

/* Rows of its option table. */
enum { DEVICE, HOSTDEV, QUEUES, SIZE, CONFIG_BYTES, TAG };
enum { VALUES_MAX = 4, CALL_0 = VDEV_BACKEND_QUEUES_MAX, LOST = 2 * VDEV_BACKEND_QUEUES_MAX };

#define BLK_FEATURES (FEATURE(9) | FEATURE(12))

static void set_up(void)
{
    slot.has_backend = true;
    slot.backend = (struct vdev_backend){.queue_count = 4, .features = UINT64_MAX & ~FEATURE(3)};
    slot.backend_config_size = 60;
}

static int make(const char *device, struct vdev_value more)
{
    const struct vdev_value values[] = {
        {.option = DEVICE, .text = device, .where = "t:1"},
        {.option = HOSTDEV, .text = "/run/x", .where = "t:1"},
        more,
    };

    return create(vdev_vhost_user_module, values, more.where != NULL ? 3 : 2);
}

static const struct vdev_value nothing = {.where = NULL};

static void event(uint32_t number)
{
    slot.module->ops->event(slot.device, number);
}

START_TEST(device_is_what_the_configuration_says_and_offers_what_it_can_pass_on)
{
    ck_assert_int_eq(make("blk", nothing), 0);
    ck_assert_uint_eq(get(8), 2);
    /* of its type; indirect tables, event indices, version 1; and no more of the rings' */
    ck_assert_uint_eq(offered(),
                      (UINT64_C(0xffffff) & ~FEATURE(3)) | FEATURE(28) | EVENT_IDX | VERSION_1);
    ck_assert_uint_eq(get(0x100), 0x04030201);
    fake_slot_destroy(&slot);
    ck_assert_int_eq(
        make("26", (struct vdev_value){.option = CONFIG_BYTES, .number = {8}, .where = "t:2"}), 0);
    ck_assert_uint_eq(get(8), 26);
    ck_assert_uint_eq(get(0x104), 0x08070605);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(file_system_has_a_tag_of_the_configuration_and_counts_its_queues)
{
    slot.backend_config_size = 0; /* it leaves that to others */
    ck_assert_int_eq(
        make("fs", (struct vdev_value){.option = TAG, .text = "files", .where = "t:2"}), 0);
    ck_assert_uint_eq(get(8), 26);
    ck_assert_uint_eq(get(0x100), 0x656c6966);
    ck_assert_uint_eq(get(0x104), 0x73);
    ck_assert_uint_eq(get(0x100 + 36), 1);
    fake_slot_destroy(&slot);
    ck_assert_int_ne(
        make("blk", (struct vdev_value){.option = TAG, .text = "files", .where = "t:2"}), 0);
    ck_assert_str_eq(slot.failure, "a tag is for 'device fs'");
    ck_assert_int_ne(make("fs", (struct vdev_value){.option = TAG,
                                                    .text = "0123456789012345678901234567890123456",
                                                    .where = "t"}),
                     0);
    ck_assert_ptr_nonnull(strstr(slot.failure, "does not have 1 to 36 bytes"));
    ck_assert_int_eq(make("fs", (struct vdev_value){.option = TAG,
                                                    .text = "012345678901234567890123456789012345",
                                                    .where = "t"}),
                     0);
    fake_slot_destroy(&slot);
    ck_assert_int_ne(make("fs", nothing), 0);
    ck_assert_ptr_nonnull(strstr(slot.failure, "or give a 'tag'"));
}
END_TEST

START_TEST(queues_are_handed_over_when_the_driver_is_ready_and_taken_back_by_a_reset)
{
    ck_assert_int_eq(
        make("blk", (struct vdev_value){.option = QUEUES, .number = {2}, .where = "t:2"}), 0);
    drive(VERSION_1 | EVENT_IDX | BLK_FEATURES);
    ck_assert(slot.is_backend_running[0] && slot.is_backend_running[1]);
    ck_assert(!slot.is_backend_running[2]);
    ck_assert_uint_eq(slot.backend_features, VERSION_1 | EVENT_IDX | BLK_FEATURES);
    ck_assert_uint_eq(slot.backend_queues[1].size, QUEUE_SIZE);
    ck_assert_uint_eq(slot.backend_queues[1].descriptors, rings[1].table);
    ck_assert_uint_eq(slot.backend_queues[1].driver, rings[1].available);
    ck_assert_uint_eq(slot.backend_queues[1].device, rings[1].used);
    ck_assert_int_eq(slot.backend_queues[1].call_fd, -1);
    set(0x30, 1);
    set(0x44, 0);
    ck_assert(slot.is_backend_running[0] && !slot.is_backend_running[1]);
    set(0x70, 0);
    ck_assert(!slot.is_backend_running[0]);
    drive(VERSION_1);
    ck_assert(slot.is_backend_running[0]);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_is_no_memory_is_not_handed_over)
{
    ck_assert_int_eq(make("blk", nothing), 0);
    drive(VERSION_1);
    set(0x70, 0);
    set(0x70, 3);
    set(0x24, 1);
    set(0x20, 1);
    set(0x70, 11);
    set(0x30, 0);
    set(0x38, QUEUE_SIZE);
    set(0x80, 0x40000); /* there is none */
    set(0x44, 1);
    set(0x70, 15);
    ck_assert(needs_reset());
    ck_assert(!slot.is_backend_running[0]);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(interrupt_of_the_back_end_is_passed_on_without_looking_at_the_ring)
{
    ck_assert_int_eq(make("blk", nothing), 0);
    event(CALL_0); /* before the driver is there: nobody's */
    ck_assert(!slot.is_high);
    drive(VERSION_1);
    event(CALL_0);
    ck_assert(slot.is_high);
    ck_assert_uint_eq(get(0x60), 1);
    set(0x64, 1);
    ck_assert(!slot.is_high);
    event(CALL_0 + 1); /* of a queue that it does not have */
    ck_assert(!slot.is_high);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(message_of_a_queue_is_the_back_ends_own_on_pci)
{
    const struct vdev_value values[] = {{.option = DEVICE, .text = "blk", .where = "t:1"},
                                        {.option = HOSTDEV, .text = "/run/x", .where = "t:1"}};
    struct vdev_config config = {.place = VDEV_PLACE_PCI,
                                 .values = values,
                                 .value_count = 2,
                                 .intr_count = 1,
                                 .intrs = {QVM_VDEV_NO_INTR}};

    ring_memory(&slot);
    ck_assert_int_eq(fake_slot_build(&slot, vdev_vhost_user_module, &config), 0);
    for (uint32_t has_messages = 0; has_messages < 2; has_messages++) {
        slot.has_messages = has_messages != 0;
        (void)ring_place(&rings[0], &slot, QUEUE_SIZE, RING_MEMORY_START);
        fake_slot_write(&slot, 0, 20, 1, 0);
        fake_slot_write(&slot, 0, 20, 1, 3);
        fake_slot_write(&slot, 0, 8, 4, 1);
        fake_slot_write(&slot, 0, 12, 4, 1);
        fake_slot_write(&slot, 0, 20, 1, 11);
        fake_slot_write(&slot, 0, 24, 2, QUEUE_SIZE);
        fake_slot_write(&slot, 0, 26, 2, 1);
        fake_slot_write(&slot, 0, 32, 4, (uint32_t)rings[0].table);
        fake_slot_write(&slot, 0, 40, 4, (uint32_t)rings[0].available);
        fake_slot_write(&slot, 0, 48, 4, (uint32_t)rings[0].used);
        fake_slot_write(&slot, 0, 28, 2, 1);
        fake_slot_write(&slot, 0, 20, 1, 15);
        ck_assert_int_eq(slot.backend_queues[0].call_fd, has_messages != 0 ? 101 : -1);
    }
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_the_driver_configures_the_back_end_is_told)
{
    ck_assert_int_eq(make("blk", nothing), 0);
    fake_slot_write(&slot, 0, 0x100 + 32, 1, 0x5a);
    ck_assert_uint_eq(slot.backend_told_offset, 32);
    ck_assert_uint_eq(slot.backend_told_size, 1);
    ck_assert_uint_eq(slot.backend_told[0], 0x5a);
    ck_assert_uint_eq(get(0x100 + 32) & 0xff, 0x5a);
    slot.backend_told_size = 0;
    fake_slot_write(&slot, 0, 0x100 + 58, 4, 0); /* half of it is outside */
    ck_assert_uint_eq(slot.backend_told_size, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(lost_back_end_asks_for_a_reset_after_which_there_is_nothing_to_agree_on)
{
    ck_assert_int_eq(make("blk", nothing), 0);
    drive(VERSION_1);
    slot.is_backend_gone = true;
    event(LOST);
    ck_assert(needs_reset());
    ck_assert_str_eq(strstr(fake_slot_state(&slot), "back-end="), "back-end=gone\n");
    set(0x70, 0);
    ck_assert_uint_eq(offered(), 0);
    set(0x70, 3);
    set(0x24, 1);
    set(0x20, 1);
    set(0x70, 11);
    ck_assert_uint_eq(get(0x70), 3);
    fake_slot_reset(&slot);
    ck_assert_uint_eq(offered(), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_back_end_that_is_there_after_all_is_found_at_the_next_reset)
{
    uint64_t before;

    ck_assert_int_eq(make("blk", nothing), 0);
    before = offered();
    drive(VERSION_1);
    slot.is_backend_gone = true;
    event(LOST);
    slot.is_backend_gone = false;
    event(LOST);
    ck_assert(needs_reset());
    ck_assert_str_eq(strstr(fake_slot_state(&slot), "back-end="), "back-end=there\n");
    fake_slot_reset(&slot);
    ck_assert_uint_ne(before, 0);
    ck_assert_uint_eq(offered(), before);
    drive(VERSION_1);
    ck_assert(!needs_reset());
    fake_slot_destroy(&slot);
}
END_TEST

/* Another vCPU, while the first waits for the back end. */
static void write_everywhere(struct vdev_slot *of)
{
    for (uint64_t at = 0; at < 0x100; at += 4) {
        of->module->ops->write(of->device, 0, at, 4, 1);
    }
    of->module->ops->write(of->device, 0, 0x70, 4, 0);
}

START_TEST(nobody_drives_the_device_while_its_queue_stops)
{
    ck_assert_int_eq(
        make("blk", (struct vdev_value){.option = QUEUES, .number = {2}, .where = "t:2"}), 0);
    drive(VERSION_1);
    slot.on_backend_stop = write_everywhere;
    set(0x30, 1);
    set(0x44, 0);
    slot.on_backend_stop = NULL;
    ck_assert_uint_eq(get(0x70), 15);
    ck_assert(slot.is_backend_running[0]);
    set(0x70, 0);
    ck_assert_uint_eq(get(0x70), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_cannot_be_is_refused_in_words)
{
    const struct vdev_value odd = {.option = SIZE, .number = {100}, .where = "t:2"};
    const struct vdev_value many = {.option = QUEUES, .number = {5}, .where = "t:2"};
    const struct vdev_value none = {.where = NULL};

    ck_assert_int_ne(make("disk", none), 0);
    ck_assert_ptr_nonnull(strstr(slot.failure, "'disk' is neither a number from 1 to 63"));
    ck_assert_int_ne(make("64", none), 0);
    ck_assert_int_ne(make("0", none), 0);
    ck_assert_int_ne(make("2x", none), 0);
    ck_assert_int_ne(make("blk", odd), 0);
    ck_assert_str_eq(slot.failure, "queue-size 100 is no power of two");
    ck_assert_int_ne(make("blk", many), 0);
    ck_assert_str_eq(slot.failure, "it is to have 5 queues, and its back end has 4");
    slot.backend_config_size = 59;
    ck_assert_int_ne(make("blk", none), 0);
    ck_assert_ptr_nonnull(strstr(slot.failure, "no configuration of 60 bytes"));
    slot.backend.features = FEATURE(9);
    ck_assert_int_ne(make("blk", none), 0);
    ck_assert_str_eq(slot.failure, "its back end is older than virtio 1.0");
    slot.has_backend = false;
    ck_assert_int_ne(make("blk", none), 0);
    ck_assert_str_eq(slot.failure, "say where its back end listens: 'hostdev PATH'");
}
END_TEST

UNIT_MAIN_WITH("vhost_user", set_up, NULL,
               device_is_what_the_configuration_says_and_offers_what_it_can_pass_on,
               file_system_has_a_tag_of_the_configuration_and_counts_its_queues,
               queues_are_handed_over_when_the_driver_is_ready_and_taken_back_by_a_reset,
               what_is_no_memory_is_not_handed_over,
               interrupt_of_the_back_end_is_passed_on_without_looking_at_the_ring,
               message_of_a_queue_is_the_back_ends_own_on_pci,
               what_the_driver_configures_the_back_end_is_told,
               lost_back_end_asks_for_a_reset_after_which_there_is_nothing_to_agree_on,
               a_back_end_that_is_there_after_all_is_found_at_the_next_reset,
               nobody_drives_the_device_while_its_queue_stops, what_cannot_be_is_refused_in_words)
