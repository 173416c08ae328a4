/* The vdev host with real modules: the sample, broken ones, and those of the project, on a real bus
 * and a real loop. */
#include "qvm-worker/vdev_host.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus.h"
#include "qvm-worker/console.h"
#include "tests/unit/unit.h"

static uv_loop_t loop;
static struct vdev_host *host;
static struct bus *bus;
static struct console *console;
static struct err err;
static int directory;

static unsigned rises[VDEV_HOST_GSI_COUNT], falls[VDEV_HOST_GSI_COUNT];
static unsigned request_count;
static enum vdev_request last_request;

static void on_intr(void *context UNUSED, uint32_t gsi, bool is_high)
{
    if (is_high) {
        rises[gsi]++;
    } else {
        falls[gsi]++;
    }
}

static void on_request(void *context UNUSED, enum vdev_request request, uint32_t value UNUSED)
{
    request_count++;
    last_request = request;
}

static void set_up(const char *path)
{
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(directory, 0);
    ck_assert_int_eq(vdev_host_create(directory, &host, &err), 0);
    bus = bus_create();
    ck_assert_int_eq(console_create(&loop, &console, &err), 0);
}

static void tear_down(void)
{
    vdev_host_destroy(host);
    console_destroy(console);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    bus_destroy(bus);
    close(directory);
}

static int build(void)
{
    struct vdev_host_env env = {
        .loop = &loop,
        .bus = bus,
        .console = console,
        .cpu_count = 1,
        .ram_below_4g = 64 << 20,
        .intr = on_intr,
        .request = on_request,
    };

    return vdev_host_build(host, &env, &err);
}

/* Words of a context, NULL at the end: WORD ARGUMENT [SECOND], as vdev_host_option_arguments says;
 * the first is on line 10. */
static int add(const char *module, ...)
{
    struct vdev_host_option options[VDEV_HOST_OPTIONS_MAX + 2];
    static char where[VDEV_HOST_OPTIONS_MAX + 2][16];
    size_t count = 0;
    const char *word;
    va_list words;

    if (vdev_host_load(host, module, "g:9", &err) != 0) {
        return err.code;
    }
    va_start(words, module);
    while ((word = va_arg(words, const char *)) != NULL) {
        int arguments = vdev_host_option_arguments(host, module, word);
        struct vdev_host_option *option = &options[count];

        (void)snprintf(where[count], sizeof(where[count]), "g:%zu", 10 + count);
        *option = (struct vdev_host_option){.word = word, .where = where[count]};
        option->argument = arguments != 0 ? va_arg(words, const char *) : NULL;
        option->second = arguments == 2 ? va_arg(words, const char *) : NULL;
        count++;
    }
    va_end(words);
    return vdev_host_add(host, module, "g:9", options, count, &err);
}

static uint8_t in(uint64_t port)
{
    uint8_t value = 0;

    ck_assert(bus_access(bus, BUS_IO, port, &value, 1, false));
    return value;
}

static void out(uint64_t port, unsigned value)
{
    uint8_t byte = (uint8_t)value;

    ck_assert(bus_access(bus, BUS_IO, port, &byte, 1, true));
}

static void turn(void)
{
    for (int i = 0; i < 20; i++) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
}

#define expect_words(words) ck_assert_str_eq(err.msg, words)

START_TEST(a_module_has_three_spellings_and_is_loaded_once)
{
    set_up(TEST_VDEV_DIR);
    ck_assert_int_eq(vdev_host_load(host, "sample", "g:1", &err), 0);
    ck_assert_int_eq(vdev_host_load(host, "vdev-sample", "g:1", &err), 0);
    ck_assert_int_eq(vdev_host_load(host, "vdev-sample.so", "g:1", &err), 0);
    ck_assert_int_eq(vdev_host_option_arguments(host, "vdev-sample.so", "step"), 1);
    ck_assert_int_eq(vdev_host_option_arguments(host, "sample", "log"), 2);
    ck_assert_int_eq(vdev_host_option_arguments(host, "sample", "loc"), 1);
    ck_assert_int_eq(vdev_host_option_arguments(host, "sample", "stepp"), -ENOENT);
    tear_down();
}
END_TEST

