/* The ACPI tables of a guest. */
#include "qvm-worker/acpi.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/aml.h"

#define HEADER_SIZE   36u
#define RSDP_SIZE     36u
#define RSDP_V1_SIZE  20u
#define TABLES_OFFSET 64u /* the RSDP first, tables from here on */
#define TABLE_ALIGN   16u

#define TABLE_LENGTH   4u
#define TABLE_CHECKSUM 9u

#define FADT_SIZE          276u
#define FADT_DSDT          40u
#define FADT_BOOT_FLAGS    109u
#define FADT_FLAGS         112u
#define FADT_RESET         116u
#define FADT_RESET_VALUE   128u
#define FADT_MINOR         131u
#define FADT_X_DSDT        140u
#define FADT_SLEEP_CONTROL 244u
#define FADT_SLEEP_STATUS  256u

#define BOOT_HAS_8042 (1u << 1)
#define BOOT_NO_VGA   (1u << 2)
#define BOOT_NO_RTC   (1u << 5)

#define FLAG_WBINVD           (1u << 0)
#define FLAG_POWER_BUTTON     (1u << 4) /* no fixed-feature button: it is in the DSDT */
#define FLAG_SLEEP_BUTTON     (1u << 5)
#define FLAG_RTC_WAKE         (1u << 6)
#define FLAG_RESET            (1u << 10)
#define FLAG_HARDWARE_REDUCED (1u << 20)

#define MADT_HAS_8259  1u
#define LAPIC_ADDRESS  0xfee00000u
#define SLEEP_TYPE_OFF 5u

#define HID_KEYBOARD "PNP0303"
#define HID_CLOCK    "PNP0B00"

/* Names of fixed length, without a final 0. */
static const char pointer_signature[8] = "RSD PTR ";
static const char oem_id[6] = "QVM   ";
static const char oem_table_id[8] = "QVMGUEST";
static const char creator_id[4] = "QVM ";

/* Tables are written one behind the other. */
struct builder {
    uint8_t *area;
    uint32_t address, size, used;
    bool is_full;
    uint64_t xsdt[ACPI_EXTRA_MAX + 2];
    uint32_t xsdt_count;
};

static void put(uint8_t *at, uint64_t value, uint32_t size)
{
    memcpy(at, &value, size);
}

static uint8_t sum(const uint8_t *bytes, uint32_t size)
{
    uint8_t total = 0;

    for (uint32_t i = 0; i < size; i++) {
        total = (uint8_t)(total + bytes[i]);
    }
    return total;
}

static void set_checksum(uint8_t *bytes, uint32_t size, uint32_t at)
{
    bytes[at] = 0;
    bytes[at] = (uint8_t)-sum(bytes, size);
}

/* `size` zeroed bytes for the next table, or NULL; `address` is where the guest sees it. */
static uint8_t *next_table(struct builder *builder, uint32_t size, uint32_t *address)
{
    uint32_t at = (builder->used + TABLE_ALIGN - 1) / TABLE_ALIGN * TABLE_ALIGN;

    if (builder->is_full || at > builder->size || size > builder->size - at) {
        builder->is_full = true;
        return NULL;
    }
    memset(builder->area + at, 0, size);
    builder->used = at + size;
    *address = builder->address + at;
    return builder->area + at;
}

static void finish_table(uint8_t *table, const char *signature, uint8_t revision, uint32_t size)
{
    memcpy(table, signature, 4);
    put(table + TABLE_LENGTH, size, 4);
    table[8] = revision;
    memcpy(table + 10, oem_id, sizeof(oem_id));
    memcpy(table + 16, oem_table_id, sizeof(oem_table_id));
    put(table + 24, 1, 4);
    memcpy(table + 28, creator_id, sizeof(creator_id));
    put(table + 32, 1, 4);
    set_checksum(table, size, TABLE_CHECKSUM);
}

static void add_xsdt(struct builder *builder, uint32_t address)
{
    builder->xsdt[builder->xsdt_count++] = address; /* room for all: extras are limited */
}

