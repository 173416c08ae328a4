/* The ACPI tables of a guest: ACPI 6.5, hardware-reduced or with fixed hardware.
 *
 * RSDP, XSDT, FADT (power and reset registers), MADT (processors, interrupt controller), MCFG
 * (where PCI's configuration space is), DSDT (acpi_dsdt.h), and tables that the configuration
 * loads. */
#ifndef QVM_WORKER_TABLES_ACPI_H
#define QVM_WORKER_TABLES_ACPI_H

#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/topology.h"

struct err;

#define ACPI_PORTS_MAX         4u
#define ACPI_DEVICES_MAX       256u
#define ACPI_EXTRA_MAX         32u
#define ACPI_NO_GSI            UINT32_MAX
#define ACPI_PROCESSORS_X2APIC 255u /* APIC ids from here on need the other kind of entry */

struct acpi_device {
    const char *hid; /* "PNP0501" */
    struct {
        uint16_t start;
        uint8_t size;
    } ports[ACPI_PORTS_MAX];
    uint32_t port_count;
    struct {
        uint32_t start, size;
    } places[ACPI_PORTS_MAX]; /* addresses */
    uint32_t place_count;
    bool is_level; /* its interrupt; otherwise edge */
    uint32_t gsi;  /* ACPI_NO_GSI: none */
};

/* One `acpi load`: a stranger's bytes. */
struct acpi_extra {
    const uint8_t *bytes;
    uint32_t size;
    const char *path, *where; /* for words: FILE:LINE */
};

#define ACPI_ROUTES_MAX 128u /* four pins of 32 devices */

/* The PCI buses; places are guest-physical, an end does not belong to its range. */
struct acpi_pci {
    uint64_t ecam_start, ecam_size; /* size 0: there is no window of configuration space */
    bool is_ecam_kept; /* without one there is a table that nobody knows in its place */
    uint32_t bus_count;
    struct {
        uint64_t start, end;
    } low[2]; /* where BARs may be */
    uint32_t low_count;
    uint64_t high_start, high_end; /* the same above 4 GiB */
    struct {
        uint32_t device, pin, gsi; /* pin 0 is INTA */
    } routes[ACPI_ROUTES_MAX];
    uint32_t route_count;
};

/* Fixed hardware (chapter 4.8): I/O ports and their sizes in bytes. */
struct acpi_fixed {
    uint16_t event, control, timer, gpe0, all;
    uint8_t event_size, control_size, timer_size, gpe0_size, all_size;
    uint8_t sci; /* its interrupt line, level-triggered and active high */
};

struct acpi_config {
    struct topology cpus;
    const struct acpi_device *devices;
    uint32_t device_count;
    const struct acpi_extra *extras;
    uint32_t extra_count;
    uint16_t sleep_control, sleep_status, reset, event; /* ports */
    uint8_t reset_value;
    uint32_t event_gsi;
    uint64_t hpet_address;          /* 0: there is none */
    uint32_t hpet_id;               /* the low half of its capabilities */
    uint32_t ioapic_address;        /* 0: the usual one */
    uint32_t timer_pin;             /* the IOAPIC's pin of the PC's line 0 */
    const struct acpi_fixed *fixed; /* NULL: hardware-reduced; then the ports above count */
    const struct acpi_pci *pci;     /* NULL: there are no PCI buses */
};

/* Whether an extra table is one that may be loaded. -EINVAL, in words with FILE:LINE. */
int acpi_check_extra(const struct acpi_extra *extra, struct err *err);

/* Write all tables to `area` of `size` bytes, which the guest sees at `address` (below 4 GiB, a
 * multiple of 16); the RSDP comes first. -EINVAL: an extra table is none, in words with FILE:LINE.
 * -ENOSPC: they do not fit. */
int acpi_build(const struct acpi_config *config, uint8_t *area, uint32_t address, uint32_t size,
               struct err *err);

#endif