START_TEST(a_module_that_does_not_exist_is_refused_with_those_that_do)
{
    set_up(TEST_VDEV_DIR);
    ck_assert_int_eq(vdev_host_load(host, "ser8251", "web.qvmconf:7", &err), -ENOENT);
    expect_words("web.qvmconf:7: there is no vdev 'ser8251'; there are: broken-abi broken-device "
                 "broken-name broken-operation broken-option broken-pointer broken-size "
                 "broken-symbol broken-words sample");
    tear_down();
}
END_TEST

START_TEST(a_name_that_would_leave_the_folder_is_no_name)
{
    static const char *const names[] = {"../vdevs/sample", "a/b", "",        "vdev-",
                                        "vdev-.so",        ".",   "s ample", "s\xc3\xa4mple"};
    char name[VDEV_HOST_NAME_MAX + 2];

    set_up(TEST_VDEV_DIR);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        ck_assert_int_eq(vdev_host_load(host, names[i], "g:1", &err), -EINVAL);
        ck_assert_ptr_nonnull(strstr(err.msg, "is no name of a vdev"));
    }
    memset(name, 'a', sizeof(name));
    name[VDEV_HOST_NAME_MAX + 1] = '\0';
    ck_assert_int_eq(vdev_host_load(host, name, "g:1", &err), -EINVAL);
    name[VDEV_HOST_NAME_MAX] = '\0';
    ck_assert_int_eq(vdev_host_load(host, name, "g:1", &err), -ENOENT);
    tear_down();
}
END_TEST

START_TEST(a_module_that_breaks_the_contract_is_refused_in_words)
{
    static const struct {
        const char *module, *words;
    } cases[] = {
        {"broken-abi", "g:1: vdev 'broken-abi' is built for version 2 of the vdev interface, this "
                       "qvm has version 1: build it anew"},
        {"broken-size", "g:1: vdev 'broken-size' is broken: its structures are too small"},
        {"broken-symbol",
         "g:1: vdev 'broken-symbol' is no vdev: it does not export 'qvm_vdev_module'"},
        {"broken-pointer", "g:1: vdev 'broken-pointer' is broken: its symbol says nothing"},
        {"broken-name", "g:1: vdev 'broken-name' is broken: its name is not that of its file"},
        {"broken-option", "g:1: vdev 'broken-option' is broken: an option is of an unknown kind"},
        {"broken-operation", "g:1: vdev 'broken-operation' is broken: an operation is missing"},
    };

    set_up(TEST_VDEV_DIR);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ck_assert_int_eq(vdev_host_load(host, cases[i].module, "g:1", &err), -ELIBBAD);
        expect_words(cases[i].words);
    }
    tear_down();
}
END_TEST

START_TEST(a_device_that_cannot_be_made_fails_with_its_line)
{
    set_up(TEST_VDEV_DIR);
    ck_assert_int_eq(add("broken-words", NULL), 0);
    ck_assert_int_eq(build(), -ENOMEM);
    expect_words("g:9: vdev 'broken-words' cannot be made: Cannot allocate memory");
    tear_down();
    set_up(TEST_VDEV_DIR);
    ck_assert_int_eq(add("broken-device", NULL), 0);
    ck_assert_int_eq(build(), -ELIBBAD);
    expect_words("g:9: vdev 'broken-device' is broken: it made no device");
    tear_down();
}
END_TEST