static bool has_device(const struct acpi_config *config, const char *hid)
{
    for (uint32_t i = 0; i < config->device_count; i++) {
        if (strcmp(config->devices[i].hid, hid) == 0) {
            return true;
        }
    }
    return false;
}

/* The generic event device: its method reads the event port and tells the button. */
static void write_event_method(struct aml *aml, const struct acpi_config *config)
{
    /* OperationRegion(GREG, SystemIO, <port>, 1)  Field(GREG, ByteAcc) { GEVT, 8 } */
    const uint8_t region[] = {0x5b,
                              0x80,
                              'G',
                              'R',
                              'E',
                              'G',
                              1,
                              0x0b,
                              (uint8_t)config->event,
                              (uint8_t)(config->event >> 8),
                              0x01};
    static const uint8_t field[] = {0x5b, 0x81, 11, 'G', 'R', 'E', 'G', 1, 'G', 'E', 'V', 'T', 8};
    /* Store(GEVT, Local0)  If (Local0 & 1) { Notify(\_SB.PWRB, 0x80) } */
    static const uint8_t body[] = {0x70, 'G',  'E',  'V',  'T',  0x60, 0xa0, 18,  0x7b,
                                   0x60, 0x01, 0x00, 0x86, '\\', 0x2e, '_',  'S', 'B',
                                   '_',  'P',  'W',  'R',  'B',  0x0a, 0x80};
    uint32_t method;

    aml_bytes(aml, region, sizeof(region));
    aml_bytes(aml, field, sizeof(field));
    method = aml_open_method(aml, "_EVT", 1);
    aml_bytes(aml, body, sizeof(body));
    aml_close(aml, method);
}

static void write_button(struct aml *aml, const struct acpi_config *config)
{
    uint32_t device = aml_open_device(aml, "PWRB"), resources;

    aml_hid(aml, "PNP0C0C");
    aml_name(aml, "_UID");
    aml_integer(aml, 0);
    aml_close(aml, device);
    device = aml_open_device(aml, "GED_");
    aml_hid(aml, "ACPI0013");
    aml_name(aml, "_UID");
    aml_integer(aml, 0);
    resources = aml_open_resources(aml);
    /* Linux wants the extended form here, whatever the line. */
    aml_bytes(aml, (const uint8_t[]){0x89, 6, 0, 3, 1, (uint8_t)config->event_gsi, 0, 0, 0}, 9);
    aml_close_resources(aml, resources);
    write_event_method(aml, config);
    aml_close(aml, device);
}

static void write_device(struct aml *aml, const struct acpi_config *config, uint32_t index)
{
    const struct acpi_device *device = &config->devices[index];
    uint32_t uid = 0, object, resources;
    char name[16];

    for (uint32_t i = 0; i < index; i++) {
        uid += strcmp(config->devices[i].hid, device->hid) == 0 ? 1 : 0;
    }
    (void)snprintf(name, sizeof(name), "D%03X", index % 0x1000);
    object = aml_open_device(aml, name);
    aml_hid(aml, device->hid);
    aml_name(aml, "_UID");
    aml_integer(aml, uid);
    resources = aml_open_resources(aml);
    for (uint32_t i = 0; i < device->port_count && i < ACPI_PORTS_MAX; i++) {
        aml_resource_io(aml, device->ports[i].start, device->ports[i].size);
    }
    if (device->gsi != ACPI_NO_GSI) {
        aml_resource_irq(aml, device->gsi);
    }
    aml_close_resources(aml, resources);
    aml_close(aml, object);
}

static void write_dsdt_body(struct aml *aml, const struct acpi_config *config)
{
    uint32_t opened = aml_open_scope(aml, "\\_SB_");

    write_button(aml, config);
    for (uint32_t i = 0; i < config->device_count; i++) {
        write_device(aml, config, i);
    }
    aml_close(aml, opened);
    aml_name(aml, "_S5_");
    opened = aml_open_package(aml, 4);
    aml_integer(aml, SLEEP_TYPE_OFF);
    for (int i = 0; i < 3; i++) {
        aml_integer(aml, 0);
    }
    aml_close(aml, opened);
}

