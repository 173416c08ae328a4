/* A VM under qvmd: first acts, ask and grant, then messages until the guest's end. */
#include "qvm-worker/under.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "proto/msg.h"
#include "proto/spawn_fds.h"
#include "qvm-worker/ask.h"
#include "qvm-worker/console.h"
#include "qvm-worker/control.h"
#include "qvm-worker/exit_status.h"
#include "qvm-worker/life.h"
#include "qvm-worker/under_state.h"

#define LISTEN_BACKLOG 4
#define CONNECT_MS     10000       /* until qvmd's first hello */
#define SPAWN_SIZE_MAX (32u << 20) /* 16 sources of 256 KiB, escaped, fit */

struct under {
    struct life life;
    struct msg_spawn spawn;
    struct control *control;
    uv_timer_t deadline;
    struct ask ask;
    bool has_asked, is_running;
};

/* Before the guest runs, every failure ends the process. */
static void fail(struct under *under, enum guest_reason reason, int status, const char *message)
{
    log_line(LOG_fatal, "%s", message);
    life_set_end(&under->life, reason, status, message);
    uv_stop(under->life.loop);
}

static int read_spawn(struct msg_spawn *spawn, struct err *err)
{
    auto_free char *text = NULL;
    struct stat stat;
    size_t size;

    if (fstat(SPAWN_FD_START, &stat) != 0) {
        return err_sys(err, -errno, "cannot read what qvmd wants");
    }
    if (stat.st_size <= 0 || stat.st_size > SPAWN_SIZE_MAX) {
        return err_set(err, -EINVAL, "what qvmd wants has %lld bytes", (long long)stat.st_size);
    }
    size = (size_t)stat.st_size;
    text = malloc(size);
    if (text == NULL || pread(SPAWN_FD_START, text, size, 0) != (ssize_t)size) {
        return err_set(err, -EIO, "cannot read what qvmd wants");
    }
    (void)close(SPAWN_FD_START); /* only read */
    return msg_decode(MSG_spawn, text, size, false, spawn, err);
}

static int on_greet(void *context, struct msg_hello *hello)
{
    struct under *under = context;

    hello->is_running = under->is_running;
    hello->reboots = under->is_running ? (int64_t)run_reboots(under->life.run) : 0;
    return console_ring_fd(under->life.console);
}

static void on_up(void *context)
{
    struct under *under = context;
    struct err err = {0};

    if (under->is_running) {
        log_info("control: qvmd connected");
        return;
    }
    (void)uv_timer_stop(&under->deadline); /* cannot fail */
    if (under->has_asked) {
        fail(under, REASON_vmm_crash, EXIT_STATUS_BEFORE, "qvmd was replaced while we started");
        return;
    }
    under->has_asked = true;
    if (ask_send(under->control, &under->life.plan, &err) != 0) {
        fail(under, REASON_vmm_crash, EXIT_STATUS_BEFORE, err.msg);
    }
}

static void on_lost(void *context, const char *why)
{
    struct under *under = context;

    if (under->is_running) {
        log_info("control: qvmd is gone why=\"%s\"", why);
    } else {
        fail(under, REASON_vmm_crash, EXIT_STATUS_BEFORE,
             "qvmd is gone, and the guest did not run");
    }
}

static void on_reset(void *context, uint64_t reboots, const char *cause)
{
    struct under *under = context;
    char text[256];
    struct msg_reset reset = {.reboots = (int64_t)reboots, .cause = text};

    (void)snprintf(text, sizeof(text), "%s", cause);
    (void)control_send(under->control, CONTROL_reset, &reset); /* nobody there: hello tells later */
}

static void start(struct under *under)
{
    struct run_spec spec = {.fds = under->ask.fds, .on_reset = on_reset, .context = under};
    struct err err = {0};

    (void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0); /* from here on it outlives qvmd: spawn_fds.h */
    if (life_run(&under->life, &spec, &err) != 0) {
        log_line(LOG_fatal, "%s", err.msg);
        uv_stop(under->life.loop);
        return;
    }
    under->is_running = true;
    (void)control_send(under->control, CONTROL_running, NULL); /* lost: on_lost has told */
}

