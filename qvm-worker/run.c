/* One VM from its plan and descriptors to its end. */
#include "qvm-worker/run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "qvm-worker/console.h"
#include "qvm-worker/exit_status.h"
#include "qvm-worker/machine.h"
#include "qvm-worker/plan.h"
#include "qvm-worker/reset_pace.h"
#include "qvm-worker/signals.h"
#include "qvm-worker/vdev_host.h"

/* How long a press of the power button makes the next signal the last one, even over a reset: a
 * guest that resets all the time is ended as well. */
#define PRESS_COUNTS_MS 60000u

struct run {
    struct run_spec spec;
    struct machine *machine;
    uv_poll_t poll; /* of the machine's events */
    bool is_watched;
    unsigned closed_count; /* of both handles */
    uv_timer_t pace_timer; /* until a reset that came too early */
    struct reset_pace pace;
    char cause[MACHINE_TEXT_SIZE];                /* of that reset */
    struct machine_spec machine_spec;             /* the machine keeps a pointer to it */
    struct machine_load loads[MACHINE_LOADS_MAX]; /* the plan's, with descriptors */
    int kvm_fd;
    uint64_t reboots;
    bool is_power_pressed; /* by a signal: the next one ends it */
    uint64_t pressed_ms;
    struct exit_record end;
};

const struct exit_record *run_end(const struct run *run)
{
    return &run->end;
}

uint64_t run_reboots(const struct run *run)
{
    return run->reboots;
}

void run_finish(struct run *run, enum guest_reason reason, int status, const char *format, ...)
{
    va_list args;

    if (run->end.reason != REASON_none) {
        return;
    }
    run->end.reason = reason;
    run->end.status = status;
    va_start(args, format);
    (void)vsnprintf(run->end.message, sizeof(run->end.message), format, args);
    va_end(args);
    uv_stop(run->spec.loop);
}

void run_press_power(struct run *run)
{
    machine_press_power(run->machine);
}

static void reset_now(struct run *run, const char *cause)
{
    struct err err = {0};

    (void)uv_timer_stop(&run->pace_timer); /* what it waited for comes now */
    machine_pause(run->machine);
    console_marker(run->spec.console, "the guest rebooted"); /* before what the new boot says */
    if (machine_reset(run->machine, &err) != 0) {
        run_finish(run, REASON_vmm_crash, EXIT_STATUS_AFTER, "%s", err.msg);
        return;
    }
    run->reboots++;
    if (uv_now(run->spec.loop) - run->pressed_ms > PRESS_COUNTS_MS) {
        run->is_power_pressed = false;
    }
    log_info("run: guest reset count=%" PRIu64 " cause=\"%s\"", run->reboots, cause);
    if (run->spec.on_reset != NULL) {
        run->spec.on_reset(run->spec.context, run->reboots, cause);
    }
}

static void reset(struct run *run, const char *cause);

static void on_pace(uv_timer_t *timer)
{
    struct run *run = timer->data;

    reset(run, run->cause);
}

/* Reset the guest, now or when it is due; until then its vCPUs stay parked. */
static void reset(struct run *run, const char *cause)
{
    uint64_t wait_ms;

    uv_update_time(run->spec.loop);
    wait_ms = reset_pace_wait_ms(&run->pace, uv_now(run->spec.loop));
    if (wait_ms == 0) {
        reset_now(run, cause);
        return;
    }
    if (cause != run->cause) {
        (void)snprintf(run->cause, sizeof(run->cause), "%s", cause);
    }
    (void)uv_timer_start(&run->pace_timer, on_pace, wait_ms, 0); /* fails for closed ones alone */
}

