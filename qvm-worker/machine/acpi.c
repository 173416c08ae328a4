/* The ACPI tables of a machine. */
#include "qvm-worker/machine/acpi.h"

#include <stdlib.h>

#include "proto/base/err.h"
#include "qvm-worker/loader/loader.h"
#include "qvm-worker/machine/machine.h"
#include "qvm-worker/machine/pm.h"
#include "qvm-worker/machine/power.h"
#include "qvm-worker/memory/memory.h"
#include "qvm-worker/pci/pci.h"
#include "qvm-worker/tables/acpi.h"

static uint32_t tell_devices(const struct machine_acpi *machine, struct acpi_device *told)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < machine->device_count; i++) {
        const struct machine_device *device = &machine->devices[i];
        struct acpi_device *to = &told[count];

        if (device->acpi_hid == NULL) {
            continue;
        }
        *to = (struct acpi_device){
            .hid = device->acpi_hid,
            .gsi = device->gsi,
            .is_level = device->is_level,
            .port_count = device->port_count,
            .place_count = device->place_count,
        };
        for (uint32_t p = 0; p < device->place_count; p++) {
            to->places[p].start = device->places[p].start;
            to->places[p].size = device->places[p].size;
        }
        for (uint32_t p = 0; p < device->port_count; p++) {
            to->ports[p].start = device->ports[p].start;
            to->ports[p].size = (uint8_t)device->ports[p].size;
        }
        count++;
    }
    return count;
}

static void add_route(struct acpi_pci *to, uint32_t device, uint32_t pin)
{
    for (uint32_t i = 0; i < to->route_count; i++) {
        if (to->routes[i].device == device && to->routes[i].pin == pin) {
            return;
        }
    }
    to->routes[to->route_count].device = device;
    to->routes[to->route_count].pin = pin;
    to->routes[to->route_count++].gsi = PCI_GSI_BASE + pci_pirq(device, pin);
}

static void tell_pci(struct pci *pci, bool is_ecam_kept, struct acpi_pci *to)
{
    const struct pci_function *function;
    uint64_t starts[2], ends[2];

    *to = (struct acpi_pci){.bus_count = PCI_BUSES, .is_ecam_kept = is_ecam_kept};
    to->low_count = pci_low_windows(pci, starts, ends);
    for (uint32_t i = 0; i < to->low_count; i++) {
        to->low[i].start = starts[i];
        to->low[i].end = ends[i];
    }
    if (!pci_ecam(pci, &to->ecam_start, &to->ecam_size)) {
        to->ecam_size = 0;
    }
    pci_high_window(pci, &to->high_start, &to->high_end);
    for (uint32_t i = 0; (function = pci_function_at(pci, i)) != NULL; i++) {
        if (function->has_intx) {
            uint32_t device, pin;

            pci_root_pin(function, &device, &pin);
            add_route(to, device, pin);
        }
    }
}

/* Where tables go. */
struct place {
    uint8_t *area;
    uint32_t address, size;
};

static int build_acpi(const struct machine_acpi *machine, const struct acpi_extra *extras,
                      uint32_t extra_count, const struct place *place, struct err *err)
{
    struct acpi_device told[MACHINE_DEVICES_MAX];
    struct acpi_config config = {.cpus = machine->cpus,
                                 .devices = told,
                                 .device_count = tell_devices(machine, told),
                                 .extras = extras,
                                 .extra_count = extra_count,
                                 .sleep_control = POWER_SLEEP_CONTROL,
                                 .sleep_status = POWER_SLEEP_STATUS,
                                 .reset = POWER_RESET,
                                 .reset_value = POWER_RESET_VALUE,
                                 .event = POWER_EVENT,
                                 .event_gsi = POWER_GSI,
                                 .hpet_address = machine->hpet_address,
                                 .hpet_id = machine->hpet_id,
                                 .ioapic_address = (uint32_t)machine->ioapic_address,
                                 .timer_pin = machine->timer_pin};
    static const struct acpi_fixed fixed = {.event = PM_BASE + PM_EVENT,
                                            .event_size = PM_EVENT_SIZE,
                                            .control = PM_BASE + PM_CONTROL,
                                            .control_size = PM_CONTROL_SIZE,
                                            .timer = PM_BASE + PM_TIMER,
                                            .timer_size = PM_TIMER_SIZE,
                                            .gpe0 = PM_BASE + PM_GPE0,
                                            .gpe0_size = PM_GPE0_SIZE,
                                            .sci = PM_SCI,
                                            .all = PM_BASE,
                                            .all_size = PM_SIZE};
    struct acpi_pci pci;

    if (machine->pci != NULL) {
        tell_pci(machine->pci, machine->has_firmware, &pci);
        config.pci = &pci;
    }
    if (machine->is_full) {
        config.fixed = &fixed;
        config.reset = POWER_FULL_RESET;
        config.reset_value = POWER_FULL_RESET_VALUE;
    }
    return acpi_build(&config, place->area, place->address, place->size, err);
}

/* The tables of `acpi load`, read anew each time. */
struct extras {
    uint32_t count;
    uint8_t *bytes[MACHINE_LOADS_MAX];
    struct acpi_extra list[MACHINE_LOADS_MAX];
};

static int read_extras(const struct machine_acpi *machine, struct extras *extras, struct err *err)
{
    for (uint32_t i = 0; i < machine->item_count; i++) {
        struct loader_item *item = &machine->items[i];
        struct acpi_extra *extra = &extras->list[extras->count];
        uint8_t **bytes = &extras->bytes[extras->count];
        int r;

        if (item->kind != LOADER_ACPI) {
            continue;
        }
        r = loader_read_acpi(item, bytes, &extra->size, err);
        if (r != 0) {
            return r;
        }
        extra->bytes = *bytes;
        extra->path = item->path;
        extra->where = item->where;
        extras->count++;
    }
    return 0;
}

int machine_acpi_build(const struct machine_acpi *machine, uint8_t *area, uint32_t address,
                       uint32_t size, struct err *err)
{
    const struct place place = {area, address, size};
    struct extras extras = {0};
    int r = read_extras(machine, &extras, err);

    if (r == 0) {
        r = build_acpi(machine, extras.list, extras.count, &place, err);
    }
    for (uint32_t i = 0; i < extras.count; i++) {
        free(extras.bytes[i]);
    }
    return r;
}

int machine_acpi_write(const struct machine_acpi *machine, struct err *err)
{
    uint8_t *area = memory_span(machine->memory, gpa(LOADER_ACPI_START), LOADER_ACPI_SIZE);

    return machine_acpi_build(machine, area, LOADER_ACPI_START, LOADER_ACPI_SIZE, err);
}
