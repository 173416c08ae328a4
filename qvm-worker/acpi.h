/* The ACPI tables of a guest: hardware-reduced, ACPI 6.5.
 *
 * RSDP, XSDT, FADT (power and reset registers), MADT (processors, interrupt controller), DSDT (the
 * power button, its event device, the devices that the configuration declares), and tables that
 * the configuration loads. */
#ifndef QVM_WORKER_ACPI_H
#define QVM_WORKER_ACPI_H

#include <stdbool.h>
#include <stdint.h>

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
    uint32_t gsi; /* ACPI_NO_GSI: none */
};

/* One `acpi load`: a stranger's bytes. */
struct acpi_extra {
    const uint8_t *bytes;
    uint32_t size;
    const char *path, *where; /* for words: FILE:LINE */
};

struct acpi_config {
    uint32_t cpu_count; /* APIC ids 0 .. cpu_count-1 */
    const struct acpi_device *devices;
    uint32_t device_count;
    const struct acpi_extra *extras;
    uint32_t extra_count;
    uint16_t sleep_control, sleep_status, reset, event; /* ports */
    uint8_t reset_value;
    uint32_t event_gsi;
};

/* Write all tables to `area` of `size` bytes, which the guest sees at `address` (below 4 GiB, a
 * multiple of 16); the RSDP comes first. -EINVAL: an extra table is none, in words with FILE:LINE.
 * -ENOSPC: they do not fit. */
int acpi_build(const struct acpi_config *config, uint8_t *area, uint32_t address, uint32_t size,
               struct err *err);

#endif
