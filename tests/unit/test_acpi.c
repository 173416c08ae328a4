/* The ACPI tables: sound by their own checksums, and by the word of iasl, which is not ours. */
#include "qvm-worker/tables/acpi.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/tables/aml.h"
#include "tests/unit/unit.h"

#define AREA_SIZE    0x16000u
#define AREA_ADDRESS 0xe0000u

static struct err err;
static uint8_t area[AREA_SIZE];

static const struct acpi_device devices[] = {
    {.hid = "PNP0501", .ports = {{0x3f8, 8}}, .port_count = 1, .gsi = 4},
    {.hid = "PNP0501", .ports = {{0x2f8, 8}}, .port_count = 1, .gsi = 3},
    {.hid = "PNP0B00", .ports = {{0x70, 2}}, .port_count = 1, .gsi = 8},
    {.hid = "PNP0303", .ports = {{0x60, 1}, {0x64, 1}}, .port_count = 2, .gsi = 1},
    {.hid = "QVM0001", .gsi = 20},
    {.hid = "QVM0002", .gsi = ACPI_NO_GSI},
    {.hid = "QVM0003", .gsi = 5, .is_level = true},
    {.hid = "QVM0004", .gsi = 20, .is_level = true}, /* PCI's, too */
};

static struct acpi_config config;

static void set_up(uint32_t cpu_count)
{
    memset(area, 0xee, sizeof(area));
    config = (struct acpi_config){.cpus = {.cpu_count = cpu_count},
                                  .devices = devices,
                                  .device_count = ARRAY_LEN(devices),
                                  .sleep_control = 0x600,
                                  .sleep_status = 0x601,
                                  .reset = 0x602,
                                  .reset_value = 1,
                                  .event = 0x604,
                                  .event_gsi = 9};
}

static void check_builds(void)
{
    ck_assert_msg(acpi_build(&config, area, AREA_ADDRESS, sizeof(area), &err) == 0, "%s", err.msg);
}

static uint64_t field(const uint8_t *at, uint32_t size)
{
    uint64_t value = 0;

    memcpy(&value, at, size);
    return value;
}

static uint8_t sum(const uint8_t *at, uint64_t size)
{
    uint8_t total = 0;

    for (uint64_t i = 0; i < size; i++) {
        total = (uint8_t)(total + at[i]);
    }
    return total;
}

/* The table at a guest-physical address, whole and with its checksum right. */
static const uint8_t *table_at(uint64_t address)
{
    const uint8_t *table = area + (address - AREA_ADDRESS);

    ck_assert_uint_ge(address, AREA_ADDRESS);
    ck_assert_uint_le(address - AREA_ADDRESS + 36, sizeof(area));
    ck_assert_uint_le(address - AREA_ADDRESS + field(table + 4, 4), sizeof(area));
    ck_assert_uint_eq(sum(table, field(table + 4, 4)), 0);
    ck_assert_uint_eq(address % 16, 0);
    return table;
}

static const uint8_t *find_table(const char *signature)
{
    const uint8_t *xsdt = table_at(field(area + 24, 8));

    for (uint64_t i = 36; i + 8 <= field(xsdt + 4, 4); i += 8) {
        const uint8_t *table = table_at(field(xsdt + i, 8));

        if (memcmp(table, signature, 4) == 0) {
            return table;
        }
    }
    return NULL;
}

START_TEST(pointer_has_both_checksums)
{
    set_up(1);
    check_builds();
    ck_assert_mem_eq(area, "RSD PTR ", 8);
    ck_assert_uint_eq(sum(area, 20), 0);
    ck_assert_uint_eq(sum(area, 36), 0);
    ck_assert_uint_eq(area[15], 2);
    ck_assert_mem_eq(table_at(field(area + 24, 8)), "XSDT", 4);
}
END_TEST