START_TEST(each_wrong_option_is_refused_with_its_line)
{
    static const struct {
        const char *word, *argument, *second, *words;
    } cases[] = {
        {"loc", "500", NULL, "g:10: loc '500' is not io:PORT[,LEN] or mem:ADDRESS,LEN"},
        {"loc", "io:5q0", NULL, "g:10: loc 'io:5q0' is not io:PORT[,LEN] or mem:ADDRESS,LEN"},
        {"loc", "io:500,", NULL, "g:10: loc 'io:500,' is not io:PORT[,LEN] or mem:ADDRESS,LEN"},
        {"loc", "io:10000,1", NULL, "g:10: loc 'io:10000,1' is empty, or leaves the address space"},
        {"loc", "io:ffff,2", NULL, "g:10: loc 'io:ffff,2' is empty, or leaves the address space"},
        {"loc", "io:500,0", NULL, "g:10: loc 'io:500,0' is empty, or leaves the address space"},
        {"loc", "mem:f0000000", NULL,
         "g:10: loc 'mem:f0000000' is not io:PORT[,LEN] or mem:ADDRESS,LEN"},
        {"loc", "mem:fffffffffffff000,4097", NULL,
         "g:10: loc 'mem:fffffffffffff000,4097' is empty, or leaves the address space"},
        {"loc", "pci:0:3", NULL, "g:10: loc 'pci:0:3': PCI is not supported yet"},
        {"intr", "apic", NULL,
         "g:10: 'intr apic' is for interrupt controllers; name a line, as 'intr ioapic:4'"},
        {"intr", "ioapic:24", NULL, "g:10: intr 'ioapic:24': the lines are 0 to 23"},
        {"intr", "8259:16", NULL, "g:10: intr '8259:16': the lines are 0 to 15"},
        {"intr", "4", NULL, "g:10: intr '4' is not ioapic:LINE or 8259:LINE"},
        {"intr", "ioapic:", NULL, "g:10: intr 'ioapic:' is not ioapic:LINE or 8259:LINE"},
        {"name", "two words", NULL,
         "g:10: 'two words' is no name: letters, digits, '.', '-', '_', at most 63"},
        {"log", "info,loud", "stderr",
         "g:10: 'loud' is no log filter; there are: fatal internal error warn info debug verbose"},
        {"log", "info", "nowhere", "g:10: a log goes to stdout, stderr or none, not to 'nowhere'"},
        {"sched", "10", NULL, "g:10: 'sched' of a vdev is not supported yet"},
        {"quiet", "maybe", NULL, "g:10: quiet 'maybe' is neither on nor off"},
        {"step", "0", NULL, "g:10: step '0' is not a number from 1 to 100"},
        {"step", "101", NULL, "g:10: step '101' is not a number from 1 to 100"},
        {"step", "ten", NULL, "g:10: step 'ten' is not a number from 1 to 100"},
        {"cell", "1", NULL,
         "g:10: cell '1' is not two hexadecimal numbers up to 0xff with a comma between"},
        {"cell", "1,100", NULL,
         "g:10: cell '1,100' is not two hexadecimal numbers up to 0xff with a comma between"},
        {"hostdev", ">", NULL, "g:10: hostdev '>' names no file"},
        {"hostdev", "|", NULL, "g:10: hostdev '|' names no file"},
    };

    set_up(TEST_VDEV_DIR);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int r = cases[i].second == NULL
                    ? add("sample", cases[i].word, cases[i].argument, "loc", "io:500,4", NULL)
                    : add("sample", cases[i].word, cases[i].argument, cases[i].second, "loc",
                          "io:500,4", NULL);

        ck_assert_int_ne(r, 0);
        expect_words(cases[i].words);
    }
    ck_assert_int_ne(add("sample", NULL), 0);
    expect_words("g:9: vdev 'sample' needs a 'loc'");
    ck_assert_int_eq(add("sample", "loc", "io:500,4", "step", "100", NULL),
                     0); /* nothing is left */
    tear_down();
}
END_TEST

START_TEST(a_vdev_that_refuses_an_option_is_quoted_with_that_options_line)
{
    set_up(TEST_VDEV_DIR);
    ck_assert_int_eq(add("sample", "loc", "io:500,4", "cell", "3,1", "cell", "4,1", NULL), 0);
    ck_assert_int_eq(build(), -EINVAL);
    expect_words("g:12: vdev 'sample': there are 4 cells");
    tear_down();
    set_up(REAL_VDEV_DIR);
    ck_assert_int_eq(add("ser8250", "loc", "io:2f8,7", NULL), 0);
    ck_assert_int_eq(build(), -EINVAL);
    expect_words("g:9: vdev 'ser8250': a serial port has 8 registers, 'loc' gives 7");
    tear_down();
}
END_TEST

