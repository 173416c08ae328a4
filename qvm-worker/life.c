/* What every qvm has around its VM. */
#include "qvm-worker/life.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "qvm-worker/console/console.h"
#include "qvm-worker/exit_status.h"
#include "qvm-worker/signals.h"
#include "qvm-worker/vdev/host.h"
#include "qvm-worker/vm/vm_ahead.h"

#define FLUSH_MS 200 /* a session that does not read may lose the end */

int life_begin(struct life *life, int vdevs_fd, struct err *err)
{
    int r;

    life->loop = uv_default_loop();
    if (life->loop == NULL) {
        return err_set(err, -ENOMEM, "cannot make an event loop");
    }
    r = console_create(life->loop, &life->console, err);
    return r == 0 ? vdev_host_create(vdevs_fd, &life->vdevs, err) : r;
}

int life_plan(struct life *life, struct err *err)
{
    const struct plan_log *log = &life->plan.log;
    const struct plan *plan = &life->plan;
    int r;

    life->host.env = life->sources.env;
    life->host.regions = &life->regions;
    r = plan_read(&life->plan, life->sources.parts, life->sources.count, &life->host, life->vdevs,
                  err);
    if (r == 0 && log->is_given) {
        life->has_loggers = true;
        log_to(STDERR_FILENO, log->to[PLAN_LOG_STDERR], false);
        log_also_to(STDOUT_FILENO, log->to[PLAN_LOG_STDOUT]);
    }
    for (uint32_t i = 0; r == 0 && !plan->is_dryrun && i < plan->warning_count; i++) {
        log_warn("%s", plan->warnings[i]);
    }
    return r;
}

static void on_signal(void *context, int signal)
{
    struct life *life = context;

    run_signal(life->run, signal);
}

static int create_run(struct life *life, const struct run_spec *spec, int kvm_fd, struct err *err)
{
    struct run_spec whole = *spec;

    whole.ahead = life->ahead;
    whole.plan = &life->plan;
    whole.loop = life->loop;
    whole.vdevs = life->vdevs;
    whole.console = life->console;
    return run_create(&whole, kvm_fd, &life->run, &life->end, err);
}

int life_prepare(struct life *life, const struct run_spec *spec, struct err *err)
{
    int kvm_fd = vm_ahead_kvm_fd(life->ahead);

    return kvm_fd >= 0 ? create_run(life, spec, kvm_fd, err) : 0;
}

static int granted_kvm(const struct plan *plan, const int *fds)
{
    for (uint32_t i = 0; i < plan->need_count; i++) {
        if (plan->needs[i].kind == RESOURCE_kvm) {
            return fds[i];
        }
    }
    return -1;
}

/* From here on the host's loggers hear what is said; the descriptors stay open to the end. */
static void take_loggers(const struct plan *plan, int *fds)
{
    for (uint32_t i = 0; i < plan->need_count; i++) {
        bool is_syslog = strcmp(plan->needs[i].id, plan_log_name(PLAN_LOG_SYSLOG)) == 0;

        if (plan->needs[i].kind == RESOURCE_logger) {
            log_to_system(is_syslog ? LOG_SYSLOG : LOG_JOURNAL, take_fd(&fds[i]),
                          plan->log.to[is_syslog ? PLAN_LOG_SYSLOG : PLAN_LOG_JOURNAL], plan->name);
        }
    }
}

int life_run(struct life *life, const struct run_spec *spec, int *fds, struct err *err)
{
    int r = signals_create(life->loop, on_signal, life, &life->signals, err);

    if (r != 0) {
        life_set_end(life, REASON_vmm_crash, EXIT_STATUS_BEFORE, err->msg);
        return r;
    }
    if (life->run == NULL) {
        r = create_run(life, spec, granted_kvm(&life->plan, fds), err);
    }
    if (r == 0) {
        take_loggers(&life->plan, fds);
        vm_ahead_settle(life->ahead);
        r = run_start(life->run, fds, &life->end, err);
    }
    if (r == 0) {
        vm_ahead_destroy(take_ptr(life->ahead)); /* all vCPUs have what it knew */
    }
    return r;
}

const struct exit_record *life_end(const struct life *life)
{
    return life->end.reason != REASON_none || life->run == NULL ? &life->end : run_end(life->run);
}

void life_set_end(struct life *life, enum guest_reason reason, int status, const char *message)
{
    if (life_end(life)->reason == REASON_none) {
        life->end.reason = reason;
        life->end.status = status;
        (void)snprintf(life->end.message, sizeof(life->end.message), "%s", message);
    }
}

void life_quiesce(struct life *life)
{
    run_stop(life->run);
    if (life->console != NULL) {
        console_flush(life->console, FLUSH_MS);
    }
}

void life_fini(struct life *life)
{
    signals_destroy(life->signals);
    vdev_host_destroy(life->vdevs);
    run_destroy(life->run);
    console_destroy(life->console);
    vm_ahead_destroy(life->ahead);
    if (life->loop != NULL) {
        (void)uv_run(life->loop, UV_RUN_DEFAULT); /* the handles close */
        (void)uv_loop_close(life->loop);
    }
    plan_fini(&life->plan);
    free(life->clusters);
    free(life->partitions);
    conf_regions_fini(&life->regions);
    sources_fini(&life->sources);
}
