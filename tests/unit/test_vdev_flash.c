/* Flash: Intel's commands, JEDEC JESD68.01 (CFI), and the file behind it. */
#include <errno.h>

#include "tests/unit/flash_unit.h"

#define BLOCK 4096u

static uint8_t file[SIZE];

static void set_up(bool has_file, bool is_read_only)
{
    memset(&slot, 0, sizeof(slot));
    slot.has_image = has_file;
    slot.image = (struct vdev_image){.size = SIZE, .block = 512, .is_read_only = is_read_only};
    ck_assert_int_eq(build(SIZE), 0);
}

static void erase(uint64_t at)
{
    give(at, 0x20);
    give(at, 0xd0);
}

/* The host does what was begun first. */
static void do_io(int result)
{
    const struct vdev_io *io = &slot.ios[0].io;

    ck_assert_uint_gt(slot.io_count, 0);
    if (result == 0 && io->kind == VDEV_IO_WRITE) {
        memcpy(file + io->offset, io->pieces[0].base, io->pieces[0].size);
    } else if (result == 0 && io->kind == VDEV_IO_READ) {
        memcpy(io->pieces[0].base, file, SIZE);
    }
    fake_slot_end_io(&slot, 0, result);
}

START_TEST(it_is_erased_and_reads_as_memory)
{
    set_up(false, false);
    ck_assert_uint_eq(take(0), 0xff);
    ck_assert_uint_eq(slot.module->ops->read(slot.device, 0, SIZE - 8, 8), UINT64_MAX);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(programming_clears_bits_and_an_erase_sets_those_of_its_block)
{
    set_up(false, false);
    program(BLOCK - 1, 0xf0);
    program(BLOCK, 0x3c);
    program(BLOCK, 0x0f);
    give(BLOCK, 0xff);
    ck_assert_uint_eq(take(BLOCK), 0x0c);
    erase(BLOCK + 7);
    give(0, 0xff);
    ck_assert_uint_eq(take(BLOCK), 0xff);
    ck_assert_uint_eq(take(BLOCK - 1), 0xf0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_wide_write_programs_all_its_bytes)
{
    set_up(false, false);
    give(16, 0x40);
    slot.module->ops->write(slot.device, 0, 16, 4, 0x04030201);
    give(16, 0xff);
    ck_assert_uint_eq(slot.module->ops->read(slot.device, 0, 16, 4), 0x04030201);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(reads_are_the_status_until_the_array_is_asked_for)
{
    set_up(false, false);
    program(5, 0x55);
    ck_assert_uint_eq(take(5), 0x80);
    ck_assert_uint_eq(slot.module->ops->read(slot.device, 0, 4, 2), 0x8080);
    give(0, 0xff);
    ck_assert_uint_eq(take(5), 0x55);
    give(0, 0x70);
    ck_assert_uint_eq(take(5), 0x80);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_cleared_status_is_zero_until_the_next_command_as_edk2_probes_it)
{
    set_up(false, false);
    give(3, 0x50);
    ck_assert_uint_eq(take(3), 0xff);
    give(3, 0x70);
    ck_assert_uint_eq(take(3), 0);
    give(3, 0xff);
    program(3, 0x7f);
    ck_assert_uint_eq(take(3), 0x80);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(an_erase_that_is_not_confirmed_is_a_wrong_sequence)
{
    set_up(false, false);
    program(0, 0);
    give(0, 0x20);
    give(0, 0x70);
    ck_assert_uint_eq(take(0), 0xb0);
    give(0, 0xff);
    ck_assert_uint_eq(take(0), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_query_tells_size_blocks_and_intels_commands)
{
    set_up(false, false);
    give(0x55, 0x98);
    ck_assert_uint_eq(take(0x10), 'Q');
    ck_assert_uint_eq(take(0x11), 'R');
    ck_assert_uint_eq(take(0x12), 'Y');
    ck_assert_uint_eq(take(0x13), 1);
    ck_assert_uint_eq(take(0x15), 0x31);
    ck_assert_uint_eq(take(0x27), 17); /* 128 KiB */
    ck_assert_uint_eq(take(0x2c), 1);
    ck_assert_uint_eq(take(0x2d), SIZE / BLOCK - 1);
    ck_assert_uint_eq(take(0x2e), 0);
    ck_assert_uint_eq(take(0x2f), 0);
    ck_assert_uint_eq(take(0x30), BLOCK / 256);
    ck_assert_uint_eq(take(0x31), 'P');
    ck_assert_uint_eq(take(0x1000), 0);
    give(0, 0x90);
    ck_assert_uint_eq(take(0), 0x89);
    ck_assert_uint_eq(take(2), 0); /* not locked */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_the_file_has_is_read_before_the_first_look)
{
    memset(file, 0xff, sizeof(file));
    file[9] = 0x12;
    set_up(true, false);
    ck_assert_uint_eq(slot.io_begins, 0);
    (void)take(0); /* the fake host settles transfers without doing them */
    ck_assert_uint_eq(slot.io_begins, 1);
    (void)take(9);
    ck_assert_uint_eq(slot.io_begins, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(changes_of_a_block_are_one_write_once_the_array_is_read_again)
{
    set_up(true, false);
    program(BLOCK, 1);
    program(BLOCK + 1, 2);
    ck_assert_uint_eq(slot.io_count, 0);
    give(BLOCK, 0xff);
    fake_slot_run(&slot);
    ck_assert_uint_eq(slot.io_count, 1);
    ck_assert_uint_eq(slot.ios[0].io.offset, BLOCK);
    do_io(0);
    ck_assert_uint_eq(file[BLOCK], 1);
    ck_assert_uint_eq(file[BLOCK + 1], 2);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(who_never_reads_the_array_again_is_written_after_10_ms_and_then_flushed)
{
    set_up(true, false);
    erase(0);
    fake_slot_advance(&slot, 9999999);
    fake_slot_run(&slot);
    ck_assert_uint_eq(slot.io_count, 0);
    fake_slot_advance(&slot, 1);
    fake_slot_run(&slot);
    ck_assert_uint_eq(slot.io_count, 1);
    do_io(0);
    fake_slot_advance(&slot, 10000000);
    fake_slot_run(&slot);
    ck_assert_uint_eq(slot.io_count, 1);
    ck_assert_int_eq(slot.ios[0].io.kind, VDEV_IO_FLUSH);
    do_io(0);
    fake_slot_advance(&slot, 10000000);
    fake_slot_run(&slot);
    ck_assert_uint_eq(slot.io_count, 0);
    fake_slot_destroy(&slot);
}
END_TEST

/* As after a power cut: nothing later is in the file without what was before it. */
START_TEST(a_block_is_in_the_file_before_the_next_one_changes)
{
    set_up(true, false);
    (void)take(0);
    program(0, 1);
    ck_assert_uint_eq(slot.io_begins, 1);
    program(BLOCK, 2);
    ck_assert_uint_eq(slot.io_begins, 2); /* and settled */
    ck_assert_uint_eq(slot.io_count, 0);
    give(0, 0xff);
    fake_slot_run(&slot);
    ck_assert_uint_eq(slot.io_count, 1);
    program(BLOCK, 0); /* the same, which is on its way */
    ck_assert_uint_eq(slot.io_count, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_end_of_the_vm_writes_what_waits)
{
    set_up(true, false);
    program(BLOCK, 1);
    fake_slot_destroy(&slot);
    ck_assert_uint_eq(slot.io_begins, 3); /* reading the file, the block, a flush */
    ck_assert_uint_eq(slot.io_count, 0);
}
END_TEST

START_TEST(a_file_that_is_only_read_cannot_be_changed_and_the_status_says_so)
{
    set_up(true, true);
    program(0, 0);
    ck_assert_uint_eq(take(0), 0x92);
    erase(0);
    ck_assert_uint_eq(take(0), 0xb2);
    give(0, 0x50);
    ck_assert_uint_eq(take(0), 0xff);
    fake_slot_run(&slot);
    ck_assert_uint_eq(slot.io_begins, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_write_that_fails_is_told_by_the_status)
{
    set_up(true, false);
    program(0, 0);
    give(0, 0xff);
    fake_slot_run(&slot);
    do_io(-5);
    give(0, 0x70);
    ck_assert_uint_eq(take(0), 0xb0);
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "errors=1\n"));
    fake_slot_destroy(&slot);
}
END_TEST

/* Nobody but the device itself rings it: no doorbell of the guest is in a region that it has. */
START_TEST(what_goes_to_the_file_by_itself_has_an_event_and_the_guest_no_doorbell)
{
    set_up(true, false);
    ck_assert_uint_eq(slot.doorbell_count, 1);
    ck_assert_uint_ne(slot.doorbells[0].region, 0);
    fake_slot_destroy(&slot);
    set_up(false, false);
    ck_assert_uint_eq(slot.doorbell_count, 0);
    fake_slot_destroy(&slot);
}
END_TEST

/* One block goes to the file, and its flush begins. */
static void write_until_flush(uint64_t at)
{
    program(at, 1);
    give(at, 0xff);
    fake_slot_run(&slot);
    do_io(0);
    fake_slot_advance(&slot, 10000000);
    fake_slot_run(&slot);
    ck_assert_uint_eq(slot.io_count, 1);
    ck_assert_int_eq(slot.ios[0].io.kind, VDEV_IO_FLUSH);
}

START_TEST(what_is_written_during_a_long_flush_is_flushed_after_it)
{
    set_up(true, false);
    (void)take(0);
    write_until_flush(0);
    program(0, 0);
    fake_slot_advance(&slot, 10000000);
    fake_slot_run(&slot);
    ck_assert_uint_eq(slot.io_count, 2);
    fake_slot_end_io(&slot, 1, 0);
    fake_slot_advance(&slot, 10000000);
    fake_slot_run(&slot);
    ck_assert_uint_eq(slot.io_count, 1); /* still the first flush */
    do_io(0);
    fake_slot_run(&slot);
    ck_assert_uint_eq(slot.io_count, 1);
    ck_assert_int_eq(slot.ios[0].io.kind, VDEV_IO_FLUSH);
    fake_slot_destroy(&slot);
}
END_TEST

/* The timer comes, and what it rings. */
static void wait_for_retry(void)
{
    fake_slot_advance(&slot, 100000000);
    fake_slot_run(&slot);
    ck_assert_uint_eq(slot.io_count, 1);
}

START_TEST(a_write_that_fails_is_tried_again_and_nothing_changes_until_the_file_has_it)
{
    set_up(true, false);
    (void)take(0);
    program(0, 0x0f);
    give(0, 0xff);
    fake_slot_run(&slot);
    do_io(-5);
    ck_assert_uint_eq(slot.log_count, 1);
    give(0, 0x50);
    program(BLOCK, 0);
    ck_assert_uint_eq(take(0), 0x90);
    give(0, 0x50);
    erase(0);
    ck_assert_uint_eq(take(0), 0xa0);
    give(0, 0x50);
    ck_assert_uint_eq(take(0), 0x0f);
    ck_assert_uint_eq(take(BLOCK), 0xff);
    slot.rung = 0;
    wait_for_retry();
    do_io(-5);
    wait_for_retry();
    do_io(0);
    ck_assert_uint_eq(file[0], 0x0f);
    fake_slot_advance(&slot, 10000000);
    fake_slot_run(&slot);
    do_io(0); /* the flush */
    program(BLOCK, 0);
    ck_assert_uint_eq(take(0), 0x80);
    ck_assert_uint_eq(slot.log_count, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_flush_that_fails_is_tried_again)
{
    set_up(true, false);
    (void)take(0);
    write_until_flush(0);
    do_io(-5);
    program(0, 0);
    ck_assert_uint_eq(take(0), 0xb0);
    wait_for_retry();
    ck_assert_int_eq(slot.ios[0].io.kind, VDEV_IO_FLUSH);
    do_io(0);
    give(0, 0x50);
    program(0, 0);
    ck_assert_uint_eq(take(0), 0x80);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_file_that_refuses_a_block_keeps_the_next_one_from_changing)
{
    set_up(true, false);
    (void)take(0);
    program(0, 1);
    slot.image.is_read_only = true; /* the host refuses writes */
    program(BLOCK, 0);
    ck_assert_uint_eq(take(0), 0xb0);
    give(0, 0xff);
    ck_assert_uint_eq(take(BLOCK), 0xff);
    slot.image.is_read_only = false;
    fake_slot_run(&slot);
    ck_assert_uint_eq(slot.io_count, 1);
    ck_assert_uint_eq(slot.ios[0].io.offset, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_the_file_does_not_take_is_not_saved_and_the_end_says_so)
{
    struct fields_writer saved = {0}, other = {0};

    set_up(true, false);
    (void)take(0);
    program(0, 1);
    slot.image.is_read_only = true;
    ck_assert_int_eq(fake_slot_save(&slot, &saved), -EIO);
    fields_discard(&saved);
    slot.image.is_read_only = false;
    ck_assert_int_eq(fake_slot_save(&slot, &other), 0);
    fields_discard(&other);
    give(0, 0x50);
    program(0, 0);
    slot.image.is_read_only = true;
    fake_slot_destroy(&slot); /* and comes to an end */
    ck_assert_str_eq(slot.logged, "the file lacks what the guest changed last: it did not take it");
}
END_TEST

/* The host forgets transfers before it resets a device. */
START_TEST(a_reset_begins_again_what_was_on_its_way)
{
    set_up(true, false);
    (void)take(0);
    program(BLOCK, 1);
    give(0, 0xff);
    fake_slot_run(&slot);
    fake_slot_image_stop(&slot);
    fake_slot_reset(&slot);
    fake_slot_run(&slot);
    ck_assert_uint_eq(slot.io_count, 1);
    ck_assert_uint_eq(slot.ios[0].io.offset, BLOCK);
    do_io(0);
    fake_slot_advance(&slot, 10000000);
    fake_slot_run(&slot);
    fake_slot_image_stop(&slot);
    fake_slot_reset(&slot);
    fake_slot_run(&slot);
    ck_assert_uint_eq(slot.io_count, 1);
    ck_assert_int_eq(slot.ios[0].io.kind, VDEV_IO_FLUSH);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_reset_ends_commands_and_keeps_what_it_holds)
{
    set_up(false, false);
    program(0, 0x42);
    give(0, 0x20);
    fake_slot_reset(&slot);
    ck_assert_uint_eq(take(0), 0x42);
    give(0, 0xd0);
    ck_assert_uint_eq(take(0), 0x42);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_place_or_a_file_of_another_size_is_refused_in_words)
{
    memset(&slot, 0, sizeof(slot));
    ck_assert_int_ne(build(5000), 0);
    ck_assert_str_eq(slot.failure, "flash is made of blocks of 4 KiB, 16 MiB at most: it cannot "
                                   "have 5000 bytes at 0xffe00000");
    ck_assert_int_ne(build((16 << 20) + BLOCK), 0);
    slot.has_image = true;
    slot.image.size = 540672;
    ck_assert_int_ne(build(SIZE), 0);
    ck_assert_str_eq(slot.failure, "the file has 540672 bytes, and the flash 131072: 'loc "
                                   "mem:ADDRESS,LENGTH' must give it the file's size");
}
END_TEST

UNIT_MAIN("vdev flash", it_is_erased_and_reads_as_memory,
          programming_clears_bits_and_an_erase_sets_those_of_its_block,
          a_wide_write_programs_all_its_bytes, reads_are_the_status_until_the_array_is_asked_for,
          a_cleared_status_is_zero_until_the_next_command_as_edk2_probes_it,
          an_erase_that_is_not_confirmed_is_a_wrong_sequence,
          a_query_tells_size_blocks_and_intels_commands,
          what_the_file_has_is_read_before_the_first_look,
          changes_of_a_block_are_one_write_once_the_array_is_read_again,
          who_never_reads_the_array_again_is_written_after_10_ms_and_then_flushed,
          a_block_is_in_the_file_before_the_next_one_changes, the_end_of_the_vm_writes_what_waits,
          a_file_that_is_only_read_cannot_be_changed_and_the_status_says_so,
          a_write_that_fails_is_told_by_the_status,
          what_goes_to_the_file_by_itself_has_an_event_and_the_guest_no_doorbell,
          what_is_written_during_a_long_flush_is_flushed_after_it,
          a_write_that_fails_is_tried_again_and_nothing_changes_until_the_file_has_it,
          a_flush_that_fails_is_tried_again,
          a_file_that_refuses_a_block_keeps_the_next_one_from_changing,
          what_the_file_does_not_take_is_not_saved_and_the_end_says_so,
          a_reset_begins_again_what_was_on_its_way, a_reset_ends_commands_and_keeps_what_it_holds,
          a_place_or_a_file_of_another_size_is_refused_in_words)
