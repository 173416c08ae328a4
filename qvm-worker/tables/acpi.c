/* The ACPI tables of a guest. */
#include "qvm-worker/tables/acpi.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/tables/acpi_dsdt.h"
#include "qvm-worker/tables/aml.h"

#define HPET_SIZE      56u
#define HPET_TICKS_MIN 0x5a0u /* 100 us: below it the timers lose interrupts */
#define HEADER_SIZE    36u
#define RSDP_SIZE      36u
#define RSDP_V1_SIZE   20u
#define TABLES_OFFSET  64u /* the RSDP first, tables from here on */
#define TABLE_ALIGN    16u

#define TABLE_LENGTH   4u
#define TABLE_CHECKSUM 9u

#define FADT_SIZE          276u
#define FADT_FACS          36u
#define FADT_DSDT          40u
#define FADT_SCI           46u
#define FADT_EVENT         56u
#define FADT_CONTROL       64u
#define FADT_TIMER         76u
#define FADT_GPE0          80u
#define FADT_EVENT_SIZE    88u
#define FADT_CONTROL_SIZE  89u
#define FADT_TIMER_SIZE    91u
#define FADT_GPE0_SIZE     92u
#define FADT_C2_LATENCY    96u
#define FADT_C3_LATENCY    98u
#define FADT_BOOT_FLAGS    109u
#define FADT_FLAGS         112u
#define FADT_RESET         116u
#define FADT_RESET_VALUE   128u
#define FADT_MINOR         131u
#define FADT_X_DSDT        140u
#define FADT_X_EVENT       148u
#define FADT_X_CONTROL     172u
#define FADT_X_TIMER       208u
#define FADT_X_GPE0        220u
#define FADT_SLEEP_CONTROL 244u
#define FADT_SLEEP_STATUS  256u

#define LATENCY_NONE 0xfffu /* more than any state has that there is */

#define FACS_SIGNATURE 0x53434146u /* "FACS" */
#define FACS_SIZE      64u
#define FACS_VERSION   32u

#define BOOT_HAS_8042 (1u << 1)
#define BOOT_NO_VGA   (1u << 2)
#define BOOT_NO_RTC   (1u << 5)

#define FLAG_WBINVD           (1u << 0)
#define FLAG_C1               (1u << 2)
#define FLAG_POWER_BUTTON     (1u << 4) /* no fixed-feature button: it is in the DSDT */
#define FLAG_SLEEP_BUTTON     (1u << 5)
#define FLAG_RTC_WAKE         (1u << 6)
#define FLAG_RESET            (1u << 10)
#define FLAG_HARDWARE_REDUCED (1u << 20)

#define OVERRIDE_SIZE 10u

#define MCFG_ENTRY 16u

#define MADT_HAS_8259 1u
#define LAPIC_ADDRESS 0xfee00000u

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
    uint64_t xsdt[ACPI_EXTRA_MAX + 3];
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
    acpi_write_dsdt(&aml, config);
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

/* A generic address of `size` bytes of I/O space: 5.2.3.2. */
static void put_block(uint8_t *at, uint16_t port, uint8_t size)
{
    at[0] = 1;
    at[1] = (uint8_t)(8 * size);
    at[3] = size == 4 ? 3 : size == 2 ? 2 : 1; /* how to access it */
    put(at + 4, port, 8);
}

static void put_reduced(uint8_t *table, const struct acpi_config *config)
{
    put(table + FADT_FLAGS,
        FLAG_WBINVD | FLAG_POWER_BUTTON | FLAG_SLEEP_BUTTON | FLAG_RTC_WAKE | FLAG_RESET |
            FLAG_HARDWARE_REDUCED,
        4);
    put_port(table + FADT_SLEEP_CONTROL, config->sleep_control);
    put_port(table + FADT_SLEEP_STATUS, config->sleep_status);
}

