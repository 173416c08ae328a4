/* The vdev host at work: real modules on a real bus, a real loop, a real console. */
#include "tests/unit/vdev_host_unit.h"

START_TEST(a_serial_port_talks_to_the_console_both_ways)
{
    int fds[2];
    char buffer[64] = "";

    set_up(REAL_VDEV_DIR);
    ck_assert_int_eq(add("ser8250", NULL), 0);
    ck_assert_int_eq(add("ser8250", "loc", "io:2f8", NULL), 0); /* nothing is left for it */
    ck_assert_ptr_null(vdev_host_next_need(host, NULL));
    ck_assert_int_eq(build(), 0);
    ck_assert_int_eq(uv_socketpair(SOCK_STREAM, 0, fds, 0, UV_NONBLOCK_PIPE), 0);
    ck_assert_int_eq(console_attach(console, fds[0], 0, CONSOLE_FROM_NOW, &err), 0);
    out(0x2f8, 'x');
    out(0x3f8, 'h');
    out(0x3f8, 'i');
    turn();
    ck_assert_int_eq(read(fds[1], buffer, sizeof(buffer)), 2);
    ck_assert_str_eq(buffer, "hi");
    out(0x3f8 + 4, 0x08);
    out(0x3f8 + 1, 0x01);
    ck_assert_int_eq(write(fds[1], "ls\r", 3), 3);
    turn();
    ck_assert_uint_eq(rises[4], 1);
    ck_assert_uint_eq(in(0x3f8), 'l');
    turn(); /* the port has a byte of room again: the console gives the next */
    ck_assert_uint_eq(in(0x3f8), 's');
    turn();
    ck_assert_uint_eq(in(0x3f8), '\r');
    ck_assert_uint_eq(in(0x3f8 + 5), 0x60);
    tear_down();
    close(fds[1]);
}
END_TEST

START_TEST(needs_are_listed_and_what_is_granted_becomes_the_stream)
{
    const struct vdev_host_need *first, *second, *third;
    char buffer[16] = "";
    int out_pipe[2], in_pipe[2];

    set_up(TEST_VDEV_DIR);
    ck_assert_int_eq(add("sample", "loc", "io:500,4", "hostdev", ">out.txt", NULL), 0);
    ck_assert_int_eq(add("sample", "loc", "io:510,4", "hostdev", "<|cat x", "name", "b", NULL), 0);
    ck_assert_int_eq(add("sample", "loc", "io:520,4", "hostdev", "/dev/ttyS1", NULL), 0);
    ck_assert_int_eq(add("sample", "loc", "io:530,4", "hostdev", "-", NULL), 0);
    first = vdev_host_next_need(host, NULL);
    second = vdev_host_next_need(host, first);
    third = vdev_host_next_need(host, second);
    ck_assert_ptr_null(vdev_host_next_need(host, third));
    ck_assert_int_eq(first->kind, VDEV_HOST_NEED_FILE);
    ck_assert(first->can_write && !first->can_read);
    ck_assert_str_eq(first->path, "out.txt");
    ck_assert_str_eq(first->where, "g:11");
    ck_assert_int_eq(second->kind, VDEV_HOST_NEED_COMMAND);
    ck_assert(second->can_read && !second->can_write);
    ck_assert_str_eq(second->path, "cat x");
    ck_assert_str_eq(second->device, "b");
    ck_assert(third->can_read && third->can_write);

    ck_assert_int_eq(pipe(out_pipe), 0);
    ck_assert_int_eq(pipe(in_pipe), 0);
    vdev_host_grant(host, first, out_pipe[1]);
    vdev_host_grant(host, second, in_pipe[0]);
    ck_assert_int_eq(build(), -ENODEV);
    expect_words("g:11: '/dev/ttyS1' was not given to vdev 'sample-2'");
    out(0x500, 'Q');
    turn();
    ck_assert_int_eq(read(out_pipe[0], buffer, sizeof(buffer)), 1);
    ck_assert_str_eq(buffer, "Q");
    ck_assert_int_eq(write(in_pipe[1], "ab", 2), 2);
    turn();
    ck_assert_uint_eq(in(0x512), 'a');
    turn();
    ck_assert_uint_eq(in(0x512), 'b');
    tear_down();
    close(out_pipe[0]);
    close(in_pipe[1]);
}
END_TEST

