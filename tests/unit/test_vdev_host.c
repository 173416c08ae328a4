/* The vdev host reads: modules, sample and broken ones, and options. */
#include "tests/unit/vdev_host_unit.h"

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
    expect_words("web.qvmconf:7: there is no vdev 'ser8251'; there are: bell broken-abi "
                 "broken-clash broken-device broken-lines broken-name broken-operation "
                 "broken-option broken-pointer broken-size broken-symbol broken-timers "
                 "broken-twice broken-words fail later old sample");
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
        {"broken-abi", "g:1: vdev 'broken-abi' is built for version 4 of the vdev interface, this "
                       "qvm has version 3: build it anew"},
        {"broken-size", "g:1: vdev 'broken-size' is broken: its structures are too small"},
        {"broken-symbol",
         "g:1: vdev 'broken-symbol' is no vdev: it does not export 'qvm_vdev_module'"},
        {"broken-pointer", "g:1: vdev 'broken-pointer' is broken: its symbol says nothing"},
        {"broken-name", "g:1: vdev 'broken-name' is broken: its name is not that of its file"},
        {"broken-option", "g:1: vdev 'broken-option' is broken: an option is of an unknown kind"},
        {"broken-lines", "g:1: vdev 'broken-lines' is broken: it has too many interrupt lines"},
        {"broken-timers", "g:1: vdev 'broken-timers' is broken: it has too many timers"},
        {"broken-operation", "g:1: vdev 'broken-operation' is broken: an operation is missing"},
        {"broken-clash", "g:1: vdev 'broken-clash' is broken: an option has the name of one that "
                         "all vdevs have"},
        {"broken-twice", "g:1: vdev 'broken-twice' is broken: two options have the same name"},
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

static const struct {
    const char *word, *argument, *second, *words;
} wrong_options[] = {
    {"loc", "500", NULL,
     "g:10: loc '500' is not io:PORT[,LEN], mem:ADDRESS[,LEN] or "
     "pci:[[BUS:]DEVICE[.FUNCTION]]"},
    {"loc", "io:5q0", NULL,
     "g:10: loc 'io:5q0' is not io:PORT[,LEN], mem:ADDRESS[,LEN] or "
     "pci:[[BUS:]DEVICE[.FUNCTION]]"},
    {"loc", "io:500,", NULL,
     "g:10: loc 'io:500,' is not io:PORT[,LEN], mem:ADDRESS[,LEN] or "
     "pci:[[BUS:]DEVICE[.FUNCTION]]"},
    {"loc", "io:10000,1", NULL, "g:10: loc 'io:10000,1' is empty, or leaves the address space"},
    {"loc", "io:ffff,2", NULL, "g:10: loc 'io:ffff,2' is empty, or leaves the address space"},
    {"loc", "io:500,0", NULL, "g:10: loc 'io:500,0' is empty, or leaves the address space"},
    {"loc", "mem:f0000000", NULL, "g:10: loc 'mem:f0000000' wants a length: mem:ADDRESS,LEN"},
    {"loc", "mem:fffffffffffff000,4097", NULL,
     "g:10: loc 'mem:fffffffffffff000,4097' is empty, or leaves the address space"},
    {"loc", "pci:0:3", NULL, "g:9: vdev 'sample' is no PCI device: its 'loc' is io: or mem:"},
    {"loc", "pci:0:32", NULL, "g:10: loc 'pci:0:32': a device of PCI is 0 to 31"},
    {"intr", "apic", NULL,
     "g:10: 'intr apic' is for interrupt controllers; name a line, as 'intr ioapic:4'"},
    {"intr", "ioapic:24", NULL, "g:10: intr 'ioapic:24': the lines are 0 to 23"},
    {"intr", "8259:16", NULL, "g:10: intr '8259:16': the lines are 0 to 15"},
    {"intr", "4", NULL,
     "g:10: intr '4' is not PIC:LINE, as 'ioapic:4', where PIC is ioapic, 8259 or the name "
     "of an interrupt controller"},
    {"intr", "ioapic:", NULL,
     "g:10: intr 'ioapic:' is not PIC:LINE, as 'ioapic:4', where PIC is ioapic, 8259 or the "
     "name "
     "of an interrupt controller"},
    {"intr", "pic:4", NULL,
     "g:10: intr 'pic:4': there is no interrupt controller 'pic' before this line; there are: "
     "ioapic 8259"},
    {"name", "two words", NULL,
     "g:10: 'two words' is no name: letters, digits, '.', '-', '_', at most 63"},
    {"log", "info,loud", "stderr",
     "g:10: 'loud' is no filter: fatal internal error warn info debug verbose"},
    {"log", "info", "nowhere",
     "g:10: 'nowhere' is no destination: stdout stderr slog syslog journal none"},
    {"sched", "10", NULL,
     "g:10: 'sched' of a vdev is not supported: real-time priorities are given to vCPUs alone, by "
     "qvm "
     "as by qvmd; the threads of vdevs run as those of any process"},
    {"hostvector", "33", NULL,
     "g:10: 'hostvector' of a vdev is not supported: no process of Linux is told of interrupts by "
     "their vector"},
    {"delayed", "soon", NULL,
     "g:10: delayed 'soon' is neither 'forever' nor a number of seconds up to 86400"},
    {"delayed", "86401", NULL,
     "g:10: delayed '86401' is neither 'forever' nor a number of seconds up to 86400"},
    {"batch", "soon", NULL, "g:10: batch 'soon' is not a number of microseconds up to 10000000"},
    {"batch", "10000001", NULL,
     "g:10: batch '10000001' is not a number of microseconds up to 10000000"},
    {"legacy", NULL, NULL,
     "g:10: 'legacy' of a vdev is not supported: it has no legacy interface: virtio-balloon, -blk, "
     "-console, -entropy and -net have"},
    {"quiet", "maybe", NULL, "g:10: quiet 'maybe' is neither on nor off"},
    {"step", "0", NULL, "g:10: step '0' is not a number from 1 to 100"},
    {"step", "101", NULL, "g:10: step '101' is not a number from 1 to 100"},
    {"step", "ten", NULL, "g:10: step 'ten' is not a number from 1 to 100"},
    {"cell", "1", NULL,
     "g:10: cell '1' is not two hexadecimal numbers up to 0xff with a comma between"},
    {"cell", "1,100", NULL,
     "g:10: cell '1,100' is not two hexadecimal numbers up to 0xff with a comma between"},
    {"hostdev", ">", NULL, "g:10: hostdev '>' names no file"},
    {"hostdev", "|", NULL, "g:10: hostdev '|' names no command"},
};