static void on_machine_event(void *context, const struct machine_event *event)
{
    struct run *run = context;
    const struct plan_settings *settings = &run->spec.plan->settings;

    switch (event->kind) {
    case MACHINE_EVENT_POWEROFF:
        run_finish(run, REASON_poweroff, EXIT_STATUS_OK, "%s", event->text);
        break;
    case MACHINE_EVENT_RESET:
        if (settings->on_reboot == PLAN_ON_REBOOT_EXIT) {
            run_finish(run, REASON_reboot, EXIT_STATUS_OK, "%s", event->text);
        } else {
            reset(run, event->text);
        }
        break;
    case MACHINE_EVENT_TRIPLE_FAULT:
        if (settings->on_crash == PLAN_ON_CRASH_RESET) {
            reset(run, event->text);
        } else {
            run_finish(run, REASON_guest_crash, EXIT_STATUS_CRASH, "%s", event->text);
        }
        break;
    case MACHINE_EVENT_UNSUPPORTED:
        run_finish(run, REASON_guest_crash, EXIT_STATUS_UNSUPPORTED, "%s", event->text);
        break;
    case MACHINE_EVENT_KVM_FAILED:
        run_finish(run, REASON_vmm_crash, EXIT_STATUS_AFTER, "%s", event->text);
        break;
    case MACHINE_EVENT_EXIT:
        run_finish(run, REASON_poweroff, (int)event->value, "%s", event->text);
        break;
    }
}

static void on_event_fd(uv_poll_t *poll, int status, int events)
{
    struct run *run = poll->data;

    (void)status;
    (void)events;
    if (run->end.reason == REASON_none) {
        machine_dispatch(run->machine);
    }
}

static void on_vdev_intr(void *context, uint32_t gsi, bool is_high)
{
    struct run *run = context;

    machine_intr(run->machine, gsi, is_high);
}

static void on_vdev_request(void *context, enum vdev_request request, uint32_t value)
{
    struct run *run = context;

    switch (request) {
    case VDEV_REQUEST_RESET:
        machine_request(run->machine, MACHINE_EVENT_RESET, 0);
        break;
    case VDEV_REQUEST_POWEROFF:
        machine_request(run->machine, MACHINE_EVENT_POWEROFF, 0);
        break;
    case VDEV_REQUEST_EXIT:
        machine_request(run->machine, MACHINE_EVENT_EXIT, value);
        break;
    }
}