START_TEST(numbers_are_hexadecimal_for_addresses_and_decimal_for_sizes)
{
    struct vdev_host_device device;

    set_up(TEST_VDEV_DIR);
    ck_assert_int_eq(add("sample", "loc", "io:510,16", NULL), 0);
    ck_assert_int_eq(add("sample", "loc", "mem:0d4096,0x10", NULL), 0);
    ck_assert_int_eq(add("sample", "loc", "mem:0xF0000000,4k", "intr", "8259:0xa", NULL), 0);
    ck_assert(vdev_host_device(host, 0, &device));
    ck_assert_uint_eq(device.regions[0].start, 0x510);
    ck_assert_uint_eq(device.regions[0].size, 16);
    ck_assert_uint_eq(device.intr_line, QVM_VDEV_NO_INTR);
    ck_assert(vdev_host_device(host, 1, &device));
    ck_assert_uint_eq(device.regions[0].start, 4096);
    ck_assert_uint_eq(device.regions[0].size, 16);
    ck_assert(vdev_host_device(host, 2, &device));
    ck_assert_uint_eq(device.regions[0].start, 0xf0000000);
    ck_assert_uint_eq(device.regions[0].size, 4096);
    ck_assert_uint_eq(device.intr_line, 10);
    ck_assert_str_eq(device.name, "sample-3");
    ck_assert(!vdev_host_device(host, 3, &device));
    tear_down();
}
END_TEST

START_TEST(defaults_come_from_the_module_and_loc_without_a_length_keeps_its_size)
{
    struct vdev_host_device device;

    set_up(REAL_VDEV_DIR);
    ck_assert_int_eq(add("ser8250", NULL), 0);
    ck_assert_int_eq(add("vdev-ser8250.so", "loc", "io:2f8", "intr", "8259:3", NULL), 0);
    ck_assert_int_eq(add("pckeyboard", NULL), 0);
    ck_assert(vdev_host_device(host, 0, &device));
    ck_assert_str_eq(device.acpi_hid, "PNP0501");
    ck_assert_uint_eq(device.regions[0].start, 0x3f8);
    ck_assert_uint_eq(device.regions[0].size, 8);
    ck_assert_uint_eq(device.intr_line, 4);
    ck_assert(vdev_host_device(host, 1, &device));
    ck_assert_str_eq(device.name, "ser8250-2");
    ck_assert_uint_eq(device.regions[0].size, 8);
    ck_assert_uint_eq(device.intr_line, 3);
    ck_assert(vdev_host_device(host, 2, &device));
    ck_assert_uint_eq(device.region_count, 2);
    ck_assert_int_ne(add("pckeyboard", "loc", "io:260", NULL), 0);
    expect_words("g:9: vdev 'pckeyboard' has 2 places, 'loc' gives 1");
    tear_down();
}
END_TEST

START_TEST(two_vdevs_cannot_have_one_place_one_name_or_the_console)
{
    set_up(REAL_VDEV_DIR);
    ck_assert_int_eq(add("ser8250", "name", "com1", "hostdev", "-", NULL), 0);
    ck_assert_int_eq(add("ser8250", "loc", "io:3ff", NULL), -EEXIST);
    expect_words("g:9: vdev 'ser8250' at port 0x3ff overlaps vdev 'com1' of g:9");
    ck_assert_int_eq(add("ser8250", "loc", "io:2f8", "name", "com1", NULL), -EEXIST);
    expect_words("g:9: the name 'com1' is taken by the vdev of g:9");
    ck_assert_int_eq(add("ser8250", "loc", "io:2f8", "hostdev", "-", NULL), -EBUSY);
    expect_words("g:11: the console belongs to vdev 'com1' of g:9");
    ck_assert_int_eq(add("ser8250", "loc", "io:400", NULL), 0); /* side by side */
    tear_down();
}
END_TEST