static void on_grant(struct under *under, const struct msg_grant *grant, int *fds, size_t fd_count)
{
    struct err err = {0};
    int r = under->is_running ? err_set(&err, -EPROTO, "a grant came unasked")
                              : ask_take(&under->ask, grant, fds, fd_count, &err);

    if (r == 1) {
        start(under);
    } else if (r < 0 && under->is_running) {
        log_warn("control: packet ignored why=\"%s\"", err.msg);
    } else if (r < 0) {
        fail(under, REASON_vmm_crash, EXIT_STATUS_BEFORE, err.msg);
    }
}

static void on_deny(struct under *under, const struct msg_deny *deny)
{
    char message[EXIT_RECORD_MESSAGE_SIZE];
    uint32_t item = (uint32_t)deny->item;

    if (under->is_running || item >= under->life.plan.need_count) {
        return;
    }
    (void)snprintf(message, sizeof(message), "%.255s: %.700s", under->life.plan.needs[item].where,
                   deny->message);
    fail(under, REASON_denied, EXIT_STATUS_BEFORE, message);
}

static void on_attach(struct under *under, const struct msg_attach *attach, int *fds,
                      size_t fd_count)
{
    struct err err = {0};
    unsigned flags = attach->read_only ? (unsigned)CONSOLE_READ_ONLY : 0;
    uint64_t from = attach->no_scrollback ? CONSOLE_FROM_NOW : CONSOLE_FROM_OLDEST;

    if (fd_count != 1) {
        log_warn("control: packet ignored why=\"attach comes with one descriptor\"");
        return;
    }
    if (console_attach(under->life.console, fds[0], flags, from, &err) != 0) {
        log_warn("console: session refused why=\"%s\"", err.msg);
        return;
    }
    fds[0] = -1;
}

static void end_now(struct under *under)
{
    static const char why[] = "ended by qvmd";

    if (under->is_running) {
        run_finish(under->life.run, REASON_killed, EXIT_STATUS_POWER_CUT, why);
    } else {
        life_set_end(&under->life, REASON_killed, EXIT_STATUS_POWER_CUT, why);
        uv_stop(under->life.loop);
    }
}

static void on_message(void *context, enum msg_control control, const void *body, int *fds,
                       size_t fd_count)
{
    struct under *under = context;
    const struct msg_input *input;

    switch (control) {
    case CONTROL_grant:
        on_grant(under, body, fds, fd_count);
        break;
    case CONTROL_deny:
        on_deny(under, body);
        break;
    case CONTROL_power_button:
        if (under->is_running) {
            run_press_power(under->life.run);
        } else {
            end_now(under); /* there is nobody yet who could shut down */
        }
        break;
    case CONTROL_end:
        end_now(under);
        break;
    case CONTROL_attach:
        on_attach(under, body, fds, fd_count);
        break;
    case CONTROL_input:
        input = body;
        (void)console_type(under->life.console, input->data, input->data_size);
        break;
    case CONTROL_query:
        under_send_state(under->control, under->is_running ? under->life.run : NULL, body);
        break;
    default:
        break; /* a second hello, and what only we send (refused by the parser) */
    }
}

static void on_deadline(uv_timer_t *timer)
{
    fail(timer->data, REASON_vmm_crash, EXIT_STATUS_BEFORE, "qvmd did not connect in time");
}

