/* A VM under qvmd: first acts, ask and grant, then messages until the guest's end. */
#include "qvm-worker/under.h"

#include <errno.h>
#include <fcntl.h>
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
#include "proto/counters.h"
#include "proto/msg.h"
#include "proto/spawn_fds.h"
#include "qvm-worker/console/console.h"
#include "qvm-worker/control/ask.h"
#include "qvm-worker/control/control.h"
#include "qvm-worker/control/spare.h"
#include "qvm-worker/exit_status.h"
#include "qvm-worker/life.h"
#include "qvm-worker/lockdown/confine.h"
#include "qvm-worker/under_act.h"
#include "qvm-worker/under_birth.h"
#include "qvm-worker/under_cables.h"
#include "qvm-worker/under_check.h"
#include "qvm-worker/under_connect.h"
#include "qvm-worker/under_helper.h"
#include "qvm-worker/under_host.h"
#include "qvm-worker/under_shmem.h"
#include "qvm-worker/under_state.h"
#include "qvm-worker/vdev/host.h"
#include "qvm-worker/vm/vm_ahead.h"

#define LISTEN_BACKLOG 4
#define STATS_AT       3  /* descriptors of a hello before KVM's statistics */
#define STATS_MAX      29 /* of these */
_Static_assert(STATS_AT + STATS_MAX + 2 * PLAN_CABLES_MAX <= CONTROL_FDS_MAX, "a hello");
#define CONNECT_MS 10000 /* until qvmd's first hello */

struct under {
    struct life life;
    struct msg_spawn spawn;
    struct control *control;
    uv_timer_t deadline;
    struct ask ask;
    struct under_cables cables;
    struct under_acts acts;
    struct counters *counters; /* shared with qvmd */
    int counters_fd;
    bool has_asked, is_running;
    bool has_log_end;     /* an earlier qvmd gave a file instead */
    char last_reset[256]; /* of the hello */
};

/* Before the guest runs, every failure ends the process. */
static void fail(struct under *under, enum guest_reason reason, int status, const char *message)
{
    log_line(LOG_fatal, "%s", message);
    life_set_end(&under->life, reason, status, message);
    uv_stop(under->life.loop);
}

/* KVM's statistics, as long as there is a VM. */
static size_t add_stats_fds(const struct under *under, int fds[CONTROL_FDS_MAX], size_t count)
{
    return count + run_stats_fds(under->life.run, fds + count, STATS_MAX);
}

/* The order of the descriptors is fixed: the console's ring, counters, the log's
 * end (none: something else), KVM's statistics, cables to other guests. */
static size_t on_greet(void *context, struct msg_hello *hello, int fds[CONTROL_FDS_MAX])
{
    struct under *under = context;
    size_t count;

    hello->is_running = under->is_running;
    hello->reboots = under->is_running ? (int64_t)run_reboots(under->life.run) : 0;
    if (hello->reboots > 0) {
        (void)snprintf(under->last_reset, sizeof(under->last_reset), "%s",
                       run_last_reset(under->life.run));
        hello->last_reset = under->last_reset;
    }
    hello->shmem = under_count_shared(under->life.vdevs);
    hello->is_paused = under->is_running && run_is_paused(under->life.run);
    fds[0] = console_ring_fd(under->life.console);
    fds[1] = under->counters_fd;
    fds[2] = under->has_log_end ? SPAWN_FD_LOG_END : SPAWN_FD_NULL;
    count = under->is_running ? add_stats_fds(under, fds, STATS_AT) : STATS_AT;
    return under->is_running ? count + under_cables_tell(&under->cables, hello, fds + count)
                             : count;
}

static void on_reset(void *context, uint64_t reboots, const char *cause)
{
    struct under *under = context;
    char text[256];
    struct msg_reset reset = {.reboots = (int64_t)reboots, .cause = text};

    (void)snprintf(text, sizeof(text), "%s", cause);
    (void)control_send(under->control, CONTROL_reset, &reset); /* nobody there: hello tells later */
    under_acts_on_reset(&under->acts, under->control);
}

static void on_pause(void *context, bool is_paused, const char *why)
{
    const struct under *under = context;
    char text[MACHINE_TEXT_SIZE];
    struct msg_paused paused = {0};

    if (why != NULL) {
        (void)snprintf(text, sizeof(text), "%s", why);
        paused.why = text;
    }
    /* nobody there: hello tells later */
    (void)control_send(under->control, is_paused ? CONTROL_paused : CONTROL_resumed,
                       is_paused ? &paused : NULL);
}