START_TEST(fadt_is_hardware_reduced_and_names_the_ports)
{
    const uint8_t *fadt;

    set_up(1);
    check_builds();
    fadt = find_table("FACP");
    ck_assert_ptr_nonnull(fadt);
    ck_assert_uint_eq(fadt[8], 6);
    ck_assert_uint_eq(field(fadt + 4, 4), 276);
    ck_assert_uint_eq(field(fadt + 112, 4) & (1u << 20 | 1u << 10), 1u << 20 | 1u << 10);
    ck_assert_uint_eq(field(fadt + 120, 8), 0x602);
    ck_assert_uint_eq(fadt[128], 1);
    ck_assert_uint_eq(field(fadt + 248, 8), 0x600);
    ck_assert_uint_eq(field(fadt + 260, 8), 0x601);
    ck_assert_mem_eq(table_at(field(fadt + 140, 8)), "DSDT", 4);
    ck_assert_uint_eq(field(fadt + 40, 4), field(fadt + 140, 8));
    ck_assert_uint_eq(field(fadt + 109, 2), 1u << 1 | 1u << 2); /* a keyboard, a clock, no VGA */
    config.device_count = 2;
    check_builds();
    ck_assert_uint_eq(field(find_table("FACP") + 109, 2), 1u << 2 | 1u << 5);
}
END_TEST

/* Entries of the MADT of a type, and the highest APIC id among them. */
static uint32_t count_entries(uint8_t type, uint32_t id_offset, uint32_t id_size, uint64_t *highest)
{
    const uint8_t *madt = find_table("APIC");
    uint64_t end = field(madt + 4, 4);
    uint32_t count = 0;

    for (uint64_t at = 44; at < end; at += madt[at + 1]) {
        ck_assert_uint_ge(madt[at + 1], 2);
        if (madt[at] == type) {
            *highest = field(madt + at + id_offset, id_size);
            count++;
        }
    }
    return count;
}

START_TEST(madt_has_each_processor_once)
{
    uint64_t highest = 0;

    set_up(1);
    check_builds();
    ck_assert_uint_eq(count_entries(0, 3, 1, &highest), 1);
    ck_assert_uint_eq(count_entries(1, 4, 4, &highest), 1);
    ck_assert_uint_eq(highest, 0xfec00000);
    ck_assert_uint_eq(count_entries(4, 5, 1, &highest), 1); /* LINT1 is NMI */
    ck_assert_uint_eq(highest, 1);
    set_up(255);
    check_builds();
    ck_assert_uint_eq(count_entries(0, 3, 1, &highest), 255);
    ck_assert_uint_eq(highest, 254);
    ck_assert_uint_eq(count_entries(9, 4, 4, &highest), 0);
    set_up(257);
    check_builds();
    ck_assert_uint_eq(count_entries(0, 3, 1, &highest), 255);
    ck_assert_uint_eq(count_entries(9, 4, 4, &highest), 2);
    ck_assert_uint_eq(highest, 256);
}
END_TEST

static void write_file(const char *path, const void *bytes, size_t size)
{
    auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
}

/* What `command` in directory `dir` says, with its exit status asserted to be 0. */
static void check_command(const char *dir, const char *command, char *output, size_t size)
{
    char line[512];
    FILE *pipe;
    size_t n;

    (void)snprintf(line, sizeof(line), "cd %s && %s 2>&1", dir, command);
    pipe = popen(line, "re");
    ck_assert_ptr_nonnull(pipe);
    n = fread(output, 1, size - 1, pipe);
    output[n] = '\0';
    ck_assert_msg(pclose(pipe) == 0, "%s: %s", line, output);
}