START_TEST(two_hostdevs_are_one_for_each_direction_and_the_last_of_each_counts)
{
    const struct vdev_host_need *output, *input;
    char buffer[16] = "";
    int out_pipe[2], in_pipe[2];

    set_up(TEST_VDEV_DIR);
    ck_assert_int_eq(add("sample", "loc", "io:500,4", "hostdev", "<early", "hostdev", "both",
                         "hostdev", ">out.txt", "hostdev", "<in.txt", "batch", "1", NULL),
                     0);
    output = vdev_host_next_need(host, NULL);
    input = vdev_host_next_need(host, output);
    ck_assert_ptr_null(vdev_host_next_need(host, input));
    ck_assert_str_eq(output->path, "out.txt");
    ck_assert(output->can_write && !output->can_read);
    ck_assert_str_eq(input->path, "in.txt");
    ck_assert(input->can_read && !input->can_write);
    ck_assert_int_eq(pipe(out_pipe), 0);
    ck_assert_int_eq(pipe(in_pipe), 0);
    vdev_host_grant(host, output, out_pipe[1]);
    vdev_host_grant(host, input, in_pipe[0]);
    ck_assert_int_eq(build(), 0);
    out(0x500, 'Q');
    ck_assert_int_eq(fcntl(out_pipe[0], F_SETFL, O_NONBLOCK), 0);
    while (read(out_pipe[0], buffer, sizeof(buffer)) != 1) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    ck_assert_str_eq(buffer, "Q");
    ck_assert_int_eq(write(in_pipe[1], "a", 1), 1);
    turn();
    ck_assert_uint_eq(in(0x502), 'a');
    tear_down();
    close(out_pipe[0]);
    close(in_pipe[1]);
}
END_TEST

START_TEST(one_direction_of_an_earlier_hostdev_goes_on)
{
    const struct vdev_host_need *output, *input;

    set_up(TEST_VDEV_DIR);
    ck_assert_int_eq(
        add("sample", "loc", "io:500,4", "hostdev", "/dev/ttyS1", "hostdev", ">out.txt", NULL), 0);
    ck_assert_int_eq(
        add("sample", "loc", "io:510,4", "hostdev", "<in.txt", "hostdev", "/dev/ttyS2", NULL), 0);
    output = vdev_host_next_need(host, NULL);
    input = vdev_host_next_need(host, output);
    ck_assert_str_eq(output->path, "out.txt");
    ck_assert_str_eq(input->path, "/dev/ttyS1");
    ck_assert(input->can_read && !input->can_write);
    output = vdev_host_next_need(host, input);
    ck_assert_str_eq(output->path, "/dev/ttyS2");
    ck_assert(output->can_read && output->can_write);
    ck_assert_ptr_null(vdev_host_next_need(host, output));
    tear_down();
}
END_TEST

START_TEST(modules_of_the_first_header_and_of_one_to_come_work)
{
    static const char *const modules[] = {"old", "later"};

    for (size_t i = 0; i < ARRAY_LEN(modules); i++) {
        set_up(TEST_VDEV_DIR);
        ck_assert_int_eq(add(modules[i], "begin", "7", "intr", "ioapic:5", NULL), 0);
        ck_assert_int_eq(build(), 0);
        ck_assert_uint_eq(in(0x700), 7);
        out(0x700, 9); /* raises its line, and sets its timer */
        ck_assert_uint_eq(rises[5], 1);
        while (falls[5] == 0) {
            (void)uv_run(&loop, UV_RUN_ONCE);
        }
        ck_assert_uint_eq(in(0x700), 9);
        vdev_host_reset(host);
        ck_assert_uint_eq(in(0x700), 7);
        tear_down();
        rises[5] = falls[5] = 0;
    }
}
END_TEST

