/* What devices of the host have of a machine. */
#include "qvm-worker/machine/event.h"
#include "qvm-worker/machine/private.h"
#include "qvm-worker/vm/vm.h"

int machine_device_slot(struct machine *machine, uint32_t slot, uint64_t address, void *host,
                        uint64_t size)
{
    return vm_device_slot(machine->vm, slot, address, host, size);
}

int machine_shown_slot(struct machine *machine, uint32_t slot, uint64_t address, void *host,
                       uint64_t size)
{
    return vm_shown_slot(machine->vm, slot, address, host, size);
}

int machine_add_group(struct machine *machine, int group_fd, struct err *err)
{
    return vm_add_group(machine->vm, group_fd, err);
}

int machine_watch(struct machine *machine, int fd, struct err *err)
{
    return machine_events_watch(machine->events, fd, err);
}
