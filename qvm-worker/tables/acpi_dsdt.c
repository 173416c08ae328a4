/* The DSDT of a guest. */
#include "qvm-worker/tables/acpi_dsdt.h"

#include <stdio.h>
#include <string.h>

#include "qvm-worker/tables/acpi.h"
#include "qvm-worker/tables/aml.h"

#define SLEEP_TYPE_OFF 5u

/* The ports of configuration accesses, which the bridge has itself. */
#define CONFIG_PORTS      0xcf8u
#define CONFIG_PORT_COUNT 8u

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
    for (uint32_t i = 0; i < device->place_count && i < ACPI_PORTS_MAX; i++) {
        aml_resource_memory(aml, device->places[i].start, device->places[i].size);
    }
    if (device->gsi != ACPI_NO_GSI) {
        aml_resource_irq(aml, device->gsi, device->is_level);
    }
    aml_close_resources(aml, resources);
    aml_close(aml, object);
}

/* Method(_OSC, 4) { Return (Arg3) }: the guest may have whatever it asks for; there is nothing that
 * we would do instead. PCI Firmware Specification 3.3, 4.5.1. */
static void write_osc(struct aml *aml)
{
    static const uint8_t body[] = {0xa4, 0x6b};
    uint32_t method = aml_open_method(aml, "_OSC", 4);

    aml_bytes(aml, body, sizeof(body));
    aml_close(aml, method);
}

/* Which line of the IOAPIC a pin is: ACPI 6.5, 6.2.13. */
static void write_routes(struct aml *aml, const struct acpi_pci *pci)
{
    uint32_t routes;

    aml_name(aml, "_PRT");
    routes = aml_open_package(aml, pci->route_count);
    for (uint32_t i = 0; i < pci->route_count; i++) {
        uint32_t route = aml_open_package(aml, 4);

        aml_integer(aml, pci->routes[i].device << 16 | 0xffff); /* of all functions */
        aml_integer(aml, pci->routes[i].pin);
        aml_integer(aml, 0);
        aml_integer(aml, pci->routes[i].gsi);
        aml_close(aml, route);
    }
    aml_close(aml, routes);
}

/* What the bridge hands on to its buses. */
static void write_windows(struct aml *aml, const struct acpi_pci *pci)
{
    uint32_t resources = aml_open_resources(aml);

    aml_resource_window(aml, AML_WINDOW_BUSES, 0, pci->bus_count - 1);
    aml_resource_io(aml, CONFIG_PORTS, CONFIG_PORT_COUNT);
    aml_resource_window(aml, AML_WINDOW_PORTS, 0, CONFIG_PORTS - 1);
    aml_resource_window(aml, AML_WINDOW_PORTS, CONFIG_PORTS + CONFIG_PORT_COUNT, 0xffff);
    for (uint32_t i = 0; i < pci->low_count; i++) {
        aml_resource_window(aml, AML_WINDOW_MEMORY, pci->low[i].start, pci->low[i].end - 1);
    }
    aml_resource_window(aml, AML_WINDOW_MEMORY_64, pci->high_start, pci->high_end - 1);
    aml_close_resources(aml, resources);
}

static void write_pci(struct aml *aml, const struct acpi_pci *pci)
{
    uint32_t device = aml_open_device(aml, "PCI0");

    aml_hid(aml, "PNP0A08");
    aml_name(aml, "_CID");
    aml_eisa_id(aml, "PNP0A03");
    aml_name(aml, "_UID");
    aml_integer(aml, 0);
    aml_name(aml, "_BBN");
    aml_integer(aml, 0);
    write_windows(aml, pci);
    write_routes(aml, pci);
    write_osc(aml);
    aml_close(aml, device);
}

/* What belongs to the board: the window of MCFG, which a guest believes in only then (PCI Firmware
 * Specification 3.3, 4.1.2), and the ports of fixed hardware. */
static void write_reserved(struct aml *aml, const struct acpi_config *config)
{
    const struct acpi_pci *pci = config->pci;
    uint32_t device, resources;

    device = aml_open_device(aml, "MBRD");
    aml_hid(aml, "PNP0C02");
    aml_name(aml, "_UID");
    aml_integer(aml, 0);
    resources = aml_open_resources(aml);
    if (pci->ecam_size != 0) {
        aml_resource_memory(aml, (uint32_t)pci->ecam_start, (uint32_t)pci->ecam_size);
    }
    if (config->fixed != NULL) {
        aml_resource_io(aml, config->fixed->all, config->fixed->all_size);
    }
    aml_close_resources(aml, resources);
    aml_close(aml, device);
}

void acpi_write_dsdt(struct aml *aml, const struct acpi_config *config)
{
    uint32_t opened = aml_open_scope(aml, "\\_SB_");

    if (config->fixed == NULL) {
        write_button(aml, config); /* else it is one of the fixed registers */
    }
    if (config->pci != NULL) {
        write_pci(aml, config->pci);
        write_reserved(aml, config);
    }
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