START_TEST(each_wrong_option_is_refused_with_its_line)
{
    set_up(TEST_VDEV_DIR);
    for (size_t i = 0; i < ARRAY_LEN(wrong_options); i++) {
        int r = wrong_options[i].second == NULL
                    ? add("sample", wrong_options[i].word, wrong_options[i].argument, "loc",
                          "io:500,4", NULL)
                    : add("sample", wrong_options[i].word, wrong_options[i].argument,
                          wrong_options[i].second, "loc", "io:500,4", NULL);

        ck_assert_int_ne(r, 0);
        expect_words(wrong_options[i].words);
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
    ck_assert_uint_eq(device.intrs[0], QVM_VDEV_NO_INTR);
    ck_assert(vdev_host_device(host, 1, &device));
    ck_assert_uint_eq(device.regions[0].start, 4096);
    ck_assert_uint_eq(device.regions[0].size, 16);
    ck_assert(vdev_host_device(host, 2, &device));
    ck_assert_uint_eq(device.regions[0].start, 0xf0000000);
    ck_assert_uint_eq(device.regions[0].size, 4096);
    ck_assert_uint_eq(device.intrs[0], 10);
    ck_assert_str_eq(device.name, "sample-3");
    ck_assert(!vdev_host_device(host, 3, &device));
    tear_down();
}
END_TEST

START_TEST(a_list_of_lines_is_the_lines_in_their_order)
{
    struct vdev_host_device device;

    set_up(REAL_VDEV_DIR);
    ck_assert_int_eq(
        add("hpet", "intr", "ioapic:9,8259:8", "legacy-free", "intr", "ioapic:20", NULL), 0);
    ck_assert_int_eq(add("hpet", "loc", "mem:f8008000", "intrmap", "ioapic:7", NULL), 0);
    ck_assert(vdev_host_device(host, 0, &device));
    ck_assert_uint_eq(device.intrs[0], 9);
    ck_assert_uint_eq(device.intrs[1], 8);
    ck_assert_uint_eq(device.intrs[2], 20);
    ck_assert(vdev_host_device(host, 1, &device));
    ck_assert_uint_eq(device.intrs[0], 7);
    ck_assert_int_ne(add("hpet", "intr", "ioapic:2,", NULL), 0);
    expect_words("g:10: intr '' is not PIC:LINE, as 'ioapic:4', where PIC is ioapic, 8259 or the "
                 "name of an interrupt controller");
    ck_assert_int_ne(add("hpet", "intr", "ioapic:2,ioapic:24", NULL), 0);
    expect_words("g:10: intr 'ioapic:24': the lines are 0 to 23");
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
    ck_assert_uint_eq(device.intrs[0], 4);
    ck_assert(vdev_host_device(host, 1, &device));
    ck_assert_str_eq(device.name, "ser8250-2");
    ck_assert_uint_eq(device.regions[0].size, 8);
    ck_assert_uint_eq(device.intrs[0], 3);
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

UNIT_MAIN("vdev host", a_module_has_three_spellings_and_is_loaded_once,
          a_module_that_does_not_exist_is_refused_with_those_that_do,
          a_name_that_would_leave_the_folder_is_no_name,
          a_module_that_breaks_the_contract_is_refused_in_words,
          a_device_that_cannot_be_made_fails_with_its_line,
          each_wrong_option_is_refused_with_its_line,
          a_vdev_that_refuses_an_option_is_quoted_with_that_options_line,
          numbers_are_hexadecimal_for_addresses_and_decimal_for_sizes,
          a_list_of_lines_is_the_lines_in_their_order,
          defaults_come_from_the_module_and_loc_without_a_length_keeps_its_size,
          two_vdevs_cannot_have_one_place_one_name_or_the_console,
          a_place_that_the_machine_has_itself_is_refused_with_the_line,
          the_limits_of_vdevs_and_places_hold, more_options_than_the_limit_are_refused)
