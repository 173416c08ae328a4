/* One VM from its plan and descriptors to its end. */
#include "qvm-worker/run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "qvm-worker/console/console.h"
#include "qvm-worker/exit_status.h"
#include "qvm-worker/hostmem/hostmem.h"
#include "qvm-worker/machine/machine.h"
#include "qvm-worker/plan/plan.h"
#include "qvm-worker/ports/ports.h"
#include "qvm-worker/run_private.h"
#include "qvm-worker/signals.h"
#include "qvm-worker/vdev/host.h"
#include "qvm-worker/vfio/passed.h"

const struct exit_record *run_end(const struct run *run)
{
    return &run->end;
}

const char *run_last_reset(const struct run *run)
{
    return run->reboots > 0 ? run->last_reset : NULL;
}

uint64_t run_reboots(const struct run *run)
{
    return run->reboots;
}

static void on_event_fd(uv_poll_t *poll, int status, int events)
{
    struct run *run = poll->data;

    (void)status;
    (void)events;
    if (run->end.reason == REASON_none) {
        machine_dispatch(run->machine);
        run_look_at_passed(run);
    }
}

/* Descriptors to those who asked for them. */
static void hand_out(struct run *run, int *fds)
{
    const struct plan *plan = run->spec.plan;

    for (uint32_t i = 0; i < plan->need_count; i++) {
        const struct plan_need *need = &plan->needs[i];
        int fd = need->kind == RESOURCE_device ? -1 : take_fd(&fds[i]);

        if (need->kind == RESOURCE_kvm) {
            run->kvm_fd = fd;
        } else if (need->load != UINT32_MAX) {
            run->loads[need->load].fd = fd;
        } else if (need->device != NULL) {
            vdev_host_grant(run->spec.vdevs, need->device, fd);
        }
        for (uint32_t j = 1; need->kind == RESOURCE_network && j < need->amount; j++) {
            vdev_host_grant_queue(run->spec.vdevs, need->device, j,
                                  take_fd(&fds[PLAN_FD_QUEUE(need->queue + j - 1)]));
        }
        for (uint32_t j = 0; need->vhost != NULL && (j == 0 || j < need->amount); j++) {
            vdev_host_grant_back_end(run->spec.vdevs, need->device, j,
                                     take_fd(&fds[PLAN_FD_VHOST(need->back_end + j)]));
        }
    }
}

static void on_progress(void *context, uint64_t done, uint64_t all)
{
    struct run *run = context;

    signals_end_if_asked();
    if (run->spec.on_progress != NULL) {
        run->spec.on_progress(run->spec.context, done, all);
    }
}

static const enum unsupported_reaction reactions[] = {
    [PLAN_ABORT] = UNSUPPORTED_ABORT,
    [PLAN_FAIL] = UNSUPPORTED_FAIL,
    [PLAN_IGNORE] = UNSUPPORTED_IGNORE,
};

static int make_machine(struct run *run, int kvm_fd, struct err *err)
{
    const struct plan *plan = run->spec.plan;

    for (uint32_t i = 0; i < plan->cpu_count; i++) {
        int r = plan->host->places_cpus ? 0 : placement_check(&plan->cpus[i].placement, err);

        if (r != 0) {
            return r;
        }
        run->placements[i] = plan->host->places_cpus ? NULL : &plan->cpus[i].placement;
    }
    memcpy(run->loads, plan->loads, sizeof(run->loads));
    run->unsupported = (struct unsupported){reactions[plan->unsupported.instruction],
                                            reactions[plan->unsupported.reference],
                                            reactions[plan->unsupported.msr]};
    run->machine_spec = (struct machine_spec){
        .unsupported = &run->unsupported,
        .name = plan->name,
        .where = plan->where,
        .cpu_count = plan->cpu_count,
        .cores = (uint32_t)plan->settings.cores,
        .threads = (uint32_t)plan->settings.threads,
        .shows_qnx = plan->settings.hypervisor == PLAN_HYPERVISOR_QNX,
        .identity = &plan->settings.identity,
        .placements = run->placements,
        .ram = plan->ram,
        .ram_count = plan->ram_count,
        .page_size = plan_page_size(plan),
        .loads = run->loads,
        .load_count = plan->load_count,
        .cmdline = plan->cmdline,
        .cmdline_where = plan->cmdline_where,
        .has_pci = vdev_host_wants_pci(run->spec.vdevs) || plan_has_full_acpi(plan) ||
                   plan->pass_count > 0,
        .has_passed = plan->pass_count > 0,
        .is_shared = vdev_host_shmem_window(run->spec.vdevs) > 0,
        .shows_memory = vdev_host_shows_memory(run->spec.vdevs),
        .has_full_acpi = plan_has_full_acpi(plan),
        .kvm_fd = kvm_fd,
        .ahead = run->spec.ahead,
        .counters = run->spec.counters,
        .halt_where = plan->settings.exits_on_halt ? NULL : plan->halt_where,
        .is_populated = plan_is_populated(plan),
        .on_progress = on_progress,
        .on_event = run_on_machine_event,
        .context = run,
    };

    run_tell_chips(run, &run->machine_spec.chips);
    return machine_create(&run->machine_spec, &run->machine, err);
}