/* 4.8; ACPI mode cannot be left: there is no SMI command port. */
static void put_fixed(uint8_t *table, const struct acpi_fixed *fixed, uint32_t facs, bool has_clock)
{
    put(table + FADT_FACS, facs, 4);
    put(table + FADT_SCI, fixed->sci, 2);
    put(table + FADT_EVENT, fixed->event, 4);
    put(table + FADT_CONTROL, fixed->control, 4);
    put(table + FADT_TIMER, fixed->timer, 4);
    put(table + FADT_GPE0, fixed->gpe0, 4);
    table[FADT_EVENT_SIZE] = fixed->event_size;
    table[FADT_CONTROL_SIZE] = fixed->control_size;
    table[FADT_TIMER_SIZE] = fixed->timer_size;
    table[FADT_GPE0_SIZE] = fixed->gpe0_size;
    put(table + FADT_C2_LATENCY, LATENCY_NONE, 2);
    put(table + FADT_C3_LATENCY, LATENCY_NONE, 2);
    put(table + FADT_FLAGS,
        FLAG_WBINVD | FLAG_C1 | FLAG_SLEEP_BUTTON | (has_clock ? 0 : FLAG_RTC_WAKE) | FLAG_RESET,
        4);
    put_block(table + FADT_X_EVENT, fixed->event, fixed->event_size);
    put_block(table + FADT_X_CONTROL, fixed->control, fixed->control_size);
    put_block(table + FADT_X_TIMER, fixed->timer, fixed->timer_size);
    put_block(table + FADT_X_GPE0, fixed->gpe0, fixed->gpe0_size);
    table[FADT_X_GPE0 + 3] = 1; /* byte by byte */
}

/* 5.2.10: where the guest's own firmware waking vector would be; no checksum. */
static uint32_t add_facs(struct builder *builder)
{
    uint32_t address = 0;
    uint8_t *table;

    builder->used = (builder->used + FACS_SIZE - 1) / FACS_SIZE * FACS_SIZE; /* as it must lie */
    table = next_table(builder, FACS_SIZE, &address);
    if (table == NULL) {
        return 0;
    }
    put(table, FACS_SIGNATURE, 4);
    put(table + TABLE_LENGTH, FACS_SIZE, 4);
    table[FACS_VERSION] = 2;
    return address;
}

static void add_fadt(struct builder *builder, const struct acpi_config *config, uint32_t dsdt)
{
    uint32_t facs = config->fixed != NULL ? add_facs(builder) : 0;
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
    if (config->fixed != NULL) {
        put_fixed(table, config->fixed, facs, has_device(config, HID_CLOCK));
    } else {
        put_reduced(table, config);
    }
    put_port(table + FADT_RESET, config->reset);
    table[FADT_RESET_VALUE] = config->reset_value;
    table[FADT_MINOR] = 5;
    put(table + FADT_X_DSDT, dsdt, 8);
    finish_table(table, "FACP", 6, FADT_SIZE);
    add_xsdt(builder, address);
}

static uint32_t put_processor(uint8_t *at, uint32_t index, uint32_t id)
{
    if (id < ACPI_PROCESSORS_X2APIC) {
        const uint8_t lapic[8] = {0, 8, (uint8_t)index, (uint8_t)id, 1};

        memcpy(at, lapic, sizeof(lapic));
        return sizeof(lapic);
    }
    memset(at, 0, 16);
    at[0] = 9; /* local x2APIC */
    at[1] = 16;
    put(at + 4, id, 4);
    put(at + 8, 1, 4); /* enabled */
    put(at + 12, index, 4);
    return 16;
}

static uint32_t processors_size(const struct acpi_config *config)
{
    uint32_t size = 0;

    for (uint32_t i = 0; i < config->cpus.cpu_count; i++) {
        size += topology_apic_id(&config->cpus, i) < ACPI_PROCESSORS_X2APIC ? 8 : 16;
    }
    return size;
}

/* ISA's lines are edge-triggered but for this one: 5.2.12.5. */
static void put_override(uint8_t *at, uint8_t sci)
{
    const uint8_t override[OVERRIDE_SIZE] = {2, OVERRIDE_SIZE, 0, sci, sci, 0, 0, 0, 0x0d, 0};

    memcpy(at, override, sizeof(override));
}