/* The plan of what qvmd sent; failures are the configuration's. */
static int make_plan(struct under *under, struct err *err)
{
    struct life *life = &under->life;
    int r = sources_from_definition(&life->sources, under->spawn.definition, err);

    r = r == 0 ? life_plan(life, err) : r;
    if (r == 0 && (life->plan.wants_settings || life->plan.is_dryrun)) {
        r = err_set(err, -ENOEXEC, "'dryrun' and 'set ?' are for qvm on the command line");
    }
    if (r == 0 && strcmp(life->plan.name, under->spawn.name) != 0) {
        r = err_set(err, -ENOEXEC, "%s: the configuration is of VM '%s', not '%s'",
                    life->plan.where, life->plan.name, under->spawn.name);
    }
    if (r != 0) {
        log_line(LOG_fatal, "%s", err->msg);
        life_set_end(life, REASON_config_error, EXIT_STATUS_CONFIG, err->msg);
    }
    return r;
}

static int meet_daemon(struct under *under, struct err *err)
{
    static const struct control_events events = {on_greet, on_up, on_message, on_lost};
    struct control_identity identity = {.nonce = under->spawn.nonce,
                                        .instance = under->spawn.instance,
                                        .daemon_uid = (uid_t)under->spawn.daemon_uid};
    int r = control_create(under->life.loop, SPAWN_FD_CONTROL, &identity, &events, under,
                           &under->control, err);

    if (r != 0) {
        return r;
    }
    (void)uv_timer_init(under->life.loop, &under->deadline); /* cannot fail */
    under->deadline.data = under;
    return uv_timer_start(&under->deadline, on_deadline, CONNECT_MS, 0);
}

static int prepare(struct under *under, struct err *err)
{
    int r = read_spawn(&under->spawn, err);

    r = r == 0 ? life_begin(&under->life, SPAWN_FD_VDEVS, err) : r;
    if (r == 0 && under->spawn.definition == NULL) {
        r = err_set(err, -EINVAL, "qvmd sent no definition");
    }
    r = r == 0 ? make_plan(under, err) : r;
    (void)close(SPAWN_FD_VDEVS); /* the modules are loaded */
    if (r == 0) {
        ask_init(&under->ask, &under->life.plan);
        r = meet_daemon(under, err);
    }
    if (r != 0) {
        life_set_end(&under->life, REASON_vmm_crash, EXIT_STATUS_BEFORE, err->msg);
    }
    return r;
}

/* Everybody hears how it ended: the exit record first, since it outlives us. */
static int finish(struct under *under)
{
    struct exit_record end;
    struct msg_ending ending = {0};

    life_quiesce(&under->life);
    life_set_end(&under->life, REASON_unknown, EXIT_STATUS_BEFORE, "");
    end = *life_end(&under->life);
    (void)exit_record_write(SPAWN_FD_EXIT, &end); /* qvmd then goes by the status alone */
    log_info("run: ended reason=%s status=%d message=\"%s\"",
             words_name(&words_reason, (int)end.reason), end.status, end.message);
    if (under->control != NULL) {
        ending.reason = (int)end.reason;
        ending.status = end.status;
        ending.message = end.message;
        (void)control_send(under->control, CONTROL_ending, &ending); /* nobody: the record is */
    }
    if (under->control != NULL) {
        uv_close((uv_handle_t *)&under->deadline, NULL);
    }
    control_destroy(under->control);
    if (under->has_asked) {
        ask_fini(&under->ask);
    }
    life_fini(&under->life);
    msg_fini(MSG_spawn, &under->spawn);
    return end.status;
}

int under_main(const char *name)
{
    static struct under under;
    struct err err = {0};

    (void)prctl(PR_SET_DUMPABLE, 0); /* fails for wrong values alone */
    if (listen(SPAWN_FD_CONTROL, LISTEN_BACKLOG) != 0) {
        log_line(LOG_fatal,
                 "cannot listen on the control socket of '%s': was this started by qvmd?", name);
        return EXIT_STATUS_BEFORE;
    }
    (void)close(SPAWN_FD_READY); /* qvmd may connect */
    if (prepare(&under, &err) == 0) {
        (void)uv_run(under.life.loop, UV_RUN_DEFAULT);
    }
    return finish(&under);
}
