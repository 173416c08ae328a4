/* What firmware and a guest without firmware are told: ACPI by files and a script, SMBIOS. The test
 * plays the firmware: it places the files, obeys the script, and then reads as a guest would. */
#include <errno.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/loader/loader.h"
#include "qvm-worker/machine/acpi.h"
#include "qvm-worker/machine/machine.h"
#include "qvm-worker/memory/memory.h"
#include "qvm-worker/tables/firmware_files.h"
#include "qvm-worker/tables/smbios.h"
#include "tests/unit/unit.h"

#define MIB(n)      ((uint64_t)(n) << 20)
#define TABLES_BASE 0x1234000u /* where the test places etc/acpi/tables */
#define COMMAND     128u

static struct err err;
static struct memory *memory;
static struct firmware_files files;
static struct smbios tables;
static const struct smbios_identity *identity;
static uint32_t cores;

static void set_up(uint64_t ram_size, bool is_full)
{
    const struct memory_range range = {.size = ram_size, .where = "g:2"};
    const struct machine_acpi acpi = {.cpus = {.cpu_count = 3}, .is_full = is_full};
    struct smbios_config smbios = {.name = "web", .cpus = {.cpu_count = 3}};
    struct firmware_facts facts = {
        .smbios = &smbios, .acpi = &acpi, .reserved_start = 0xfeffc000, .reserved_size = 0x4000};

    memory_destroy(memory);
    memory = NULL;
    ck_assert_int_eq(memory_create(&range, 1, &memory, &err), 0);
    facts.memory = memory;
    smbios.memory = memory;
    ck_assert_msg(firmware_files_make(&files, &facts, &err) == 0, "%s", err.msg);
}

static struct firmware_file *find(const char *name)
{
    for (uint32_t i = 0; i < files.count; i++) {
        if (strcmp(files.list[i].name, name) == 0) {
            return &files.list[i];
        }
    }
    ck_abort_msg("no file %s", name);
    return NULL;
}

static uint64_t field(const uint8_t *bytes, uint32_t at, uint32_t size)
{
    uint64_t value = 0;

    memcpy(&value, bytes + at, size);
    return value;
}

static uint8_t sum(const uint8_t *bytes, uint64_t size)
{
    uint8_t total = 0;

    for (uint64_t i = 0; i < size; i++) {
        total = (uint8_t)(total + bytes[i]);
    }
    return total;
}

/* As SeaBIOS' romfile_loader.c does, and as EDK II's QemuFwCfgAcpi.c: one takes a sum from what is
 * there, the other puts it there. */
static void obey(const uint8_t *command)
{
    const char *name = (const char *)command + 4;
    struct firmware_file *file = find(name);
    uint32_t at;
    uint64_t value;

    switch (field(command, 0, 4)) {
    case 1:
        ck_assert(field(command, 60, 4) == 16 || field(command, 60, 4) == 64);
        break;
    case 2:
        ck_assert_str_eq((const char *)command + 60, "etc/acpi/tables");
        at = (uint32_t)field(command, 116, 4);
        ck_assert_uint_le(at + command[120], file->size);
        value = field(file->bytes, at, command[120]);
        ck_assert_uint_lt(value, find("etc/acpi/tables")->size);
        value += TABLES_BASE;
        memcpy(file->bytes + at, &value, command[120]);
        break;
    case 3:
        at = (uint32_t)field(command, 60, 4);
        ck_assert_uint_le(field(command, 64, 4) + field(command, 68, 4), file->size);
        ck_assert_uint_eq(file->bytes[at], 0);
        file->bytes[at] = (uint8_t)(file->bytes[at] - sum(file->bytes + field(command, 64, 4),
                                                          field(command, 68, 4)));
        break;
    default:
        ck_abort_msg("an unknown command");
    }
}

static const uint8_t *table_at(uint64_t address)
{
    const struct firmware_file *file = find("etc/acpi/tables");

    ck_assert_uint_ge(address, TABLES_BASE);
    ck_assert_uint_lt(address, TABLES_BASE + file->size);
    return file->bytes + (address - TABLES_BASE);
}

static void check_table(uint64_t address, const char *signature)
{
    const uint8_t *table = table_at(address);

    ck_assert_mem_eq(table, signature, 4);
    ck_assert_uint_le(address - TABLES_BASE + field(table, 4, 4), find("etc/acpi/tables")->size);
    ck_assert_uint_eq(sum(table, field(table, 4, 4)), 0);
}

