/* The ACPI tables of a machine: what it has, told to acpi.c, and written into guest memory. */
#ifndef QVM_WORKER_MACHINE_ACPI_H
#define QVM_WORKER_MACHINE_ACPI_H

#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/topology.h"

struct err;
struct loader_item;
struct machine_device;
struct memory;
struct pci;

struct machine_acpi {
    const struct memory *memory;
    struct topology cpus;
    const struct machine_device *devices;
    uint32_t device_count;
    struct loader_item *items; /* the tables of `acpi load` among them are read anew each time */
    uint32_t item_count;
    struct pci *pci;       /* NULL: none */
    bool has_firmware;     /* which may move things, and read the tables again */
    bool is_full;          /* with the fixed hardware of pm.h */
    uint64_t hpet_address; /* 0: there is none */
    uint32_t hpet_id;
    uint64_t ioapic_address; /* 0: the usual one */
    uint32_t timer_pin;      /* of the IOAPIC, where line 0 leads */
};

/* Write them to `area` as acpi_build does. */
int machine_acpi_build(const struct machine_acpi *machine, uint8_t *area, uint32_t address,
                       uint32_t size, struct err *err);

/* Write them where the loader keeps a place for them. */
int machine_acpi_write(const struct machine_acpi *machine, struct err *err);

#endif
