/* What the files of machine.h share; nobody else includes this. */
#ifndef QVM_WORKER_MACHINE_PRIVATE_H
#define QVM_WORKER_MACHINE_PRIVATE_H

#include "proto/counters.h"
#include "qvm-worker/bus/intr_lines.h"
#include "qvm-worker/loader/loader.h"
#include "qvm-worker/lockdown/lockdown.h"
#include "qvm-worker/machine/board.h"
#include "qvm-worker/machine/machine.h"
#include "qvm-worker/tables/firmware_files.h"
#include "qvm-worker/topology.h"
#include "qvm-worker/vm/vcpu.h"

struct err;
struct machine_events;
struct pci;
struct power;
struct vcpu_set;
struct vm;

struct machine {
    const struct machine_spec *spec; /* borrowed, with all it points to */
    struct topology topology;
    struct memory *memory;
    struct vm *vm;
    struct bus *bus;
    struct power *power;
    bool has_board; /* registers of the host bridge change what the machine is */
    struct board board;
    struct intr_lines lines;
    struct pci *pci; /* NULL: none */
    struct vcpu_set *vcpus;
    struct vcpu_chips vcpu_chips; /* of own interrupt controllers */
    struct machine_events *events;
    counter_t *irq_count; /* changes of interrupt lines; NULL: nobody counts */
    struct loader loader;
    struct loader_item items[MACHINE_LOADS_MAX];
    uint32_t device_count;
    struct firmware_files files; /* what firmware may ask for; none without any */
    bool is_started, is_stopped;
    bool is_held; /* by an operator: nobody else lets the vCPUs go on */
    struct machine_device devices[MACHINE_DEVICES_MAX]; /* last, and not cleared: most have few */
};

/* The doors of its vCPUs' threads and of the one that called machine_start() (door.c). */
enum lockdown_kind machine_vcpu_door(const struct machine_spec *spec);
enum lockdown_kind machine_control_door(const struct machine_spec *spec);

/* Tables where a guest without firmware looks for them, or as files that firmware asks for. No vCPU
 * runs (tables.c). */
int machine_write_tables(struct machine *machine, bool is_firmware, struct err *err);

#endif