START_TEST(a_place_that_the_machine_has_itself_is_refused_with_the_line)
{
    set_up(REAL_VDEV_DIR);
    ck_assert_int_eq(bus_add(bus, BUS_IO, 0x3fa, 1, NULL, NULL, 0, "the power ports", &err), 0);
    ck_assert_int_eq(add("ser8250", NULL), 0);
    ck_assert_int_eq(build(), -EEXIST);
    ck_assert_int_eq(strncmp(err.msg, "g:9: ", 5), 0);
    ck_assert_ptr_nonnull(strstr(err.msg, "the power ports"));
    tear_down();
}
END_TEST

START_TEST(the_limits_of_vdevs_and_places_hold)
{
    char loc[16];

    set_up(TEST_VDEV_DIR);
    ck_assert_int_eq(
        add("sample", "loc", "io:1,1", "loc", "io:2,1", "loc", "io:3,1", "loc", "io:4,1", NULL), 0);
    ck_assert_int_eq(add("sample", "loc", "io:11,1", "loc", "io:12,1", "loc", "io:13,1", "loc",
                         "io:14,1", "loc", "io:15,1", NULL),
                     -E2BIG);
    expect_words("g:14: more than 4 places for one vdev");
    for (unsigned i = 1; i < VDEV_HOST_DEVICES_MAX; i++) {
        (void)snprintf(loc, sizeof(loc), "io:%x,4", 0x1000 + 4 * i);
        ck_assert_int_eq(add("sample", "loc", loc, NULL), 0);
    }
    ck_assert_int_eq(add("sample", "loc", "io:f000,4", NULL), -E2BIG);
    expect_words("g:9: more than 256 vdevs");
    tear_down();
}
END_TEST

START_TEST(more_options_than_the_limit_are_refused)
{
    struct vdev_host_option options[VDEV_HOST_OPTIONS_MAX + 1];

    set_up(TEST_VDEV_DIR);
    for (size_t i = 0; i <= VDEV_HOST_OPTIONS_MAX; i++) {
        options[i] = (struct vdev_host_option){"cell", "0,1", NULL, "g:10"};
    }
    options[0] = (struct vdev_host_option){"loc", "io:500,4", NULL, "g:10"};
    ck_assert_int_eq(vdev_host_add(host, "sample", "g:9", options, VDEV_HOST_OPTIONS_MAX + 1, &err),
                     -E2BIG);
    ck_assert_int_eq(vdev_host_add(host, "sample", "g:9", options, VDEV_HOST_OPTIONS_MAX, &err), 0);
    tear_down();
}
END_TEST

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
    out(0x501, 200);
    vdev_host_reset(host); /* takes the timer away */
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

UNIT_MAIN("vdev host", a_module_has_three_spellings_and_is_loaded_once,
          a_module_that_does_not_exist_is_refused_with_those_that_do,
          a_name_that_would_leave_the_folder_is_no_name,
          a_module_that_breaks_the_contract_is_refused_in_words,
          a_device_that_cannot_be_made_fails_with_its_line,
          each_wrong_option_is_refused_with_its_line,
          a_vdev_that_refuses_an_option_is_quoted_with_that_options_line,
          numbers_are_hexadecimal_for_addresses_and_decimal_for_sizes,
          defaults_come_from_the_module_and_loc_without_a_length_keeps_its_size,
          two_vdevs_cannot_have_one_place_one_name_or_the_console,
          a_place_that_the_machine_has_itself_is_refused_with_the_line,
          the_limits_of_vdevs_and_places_hold, more_options_than_the_limit_are_refused,
          a_serial_port_talks_to_the_console_both_ways,
          needs_are_listed_and_what_is_granted_becomes_the_stream,
          a_timer_fires_on_the_loop_and_raises_the_line_once,
          a_shared_line_is_high_while_any_device_holds_it,
          options_reach_the_device_with_fallbacks_and_the_last_of_a_repeated_one,
          state_lists_each_device_with_what_the_host_knows_and_what_it_says,
          a_request_of_a_device_reaches_the_machine)