/* qvmd opens the file, if there is a qvmd, and sends it. */
static bool on_want_dump(void *context)
{
    const struct under *under = context;
    int r = control_send(under->control, CONTROL_dump_wanted, NULL);

    if (r != 0) {
        log_warn("run: dump refused why=\"there is no qvmd that could open its file\"");
    }
    return r == 0;
}

static int on_wish_shmem(void *context, int64_t serial, const char *name, uint64_t bytes,
                         uint64_t most)
{
    const struct under *under = context;

    return under_wish_shared(under->control, serial, name, bytes, most);
}

static void on_leave_shmem(void *context, const char *name)
{
    const struct under *under = context;

    under_leave_shared(under->control, name);
}

static int on_wish_connection(void *context, int64_t serial, const char *path, uint32_t port)
{
    const struct under *under = context;

    return under_wish_connection(under->control, serial, path, port);
}

static int on_wish_helper(void *context, const char *device)
{
    const struct under *under = context;

    return under_wish_helper(under->control, &under->life.plan, device);
}

static struct run_spec make_spec(struct under *under)
{
    return (struct run_spec){.counters = under->counters,
                             .on_reset = on_reset,
                             .on_pause = on_pause,
                             .want_dump = on_want_dump,
                             .wish_shmem = on_wish_shmem,
                             .leave_shmem = on_leave_shmem,
                             .wish_connection = on_wish_connection,
                             .wish_helper = on_wish_helper,
                             .context = under};
}

/* Ask, and while qvmd looks for what we ask for, build what takes nothing of it. */
static int ask(struct under *under, struct err *err)
{
    const struct run_spec spec = make_spec(under);
    int r = 0;

    under->has_asked = true;
    if (under_is_placed(&under->life.plan, under->spawn.places_vcpus)) {
        r = life_prepare(&under->life, &spec, err);
        if (r == 0 && under->life.run != NULL) {
            r = run_await(under->life.run, err);
        }
        return r == 0 ? ask_send(under->control, &under->life.plan, err) : r;
    }
    r = ask_send(under->control, &under->life.plan, err);
    return r == 0 ? life_prepare(&under->life, &spec, err) : r;
}

static void on_up(void *context)
{
    struct under *under = context;
    struct err err = {0};

    if (under->is_running) {
        log_info("control: qvmd connected");
        under_tell_shared(under->control, under->life.vdevs);
        vdev_host_wish_helpers(under->life.vdevs);
        return;
    }
    (void)uv_timer_stop(&under->deadline); /* cannot fail */
    if (under->has_asked) {
        fail(under, REASON_vmm_crash, EXIT_STATUS_BEFORE, "qvmd was replaced while we started");
        return;
    }
    if (ask(under, &err) != 0) {
        fail(under, REASON_vmm_crash, EXIT_STATUS_BEFORE, err.msg);
    }
}

static void on_lost(void *context, const char *why)
{
    struct under *under = context;

    if (under->is_running) {
        log_info("control: qvmd is gone why=\"%s\"", why);
        run_dump_over(under->life.run); /* it would have opened the file */
        under_lose_connection(under->life.vdevs);
    } else {
        fail(under, REASON_vmm_crash, EXIT_STATUS_BEFORE,
             "qvmd is gone, and the guest did not run");
    }
}

static void start(struct under *under)
{
    const struct run_spec spec = make_spec(under);
    struct err err = {0};
    int fds[CONTROL_FDS_MAX];

    (void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0); /* from here on it outlives qvmd: spawn_fds.h */
    if (life_run(&under->life, &spec, under->ask.fds, &err) != 0) {
        log_line(LOG_fatal, "%s", err.msg);
        uv_stop(under->life.loop);
        return;
    }
    under->is_running = true;
    /* lost: on_lost has told */
    (void)control_send_fds(under->control, CONTROL_running, NULL, fds,
                           add_stats_fds(under, fds, 0));
}