START_TEST(a_timer_fires_on_the_loop_and_raises_the_line_once)
{
    set_up(TEST_VDEV_DIR);
    ck_assert_int_eq(add("sample", "loc", "io:500,4", "intr", "ioapic:5", NULL), 0);
    ck_assert_int_eq(build(), 0);
    out(0x501, 1);
    while (rises[5] == 0) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    (void)in(0x501);
    (void)in(0x501);
    ck_assert_uint_eq(falls[5], 1);
    turn();
    ck_assert_uint_eq(rises[5], 1);
    out(0x501, 1);
    for (uint64_t start = uv_hrtime(); uv_hrtime() - start < 2000000;) {
    }
    vdev_host_reset(host); /* takes the timer away, though its time has come */
    turn();
    ck_assert_uint_eq(rises[5], 1);
    out(0x501, 0);
    while (rises[5] == 1) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    vdev_host_reset(host); /* and lowers the line */
    ck_assert_uint_eq(falls[5], 2);
    tear_down();
}
END_TEST

START_TEST(a_shared_line_is_high_while_any_device_holds_it)
{
    set_up(TEST_VDEV_DIR);
    ck_assert_int_eq(add("sample", "loc", "io:500,4", "intr", "ioapic:5", NULL), 0);
    ck_assert_int_eq(add("sample", "loc", "io:510,4", "intr", "8259:5", NULL), 0);
    ck_assert_int_eq(build(), 0);
    out(0x501, 0);
    (void)uv_run(&loop, UV_RUN_ONCE);
    out(0x511, 0);
    (void)uv_run(&loop, UV_RUN_ONCE);
    ck_assert_uint_eq(rises[5], 1);
    (void)in(0x501);
    ck_assert_uint_eq(falls[5], 0);
    (void)in(0x511);
    ck_assert_uint_eq(falls[5], 1);
    tear_down();
}
END_TEST

#define HPET_CONFIG 0xfed00010u
#define HPET_LEGACY 2u

static void write_memory(uint64_t address, uint32_t value)
{
    ck_assert(bus_access(bus, BUS_MEMORY, address, (uint8_t *)&value, sizeof(value), true));
}

/* HPET 2.3.5: the clock's line is the HPET's alone. */
START_TEST(a_clock_is_silent_while_the_hpet_has_its_interrupt)
{
    set_up(REAL_VDEV_DIR);
    ck_assert_int_eq(add("mc146818", NULL), 0);
    ck_assert_int_eq(add("hpet", "intr", "ioapic:0,ioapic:8", NULL), 0);
    ck_assert_int_eq(build(), 0);
    write_memory(HPET_CONFIG, HPET_LEGACY);
    out(0x70, 0x0a);
    out(0x71, 0x23); /* 8,192 a second */
    out(0x70, 0x0b);
    out(0x71, 0x42);
    for (uint64_t start = uv_hrtime(); uv_hrtime() - start < 2000000;) {
    }
    turn();
    ck_assert_uint_eq(rises[8], 0);
    write_memory(HPET_CONFIG, 0); /* what it holds meanwhile comes now */
    ck_assert_uint_eq(rises[8], 1);
    write_memory(HPET_CONFIG, HPET_LEGACY);
    ck_assert_uint_eq(falls[8], 1);
    vdev_host_reset(host);
    ck_assert_uint_eq(rises[8], falls[8]);
    tear_down();
}
END_TEST

START_TEST(options_reach_the_device_with_fallbacks_and_the_last_of_a_repeated_one)
{
    set_up(TEST_VDEV_DIR);
    ck_assert_int_eq(add("sample", "loc", "io:500,4", "step", "2", "step", "7", "cell", "0,10",
                         "cell", "1,20", "cell", "0,30", "label", "a b", NULL),
                     0);
    ck_assert_int_eq(add("sample", "loc", "io:510,4", NULL), 0);
    ck_assert_int_eq(build(), 0);
    ck_assert_uint_eq(in(0x500), 0x30);
    ck_assert_uint_eq(in(0x500), 0x37);
    out(0x503, 1);
    ck_assert_uint_eq(in(0x500), 0x20);
    ck_assert_uint_eq(in(0x510), 0);
    ck_assert_uint_eq(in(0x510), 1);
    tear_down();
}
END_TEST

static char state[4096];

static void add_state(void *context UNUSED, const char *device, const char *name, const char *value)
{
    size_t used = strlen(state);

    (void)snprintf(state + used, sizeof(state) - used, "%s %s=%s\n", device, name, value);
}