static void check_acpi(bool is_full)
{
    const struct firmware_file *script;
    const uint8_t *rsdp, *xsdt, *fadt;

    set_up(MIB(64), is_full);
    script = find("etc/table-loader");
    ck_assert_uint_eq(script->size % COMMAND, 0);
    for (uint32_t at = 0; at < script->size; at += COMMAND) {
        obey(script->bytes + at);
    }
    rsdp = find("etc/acpi/rsdp")->bytes;
    ck_assert_mem_eq(rsdp, "RSD PTR ", 8);
    ck_assert_uint_eq(sum(rsdp, 20), 0);
    ck_assert_uint_eq(sum(rsdp, 36), 0);
    check_table(field(rsdp, 24, 8), "XSDT");
    xsdt = table_at(field(rsdp, 24, 8));
    check_table(field(xsdt, 36, 8), "FACP");
    check_table(field(xsdt, 44, 8), "APIC");
    fadt = table_at(field(xsdt, 36, 8));
    check_table(field(fadt, 40, 4), "DSDT");
    check_table(field(fadt, 140, 8), "DSDT");
    if (is_full) {
        ck_assert_mem_eq(table_at(field(fadt, 36, 4)), "FACS", 4);
    } else {
        ck_assert_uint_eq(field(fadt, 36, 4), 0);
    }
}

START_TEST(script_makes_whole_tables_wherever_they_lie)
{
    check_acpi(false);
    check_acpi(true);
}
END_TEST

START_TEST(memory_map_is_ram_in_two_pieces_and_what_kvm_has)
{
    const uint8_t *map;

    set_up(MIB(4096), false);
    map = find("etc/e820")->bytes;
    ck_assert_uint_eq(find("etc/e820")->size, 3 * 20);
    ck_assert_uint_eq(field(map, 0, 8), 0);
    ck_assert_uint_eq(field(map, 8, 8), 0xc0000000);
    ck_assert_uint_eq(field(map, 16, 4), 1);
    ck_assert_uint_eq(field(map, 20, 8), 0x100000000);
    ck_assert_uint_eq(field(map, 28, 8), 0x40000000);
    ck_assert_uint_eq(field(map, 40, 8), 0xfeffc000);
    ck_assert_uint_eq(field(map, 56, 4), 2);
}
END_TEST

START_TEST(files_are_made_anew_and_have_a_limit)
{
    set_up(MIB(16), false);
    ck_assert_uint_eq(files.count, 6);
    set_up(MIB(16), false);
    ck_assert_uint_eq(files.count, 6);
    ck_assert_int_eq(firmware_files_add(&files, "a", "a", 1, &err), 0);
    ck_assert_int_eq(firmware_files_add(&files, "b", "b", 1, &err), 0);
    ck_assert_int_eq(firmware_files_add(&files, "c", "c", 1, &err), -ENOSPC);
    firmware_files_fini(&files);
    ck_assert_uint_eq(files.count, 0);
}
END_TEST

/* The structure of a type, or NULL. */
static const uint8_t *structure(uint8_t type)
{
    uint32_t at = 0, count = 0;
    const uint8_t *found = NULL;

    while (at < tables.size) {
        const uint8_t *here = tables.bytes + at;

        count++;
        if (here[0] == type && found == NULL) {
            found = here;
        }
        at += here[1];
        while (tables.bytes[at] != 0 || tables.bytes[at + 1] != 0) {
            at++;
        }
        at += 2;
    }
    ck_assert_uint_eq(at, tables.size);
    ck_assert_uint_eq(count, tables.count);
    return found;
}

static const char *string(const uint8_t *of, uint8_t number)
{
    const char *at = (const char *)of + of[1];

    while (--number > 0) {
        at += strlen(at) + 1;
    }
    return at;
}

static void build_smbios(const char *name, uint64_t ram_size, uint32_t cpu_count)
{
    const struct memory_range range = {.size = ram_size, .where = "g:2"};
    struct smbios_config config = {
        .name = name, .identity = identity, .cpus = {.cpu_count = cpu_count, .cores = cores}};

    memory_destroy(memory);
    memory = NULL;
    ck_assert_int_eq(memory_create(&range, 1, &memory, &err), 0);
    config.memory = memory;
    smbios_build(&config, &tables);
}

START_TEST(smbios_tells_the_vm)
{
    static const uint8_t types[] = {0, 1, 3, 4, 16, 17, 19, 32, 127};
    const uint8_t *system, *device;

    build_smbios("web", MIB(64), 3);
    for (size_t i = 0; i < sizeof(types); i++) {
        ck_assert_msg(structure(types[i]) != NULL, "no type %u", types[i]);
    }
    system = structure(1);
    ck_assert_str_eq(string(system, system[4]), "QVM");
    ck_assert_str_eq(string(system, system[7]), "web");
    ck_assert_uint_eq(system[8 + 7] >> 4, 8);
    ck_assert_uint_eq(system[8 + 8] >> 6, 2);
    ck_assert_uint_eq(structure(4)[35], 3);
    ck_assert_uint_eq(field(structure(4), 42, 2), 3);
    ck_assert_uint_eq(field(structure(16), 7, 4), 64 * 1024);
    device = structure(17);
    ck_assert_uint_eq(field(device, 12, 2), 64);
    ck_assert_uint_eq(field(structure(19), 8, 4), 64 * 1024 - 1);
}
END_TEST