/* Descriptors to those who asked for them. */
static void hand_out(struct run *run)
{
    const struct plan *plan = run->spec.plan;

    memcpy(run->loads, plan->loads, sizeof(run->loads));
    for (uint32_t i = 0; i < plan->need_count; i++) {
        const struct plan_need *need = &plan->needs[i];
        int fd = take_fd(&run->spec.fds[i]);

        if (need->kind == RESOURCE_kvm) {
            run->kvm_fd = fd;
        } else if (need->load != UINT32_MAX) {
            run->loads[need->load].fd = fd;
        } else if (need->device != NULL) {
            vdev_host_grant(run->spec.vdevs, need->device, fd);
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

static int make_machine(struct run *run, struct err *err)
{
    const struct plan *plan = run->spec.plan;
    run->machine_spec = (struct machine_spec){
        .name = plan->name,
        .where = plan->where,
        .cpu_count = plan->cpu_count,
        .ram = plan->ram,
        .ram_count = plan->ram_count,
        .loads = run->loads,
        .load_count = plan->load_count,
        .cmdline = plan->cmdline,
        .cmdline_where = plan->cmdline_where,
        .kvm_fd = run->kvm_fd,
        .is_populated = plan->settings.is_populated,
        .on_progress = on_progress,
        .on_event = on_machine_event,
        .context = run,
    };

    return machine_create(&run->machine_spec, &run->machine, err);
}

static int add_device(struct run *run, const struct vdev_host_device *from, struct err *err)
{
    struct machine_device device = {
        .name = from->name,
        .context = from->context,
        .reset = from->reset,
        .acpi_hid = from->acpi_hid,
        .gsi = from->intr_line == QVM_VDEV_NO_INTR ? MACHINE_NO_GSI : from->intr_line,
    };

    for (uint32_t i = 0; i < from->region_count; i++) {
        const struct vdev_region *region = &from->regions[i];

        if (region->space == VDEV_SPACE_IO && device.port_count < MACHINE_PORTS_MAX) {
            device.ports[device.port_count].start = (uint16_t)region->start;
            device.ports[device.port_count++].size = (uint16_t)region->size;
        }
    }
    return machine_add_device(run->machine, &device, err);
}

static int make_vdevs(struct run *run, struct err *err)
{
    const struct memory *memory = machine_memory(run->machine);
    struct vdev_host_env env = {
        .loop = run->spec.loop,
        .bus = machine_bus(run->machine),
        .console = run->spec.console,
        .cpu_count = run->spec.plan->cpu_count,
        .ram_below_4g = memory_size_below_4g(memory),
        .ram_above_4g = memory_size_above_4g(memory),
        .context = run,
        .intr = on_vdev_intr,
        .request = on_vdev_request,
    };
    struct vdev_host_device device;
    int r = vdev_host_build(run->spec.vdevs, &env, err);

    for (size_t i = 0; r == 0 && vdev_host_device(run->spec.vdevs, i, &device); i++) {
        r = add_device(run, &device, err);
    }
    return r;
}

static int build(struct run *run, struct err *err)
{
    int r;

    hand_out(run);
    r = make_machine(run, err);
    r = r == 0 ? make_vdevs(run, err) : r;
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

int run_start(const struct run_spec *spec, struct run **run, struct exit_record *end,
              struct err *err)
{
    struct run *new = calloc(1, sizeof(*new));
    int r;

    if (new == NULL) {
        return err_set(err, -ENOMEM, "no memory left");
    }
    new->spec = *spec;
    new->kvm_fd = -1;
    *run = new;
    r = build(new, err);
    if (r != 0) {
        bool is_config = is_about_configuration(r);

        end->reason = is_config ? REASON_config_error : REASON_vmm_crash;
        end->status = is_config ? EXIT_STATUS_CONFIG : EXIT_STATUS_BEFORE;
        (void)snprintf(end->message, sizeof(end->message), "%s", err->msg);
    }
    return r;
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
    machine_destroy(run->machine);
    for (uint32_t i = 0; i < run->spec.plan->load_count; i++) {
        cleanup_close(&run->loads[i].fd);
    }
    cleanup_close(&run->kvm_fd);
    if (!run->is_watched) {
        free(run);
    }
}

static void log_state(void *context, const char *device, const char *name, const char *value)
{
    (void)context;
    log_info("state: device=%s %s=\"%s\"", device, name, value);
}

void run_signal(struct run *run, int number)
{
    switch (number) {
    case SIGTERM:
    case SIGINT:
    case SIGHUP:
        if (run->is_power_pressed) {
            run_finish(run, REASON_killed, EXIT_STATUS_POWER_CUT, "ended by a second signal (%s)",
                       strsignal(number));
        } else {
            log_info("run: power button pressed by=signal");
            run->is_power_pressed = true;
            run->pressed_ms = uv_now(run->spec.loop);
            machine_press_power(run->machine);
        }
        break;
    case SIGQUIT:
        run_finish(run, REASON_killed, EXIT_STATUS_POWER_CUT, "power cut by SIGQUIT");
        break;
    case SIGUSR1:
        run_state(run, log_state, NULL);
        break;
    case SIGUSR2:
        log_warn("run: SIGUSR2 refused why=\"a dump of the guest is not supported yet\"");
        break;
    default:
        break;
    }
}

struct state_context {
    run_state_fn add;
    void *context;
};

static void on_machine_state(void *context, const char *name, const char *value)
{
    struct state_context *state = context;

    state->add(state->context, "machine", name, value);
}

void run_state(struct run *run, run_state_fn add, void *context)
{
    struct state_context state = {add, context};

    machine_state(run->machine, on_machine_state, &state);
    vdev_host_state(run->spec.vdevs, add, context);
}
