#include "tests/guests/bare/acpi.h"

#include "tests/guests/bare/console.h"
#include "tests/guests/bare/machine.h"

#define RSDP_SIGNATURE       0x2052545020445352 /* "RSD PTR " */
#define RSDP_AREA            0xe0000
#define RSDP_AREA_END        0x100000
#define RSDP_STEP            16
#define RSDP_SIZE_V1         20
#define RSDP_SIZE_V2         36
#define XSDT_ENTRIES_MAX     64
#define FADT_SIGNATURE       0x50434146 /* "FACP" */
#define MADT_SIGNATURE       0x43495041 /* "APIC" */
#define FADT_REDUCED         (1U << 20)
#define FADT_RESET_SUPPORTED (1U << 10)
#define MADT_LAPIC           0
#define MADT_IOAPIC          1
#define MADT_OVERRIDE        2
#define MADT_X2APIC          9
#define MADT_ENABLED         1U
#define SLEEP_TYPE_S5        5
#define SLEEP_ENABLE         0x20
#define FIXED_SLEEP          (SLEEP_TYPE_S5 << 10 | 1 << 13)

enum { SPACE_MEMORY = 0, SPACE_IO = 1 };

struct rsdp {
    uint64_t signature;
    uint8_t checksum;
    char oem[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
    uint8_t unused[4];
} __attribute__((packed));

struct acpi_header {
    uint32_t signature;
    uint32_t length;
    uint8_t unused[28];
} __attribute__((packed));

struct acpi_register { /* "generic address structure" */
    uint8_t space;
    uint8_t unused[3];
    uint64_t address;
} __attribute__((packed));

struct fadt {
    struct acpi_header header;
    uint8_t unused_36[40 - 36];
    uint32_t dsdt32;
    uint8_t unused_44[56 - 44];
    uint32_t fixed_event;
    uint8_t unused_60[64 - 60];
    uint32_t fixed_control;
    uint8_t unused_68[112 - 68];
    uint32_t flags;
    struct acpi_register reset;
    uint8_t reset_value;
    uint8_t unused_129[140 - 129];
    uint64_t dsdt;
    uint8_t unused_148[244 - 148];
    struct acpi_register sleep_control;
} __attribute__((packed));

struct madt {
    struct acpi_header header;
    uint32_t lapic;
    uint32_t flags;
    uint8_t entries[];
} __attribute__((packed));

struct madt_entry {
    uint8_t type;
    uint8_t length;
    union {
        struct {
            uint8_t uid;
            uint8_t apic_id;
            uint32_t flags;
        } __attribute__((packed)) lapic;
        struct {
            uint8_t id;
            uint8_t unused;
            uint32_t address;
            uint32_t gsi_base;
        } __attribute__((packed)) ioapic;
        struct {
            uint16_t unused;
            uint32_t apic_id;
            uint32_t flags;
            uint32_t uid;
        } __attribute__((packed)) x2apic;
        struct {
            uint8_t bus;
            uint8_t source;
            uint32_t gsi;
        } __attribute__((packed)) override;
    };
} __attribute__((packed));

_Static_assert(__builtin_offsetof(struct fadt, sleep_control) == 244, "layout of the FADT");

static const struct rsdp *root;
static const struct fadt *fadt; /* NULL: none */
static uint64_t ioapic_address = 0xfec00000;
static uint8_t timer_pin; /* of the ISA bus's line 0 */
static unsigned cpu_count;
static uint32_t cpu_apic_ids[ACPI_CPUS_MAX];

/* The LAPIC's address is read by started CPUs in entry.S too. */
extern uint64_t lapic_address;
uint64_t lapic_address = 0xfee00000;

static const struct rsdp *find_root(uint64_t hint)
{
    if (hint != 0) {
        const struct rsdp *rsdp = (const struct rsdp *)hint;

        return rsdp->signature == RSDP_SIGNATURE ? rsdp : NULL;
    }
    for (uint64_t at = RSDP_AREA; at < RSDP_AREA_END; at += RSDP_STEP) {
        if (*(const uint64_t *)at == RSDP_SIGNATURE) {
            return (const struct rsdp *)at;
        }
    }
    return NULL;
}

/* The i-th table that the root names, by 64-bit or, where there is no XSDT, 32-bit addresses. */
static const struct acpi_header *table_at(unsigned i)
{
    bool is_wide = root != NULL && root->revision >= 2 && root->xsdt != 0;
    unsigned width = is_wide ? sizeof(uint64_t) : sizeof(uint32_t);
    const struct acpi_header *list;
    const uint8_t *entry;

    if (root == NULL) {
        return NULL;
    }
    list = (const struct acpi_header *)(is_wide ? root->xsdt : root->rsdt);
    if (list == NULL || i >= XSDT_ENTRIES_MAX || list->length < sizeof(*list) + (i + 1) * width) {
        return NULL;
    }
    entry = (const uint8_t *)(list + 1) + i * width;
    return (const struct acpi_header *)(is_wide ? *(const uint64_t *)(const void *)entry
                                                : *(const uint32_t *)(const void *)entry);
}

static void read_madt(const struct madt *madt)
{
    const uint8_t *end = (const uint8_t *)madt + madt->header.length;
    const struct madt_entry *entry;

    lapic_address = madt->lapic;
    for (const uint8_t *p = madt->entries; p + 2 <= end; p += entry->length) {
        entry = (const struct madt_entry *)p;
        if (entry->length < 2 || p + entry->length > end) {
            return;
        }
        if (entry->type == MADT_LAPIC && (entry->lapic.flags & MADT_ENABLED) != 0 &&
            cpu_count < ACPI_CPUS_MAX) {
            cpu_apic_ids[cpu_count++] = entry->lapic.apic_id;
        } else if (entry->type == MADT_X2APIC && (entry->x2apic.flags & MADT_ENABLED) != 0 &&
                   cpu_count < ACPI_CPUS_MAX) {
            cpu_apic_ids[cpu_count++] = entry->x2apic.apic_id;
        } else if (entry->type == MADT_OVERRIDE && entry->override.source == 0) {
            timer_pin = (uint8_t)entry->override.gsi;
        } else if (entry->type == MADT_IOAPIC && entry->ioapic.gsi_base == 0) {
            ioapic_address = entry->ioapic.address;
        }
    }
}

void acpi_init(uint64_t rsdp)
{
    const struct acpi_header *table;

    root = find_root(rsdp);
    for (unsigned i = 0; (table = table_at(i)) != NULL; i++) {
        if (table->signature == FADT_SIGNATURE) {
            fadt = (const struct fadt *)table;
        } else if (table->signature == MADT_SIGNATURE) {
            read_madt((const struct madt *)table);
        }
    }
}

uint64_t acpi_lapic(void)
{
    return lapic_address;
}

uint8_t acpi_timer_pin(void)
{
    return timer_pin;
}

uint64_t acpi_ioapic(void)
{
    return ioapic_address;
}

unsigned acpi_cpu_count(void)
{
    return cpu_count;
}

uint32_t acpi_cpu_apic_id(unsigned i)
{
    return cpu_apic_ids[i];
}

static bool register_write(const struct acpi_register *reg, uint8_t value)
{
    if (reg == NULL) {
        return false;
    }
    if (reg->space == SPACE_IO) {
        outb((uint16_t)reg->address, value);
    } else if (reg->space == SPACE_MEMORY) {
        *(volatile uint8_t *)reg->address = value;
    } else {
        return false;
    }
    return true;
}

/* Whether the FADT, which grew over the years, has the field that ends at `end`. */
static bool fadt_reaches(const void *end)
{
    return fadt != NULL && (const uint8_t *)end - (const uint8_t *)fadt <= fadt->header.length;
}

/* NULL: there is none. */
static const struct acpi_register *sleep_control(void)
{
    return fadt_reaches(&fadt->sleep_control + 1) && fadt->sleep_control.address != 0
               ? &fadt->sleep_control
               : NULL;
}

/* NULL: there is none. */
static const struct acpi_register *reset_register(void)
{
    return fadt_reaches(&fadt->reset_value + 1) && (fadt->flags & FADT_RESET_SUPPORTED) != 0 &&
                   fadt->reset.address != 0
               ? &fadt->reset
               : NULL;
}

static const struct acpi_header *dsdt(void)
{
    uint64_t address = 0;

    if (fadt_reaches(&fadt->dsdt + 1)) {
        address = fadt->dsdt;
    }
    if (address == 0 && fadt_reaches(&fadt->dsdt32 + 1)) {
        address = fadt->dsdt32;
    }
    return (const struct acpi_header *)address;
}

uint16_t acpi_fixed_event(void)
{
    return fadt != NULL && (fadt->flags & FADT_REDUCED) == 0 ? (uint16_t)fadt->fixed_event : 0;
}

bool acpi_poweroff(void)
{
    if (acpi_fixed_event() != 0) {
        outw((uint16_t)fadt->fixed_control, FIXED_SLEEP);
        halt_forever();
    }
    if (!register_write(sleep_control(), SLEEP_TYPE_S5 << 2 | SLEEP_ENABLE)) {
        return false;
    }
    halt_forever();
}

bool acpi_reset(void)
{
    const struct acpi_register *reg = reset_register();

    if (reg == NULL || !register_write(reg, fadt->reset_value)) {
        return false;
    }
    halt_forever();
}

static void print_table(const void *table, const char *name, uint64_t size)
{
    const uint8_t *bytes = table;
    uint8_t sum = 0;

    for (uint64_t i = 0; i < size; i++) {
        sum = (uint8_t)(sum + bytes[i]);
    }
    print("  ");
    for (int i = 0; i < 4; i++) {
        print("%c", name[i]);
    }
    print(" at 0x%x, %u bytes, checksum %s\n", (uint64_t)table, size, sum == 0 ? "good" : "BAD");
}

static void print_header(const struct acpi_header *table)
{
    print_table(table, (const char *)table, table->length);
}

static void print_register(const char *name, const struct acpi_register *reg)
{
    if (reg == NULL) {
        print("  no %s\n", name);
    } else {
        print("  %s 0x%x in %s\n", name, (uint64_t)reg->address,
              reg->space == SPACE_IO ? "I/O space" : "memory");
    }
}

void acpi_print(void)
{
    const struct acpi_header *table;

    if (root == NULL) {
        print("no ACPI\n");
        return;
    }
    print_table(root, "RSDP", root->revision >= 2 ? RSDP_SIZE_V2 : RSDP_SIZE_V1);
    if (root->revision >= 2 && root->xsdt != 0) {
        print_header((const struct acpi_header *)root->xsdt);
    }
    for (unsigned i = 0; (table = table_at(i)) != NULL; i++) {
        print_header(table);
    }
    if (dsdt() != NULL) {
        print_header(dsdt());
    }
    print_register("sleep control register", sleep_control());
    print_register("reset register", reset_register());
    print("  LAPIC 0x%x, IOAPIC 0x%x, CPUs %u\n", lapic_address, ioapic_address,
          (uint64_t)cpu_count);
}