static int start(struct run *run, int *fds, struct err *err)
{
    int r;

    hand_out(run, fds);
    r = run_make_ports(run, fds, err);
    r = r == 0 ? run_make_memories(run, fds, err) : r;
    r = r == 0 ? run_make_vdevs(run, err) : r;
    r = r == 0 ? run_make_passed(run, fds, err) : r;
    if (r == 0 && uv_poll_init(run->spec.loop, &run->poll, machine_event_fd(run->machine)) != 0) {
        r = err_set(err, -EIO, "cannot watch the machine");
    }
    if (r != 0) {
        return r;
    }
    (void)uv_timer_init(run->spec.loop, &run->pace_timer); /* cannot fail */
    run->pace_timer.data = run;
    run->poll.data = run;
    run->is_watched = true;
    (void)uv_poll_start(&run->poll, UV_READABLE, on_event_fd); /* fails for closed handles alone */
    cleanup_close(&run->kvm_fd);                               /* nobody makes another VM */
    return machine_start(run->machine, err);
}

/* An image that is none, RAM that overlaps, two vdevs at one port: the words are to blame. */
static bool is_about_configuration(int code)
{
    switch (code) {
    case -EINVAL:
    case -ENOEXEC:
    case -EEXIST:
    case -ERANGE:
    case -E2BIG:
    case -EFBIG:
    case -ENOENT:
        return true;
    default:
        return false;
    }
}

/* How the process ends that could not build its VM. */
static int tell_end(int r, struct exit_record *end, const struct err *err)
{
    if (r != 0) {
        bool is_config = is_about_configuration(r);

        end->reason = is_config ? REASON_config_error : REASON_vmm_crash;
        end->status = is_config ? EXIT_STATUS_CONFIG : EXIT_STATUS_BEFORE;
        (void)snprintf(end->message, sizeof(end->message), "%s", err->msg);
    }
    return r;
}

int run_create(const struct run_spec *spec, int kvm_fd, struct run **run, struct exit_record *end,
               struct err *err)
{
    struct run *new = calloc(1, sizeof(*new));

    if (new == NULL) {
        return tell_end(err_set(err, -ENOMEM, "no memory left"), end, err);
    }
    new->spec = *spec;
    new->kvm_fd = -1;
    *run = new;
    return tell_end(make_machine(new, kvm_fd, err), end, err);
}

int run_await(struct run *run, struct err *err)
{
    return machine_await(run->machine, err);
}

int run_start(struct run *run, int *fds, struct exit_record *end, struct err *err)
{
    return tell_end(start(run, fds, err), end, err);
}

void run_stop(struct run *run)
{
    if (run != NULL && run->machine != NULL) {
        machine_stop(run->machine);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct run *run = handle->data;

    if (++run->closed_count == 2) {
        free(run);
    }
}

void run_destroy(struct run *run)
{
    if (run == NULL) {
        return;
    }
    if (run->is_watched) {
        uv_close((uv_handle_t *)&run->pace_timer, on_closed);
        uv_close((uv_handle_t *)&run->poll, on_closed); /* whichever is last frees the run */
    }
    vfio_passed_destroy(run->passed); /* before the memory that it reaches */
    machine_destroy(run->machine);
    for (uint32_t i = 0; i < run->spec.plan->load_count; i++) {
        cleanup_close(&run->loads[i].fd);
    }
    for (uint32_t i = 0; i < PLAN_PORTS_MAX; i++) {
        ports_destroy(run->ports[i]);
    }
    for (uint32_t i = 0; i < PLAN_MEMORIES_MAX; i++) {
        hostmem_destroy(run->memories[i]);
    }
    cleanup_close(&run->kvm_fd);
    if (!run->is_watched) {
        free(run);
    }
}

size_t run_stats_fds(const struct run *run, int *fds, size_t most)
{
    return machine_stats_fds(run->machine, fds, most);
}
