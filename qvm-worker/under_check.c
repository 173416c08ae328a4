/* What a configuration asks for that qvmd does not give. */
#include "qvm-worker/under_check.h"

#include <errno.h>

#include "proto/base/err.h"
#include "qvm-worker/plan/plan.h"
#include "qvm-worker/vdev/host.h"

/* An earlier qvmd places no vCPUs. */
static int check_placement(const struct plan *plan, struct err *err)
{
    for (uint32_t i = 0; i < plan->cpu_count; i++) {
        if (!plan->host->places_cpus && plan->cpus[i].placement.policy != PLACEMENT_NORMAL) {
            return err_set(err, -ENOEXEC,
                           "%s: real-time scheduling wants a newer qvmd than the one that runs",
                           plan->cpus[i].placement.sched_where);
        }
    }
    return 0;
}

/* A command would be the guest's owner's, started by qvmd, which runs no programs but qvm: nobody
 * would bound what it takes, or end it with the guest. */
static int check_commands(const struct plan *plan, struct err *err)
{
    if (plan->dump.command != NULL) {
        return err_set(err, -ENOEXEC,
                       "%s: 'dump \"|COMMAND\"' is for qvm on the command line; name a directory",
                       plan->dump.where);
    }
    for (uint32_t i = 0; i < plan->need_count; i++) {
        const struct plan_need *need = &plan->needs[i];

        if (need->device != NULL && need->device->delayed_where != NULL) {
            return err_set(err, -ENOEXEC,
                           "%s: 'delayed' is for qvm on the command line; have '%s' there when the "
                           "guest starts, or name a FIFO",
                           need->device->delayed_where, need->id);
        }
        if (need->id[0] == '|') {
            return err_set(err, -ENOEXEC,
                           "%s: 'hostdev \"|COMMAND\"' is for qvm on the command line; name a FIFO "
                           "that the command reads or writes",
                           need->where);
        }
    }
    return 0;
}

static int check_ports(const struct plan *plan, struct err *err)
{
    return plan->ports_count == 0
               ? 0
               : err_set(err, -ENOEXEC,
                         "%s: qvmd gives no ports of the host: they are for a qvm alone, as root",
                         plan->ports[0].where);
}

static int check_memories(const struct plan *plan, struct err *err)
{
    return plan->memory_count == 0
               ? 0
               : err_set(err, -ENOEXEC,
                         "%s: qvmd gives no memory of the host by address: it is for a qvm alone, "
                         "as root; a PCI function as a whole is for both (pass loc pci:...)",
                         plan->memories[0].where);
}

int under_check(const struct plan *plan, struct err *err)
{
    int r = check_placement(plan, err);

    r = r == 0 ? check_ports(plan, err) : r;
    r = r == 0 ? check_memories(plan, err) : r;
    return r == 0 ? check_commands(plan, err) : r;
}

bool under_is_placed(const struct plan *plan, bool is_told)
{
    bool is_placed = is_told;

    for (uint32_t i = 0; plan->host->places_cpus && i < plan->cpu_count; i++) {
        is_placed = is_placed || plan->cpus[i].placement.has_cpus ||
                    plan->cpus[i].placement.policy != PLACEMENT_NORMAL;
    }
    return is_placed;
}