static uint32_t add_dsdt(struct builder *builder, const struct acpi_config *config)
{
    uint32_t address = 0;
    uint8_t *table = next_table(builder, HEADER_SIZE, &address);
    struct aml aml = {0};

    if (table == NULL) {
        return 0;
    }
    aml.bytes = table + HEADER_SIZE;
    aml.room = builder->size - builder->used;
    write_dsdt_body(&aml, config);
    builder->is_full = aml.is_full;
    builder->used += aml.size;
    finish_table(table, "DSDT", 2, HEADER_SIZE + aml.size);
    return address;
}

/* A generic address: one byte of I/O space. */
static void put_port(uint8_t *at, uint16_t port)
{
    static const uint8_t byte_port[4] = {1, 8, 0, 1};

    memcpy(at, byte_port, sizeof(byte_port));
    put(at + 4, port, 8);
}

static void add_fadt(struct builder *builder, const struct acpi_config *config, uint32_t dsdt)
{
    uint32_t address = 0;
    uint8_t *table = next_table(builder, FADT_SIZE, &address);
    uint32_t boot_flags = BOOT_NO_VGA;

    if (table == NULL) {
        return;
    }
    boot_flags |= has_device(config, HID_KEYBOARD) ? BOOT_HAS_8042 : 0;
    boot_flags |= has_device(config, HID_CLOCK) ? 0 : BOOT_NO_RTC;
    put(table + FADT_DSDT, dsdt, 4);
    put(table + FADT_BOOT_FLAGS, boot_flags, 2);
    put(table + FADT_FLAGS,
        FLAG_WBINVD | FLAG_POWER_BUTTON | FLAG_SLEEP_BUTTON | FLAG_RTC_WAKE | FLAG_RESET |
            FLAG_HARDWARE_REDUCED,
        4);
    put_port(table + FADT_RESET, config->reset);
    table[FADT_RESET_VALUE] = config->reset_value;
    table[FADT_MINOR] = 5;
    put(table + FADT_X_DSDT, dsdt, 8);
    put_port(table + FADT_SLEEP_CONTROL, config->sleep_control);
    put_port(table + FADT_SLEEP_STATUS, config->sleep_status);
    finish_table(table, "FACP", 6, FADT_SIZE);
    add_xsdt(builder, address);
}

static uint32_t put_processor(uint8_t *at, uint32_t id)
{
    if (id < ACPI_PROCESSORS_X2APIC) {
        const uint8_t lapic[8] = {0, 8, (uint8_t)id, (uint8_t)id, 1};

        memcpy(at, lapic, sizeof(lapic));
        return sizeof(lapic);
    }
    memset(at, 0, 16);
    at[0] = 9; /* local x2APIC */
    at[1] = 16;
    put(at + 4, id, 4);
    put(at + 8, 1, 4); /* enabled */
    put(at + 12, id, 4);
    return 16;
}

static void add_madt(struct builder *builder, const struct acpi_config *config)
{
    static const uint8_t ioapic[12] = {1, 12, 0, 0, 0, 0, 0xc0, 0xfe};
    static const uint8_t lint1_nmi[6] = {4, 6, 0xff, 0, 0, 1};
    uint32_t low =
        config->cpu_count < ACPI_PROCESSORS_X2APIC ? config->cpu_count : ACPI_PROCESSORS_X2APIC;
    uint32_t size = HEADER_SIZE + 8 + 8 * low + 16 * (config->cpu_count - low) + sizeof(ioapic) +
                    sizeof(lint1_nmi);
    uint32_t address = 0, at = HEADER_SIZE + 8;
    uint8_t *table = next_table(builder, size, &address);

    if (table == NULL) {
        return;
    }
    put(table + HEADER_SIZE, LAPIC_ADDRESS, 4);
    put(table + HEADER_SIZE + 4, MADT_HAS_8259, 4);
    for (uint32_t id = 0; id < config->cpu_count; id++) {
        at += put_processor(table + at, id);
    }
    memcpy(table + at, ioapic, sizeof(ioapic));
    memcpy(table + at + sizeof(ioapic), lint1_nmi, sizeof(lint1_nmi));
    finish_table(table, "APIC", 5, size);
    add_xsdt(builder, address);
}

