/* Functions of the host in one VM. */
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/hostmem/hostmem.h"
#include "qvm-worker/plan/plan.h"
#include "qvm-worker/ports/ports.h"
#include "qvm-worker/run_private.h"
#include "qvm-worker/vfio/function.h"
#include "qvm-worker/vfio/passed.h"

static int on_slot(void *context, uint32_t slot, uint64_t address, void *host, uint64_t size)
{
    struct run *run = context;

    return machine_device_slot(run->machine, slot, address, host, size);
}

static int on_group(void *context, int group_fd, struct err *err)
{
    struct run *run = context;

    return machine_add_group(run->machine, group_fd, err);
}

static int on_watch(void *context, int fd, struct err *err)
{
    struct run *run = context;

    return machine_watch(run->machine, fd, err);
}

static void on_passed_reset(void *context)
{
    vfio_passed_reset(context);
}

int run_make_passed(struct run *run, int *fds, struct err *err)
{
    const struct plan *plan = run->spec.plan;
    const struct vfio_passed_config config = {.pci = machine_pci(run->machine),
                                              .memory = machine_memory(run->machine),
                                              .slot = on_slot,
                                              .group = on_group,
                                              .watch = on_watch,
                                              .context = run};
    const struct machine_device device = {
        .name = "devices of the host", .reset = on_passed_reset, .gsi = MACHINE_NO_GSI};
    struct machine_device all = device;
    int r = plan->pass_count == 0 ? 0 : vfio_passed_create(&config, &run->passed, err);

    for (uint32_t i = 0; r == 0 && i < plan->need_count; i++) {
        const struct plan_need *need = &plan->needs[i];
        const struct plan_pass *pass = &plan->passes[need->pass];

        if (need->kind == RESOURCE_device) {
            const int granted[] = {take_fd(&fds[PLAN_FD_CONTAINER(need->pass)]),
                                   take_fd(&fds[PLAN_FD_GROUP(need->pass)]), take_fd(&fds[i])};

            r = vfio_passed_add(run->passed, pass->name, pass->where, &pass->guest, granted, err);
        }
    }
    if (r == 0 && run->passed != NULL) {
        all.context = run->passed;
        r = machine_add_device(run->machine, &all, err);
        r = r == 0 ? vfio_passed_map(run->passed, err) : r;
    }
    return r;
}

int run_make_ports(struct run *run, int *fds, struct err *err)
{
    const struct plan *plan = run->spec.plan;

    for (uint32_t i = 0; i < plan->ports_count; i++) {
        const struct plan_ports *ports = &plan->ports[i];
        int r = ports_create(machine_bus(run->machine), ports->start, ports->size,
                             take_fd(&fds[PLAN_FD_PORTS(i)]), ports->name, &run->ports[i], err);

        if (r != 0) {
            (void)err_prefix(err, "%s: ", ports->where);
            return r;
        }
    }
    return 0;
}

int run_make_memories(struct run *run, int *fds, struct err *err)
{
    const struct plan *plan = run->spec.plan;

    for (uint32_t i = 0; i < plan->memory_count; i++) {
        const struct plan_memory *memory = &plan->memories[i];
        const struct hostmem_config config = {.bus = machine_bus(run->machine),
                                              .name = memory->name,
                                              .guest = memory->guest,
                                              .size = memory->size,
                                              .slot_number = VFIO_SLOTS_MAX + i,
                                              .slot = on_slot,
                                              .context = run};
        int r = hostmem_create(&config, take_fd(&fds[PLAN_FD_MEMORY(i)]), &run->memories[i], err);

        if (r != 0) {
            (void)err_prefix(err, "%s: %s: ", memory->where, memory->name);
            return r;
        }
    }
    return 0;
}

void run_look_at_passed(struct run *run)
{
    if (run->passed != NULL && vfio_passed_look(run->passed)) {
        machine_pause(run->machine);
        vfio_passed_give_back(run->passed);
        machine_resume(run->machine);
    }
}
