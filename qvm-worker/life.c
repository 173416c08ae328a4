/* What every qvm has around its VM. */
#include "qvm-worker/life.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/err.h"
#include "proto/base/log.h"
#include "qvm-worker/console.h"
#include "qvm-worker/exit_status.h"
#include "qvm-worker/signals.h"
#include "qvm-worker/vdev_host.h"

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
    int r = plan_read(&life->plan, life->sources.parts, life->sources.count, life->sources.env,
                      life->vdevs, err);

    if (r == 0 && log->is_given) {
        log_to(STDERR_FILENO, log->to_stderr, false);
        log_also_to(STDOUT_FILENO, log->to_stdout);
    }
    return r;
}

static void on_signal(void *context, int signal)
{
    struct life *life = context;

    run_signal(life->run, signal);
}

int life_run(struct life *life, struct run_spec *spec, struct err *err)
{
    int r = signals_create(life->loop, on_signal, life, &life->signals, err);

    if (r != 0) {
        life_set_end(life, REASON_vmm_crash, EXIT_STATUS_BEFORE, err->msg);
        return r;
    }
    spec->plan = &life->plan;
    spec->loop = life->loop;
    spec->vdevs = life->vdevs;
    spec->console = life->console;
    return run_start(spec, &life->run, &life->end, err);
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
    if (life->loop != NULL) {
        (void)uv_run(life->loop, UV_RUN_DEFAULT); /* the handles close */
        (void)uv_loop_close(life->loop);
    }
    plan_fini(&life->plan);
    sources_fini(&life->sources);
}