START_TEST(iasl_reads_the_tables_and_compiles_them_again)
{
    static char output[65536];
    char dir[] = "/tmp/qvm-acpi.XXXXXX", path[64], remove[64];
    const uint8_t *fadt, *dsdt, *madt;

    set_up(3);
    check_builds();
    fadt = find_table("FACP");
    madt = find_table("APIC");
    dsdt = table_at(field(fadt + 140, 8));
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/dsdt.aml", dir);
    write_file(path, dsdt, field(dsdt + 4, 4));
    (void)snprintf(path, sizeof(path), "%s/facp.aml", dir);
    write_file(path, fadt, field(fadt + 4, 4));
    (void)snprintf(path, sizeof(path), "%s/apic.aml", dir);
    write_file(path, madt, field(madt + 4, 4));
    check_command(dir, "iasl -d dsdt.aml facp.aml apic.aml", output, sizeof(output));
    ck_assert_ptr_null(strstr(output, "Error"));
    ck_assert_ptr_null(strstr(output, "Warning"));
    ck_assert_ptr_null(strstr(output, "Invalid"));
    check_command(dir, "iasl -p again dsdt.dsl", output, sizeof(output));
    ck_assert_msg(strstr(output, "0 Errors, 0 Warnings") != NULL, "%s", output);
    check_command(dir, "cat dsdt.dsl", output, sizeof(output));
    ck_assert_msg(strstr(output, "Notify (\\_SB.PWRB, 0x80)") != NULL, "%s", output);
    ck_assert_ptr_nonnull(strstr(output, "EisaId (\"PNP0501\")"));
    ck_assert_ptr_nonnull(strstr(output, "\"QVM0001\""));
    ck_assert_ptr_nonnull(strstr(output, "0x03F8,             // Range Minimum"));
    ck_assert_ptr_nonnull(strstr(output, "Level, ActiveHigh, Exclusive"));
    ck_assert_ptr_nonnull(strstr(output, "Level, ActiveLow, Shared"));
    check_command(dir, "cat facp.dsl apic.dsl", output, sizeof(output));
    ck_assert_ptr_nonnull(strstr(output, "Hardware Reduced (V5) : 1"));
    ck_assert_ptr_null(strstr(output, "Incorrect"));
    (void)snprintf(remove, sizeof(remove), "rm -r %s", dir);
    ck_assert_int_eq(system(remove), 0);
}
END_TEST

static const struct acpi_pci pci = {.ecam_start = 0xe0000000,
                                    .ecam_size = 0x10000000,
                                    .bus_count = 256,
                                    .low = {{0xc0000000, 0xe0000000}},
                                    .low_count = 1,
                                    .high_start = 0x140000000,
                                    .high_end = 0x940000000,
                                    .routes = {{3, 0, 23}, {4, 1, 21}},
                                    .route_count = 2};

START_TEST(pci_buses_are_told_with_windows_routes_and_mcfg)
{
    static char output[65536];
    char dir[] = "/tmp/qvm-acpi.XXXXXX", path[64], remove[64];
    const uint8_t *mcfg, *dsdt;

    set_up(1);
    config.pci = &pci;
    check_builds();
    mcfg = find_table("MCFG");
    dsdt = table_at(field(find_table("FACP") + 140, 8));
    ck_assert_uint_eq(field(mcfg + 44, 8), 0xe0000000);
    ck_assert_uint_eq(field(mcfg + 52, 4), 0xff000000); /* segment 0, buses 0 to 255 */
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/dsdt.aml", dir);
    write_file(path, dsdt, field(dsdt + 4, 4));
    (void)snprintf(path, sizeof(path), "%s/mcfg.aml", dir);
    write_file(path, mcfg, field(mcfg + 4, 4));
    check_command(dir, "iasl -d dsdt.aml mcfg.aml", output, sizeof(output));
    ck_assert_ptr_null(strstr(output, "Error"));
    ck_assert_ptr_null(strstr(output, "Warning"));
    check_command(dir, "iasl -p again dsdt.dsl", output, sizeof(output));
    ck_assert_msg(strstr(output, "0 Errors, 0 Warnings") != NULL, "%s", output);
    check_command(dir, "cat dsdt.dsl", output, sizeof(output));
    ck_assert_ptr_nonnull(strstr(output, "EisaId (\"PNP0A08\")"));
    ck_assert_ptr_nonnull(strstr(output, "0xDFFFFFFF,         // Range Maximum"));
    ck_assert_ptr_nonnull(strstr(output, "0x000000093FFFFFFF, // Range Maximum"));
    ck_assert_ptr_nonnull(strstr(output, "0x0003FFFF"));
    ck_assert_ptr_nonnull(strstr(output, "0x17"));
    ck_assert_ptr_nonnull(strstr(output, "Memory32Fixed (ReadWrite"));
    (void)snprintf(remove, sizeof(remove), "rm -r %s", dir);
    ck_assert_int_eq(system(remove), 0);
}
END_TEST

