/* From `start` to `running`: the process is made, it comes up, it asks, it runs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/guest_inside.h"
#include "daemon/instance_dir.h"
#include "daemon/spawn.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"

#define NONCE_BYTES       32
#define RESET_TELL_GAP_MS 100 /* resets that follow each other faster are counted, not told */

static int make_nonce(char nonce[STORE_NONCE_SIZE], struct err *err)
{
    uint8_t bytes[NONCE_BYTES];

    if (getrandom(bytes, sizeof(bytes), GRND_NONBLOCK) != (ssize_t)sizeof(bytes)) {
        return err_set(err, -EIO, "the kernel has no random numbers yet");
    }
    for (size_t i = 0; i < sizeof(bytes); i++) {
        (void)snprintf(nonce + 2 * i, 3, "%02x", bytes[i]);
    }
    return 0;
}

/* Write down who it is, at once: from here on no process is lost, whatever becomes of us. */
static int remember_process(struct guest *guest, pid_t pid, struct err *err)
{
    struct process_id id;
    int r = process_identify(pid, &id, err);

    if (r == 0) {
        r = store_instance_set_process(guest->all->env.store, guest->instance.id, pid,
                                       id.start_ticks, err);
    }
    if (r == 0) {
        guest->instance.start_ticks = id.start_ticks;
    }
    return r;
}

/* The program and the vdevs, as they are now. */
static int open_programs(const struct guests_env *env, int *qvm_fd, int *vdev_fd, struct err *err)
{
    *qvm_fd = open(env->qvm_path, O_PATH | O_CLOEXEC);
    if (*qvm_fd < 0) {
        return err_sys(err, -EOPNOTSUPP, "the program '%s' is missing", env->qvm_path);
    }
    *vdev_fd = open(env->vdev_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*vdev_fd < 0) {
        return err_sys(err, -EOPNOTSUPP, "the directory of vdevs '%s' is missing", env->vdev_dir);
    }
    return 0;
}

static int spawn(struct guest *guest, int qvm_fd, int vdev_fd, struct spawned *spawned,
                 struct err *err)
{
    const struct guests_env *env = &guest->all->env;
    struct msg_definition definition = {0};
    auto_close int log_fd = -1;
    int r = msg_decode(MSG_definition, guest->definition, strlen(guest->definition), false,
                       &definition, err);

    if (r == 0) {
        r = instance_dir_make(env->run_fd, guest->name, guest->instance.id, &guest->dir_fd, err);
    }
    if (r == 0) {
        r = instance_log_begin(env->log_fd, guest->name, &log_fd, err);
    }
    if (r == 0) {
        r = spawn_qvm(&(struct spawn_request){.guest = guest->name,
                                              .instance = guest->instance.id,
                                              .nonce = guest->instance.nonce,
                                              .definition = &definition,
                                              .uid = guest->instance.uid,
                                              .dir_fd = guest->dir_fd,
                                              .log_fd = log_fd,
                                              .qvm_fd = qvm_fd,
                                              .vdev_fd = vdev_fd},
                      spawned, err);
    }
    msg_fini(MSG_definition, &definition);
    return r;
}

static void on_build_late(uv_timer_t *timer)
{
    struct guest *guest = timer->data;
    struct err why = {0};

    (void)err_set(&why, -ECHILD, "its qvm did not say in time what it needs");
    guest_doom(guest, REASON_vmm_crash, &why);
}

/* Process and worker of an instance that stands in the store. */
static int launch(struct guest *guest, int qvm_fd, int vdev_fd, struct err *err)
{
    struct spawned spawned = {.pidfd = -1, .ready_fd = -1};
    struct worker_identity identity = {.instance = guest->instance.id,
                                       .nonce = guest->instance.nonce};
    int r = spawn(guest, qvm_fd, vdev_fd, &spawned, err);

    if (r < 0) {
        return r;
    }
    guest->instance.pid = identity.pid = spawned.pid;
    r = worker_create(guest->all->env.loop, &identity, spawned.pidfd, spawned.ready_fd,
                      guest->dir_fd, &guest_worker_hooks, guest, &guest->worker, err);
    if (r < 0) {
        (void)process_signal(spawned.pidfd, SIGKILL, NULL); /* it may have ended already */
        cleanup_close(&spawned.pidfd);
        cleanup_close(&spawned.ready_fd);
        return r;
    }
    guest_deadline(guest, GUEST_BUILD_MS, on_build_late);
    if (remember_process(guest, spawned.pid, err) < 0) {
        guest_doom(guest, REASON_denied, err);
    }
    return 0;
}

/* After the store was lost, a process of an earlier life may still be there. */
static int check_strays(const struct guest *guest, struct err *err)
{
    pid_t pid = 0;

    if (guest->all->has_strays &&
        instance_dir_find_alive(guest->all->env.run_fd, guest->name, &pid)) {
        return err_set(err, -EBUSY,
                       "a qvm of guest '%s' lives of which the store knows nothing (pid %d); end "
                       "it first",
                       guest->name, pid);
    }
    return 0;
}