static int refuse(const struct acpi_extra *extra, struct err *err, const char *why)
{
    return err_set(err, -EINVAL, "%s: '%s' is no ACPI table: %s", extra->where, extra->path, why);
}

static int check_extra(const struct acpi_extra *extra, struct err *err)
{
    static const char ours[][5] = {"DSDT", "FACP", "APIC", "XSDT", "RSDT", "FACS", "RSD "};
    uint32_t length = 0;

    if (extra->size < HEADER_SIZE) {
        return refuse(extra, err, "it is shorter than a table's header");
    }
    memcpy(&length, extra->bytes + TABLE_LENGTH, sizeof(length));
    if (length != extra->size) {
        return refuse(extra, err, "the length in its header is not the file's");
    }
    for (int i = 0; i < 4; i++) {
        if (!isupper(extra->bytes[i]) && !isdigit(extra->bytes[i]) && extra->bytes[i] != '_') {
            return refuse(extra, err, "its signature is not made of capitals and digits");
        }
    }
    for (uint32_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (memcmp(extra->bytes, ours[i], 4) == 0) {
            return err_set(err, -EINVAL, "%s: '%s' is a %s, which the VM has already", extra->where,
                           extra->path, ours[i]);
        }
    }
    if (sum(extra->bytes, extra->size) != 0) {
        return refuse(extra, err, "its checksum is wrong");
    }
    return 0;
}

static int add_extras(struct builder *builder, const struct acpi_config *config, struct err *err)
{
    if (config->extra_count > ACPI_EXTRA_MAX) {
        return err_set(err, -EINVAL, "%s: more than %u ACPI tables to load",
                       config->extras[ACPI_EXTRA_MAX].where, ACPI_EXTRA_MAX);
    }
    for (uint32_t i = 0; i < config->extra_count; i++) {
        const struct acpi_extra *extra = &config->extras[i];
        uint32_t address = 0;
        uint8_t *table;
        int r = check_extra(extra, err);

        if (r != 0) {
            return r;
        }
        table = next_table(builder, extra->size, &address);
        if (table == NULL) {
            return err_set(err, -ENOSPC, "%s: '%s' does not fit: all ACPI tables have %u bytes",
                           extra->where, extra->path, builder->size);
        }
        memcpy(table, extra->bytes, extra->size);
        add_xsdt(builder, address);
    }
    return 0;
}

static void add_xsdt_and_rsdp(struct builder *builder)
{
    uint32_t size = HEADER_SIZE + 8 * builder->xsdt_count, address = 0;
    uint8_t *table = next_table(builder, size, &address), *rsdp = builder->area;

    if (table == NULL) {
        return;
    }
    memcpy(table + HEADER_SIZE, builder->xsdt, 8 * builder->xsdt_count);
    finish_table(table, "XSDT", 1, size);
    memset(rsdp, 0, TABLES_OFFSET);
    memcpy(rsdp, pointer_signature, sizeof(pointer_signature));
    memcpy(rsdp + 9, oem_id, sizeof(oem_id));
    rsdp[15] = 2; /* revision */
    put(rsdp + 20, RSDP_SIZE, 4);
    put(rsdp + 24, address, 8);
    set_checksum(rsdp, RSDP_V1_SIZE, 8);
    set_checksum(rsdp, RSDP_SIZE, 32);
}

int acpi_build(const struct acpi_config *config, uint8_t *area, uint32_t address, uint32_t size,
               struct err *err)
{
    struct builder builder = {
        .area = area, .address = address, .size = size, .used = TABLES_OFFSET};
    uint32_t dsdt;
    int r;

    if (size < TABLES_OFFSET || config->device_count > ACPI_DEVICES_MAX) {
        return err_set(err, -ENOSPC, "no room for the ACPI tables");
    }
    dsdt = add_dsdt(&builder, config);
    add_fadt(&builder, config, dsdt);
    add_madt(&builder, config);
    r = add_extras(&builder, config, err);
    if (r != 0) {
        return r;
    }
    add_xsdt_and_rsdp(&builder);
    if (builder.is_full) {
        return err_set(err, -ENOSPC, "the ACPI tables need more than %u bytes", size);
    }
    return 0;
}