static void on_grant(struct under *under, const struct msg_grant *grant, int *fds, size_t fd_count)
{
    struct err err = {0};
    int r = under->is_running ? err_set(&err, -EPROTO, "a grant came unasked")
                              : ask_take(&under->ask, grant, fds, fd_count, &err);

    if (r == 1) {
        r = under_cables_take(&under->cables, &under->life.plan, under->ask.fds, &err);
        r = r == 0 ? 1 : r;
    }
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

static void press_power(struct under *under)
{
    if (under->is_running) {
        run_press_power(under->life.run);
    } else {
        end_now(under); /* there is nobody yet who could shut down */
    }
}

static void take_shared(const struct under *under, const struct msg_shmem_given *given, int *fds,
                        size_t fd_count)
{
    if (under->is_running) {
        under_take_shared(under->control, under->life.vdevs, given, fds, fd_count);
    }
}

static void on_message(void *context, enum msg_control control, const void *body, int *fds,
                       size_t fd_count)
{
    struct under *under = context;

    switch (control) {
    case CONTROL_grant:
        on_grant(under, body, fds, fd_count);
        break;
    case CONTROL_deny:
        on_deny(under, body);
        break;
    case CONTROL_power_button:
        press_power(under);
        break;
    case CONTROL_end:
        end_now(under);
        break;
    case CONTROL_attach:
        under_attach(&under->life, body, fds, fd_count);
        break;
    case CONTROL_input:
        under_type(under->life.console, body);
        break;
    case CONTROL_query:
        under_send_state(under->control, under->is_running ? under->life.run : NULL, body);
        break;
    case CONTROL_pause:
    case CONTROL_resume:
    case CONTROL_reset_button:
    case CONTROL_reboot:
    case CONTROL_sendkey:
    case CONTROL_sendbreak:
    case CONTROL_point:
    case CONTROL_console_size:
    case CONTROL_balloon:
    case CONTROL_resize:
        under_act(&under->acts, under->control, under->is_running ? under->life.run : NULL, control,
                  body);
        break;
    case CONTROL_dump:
        under_dump(&under->acts, under->control, under->is_running ? under->life.run : NULL, body,
                   fd_count > 0 ? fds[0] : -1);
        break;
    case CONTROL_shmem_given:
        take_shared(under, body, fds, fd_count);
        break;
    case CONTROL_link:
        under_hear_link(under->life.vdevs, body);
        break;
    case CONTROL_connected:
        under_take_connection(under->life.vdevs, body, fds, fd_count);
        break;
    case CONTROL_helper_given:
        under_take_helper(under->life.vdevs, &under->life.plan, body, fds, fd_count);
        break;
    case CONTROL_shmem_changed:
        under_hear_shared(under->life.vdevs, body);
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

    r = r == 0 ? under_host(&under->spawn, life, err) : r;
    r = r == 0 ? life_plan(life, err) : r;
    if (r == 0 && (life->plan.wants_settings || life->plan.is_dryrun)) {
        r = err_set(err, -ENOEXEC, "'dryrun' and 'set ?' are for qvm on the command line");
    }
    if (r == 0 && strcmp(life->plan.name, under->spawn.name) != 0) {
        r = err_set(err, -ENOEXEC, "%s: the configuration is of VM '%s', not '%s'",
                    life->plan.where, life->plan.name, under->spawn.name);
    }
    r = r == 0 ? under_check(&life->plan, err) : r;
    if (under->spawn.ends_on_reboot) {
        life->plan.settings.on_reboot = PLAN_ON_REBOOT_EXIT;
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
    int r = under_read_spawn(&under->spawn, err);

    r = r == 0 ? life_begin(&under->life, SPAWN_FD_VDEVS, err) : r;
    if (r == 0 && under->has_log_end) {
        console_set_bell(under->life.console, SPAWN_FD_LOG);
    }
    if (r == 0 && under->spawn.definition == NULL) {
        r = err_set(err, -EINVAL, "qvmd sent no definition");
    }
    r = r == 0 ? make_plan(under, err) : r;
    (void)close(SPAWN_FD_VDEVS); /* the modules are loaded */
    r = r == 0 ? confine_from_host(err) : r;
    if (r == 0) {
        r = counters_create(under->life.plan.cpu_count, &under->counters_fd, &under->counters, err);
    }
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
    bool has_kvm = fcntl(SPAWN_FD_KVM, F_GETFD) >= 0; /* nothing else is open yet */

    spare_hide();
    under.has_log_end = under_find_log_end();
    if (listen(SPAWN_FD_CONTROL, LISTEN_BACKLOG) != 0) {
        log_line(LOG_fatal,
                 "cannot listen on the control socket of '%s': was this started by qvmd?", name);
        return EXIT_STATUS_BEFORE;
    }
    (void)close(SPAWN_FD_READY); /* qvmd may connect */
    exit_record_prepare(SPAWN_FD_EXIT);
    under.life.ahead = has_kvm ? vm_ahead_start(SPAWN_FD_KVM) : NULL;
    if (prepare(&under, &err) == 0) {
        (void)uv_run(under.life.loop, UV_RUN_DEFAULT);
    }
    return finish(&under);
}