static void add_madt(struct builder *builder, const struct acpi_config *config)
{
    static const uint8_t ioapic[12] = {1, 12, 0, 0, 0, 0, 0xc0, 0xfe};
    static const uint8_t lint1_nmi[6] = {4, 6, 0xff, 0, 0, 1};
    /* 5.2.12.5: the ISA bus's line 0 leads elsewhere; polarity and trigger are the bus's */
    const uint8_t line_0[OVERRIDE_SIZE] = {2, 10, 0, 0, (uint8_t)config->timer_pin};
    uint32_t line_0_size = config->timer_pin != 0 ? OVERRIDE_SIZE : 0;
    uint32_t override_size = config->fixed != NULL ? OVERRIDE_SIZE : 0;
    uint32_t fixed_size =
        (uint32_t)(sizeof(ioapic) + sizeof(lint1_nmi)) + override_size + line_0_size;
    uint32_t size = HEADER_SIZE + 8 + processors_size(config) + fixed_size;
    uint32_t address = 0, at = HEADER_SIZE + 8;
    uint8_t *table = next_table(builder, size, &address);

    if (table == NULL) {
        return;
    }
    put(table + HEADER_SIZE, LAPIC_ADDRESS, 4);
    put(table + HEADER_SIZE + 4, MADT_HAS_8259, 4);
    for (uint32_t i = 0; i < config->cpus.cpu_count; i++) {
        at += put_processor(table + at, i, topology_apic_id(&config->cpus, i));
    }
    memcpy(table + at, ioapic, sizeof(ioapic));
    if (config->ioapic_address != 0) {
        put(table + at + 4, config->ioapic_address, 4);
    }
    at += (uint32_t)sizeof(ioapic);
    memcpy(table + at, line_0, line_0_size);
    at += line_0_size;
    memcpy(table + at, lint1_nmi, sizeof(lint1_nmi));
    if (config->fixed != NULL) {
        put_override(table + at + sizeof(lint1_nmi), config->fixed->sci);
    }
    finish_table(table, "APIC", 5, size);
    add_xsdt(builder, address);
}

/* IA-PC HPET specification 1.0a, 3.2.4. */
static void add_hpet(struct builder *builder, const struct acpi_config *config)
{
    uint32_t address = 0;
    uint8_t *table;

    if (config->hpet_address == 0) {
        return;
    }
    table = next_table(builder, HPET_SIZE, &address);
    if (table != NULL) {
        put(table + HEADER_SIZE, config->hpet_id, 4);
        table[HEADER_SIZE + 5] = 64; /* bits of its registers, in memory */
        put(table + HEADER_SIZE + 8, config->hpet_address, 8);
        put(table + HEADER_SIZE + 17, HPET_TICKS_MIN, 2);
        finish_table(table, "HPET", 1, HPET_SIZE);
        add_xsdt(builder, address);
    }
}

/* PCI Firmware Specification 3.3, 4.1.2. */
static void add_mcfg(struct builder *builder, const struct acpi_pci *pci)
{
    uint32_t address = 0;
    uint8_t *table;

    if (pci == NULL || (pci->ecam_size == 0 && !pci->is_ecam_kept)) {
        return;
    }
    table = next_table(builder, HEADER_SIZE + 8 + MCFG_ENTRY, &address);
    if (table != NULL) {
        put(table + HEADER_SIZE + 8, pci->ecam_start, 8);
        put(table + HEADER_SIZE + 8 + 11, (pci->ecam_size >> 20) - 1, 1); /* the last bus */
        finish_table(table, pci->ecam_size != 0 ? "MCFG" : "OEM0", 1, HEADER_SIZE + 8 + MCFG_ENTRY);
        add_xsdt(builder, address);
    }
}

static int refuse(const struct acpi_extra *extra, struct err *err, const char *why)
{
    return err_set(err, -EINVAL, "%s: '%s' is no ACPI table: %s", extra->where, extra->path, why);
}

int acpi_check_extra(const struct acpi_extra *extra, struct err *err)
{
    static const char ours[][5] = {"DSDT", "FACP", "APIC", "XSDT", "RSDT", "FACS", "HPET", "RSD "};
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
        int r = acpi_check_extra(extra, err);

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
    add_hpet(&builder, config);
    add_mcfg(&builder, config->pci);
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
