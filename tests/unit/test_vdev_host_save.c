/* The vdev host saves its devices and restores them. */
#include "tests/unit/vdev_host_unit.h"

#include "qvm-worker/fields.h"

/* ---- saved state ---- */

static void make_two(void)
{
    set_up(TEST_VDEV_DIR);
    ck_assert_int_eq(add("sample", "loc", "io:500,4", "intr", "ioapic:5", NULL), 0);
    ck_assert_int_eq(add("sample", "loc", "io:510,4", "name", "b", NULL), 0);
    ck_assert_int_eq(build(), 0);
}

static struct fields_writer save_all(void)
{
    struct fields_writer saved = {0};

    ck_assert_int_eq(vdev_host_save(host, &saved, &err), 0);
    return saved;
}

START_TEST(all_devices_are_saved_and_restored_each_its_own)
{
    struct fields_writer saved;

    make_two();
    out(0x500, 11);
    out(0x510, 22);
    saved = save_all();
    out(0x500, 33);
    vdev_host_reset(host);
    ck_assert_uint_eq(in(0x500), 0);
    ck_assert_int_eq(vdev_host_restore(host, saved.bytes, saved.size, &err), 0);
    ck_assert_uint_eq(in(0x500), 11);
    ck_assert_uint_eq(in(0x510), 22);
    fields_discard(&saved);
    tear_down();
}
END_TEST

START_TEST(a_line_that_ends_as_it_was_is_not_told)
{
    struct fields_writer saved, low;

    make_two();
    low = save_all();
    out(0x501, 0);
    while (rises[5] == 0) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    saved = save_all();
    ck_assert_int_eq(vdev_host_restore(host, saved.bytes, saved.size, &err), 0);
    ck_assert_uint_eq(rises[5], 1);
    ck_assert_uint_eq(falls[5], 0);
    ck_assert_int_eq(vdev_host_restore(host, low.bytes, low.size, &err), 0);
    ck_assert_uint_eq(falls[5], 1);
    ck_assert_int_eq(vdev_host_restore(host, saved.bytes, saved.size, &err), 0);
    ck_assert_uint_eq(rises[5], 2);
    (void)in(0x501);
    ck_assert_uint_eq(falls[5], 2);
    fields_discard(&saved);
    fields_discard(&low);
    tear_down();
}
END_TEST

START_TEST(a_timer_that_was_saved_fires)
{
    struct fields_writer saved;

    make_two();
    out(0x501, 20);
    saved = save_all();
    vdev_host_reset(host);
    ck_assert_int_eq(vdev_host_restore(host, saved.bytes, saved.size, &err), 0);
    while (rises[5] == 0) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    fields_discard(&saved);
    tear_down();
}
END_TEST

START_TEST(nonsense_is_refused_in_words_and_leaves_all_reset)
{
    struct fields_writer saved, own = {0}, device = {0}, all = {0};
    uint8_t two = 2;

    make_two();
    out(0x500, 11);
    saved = save_all();
    /* The list of the second alone; cut; of a device that is another. */
    ck_assert_int_eq(vdev_host_restore(host, saved.bytes, saved.size / 2 / 8 * 8, &err), -ENODEV);
    expect_words("vdev 'b' is not in it");
    ck_assert_uint_eq(in(0x500), 0);
    ck_assert_int_eq(vdev_host_restore(host, saved.bytes, saved.size - 1, &err), -EINVAL);
    ck_assert_int_eq(vdev_host_restore(host, saved.bytes, FIELDS_BYTES_MAX + 1, &err), -E2BIG);

    ck_assert_int_eq(fields_put(&own, 3, VDEV_FIELD_NUMBER, &two, 1), 0);
    ck_assert_int_eq(fields_put(&device, 1, VDEV_FIELD_BYTES, "sample", 6), 0);
    ck_assert_int_eq(fields_put(&device, 2, VDEV_FIELD_BYTES, "sample", 6), 0);
    ck_assert_int_eq(fields_put(&device, 3, VDEV_FIELD_BYTES, own.bytes, own.size), 0);
    ck_assert_int_eq(fields_put(&all, 1, VDEV_FIELD_BYTES, device.bytes, device.size), 0);
    device.size = 0; /* begin anew */
    device.count = 0;
    ck_assert_int_eq(fields_put(&device, 1, VDEV_FIELD_BYTES, "b", 1), 0);
    ck_assert_int_eq(fields_put(&device, 2, VDEV_FIELD_BYTES, "sample", 6), 0);
    ck_assert_int_eq(fields_put(&all, 2, VDEV_FIELD_BYTES, device.bytes, device.size), 0);
    out(0x510, 22);
    ck_assert_int_eq(vdev_host_restore(host, all.bytes, all.size, &err), -ERANGE);
    expect_words("vdev 'sample' cannot be restored: field 3 is 2, and 1 is the most");
    ck_assert_uint_eq(in(0x510), 0);
    fields_discard(&saved);
    fields_discard(&own);
    fields_discard(&device);
    fields_discard(&all);
    tear_down();
}
END_TEST

START_TEST(a_device_whose_module_cannot_be_saved_is_named)
{
    struct fields_writer saved = {0};

    set_up(TEST_VDEV_DIR);
    ck_assert_int_eq(add("old", NULL), 0);
    ck_assert_int_eq(build(), 0);
    ck_assert_int_eq(vdev_host_save(host, &saved, &err), -ENOTSUP);
    expect_words("g:9: vdev 'old' cannot be saved: its module does not do that");
    ck_assert_int_eq(vdev_host_restore(host, NULL, 0, &err), -ENODEV);
    fields_discard(&saved);
    tear_down();
}
END_TEST

/* ---- held devices ---- */

START_TEST(a_timer_of_a_held_device_waits_and_keeps_its_rest)
{
    uint64_t start;

    make_two();
    out(0x501, 5);
    ck_assert_int_eq(vdev_host_hold(host, NULL), 0);
    for (start = uv_hrtime(); uv_hrtime() - start < 20000000;) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
    ck_assert_uint_eq(rises[5], 0);
    vdev_host_release(host);
    while (rises[5] == 0) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    tear_down();
}
END_TEST

START_TEST(what_is_typed_meanwhile_comes_afterwards)
{
    int fds[2];

    set_up(REAL_VDEV_DIR);
    ck_assert_int_eq(add("ser8250", NULL), 0);
    ck_assert_int_eq(build(), 0);
    ck_assert_int_eq(uv_socketpair(SOCK_STREAM, 0, fds, 0, UV_NONBLOCK_PIPE), 0);
    ck_assert_int_eq(console_attach(console, fds[0], 0, CONSOLE_FROM_NOW, &err), 0);
    out(0x3f8 + 4, 0x0b);
    out(0x3f8 + 1, 0x01);
    ck_assert_int_eq(vdev_host_hold(host, NULL), 0);
    ck_assert_int_eq(write(fds[1], "k", 1), 1);
    turn();
    ck_assert_uint_eq(rises[4], 0);
    vdev_host_release(host);
    while (rises[4] == 0) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    ck_assert_uint_eq(in(0x3f8), 'k');
    tear_down();
    close(fds[1]);
}
END_TEST

UNIT_MAIN("vdev host saves", all_devices_are_saved_and_restored_each_its_own,
          a_line_that_ends_as_it_was_is_not_told, a_timer_that_was_saved_fires,
          nonsense_is_refused_in_words_and_leaves_all_reset,
          a_device_whose_module_cannot_be_saved_is_named,
          a_timer_of_a_held_device_waits_and_keeps_its_rest,
          what_is_typed_meanwhile_comes_afterwards)
