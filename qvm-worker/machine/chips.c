/* Interrupts of a machine: lines, messages, and what controllers that are vdevs say. */
#include "qvm-worker/machine/power.h"
#include "qvm-worker/machine/private.h"
#include "qvm-worker/vm/vcpu_set.h"
#include "qvm-worker/vm/vm.h"

void machine_intr(struct machine *machine, uint32_t gsi, bool is_high)
{
    intr_lines_hold(&machine->lines, gsi, is_high);
}

void machine_message(struct machine *machine, uint64_t address, uint32_t data)
{
    vm_message(machine->vm, address, data);
}

void machine_cpu_intr(struct machine *machine, bool is_high)
{
    bool was_high = atomic_exchange(&machine->vcpu_chips.is_intr_high, is_high);

    if (is_high && !was_high && machine->vcpus != NULL) {
        vcpu_set_look(machine->vcpus);
    }
}

void machine_watch_vector(struct machine *machine, uint8_t vector, bool is_watched)
{
    vm_watch_vector(machine->vm, vector, is_watched);
}

void machine_clock_alarm(struct machine *machine)
{
    power_ring(machine->power);
}

int machine_route_add(struct machine *machine)
{
    return vm_route_add(machine->vm);
}

void machine_route_set(struct machine *machine, uint32_t route, uint64_t address, uint32_t data)
{
    vm_route_set(machine->vm, route, address, data);
}

void machine_routes_commit(struct machine *machine)
{
    vm_routes_commit(machine->vm);
}

int machine_line_hear(struct machine *machine, uint32_t gsi, int fd, int resample_fd, bool is_on)
{
    return vm_line_hear(machine->vm, gsi, fd, resample_fd, is_on);
}

int machine_route_hear(struct machine *machine, uint32_t route, int fd, bool is_on)
{
    return vm_route_hear(machine->vm, route, fd, is_on);
}