static const struct acpi_fixed fixed = {.event = 0x600,
                                        .event_size = 4,
                                        .control = 0x604,
                                        .control_size = 2,
                                        .timer = 0x608,
                                        .timer_size = 4,
                                        .gpe0 = 0x620,
                                        .gpe0_size = 16,
                                        .sci = 9,
                                        .all = 0x600,
                                        .all_size = 128};

START_TEST(fixed_hardware_is_told_with_its_interrupt_4_8)
{
    static char output[65536];
    char dir[] = "/tmp/qvm-acpi.XXXXXX", path[64], remove[64];
    const uint8_t *fadt, *facs, *dsdt, *madt;

    set_up(2);
    config.fixed = &fixed;
    config.pci = &pci;
    config.reset = 0xcf9;
    config.reset_value = 6;
    check_builds();
    fadt = find_table("FACP");
    madt = find_table("APIC");
    facs = area + (field(fadt + 36, 4) - AREA_ADDRESS); /* without a checksum */
    dsdt = table_at(field(fadt + 140, 8));
    ck_assert_mem_eq(facs, "FACS", 4);
    ck_assert_uint_eq(field(fadt + 36, 4) % 64, 0);                    /* 5.2.10 */
    ck_assert_uint_eq(field(fadt + 112, 4) & (1u << 20 | 1u << 4), 0); /* a fixed button */
    ck_assert_uint_eq(field(fadt + 112, 4) & 1u << 6, 0); /* and a clock: RTC_STS is there */
    ck_assert_mem_eq(madt + field(madt + 4, 4) - 10, "\x02\x0a\0\x09\x09\0\0\0\x0d\0", 10);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/dsdt.aml", dir);
    write_file(path, dsdt, field(dsdt + 4, 4));
    (void)snprintf(path, sizeof(path), "%s/facp.aml", dir);
    write_file(path, fadt, field(fadt + 4, 4));
    (void)snprintf(path, sizeof(path), "%s/apic.aml", dir);
    write_file(path, madt, field(madt + 4, 4));
    check_command(dir, "iasl -d dsdt.aml facp.aml apic.aml", output, sizeof(output));
    ck_assert_ptr_null(strstr(output, "Error"));
    ck_assert_ptr_null(strstr(output, "Warning"));
    check_command(dir, "iasl -p again dsdt.dsl", output, sizeof(output));
    ck_assert_msg(strstr(output, "0 Errors, 0 Warnings") != NULL, "%s", output);
    check_command(dir, "cat dsdt.dsl", output, sizeof(output));
    ck_assert_ptr_null(strstr(output, "PWRB"));
    check_command(dir, "cat facp.dsl", output, sizeof(output));
    ck_assert_ptr_nonnull(strstr(output, "PM1A Event Block Address : 00000600"));
    ck_assert_ptr_nonnull(strstr(output, "PM Timer Block Address : 00000608"));
    ck_assert_ptr_nonnull(strstr(output, "SCI Interrupt : 0009"));
    ck_assert_ptr_null(strstr(output, "Incorrect"));
    (void)snprintf(remove, sizeof(remove), "rm -r %s", dir);
    ck_assert_int_eq(system(remove), 0);
}
END_TEST

/* A table of `size` bytes with the signature and its checksum right. */
static void make_extra(uint8_t *bytes, const char *signature, uint32_t size)
{
    memset(bytes, 0, size);
    memcpy(bytes, signature, 4);
    memcpy(bytes + 4, &size, 4);
    bytes[9] = (uint8_t)-sum(bytes, size);
}