static int begin(struct guest *guest, const struct guest_caller *caller, struct err *err)
{
    auto_close int qvm_fd = -1, vdev_fd = -1;
    struct err why = {0};
    int r = guests_need_store(guest->all, err);

    if (r == 0) {
        r = check_strays(guest, err);
    }
    if (r == 0) {
        r = open_programs(&guest->all->env, &qvm_fd, &vdev_fd, err);
    }
    if (r == 0) {
        r = make_nonce(guest->instance.nonce, err);
    }
    if (r == 0) {
        r = guest_life(guest, &(struct life_step){.event = EVENT_start, .uid = caller->uid}, err);
    }
    if (r < 0) {
        return r;
    }
    guest->doom.code = 0;
    guest->is_shot = guest->was_granted = false;
    guest->vcpus = guest->memory = 0;
    if (launch(guest, qvm_fd, vdev_fd, &why) < 0) {
        log_error("guest: cannot make its process guest=%s why=\"%s\"", guest->name, why.msg);
        guest->doom = why;
        guest->doom_reason = REASON_vmm_crash;
        guest_bury(guest, NULL);
    }
    return 0;
}

void guest_start(struct guest *guest, const struct guest_caller *caller, int64_t timeout_ms,
                 guest_done_fn done, void *data)
{
    struct err err = {0};
    int r = 0;

    switch (guest->state) {
    case STATE_running:
    case STATE_paused:
        done(data, guest, "it was running already", NULL);
        return;
    case STATE_starting:
        break;
    case STATE_defined:
    case STATE_stopped:
    case STATE_failed:
    case STATE_backoff:
        r = begin(guest, caller, &err);
        break;
    case STATE_stopping:
    case STATE_unreachable:
    case STATE_stuck:
    case STATE_COUNT:
        r = err_set(&err, -EALREADY, "guest '%s' is %s (pid %d)", guest->name,
                    words_name(&words_state, (int)guest->state), guest->instance.pid);
        break;
    }
    if (r < 0) {
        done(data, guest, NULL, &err);
        return;
    }
    guest_wait_for(guest,
                   &(struct waiter_spec){
                       .kind = WAIT_UP, .timeout_ms = timeout_ms, .done = done, .data = data});
}

/* ---- what its qvm says ---- */

static void life_event(struct guest *guest, enum guest_event event)
{
    struct err err = {0};

    if (guest_life(guest, &(struct life_step){.event = event}, &err) < 0) {
        log_debug("guest: no move guest=%s why=\"%s\"", guest->name, err.msg);
    }
}

static void on_up(void *context, const struct msg_hello *hello, int *ring_fd)
{
    struct guest *guest = context;
    bool is_known = guest->state != STATE_starting;

    guest_take_ring(guest, *ring_fd);
    if (hello->reboots > guest->instance.reboots) {
        guest->instance.reboots = hello->reboots;
    }
    if (guest->state == STATE_stopping || guest->state == STATE_stuck) {
        struct msg_none none;

        /* It was asked before, perhaps by an earlier qvmd; the guest may not have heard it. */
        memset(&none, 0, sizeof(none));
        (void)worker_send(guest->worker, CONTROL_power_button, &none, NULL, 0, NULL);
        return;
    }
    guest_no_deadline(guest);
    if (!is_known && !hello->is_running) {
        guest_deadline(guest, GUEST_BUILD_MS, on_build_late);
        return;
    }
    if (guest->state == STATE_starting) {
        guest->was_granted = true;
        life_event(guest, EVENT_up);
    } else if (guest->state == STATE_unreachable) {
        life_event(guest, EVENT_find);
    }
    guest_tell(guest, "adopted", NULL, 0);
}

static void on_reset(struct guest *guest, const struct msg_reset *reset)
{
    struct store_instance *now = &guest->instance;
    uint64_t now_ms = uv_now(guest->all->env.loop);

    if (reset->reboots <= now->reboots) {
        return;
    }
    now->reboots = reset->reboots;
    if (now_ms - guest->last_reset_ms < RESET_TELL_GAP_MS) {
        return;
    }
    guest->last_reset_ms = now_ms;
    /* a number for people: if it cannot be written, the next one is */
    (void)store_instance_set_reboots(guest->all->env.store, now->id, now->reboots, NULL);
    guest_tell(guest, "reboot", reset->cause, 0);
}

static void on_packet(void *context, enum msg_control control, const void *body)
{
    struct guest *guest = context;

    switch (control) {
    case CONTROL_ask:
        guest_on_ask(guest, body);
        break;
    case CONTROL_running:
        if (guest->was_granted && guest->state == STATE_starting) {
            guest_no_deadline(guest);
            life_event(guest, EVENT_up);
        }
        break;
    case CONTROL_reset:
        on_reset(guest, body);
        break;
    case CONTROL_state:
        guest_on_state(guest, body);
        break;
    case CONTROL_ending: /* its exit record says the same */
    default:
        break;
    }
}

static void on_silent(uv_timer_t *timer)
{
    struct guest *guest = timer->data;
    struct err why = {0};

    if (guest->state == STATE_starting) {
        (void)err_set(&why, -ECHILD, "its qvm broke the connection off before the guest ran");
        guest_doom(guest, REASON_vmm_crash, &why);
    } else {
        life_event(guest, EVENT_lose);
        worker_connect(guest->worker);
    }
}

static void on_down(void *context, const char *why)
{
    struct guest *guest = context;

    log_info("guest: no connection guest=%s why=\"%s\"", guest->name, why);
    guest_queries_fail(guest);
    if (guest->state != STATE_starting && guest->state != STATE_running &&
        guest->state != STATE_paused) {
        return;
    }
    if (guest->state != STATE_starting && worker_is_connected(guest->worker)) {
        life_event(guest, EVENT_lose); /* it lives and does not answer */
        return;
    }
    /* Most probably it is just ending; its pidfd will say so. */
    guest_deadline(guest, WORKER_HELLO_MS, on_silent);
}

const struct worker_hooks guest_worker_hooks = {
    .on_up = on_up, .on_packet = on_packet, .on_down = on_down, .on_ended = guest_on_ended};