START_TEST(state_lists_each_device_with_what_the_host_knows_and_what_it_says)
{
    set_up(TEST_VDEV_DIR);
    ck_assert_int_eq(
        add("sample", "loc", "io:500,4", "intr", "ioapic:5", "name", "lamp", "hostdev", "-", NULL),
        0);
    ck_assert_int_eq(add("sample", "loc", "mem:f0000000,4k", "label", "two", NULL), 0);
    ck_assert_int_eq(build(), 0);
    out(0x500, 3);
    vdev_host_state(host, add_state, NULL);
    ck_assert_str_eq(state, "lamp loc=io:0x500,4\nlamp intr=ioapic:5 low\nlamp hostdev=-\n"
                            "lamp bytes-out=1\nlamp bytes-lost=0\nlamp label=\nlamp counter=3\n"
                            "lamp alarms=0\nsample loc=mem:0xf0000000,4096\nsample hostdev=none\n"
                            "sample label=two\nsample counter=0\nsample alarms=0\n");
    tear_down();
}
END_TEST

START_TEST(a_request_of_a_device_reaches_the_machine)
{
    set_up(REAL_VDEV_DIR);
    ck_assert_int_eq(add("pckeyboard", NULL), 0);
    ck_assert_int_eq(add("mc146818", "reg", "10,ff", NULL), 0);
    ck_assert_int_eq(build(), 0);
    out(0x64, 0xfe);
    ck_assert_uint_eq(request_count, 1);
    ck_assert_int_eq(last_request, VDEV_REQUEST_RESET);
    out(0x70, 0x10);
    ck_assert_uint_eq(in(0x71), 0xff);
    tear_down();
}
END_TEST

/* Bytes that the 8042 has. */
static uint32_t count_scan_codes(void)
{
    uint32_t count = 0;

    while ((in(0x64) & 1) != 0 && count < 100) {
        (void)in(0x60);
        count++;
    }
    return count;
}

START_TEST(what_is_pressed_in_a_pause_is_pressed_after_it_and_within_bounds)
{
    uint32_t pressed = 0;

    set_up(REAL_VDEV_DIR);
    ck_assert_int_eq(add("pckeyboard", NULL), 0);
    ck_assert_int_eq(build(), 0);
    ck_assert_int_eq(vdev_host_hold(host, &err), 0);
    ck_assert_int_eq(vdev_host_key(host, 30, true), 0);
    ck_assert_int_eq(vdev_host_key(host, 30, false), 0);
    ck_assert_int_eq(vdev_host_point(host, 1, 1), -ENODEV);
    ck_assert_uint_eq(count_scan_codes(), 0);
    vdev_host_release(host);
    ck_assert_uint_eq(count_scan_codes(), 2);

    ck_assert_int_eq(vdev_host_hold(host, &err), 0);
    while (pressed < 1000 && vdev_host_key(host, 30, true) == 0) {
        pressed++;
    }
    ck_assert_uint_eq(pressed, 32);
    for (uint32_t i = 0; i < pressed; i++) { /* what was pressed has room for its release */
        ck_assert_int_eq(vdev_host_key(host, 30, false), 0);
    }
    ck_assert_int_eq(vdev_host_key(host, 30, false), -ENOBUFS);

    vdev_host_reset(host);
    vdev_host_release(host);
    ck_assert_uint_eq(count_scan_codes(), 0);
    tear_down();
}
END_TEST

UNIT_MAIN("vdev host at work", modules_of_the_first_header_and_of_one_to_come_work,
          a_serial_port_talks_to_the_console_both_ways,
          needs_are_listed_and_what_is_granted_becomes_the_stream,
          two_hostdevs_are_one_for_each_direction_and_the_last_of_each_counts,
          one_direction_of_an_earlier_hostdev_goes_on,
          a_timer_fires_on_the_loop_and_raises_the_line_once,
          a_shared_line_is_high_while_any_device_holds_it,
          a_clock_is_silent_while_the_hpet_has_its_interrupt,
          options_reach_the_device_with_fallbacks_and_the_last_of_a_repeated_one,
          state_lists_each_device_with_what_the_host_knows_and_what_it_says,
          a_request_of_a_device_reaches_the_machine,
          what_is_pressed_in_a_pause_is_pressed_after_it_and_within_bounds)
