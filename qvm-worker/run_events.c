/* What becomes of a VM by what its guest does, and by what people ask. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/log.h"
#include "proto/keys.h"
#include "qvm-worker/console/console.h"
#include "qvm-worker/exit_status.h"
#include "qvm-worker/fields.h"
#include "qvm-worker/plan/plan.h"
#include "qvm-worker/run_private.h"
#include "qvm-worker/vdev/host.h"

/* How long a press of the power button makes the next signal the last one, even over a reset: a
 * guest that resets all the time is ended as well. */
#define PRESS_COUNTS_MS 60000u

#define MARK_SIZE 128 /* of a line of ours on the console */
#define MARK_WHAT 48  /* of it, what the guest does */

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

static void mark(struct run *run, const char *what)
{
    char text[MARK_SIZE];

    (void)snprintf(text, sizeof(text), "guest '%.63s' %.47s", run->spec.plan->name, what);
    console_marker(run->spec.console, text);
}

static void mark_reboot(struct run *run)
{
    char text[MARK_WHAT];

    (void)snprintf(text, sizeof(text), "rebooted (%" PRIu64 ")", run->reboots + 1);
    mark(run, text);
}

static void reset_now(struct run *run, const char *cause)
{
    struct err err = {0};

    (void)uv_timer_stop(&run->pace_timer); /* what it waited for comes now */
    machine_pause(run->machine);
    mark_reboot(run); /* before what the new boot says */
    if (machine_reset(run->machine, &err) != 0) {
        run_finish(run, REASON_vmm_crash, EXIT_STATUS_AFTER, "%s", err.msg);
        return;
    }
    run->reboots++;
    (void)snprintf(run->last_reset, sizeof(run->last_reset), "%s", cause);
    run->reboot_until_ms = 0;
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

/* The guest rebooted: what that is, the configuration says. */
static void on_reboot(struct run *run, const char *cause)
{
    if (run->spec.plan->settings.on_reboot == PLAN_ON_REBOOT_EXIT) {
        run_finish(run, REASON_reboot, EXIT_STATUS_OK, "%s", cause);
    } else {
        reset(run, cause);
    }
}

static void on_power_off(struct run *run, const char *text)
{
    uv_update_time(run->spec.loop);
    if (uv_now(run->spec.loop) < run->reboot_until_ms) {
        on_reboot(run, "the guest switched itself off, to be rebooted");
    } else {
        run_finish(run, REASON_poweroff, EXIT_STATUS_OK, "%s", text);
    }
}

static void want_dump(struct run *run)
{
    if (run->spec.want_dump == NULL || run->spec.plan->dump.where == NULL) {
        log_warn("run: dump refused why=\"the configuration has no `dump`\"");
    } else if (!run->is_dump_awaited) {
        run->is_dump_awaited = run->spec.want_dump(run->spec.context);
    }
}

static int save_and_restore(struct run *run, struct err *err)
{
    struct fields_writer saved = {0};
    int r = vdev_host_save(run->spec.vdevs, &saved, err);

    if (r == 0) {
        r = vdev_host_restore(run->spec.vdevs, saved.bytes, saved.size, err);
    }
    fields_discard(&saved);
    return r;
}

/* For tests: the guest is to notice nothing. */
static void restore_vdevs(struct run *run)
{
    struct err err = {0};
    int r;

    if (run->end.reason != REASON_none || machine_is_held(run->machine)) {
        return;
    }
    machine_pause(run->machine);
    r = vdev_host_hold(run->spec.vdevs, &err);
    r = r == 0 ? save_and_restore(run, &err) : r;
    vdev_host_release(run->spec.vdevs);
    if (r != 0) {
        run_finish(run, REASON_vmm_crash, EXIT_STATUS_VDEV, "%s", err.msg);
        return;
    }
    machine_resume(run->machine);
}

void run_on_trouble(void *context, const struct vdev_host_trouble *trouble)
{
    struct run *run = context;
    struct err why = {0};

    (void)err_sys(&why, trouble->result, "the image '%s' of vdev '%s'", trouble->path,
                  trouble->device);
    machine_request_for(run->machine, MACHINE_EVENT_TROUBLE, 0, why.msg);
}

static int pause_for(struct run *run, const char *why, struct err *err);

/* Who has no room, or a disk that fails, may be helped; then the guest has lost nothing. */
static void pause_in_trouble(struct run *run, const char *why)
{
    struct err err = {0};

    if (run->end.reason != REASON_none) {
        return;
    }
    log_warn("run: trouble why=\"%s\"", why);
    if (pause_for(run, why, &err) != 0) {
        log_warn("run: not paused why=\"%s\"", err.msg);
    }
}

void run_on_machine_event(void *context, const struct machine_event *event)
{
    struct run *run = context;

    if (run->is_dump_awaited && event->kind != MACHINE_EVENT_DUMP) {
        run->later = run->has_later ? run->later : *event; /* the first says why */
        run->has_later = true;
        return;
    }
    switch (event->kind) {
    case MACHINE_EVENT_POWEROFF:
        on_power_off(run, event->text);
        break;
    case MACHINE_EVENT_RESET:
        on_reboot(run, event->text);
        break;
    case MACHINE_EVENT_TRIPLE_FAULT:
        if (run->spec.plan->settings.on_crash == PLAN_ON_CRASH_RESET) {
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
    case MACHINE_EVENT_DUMP:
        want_dump(run);
        break;
    case MACHINE_EVENT_WATCHDOG:
        run_finish(run, REASON_watchdog, EXIT_STATUS_WATCHDOG, "%s", event->text);
        break;
    case MACHINE_EVENT_VDEV_FAILED:
        run_finish(run, REASON_vmm_crash, EXIT_STATUS_VDEV, "%s", event->text);
        break;
    case MACHINE_EVENT_EXIT:
        run_finish(run, REASON_poweroff, (int)event->value, "%s", event->text);
        break;
    case MACHINE_EVENT_RESTORE:
        restore_vdevs(run);
        break;
    case MACHINE_EVENT_TROUBLE:
        pause_in_trouble(run, event->text);
        break;
    case MACHINE_EVENT_BOARD: /* the machine's own */
        break;
    }
}

/* ---- what people ask ---- */

static void press_power(struct run *run)
{
    run_resume(run); /* who is held hears no button */
    machine_press_power(run->machine);
}

void run_press_power(struct run *run)
{
    run->reboot_until_ms = 0;
    press_power(run);
}

void run_reboot(struct run *run, uint64_t for_ms)
{
    uv_update_time(run->spec.loop);
    run->reboot_until_ms = for_ms != 0 ? uv_now(run->spec.loop) + for_ms : UINT64_MAX;
    press_power(run);
}

void run_reset(struct run *run)
{
    reset(run, "reset button");
}

int run_press(struct run *run, const char *keys, struct err *err)
{
    uint16_t codes[KEYS_MAX];
    int count = keys_parse(keys, codes, err), pressed = 0, r = 0;

    if (count < 0) {
        return count;
    }
    for (; pressed < count && r == 0; pressed += r == 0 ? 1 : 0) {
        r = vdev_host_key(run->spec.vdevs, codes[pressed], true);
    }
    for (int i = pressed; i-- > 0;) {
        (void)vdev_host_key(run->spec.vdevs, codes[i],
                            false); /* what was pressed has room for it */
    }
    if (r == -ENODEV) {
        return err_set(err, r,
                       "the guest has no keyboard, or no pointer for a button: its configuration "
                       "wants 'vdev pckeyboard' or 'vdev virtio-input'");
    }
    return r == 0 ? 0
                  : err_set(err, r, "the keyboard has no room for '%s': the guest does not read it",
                            keys);
}

int run_break(struct run *run, struct err *err)
{
    int r = vdev_host_break(run->spec.vdevs);

    if (r == -ENODEV) {
        return err_set(err, r,
                       "the guest has no serial line: its configuration wants 'vdev ser8250'");
    }
    return r == 0 ? 0 : err_set(err, r, "the guest does not listen to its serial line");
}

int run_point(struct run *run, uint16_t x, uint16_t y, struct err *err)
{
    int r = vdev_host_point(run->spec.vdevs, x, y);

    if (r == -ENODEV) {
        return err_set(err, -EOPNOTSUPP,
                       "the guest has no pointer: its configuration wants 'vdev virtio-input'");
    }
    return r == 0 ? 0
                  : err_set(err, r, "the pointer cannot be moved: the guest does not read from it");
}

bool run_resize(struct run *run, const char *port, uint16_t columns, uint16_t rows)
{
    struct vdev_host *vdevs = run->spec.vdevs;

    return (port != NULL ? vdev_host_resize_port(vdevs, port, columns, rows)
                         : vdev_host_resize(vdevs, columns, rows)) == 0;
}

int run_balloon(struct run *run, uint64_t bytes, struct err *err)
{
    int r = vdev_host_balloon(run->spec.vdevs, bytes);

    if (r == -ENODEV) {
        return err_set(err, -EOPNOTSUPP,
                       "the guest has no balloon: its configuration wants 'vdev virtio-balloon'");
    }
    if (r == -ERANGE) {
        return err_set(err, -EINVAL, "the guest has less memory than that");
    }
    return r == -EAGAIN ? 1 : r;
}

int run_resize_disk(struct run *run, const char *vdev, char *remark, size_t size, struct err *err)
{
    uint64_t before = 0, now = 0;
    int r = vdev_host_resize_disk(run->spec.vdevs, vdev, &before, &now, err);

    if (r == 0) {
        (void)snprintf(remark, size, "disk '%s' has %" PRIu64 " bytes%s", vdev, now,
                       now == before ? ", as before" : " now");
        log_info("run: %s", remark);
    }
    return r;
}

static void tell_pause(struct run *run, bool is_paused, const char *why)
{
    log_info("run: %s", is_paused ? "paused" : "resumed");
    if (run->spec.on_pause != NULL) {
        run->spec.on_pause(run->spec.context, is_paused, why);
    }
}

static int pause_for(struct run *run, const char *why, struct err *err)
{
    int r;

    if (machine_is_held(run->machine)) {
        return 0;
    }
    machine_hold(run->machine);
    r = vdev_host_hold(run->spec.vdevs, err);
    if (r != 0) {
        machine_release(run->machine);
        return r;
    }
    run->is_in_trouble = why != NULL;
    mark(run, "is paused");
    tell_pause(run, true, why);
    return 0;
}

int run_pause(struct run *run, struct err *err)
{
    return pause_for(run, NULL, err);
}

void run_resume(struct run *run)
{
    if (machine_is_held(run->machine)) {
        run->is_in_trouble = false;
        mark(run, "goes on");
        vdev_host_release(run->spec.vdevs);
        machine_release(run->machine);
        tell_pause(run, false, NULL);
    }
}

bool run_is_paused(const struct run *run)
{
    return machine_is_held(run->machine);
}

int run_dump(struct run *run, int fd, struct err *err)
{
    return machine_dump(run->machine, fd, err);
}

void run_dump_over(struct run *run)
{
    run->is_dump_awaited = false;
    if (run->has_later) {
        run->has_later = false;
        run_on_machine_event(run, &run->later);
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
            run_press_power(run);
        }
        break;
    case SIGQUIT:
        run_finish(run, REASON_killed, EXIT_STATUS_POWER_CUT, "power cut by SIGQUIT");
        break;
    case SIGCONT:
        if (run->is_in_trouble) { /* what people paused is theirs to resume */
            run_resume(run);
        }
        break;
    case SIGUSR1:
        run_state(run, log_state, NULL);
        break;
    case SIGUSR2:
        want_dump(run);
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
    if (run->reboots > 0) {
        char count[24];

        (void)snprintf(count, sizeof(count), "%" PRIu64, run->reboots);
        add(context, "machine", "resets", count);
        add(context, "machine", "last-reset", run->last_reset);
    }
    vdev_host_state(run->spec.vdevs, add, context);
}
