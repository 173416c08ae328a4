/* What a machine says of itself and of its parts, and holding it meanwhile. */
#include <stdio.h>

#include "qvm-worker/dump.h"
#include "qvm-worker/machine/private.h"
#include "qvm-worker/vm/vcpu_set.h"

struct bus *machine_bus(struct machine *machine)
{
    return machine->bus;
}

const struct memory *machine_memory(const struct machine *machine)
{
    return machine->memory;
}

struct power *machine_power(struct machine *machine)
{
    return machine->power;
}

struct pci *machine_pci(struct machine *machine)
{
    return machine->pci;
}

const struct firmware_file *machine_firmware_file(const struct machine *machine, uint32_t index)
{
    return index < machine->files.count ? &machine->files.list[index] : NULL;
}

static void regions_state(const char *kind, const struct memory_region *regions, uint32_t count,
                          machine_state_fn add, void *context)
{
    for (uint32_t i = 0; i < count; i++) {
        char name[32], value[64];

        (void)snprintf(name, sizeof(name), "%s%u", kind, i);
        (void)snprintf(value, sizeof(value), "0x%llx-0x%llx (%llu KiB)",
                       (unsigned long long)regions[i].start,
                       (unsigned long long)(regions[i].start + regions[i].size - 1),
                       (unsigned long long)regions[i].size / 1024);
        add(context, name, value);
    }
}

/* Where RAM and ROM lie. */
static void memory_state(const struct machine *machine, machine_state_fn add, void *context)
{
    uint32_t count = 0;
    const struct memory_region *regions = memory_regions(machine->memory, &count);

    regions_state("ram", regions, count, add, context);
    regions = memory_roms(machine->memory, &count);
    regions_state("rom", regions, count, add, context);
}

static int on_vcpu_fd(void *context, uint32_t index)
{
    const struct machine *machine = context;

    return vcpu_set_fd(machine->vcpus, index);
}

int machine_dump(struct machine *machine, int fd, struct err *err)
{
    bool was_paused = vcpu_set_is_paused(machine->vcpus);
    const struct dump_source source = {.memory = machine->memory,
                                       .vcpu_count = vcpu_set_count(machine->vcpus),
                                       .vcpu_fd = on_vcpu_fd,
                                       .context = machine};
    int r;

    if (!was_paused) {
        vcpu_set_pause(machine->vcpus);
    }
    r = dump_write(&source, fd, err);
    if (!was_paused) {
        vcpu_set_tell_time_lost(machine->vcpus);
        vcpu_set_resume(machine->vcpus);
    }
    return r;
}

void machine_state(struct machine *machine, machine_state_fn add, void *context)
{
    bool was_paused = vcpu_set_is_paused(machine->vcpus);

    if (!was_paused) {
        vcpu_set_pause(machine->vcpus);
    }
    memory_state(machine, add, context);
    vcpu_set_state(machine->vcpus, add, context);
    if (!was_paused) {
        vcpu_set_resume(machine->vcpus);
    }
}

void machine_hold(struct machine *machine)
{
    machine->is_held = true;
    vcpu_set_pause(machine->vcpus);
}

void machine_release(struct machine *machine)
{
    machine->is_held = false;
    vcpu_set_tell_time_lost(machine->vcpus);
    vcpu_set_resume(machine->vcpus);
}

bool machine_is_held(const struct machine *machine)
{
    return machine->is_held;
}

size_t machine_stats_fds(const struct machine *machine, int *fds, size_t most)
{
    return vcpu_set_stats_fds(machine->vcpus, fds, most);
}
