/* What a machine tells its guest in tables: ACPI and SMBIOS. */
#include "qvm-worker/machine/acpi.h"
#include "qvm-worker/machine/power.h"
#include "qvm-worker/machine/private.h"
#include "qvm-worker/tables/smbios.h"
#include "qvm-worker/vm/vm.h"

/* Tables where a guest without firmware looks for them, or as files that firmware asks for. */
int machine_write_tables(struct machine *machine, bool is_firmware, struct err *err)
{
    const struct machine_acpi acpi = {.memory = machine->memory,
                                      .cpus = machine->topology,
                                      .devices = machine->devices,
                                      .device_count = machine->device_count,
                                      .items = machine->items,
                                      .item_count = machine->loader.item_count,
                                      .pci = machine->pci,
                                      .has_firmware = is_firmware,
                                      .is_full = machine->spec->has_full_acpi,
                                      .hpet_address = machine->spec->chips.hpet_address,
                                      .hpet_id = machine->spec->chips.hpet_id,
                                      .ioapic_address = machine->spec->chips.ioapic_address,
                                      .timer_pin = machine->spec->chips.timer_pin};
    const struct smbios_config smbios = {.name = machine->spec->name,
                                         .cpus = machine->topology,
                                         .identity = machine->spec->identity,
                                         .memory = machine->memory};
    const struct firmware_facts facts = {.smbios = &smbios,
                                         .memory = machine->memory,
                                         .acpi = &acpi,
                                         .reserved_start = VM_RESERVED_START,
                                         .reserved_size = VM_RESERVED_SIZE};
    struct smbios tables;

    if (is_firmware) {
        return firmware_files_make(&machine->files, &facts, err);
    }
    smbios_build(&smbios, &tables);
    smbios_write(&tables, machine->memory);
    power_write_vector(machine->power, machine->memory);
    return machine_acpi_write(&acpi, err);
}
