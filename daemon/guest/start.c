/* From `start` on: the process is made; what it says then: hear.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/cgroup/cgroup.h"
#include "daemon/guest/exit_watch.h"
#include "daemon/guest/inside.h"
#include "daemon/host/kvm.h"
#include "daemon/worker/feed.h"
#include "daemon/worker/instance_dir.h"
#include "daemon/worker/spare.h"
#include "daemon/worker/spawn.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"

#define NONCE_BYTES 32

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
        return err_set(err, -EOPNOTSUPP,
                       "the program '%s' cannot be opened: %s; qvmd's option 'qvm' or --worker "
                       "names another",
                       env->qvm_path, strerror(errno));
    }
    *vdev_fd = open(env->vdev_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*vdev_fd < 0) {
        return err_set(err, -EOPNOTSUPP,
                       "the directory of vdevs '%s' cannot be opened: %s; qvmd's option "
                       "'vdev-dir' or --vdevs names another",
                       env->vdev_dir, strerror(errno));
    }
    return 0;
}

static int spawn(struct guest *guest, int qvm_fd, int vdev_fd, struct spares *spares,
                 struct spawned *spawned, struct err *err)
{
    const struct guests_env *env = &guest->all->env;
    struct msg_definition definition = {0};
    auto_close int log_fd = -1, kvm_fd = -1;
    int log_end_fd = -1;
    int r = msg_decode(MSG_definition, guest->definition, strlen(guest->definition), false,
                       &definition, err);

    if (r == 0) {
        r = instance_dir_make(env->run_fd, guest->name, guest->instance.id, &guest->dir_fd, err);
    }
    if (r == 0) {
        r = guest_cgroup_make(guest, err);
    }
    if (r == 0) {
        guest->is_wary = false;
        r = guest_logs_begin(guest, &log_fd, &log_end_fd, err);
    }
    if (r == 0) {
        (void)kvm_open(KVM_DEVICE, &kvm_fd, NULL); /* the grant opens it again, and says why not */
        r = spawn_qvm(&(struct spawn_request){.guest = guest->name,
                                              .instance = guest->instance.id,
                                              .nonce = guest->instance.nonce,
                                              .definition = &definition,
                                              .partitions = guest->all->env.partitions,
                                              .ends_on_reboot = guest->settings.on_reboot ==
                                                                (int)ON_REBOOT_restart,
                                              .uid = guest->instance.uid,
                                              .dir_fd = guest->dir_fd,
                                              .log_fd = log_fd,
                                              .cgroup_fd = guest->cgroup_fd,
                                              .log_end_fd = log_end_fd,
                                              .qvm_fd = qvm_fd,
                                              .vdev_fd = vdev_fd,
                                              .kvm_fd = kvm_fd,
                                              .spares = spares},
                      spawned, err);
    }
    if (r == 0) {
        exit_watch_add(guest->all->exit_watch, guest->dir_fd);
    }
    msg_fini(MSG_definition, &definition);
    return r;
}

static void on_build_late(uv_timer_t *timer)
{
    struct guest *guest = timer->data;
    struct err why = {0};

    (void)err_set(&why, -ECHILD, "its qvm did not say in time what it needs%s%s",
                  guest->down_why[0] != '\0' ? ": " : "", guest->down_why);
    guest_doom(guest, REASON_vmm_crash, &why);
}

void guest_await_ask(struct guest *guest)
{
    guest_deadline(guest, GUEST_BUILD_MS, on_build_late);
}

/* Process and worker of an instance that stands in the store. */
static int launch(struct guest *guest, int qvm_fd, int vdev_fd, struct spares *spares,
                  struct err *err)
{
    struct spawned spawned = {.pidfd = -1, .ready_fd = -1};
    struct worker_identity identity = {.instance = guest->instance.id,
                                       .nonce = guest->instance.nonce};
    int r = spawn(guest, qvm_fd, vdev_fd, spares, &spawned, err);

    if (r < 0) {
        return r;
    }
    guest->instance.pid = identity.pid = spawned.pid;
    guest->is_of_spare = spawned.is_spare;
    r = worker_create(guest->all->env.loop, &identity, spawned.pidfd, spawned.ready_fd,
                      guest->dir_fd, &guest_worker_hooks, guest, &guest->worker, err);
    if (r < 0) {
        (void)process_signal(spawned.pidfd, SIGKILL, NULL); /* it may have ended already */
        cleanup_close(&spawned.pidfd);
        cleanup_close(&spawned.ready_fd);
        return r;
    }
    guest_await_ask(guest);
    if (remember_process(guest, spawned.pid, err) < 0) {
        guest_doom(guest, REASON_denied, err);
    }
    return 0;
}

static void launch_or_bury(struct guest *guest, int qvm_fd, int vdev_fd, struct spares *spares)
{
    struct err why = {0};

    if (launch(guest, qvm_fd, vdev_fd, spares, &why) < 0) {
        log_error("guest: cannot make its process guest=%s why=\"%s\"", guest->name, why.msg);
        guest->doom = why;
        guest->doom_reason = REASON_vmm_crash;
        guest_bury(guest, NULL);
    }
}

void guest_launch_again(struct guest *guest)
{
    auto_close int qvm_fd = -1, vdev_fd = -1;
    struct err why = {0};

    log_warn("guest: its spare was ended, a new process is made guest=%s pid=%d", guest->name,
             guest->instance.pid);
    guest_logs_drain(guest);
    feed_destroy(take_ptr(guest->feed));
    guest_no_deadline(guest);
    worker_destroy(take_ptr(guest->worker));
    cleanup_close(&guest->dir_fd);
    guest_cgroup_end(guest);
    guests_cgroup_remove(guest->all, guest->name, guest->instance.id, guest->instance.uid);
    guest_remove_dir(guest->all, guest->name, guest->instance.id);
    if (open_programs(&guest->all->env, &qvm_fd, &vdev_fd, &why) < 0) {
        guest->doom = why;
        guest->doom_reason = REASON_vmm_crash;
        guest_bury(guest, NULL);
        return;
    }
    launch_or_bury(guest, qvm_fd, vdev_fd, NULL);
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

int guests_check_drain(const struct guests *guests, struct err *err)
{
    if (guests->drain.reason != REASON_none) {
        return err_set(err, -ESHUTDOWN,
                       "nothing is started: %s; `qvmctl drain --end` allows it again",
                       guests->drain.reason == REASON_drain ? "the host was drained"
                                                            : "the host is going down");
    }
    return 0;
}

int guest_begin(struct guest *guest, enum guest_event event, uid_t uid, struct err *err)
{
    auto_close int qvm_fd = -1, vdev_fd = -1;
    int r = guests_check_drain(guest->all, err);

    if (r == 0) {
        r = guests_need_store(guest->all, err);
    }
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
        uid_t spare = spares_offer(guest->all->spares, qvm_fd, vdev_fd);

        r = guest_life(guest,
                       &(struct life_step){.event = event,
                                           .uid = uid,
                                           .spare_uid = spare != SPARE_NO_UID ? spare : 0},
                       err);
    }
    if (r < 0) {
        return r;
    }
    guest->doom.code = 0;
    guest->is_shot = guest->was_granted = false;
    guest->down_why[0] = '\0';
    guest->vcpus = guest->memory = guest->devices = 0;
    guest_know_cpus(guest, NULL);
    launch_or_bury(guest, qvm_fd, vdev_fd, guest->all->spares);
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
        r = guest_begin(guest, EVENT_start, caller->uid, &err);
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