static void check_extra_refused(const uint8_t *bytes, uint32_t size, const char *words)
{
    static struct acpi_extra extra;

    extra = (struct acpi_extra){bytes, size, "t.aml", "g:5"};
    set_up(1);
    config.extras = &extra;
    config.extra_count = 1;
    ck_assert_int_eq(acpi_build(&config, area, AREA_ADDRESS, sizeof(area), &err), -EINVAL);
    ck_assert_str_eq(err.msg, words);
}

START_TEST(extra_table_is_added_as_it_is)
{
    uint8_t bytes[100];
    const struct acpi_extra extra = {bytes, sizeof(bytes), "t.aml", "g:5"};

    make_extra(bytes, "SSDT", sizeof(bytes));
    set_up(1);
    config.extras = &extra;
    config.extra_count = 1;
    check_builds();
    ck_assert_ptr_nonnull(find_table("SSDT"));
    ck_assert_mem_eq(find_table("SSDT"), bytes, sizeof(bytes));
}
END_TEST

START_TEST(extra_table_that_lies_is_refused)
{
    uint8_t bytes[100];

    make_extra(bytes, "SSDT", sizeof(bytes));
    check_extra_refused(bytes, 35,
                        "g:5: 't.aml' is no ACPI table: it is shorter than a table's header");
    check_extra_refused(bytes, 99,
                        "g:5: 't.aml' is no ACPI table: the length in its header is not the "
                        "file's");
    bytes[50] = 1;
    check_extra_refused(bytes, 100, "g:5: 't.aml' is no ACPI table: its checksum is wrong");
    make_extra(bytes, "ss\1T", sizeof(bytes));
    check_extra_refused(bytes, 100,
                        "g:5: 't.aml' is no ACPI table: its signature is not made of capitals and "
                        "digits");
    make_extra(bytes, "APIC", sizeof(bytes));
    check_extra_refused(bytes, 100, "g:5: 't.aml' is a APIC, which the VM has already");
}
END_TEST

START_TEST(tables_that_do_not_fit_are_refused_at_every_size)
{
    uint32_t needed = 0;

    set_up(4);
    for (uint32_t size = 0; size < 2048; size++) {
        memset(area, 0xee, sizeof(area));
        if (acpi_build(&config, area, AREA_ADDRESS, size, &err) == 0) {
            needed = needed == 0 ? size : needed;
        } else {
            ck_assert_uint_eq(needed, 0);
            ck_assert_int_eq(err.code, -ENOSPC);
        }
        ck_assert_uint_eq(area[size], 0xee); /* nothing behind the room it has */
    }
    ck_assert_uint_gt(needed, 0);
}
END_TEST

START_TEST(one_extra_table_more_than_the_limit_is_refused)
{
    uint8_t bytes[40];
    struct acpi_extra extras[ACPI_EXTRA_MAX + 1];

    make_extra(bytes, "SSDT", sizeof(bytes));
    for (uint32_t i = 0; i <= ACPI_EXTRA_MAX; i++) {
        extras[i] = (struct acpi_extra){bytes, sizeof(bytes), "t.aml", "g:5"};
    }
    set_up(1);
    config.extras = extras;
    config.extra_count = ACPI_EXTRA_MAX;
    check_builds();
    config.extra_count = ACPI_EXTRA_MAX + 1;
    ck_assert_int_eq(acpi_build(&config, area, AREA_ADDRESS, sizeof(area), &err), -EINVAL);
    ck_assert_str_eq(err.msg, "g:5: more than 32 ACPI tables to load");
}
END_TEST

UNIT_MAIN("acpi", pointer_has_both_checksums, fadt_is_hardware_reduced_and_names_the_ports,
          madt_has_each_processor_once, iasl_reads_the_tables_and_compiles_them_again,
          pci_buses_are_told_with_windows_routes_and_mcfg,
          fixed_hardware_is_told_with_its_interrupt_4_8, extra_table_is_added_as_it_is,
          extra_table_that_lies_is_refused, tables_that_do_not_fit_are_refused_at_every_size,
          one_extra_table_more_than_the_limit_is_refused)