START_TEST(smbios_tells_large_machines_in_its_wide_fields)
{
    build_smbios("large", MIB(64 << 10), 255); /* 64 GiB */
    ck_assert_uint_eq(field(structure(17), 12, 2), 0x7fff);
    ck_assert_uint_eq(field(structure(17), 28, 4), 64 << 10);
    ck_assert_uint_eq(field(structure(16), 7, 4), 64 << 20);
    ck_assert_uint_eq(structure(4)[35], 255);
}
END_TEST

START_TEST(uuid_belongs_to_the_name)
{
    uint8_t first[16];

    build_smbios("web", MIB(64), 1);
    memcpy(first, structure(1) + 8, 16);
    build_smbios("web", MIB(128), 4);
    ck_assert_mem_eq(structure(1) + 8, first, 16);
    build_smbios("wec", MIB(64), 1);
    ck_assert_mem_ne(structure(1) + 8, first, 16);
    build_smbios("a-name-of-63-bytes-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", MIB(64), 1);
    ck_assert_uint_lt(tables.size, 1024);
}
END_TEST

START_TEST(identity_that_is_given_is_told)
{
    static const struct smbios_identity given = {"ACME", "Board 2", "S-17",
                                                 "00112233-4455-6677-8899-AAbbccddeeff"};
    static const uint8_t uuid[] = {0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66,
                                   0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
    const uint8_t *system;

    identity = &given;
    build_smbios("web", MIB(64), 1);
    system = structure(1);
    ck_assert_str_eq(string(system, system[4]), "ACME");
    ck_assert_str_eq(string(system, system[5]), "Board 2");
    ck_assert_str_eq(string(system, system[7]), "S-17");
    ck_assert_mem_eq(system + 8, uuid, 16); /* 7.2.1: the first three fields are little-endian */
    ck_assert_str_eq(string(structure(3), 1), "ACME");
    identity = NULL;
}
END_TEST

START_TEST(uuid_of_another_form_is_none)
{
    static const char *const texts[] = {
        "", "00112233445566778899aabbccddeeff", "00112233-4455-6677-8899-aabbccddeefg",
        "0011223344-55-6677-8899-aabbccddeeff", "00112233-4455-6677-8899-aabbccddeeff0"};
    uint8_t uuid[16];

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        ck_assert_int_eq(smbios_parse_uuid(texts[i], uuid), -EINVAL);
    }
}
END_TEST

START_TEST(each_package_has_its_structure_and_all_fit)
{
    char text[65];
    const struct smbios_identity longest = {text, text, text, NULL};

    memset(text, 'x', 64);
    text[64] = '\0';
    identity = &longest;
    cores = 4;
    build_smbios("web", MIB(64), 8);
    ck_assert_uint_eq(structure(4)[35], 4);
    ck_assert_str_eq(string(structure(4), 1), "CPU 0");
    ck_assert_uint_eq(tables.count, 10);
    cores = 1;
    build_smbios(text, MIB(64), SMBIOS_PACKAGES_MAX + 1);
    ck_assert_uint_eq(tables.count, 8 + SMBIOS_PACKAGES_MAX);
    ck_assert_uint_le(tables.size, SMBIOS_MAX);
    identity = NULL;
    cores = 0;
}
END_TEST

START_TEST(guest_without_firmware_finds_both_entry_points)
{
    const uint8_t *anchor;

    build_smbios("web", MIB(64), 1);
    smbios_write(&tables, memory);
    anchor = memory_span(memory, gpa(LOADER_SMBIOS), LOADER_SMBIOS_SIZE);
    ck_assert_mem_eq(anchor, "_SM_", 4);
    ck_assert_uint_eq(sum(anchor, 31), 0);
    ck_assert_mem_eq(anchor + 16, "_DMI_", 5);
    ck_assert_uint_eq(sum(anchor + 16, 15), 0);
    ck_assert_uint_eq(field(anchor, 24, 4), LOADER_SMBIOS + 64);
    ck_assert_uint_eq(field(anchor, 22, 2), tables.size);
    ck_assert_uint_eq(field(anchor, 28, 2), tables.count);
    ck_assert_mem_eq(anchor + 32, "_SM3_", 5);
    ck_assert_uint_eq(sum(anchor + 32, 24), 0);
    ck_assert_uint_eq(field(anchor, 32 + 16, 8), LOADER_SMBIOS + 64);
    ck_assert_mem_eq(anchor + 64, tables.bytes, tables.size);
}
END_TEST

UNIT_MAIN("firmware tables", script_makes_whole_tables_wherever_they_lie,
          memory_map_is_ram_in_two_pieces_and_what_kvm_has, files_are_made_anew_and_have_a_limit,
          identity_that_is_given_is_told, uuid_of_another_form_is_none,
          each_package_has_its_structure_and_all_fit, smbios_tells_the_vm,
          smbios_tells_large_machines_in_its_wide_fields, uuid_belongs_to_the_name,
          guest_without_firmware_finds_both_entry_points)
