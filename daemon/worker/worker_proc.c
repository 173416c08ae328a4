#include "daemon/worker/worker_proc.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <uv.h>

#include "daemon/crash_point.h"
#include "daemon/host/process.h"
#include "daemon/worker/control_link.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "proto/spawn_fds.h"

struct worker_proc {
    uv_poll_t life;  /* the pidfd */
    uv_poll_t ready; /* the readiness pipe */
    uv_timer_t timer;
    int open_handles;
    int pidfd, ready_fd, dir_fd;
    pid_t pid;
    int64_t instance;
    char nonce[65];
    const struct worker_hooks *hooks;
    void *context;
    struct control_link *link;
    int version; /* that it speaks, while it is up */
    bool is_up, is_ended, is_destroyed;
    bool is_wary;   /* no descriptors of its are received here */
    bool is_loaded; /* somebody else is to receive some */
    char spawn_error[WORKER_TEXT_SIZE];
};

static void drop_link(struct worker_proc *worker)
{
    if (worker->is_loaded) {
        worker->is_loaded = false;
        worker->hooks->on_loaded(worker->context, -1);
    }
    (void)uv_timer_stop(&worker->timer);
    control_link_destroy(take_ptr(worker->link));
    worker->is_up = false;
}

static void go_down(struct worker_proc *worker, const char *why)
{
    drop_link(worker);
    worker->hooks->on_down(worker->context, why);
}

/* ---- the conversation ---- */

static void check_hello(struct worker_proc *worker, const struct msg_hello *hello, int *fds,
                        size_t fd_count)
{
    if (strcmp(hello->nonce, worker->nonce) != 0 || hello->instance != worker->instance) {
        go_down(worker, "the qvm says that it is another instance");
        return;
    }
    if (hello->version < CONTROL_VERSION_OLDEST || hello->version > CONTROL_VERSION) {
        char why[WORKER_TEXT_SIZE];

        (void)snprintf(why, sizeof(why),
                       "the qvm speaks version %" PRId64 " of the control protocol, and this qvmd "
                       "those from %d to %d",
                       hello->version, CONTROL_VERSION_OLDEST, CONTROL_VERSION);
        go_down(worker, why);
        return;
    }
    worker->version = (int)hello->version;
    crash_point("hello received");
    worker->is_up = true;
    (void)uv_timer_stop(&worker->timer);
    worker->hooks->on_up(worker->context, hello, fds, fd_count);
}

static void on_packet(void *context, enum msg_control control, const void *body, int *fds,
                      size_t fd_count)
{
    struct worker_proc *worker = context;

    if (!worker->is_up && control == CONTROL_hello) {
        check_hello(worker, body, fds, fd_count);
    } else if (!worker->is_up || control == CONTROL_hello) {
        go_down(worker, "the qvm did not begin with hello");
    } else {
        worker->hooks->on_packet(worker->context, control, body, fds, fd_count);
    }
}

static void on_lost(void *context, const char *why)
{
    go_down(context, why);
}

static void on_loaded(void *context, int socket)
{
    struct worker_proc *worker = context;

    worker->is_loaded = true;
    worker->hooks->on_loaded(worker->context, socket);
}

static void on_left(void *context, const int *fds, size_t count)
{
    const struct worker_proc *worker = context;

    worker->hooks->on_left(worker->context, fds, count);
}

static const struct control_link_hooks link_hooks = {
    .on_packet = on_packet, .on_loaded = on_loaded, .on_left = on_left, .on_lost = on_lost};

static void on_late(uv_timer_t *timer)
{
    struct worker_proc *worker = timer->data;

    /* The connection stays: a qvm that was only held up answers it when it goes on. */
    worker->hooks->on_down(worker->context, "the qvm does not answer");
}

/* Is it our process that listens there? */
static int check_peer(const struct worker_proc *worker, struct err *err)
{
    pid_t pid = 0;
    int r = control_link_peer(worker->link, &pid);

    if (r < 0) {
        return err_sys(err, r, "cannot tell who listens");
    }
    if (pid != worker->pid) {
        return err_set(err, -EPERM, "another process (pid %d) listens in its place", pid);
    }
    return 0;
}

void worker_connect(struct worker_proc *worker)
{
    struct msg_hello hello = {.version = CONTROL_VERSION, .nonce = worker->nonce};
    struct err err = {0};
    int r;

    drop_link(worker);
    r = control_link_connect(worker->life.loop, worker->dir_fd, WORKER_SOCKET, &link_hooks, worker,
                             &worker->link, &err);
    crash_point("connected to the qvm");
    if (r == 0 && worker->is_wary) {
        control_link_be_wary(worker->link);
    }
    if (r == 0) {
        r = check_peer(worker, &err);
    }
    if (r == 0) {
        r = control_link_send(worker->link, CONTROL_hello, &hello, NULL, 0, &err);
        crash_point("hello sent");
    }
    if (r == 0) {
        (void)uv_timer_start(&worker->timer, on_late, WORKER_HELLO_MS, 0); /* cannot fail */
    } else {
        go_down(worker, err.msg);
    }
}

bool worker_is_up(const struct worker_proc *worker)
{
    return worker->is_up;
}

bool worker_is_connected(const struct worker_proc *worker)
{
    return worker->link != NULL;
}

static int check_version(const struct worker_proc *worker, enum msg_control control,
                         struct err *err)
{
    if (!worker->is_up) {
        return err_set(err, -ENOTCONN, "its qvm does not answer");
    }
    if (msg_controls[control].since > worker->version) {
        return err_set(err, -EOPNOTSUPP,
                       "its qvm is of an earlier version and does not know '%s'; it will when the "
                       "guest is started anew",
                       msg_controls[control].name);
    }
    return 0;
}

int worker_send(struct worker_proc *worker, enum msg_control control, const void *body,
                const int *fds, size_t fd_count, struct err *err)
{
    int r = check_version(worker, control, err);

    return r == 0 ? control_link_send(worker->link, control, body, fds, fd_count, err) : r;
}

int worker_lend(struct worker_proc *worker, enum msg_control control, const void *body, char **text,
                int *socket, struct err *err)
{
    int r = check_version(worker, control, err);

    return r == 0 ? control_link_lend(worker->link, control, body, text, socket, err) : r;
}

void worker_be_wary(struct worker_proc *worker)
{
    worker->is_wary = true;
    if (worker->link != NULL) {
        control_link_be_wary(worker->link);
    }
}

void worker_go_on(struct worker_proc *worker, int *fds, size_t fd_count)
{
    worker->is_loaded = false;
    control_link_go_on(worker->link, fds, fd_count);
}

void worker_break(struct worker_proc *worker, const char *why)
{
    worker->is_loaded = false;
    go_down(worker, why);
}

/* ---- readiness ---- */

/* The pipe says why there is no qvm, or ends because it listens. */
static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct worker_proc *worker = poll->data;
    size_t size = strlen(worker->spawn_error);
    ssize_t n;

    (void)events; /* readable or ended: read tells */
    n = status < 0 ? 0
                   : read(worker->ready_fd, worker->spawn_error + size,
                          sizeof(worker->spawn_error) - 1 - size);
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR))) {
        return;
    }
    (void)uv_poll_stop(&worker->ready);
    if (worker->spawn_error[0] == '\0') {
        worker_connect(worker);
    }
}

/* ---- its end ---- */

/* The kernel's own word: a pidfd is readable when its process has ended, all of its threads. */
static bool has_ended(const struct worker_proc *worker)
{
    struct pollfd pidfd = {.fd = worker->pidfd, .events = POLLIN};

    return poll(&pidfd, 1, 0) == 1 && (pidfd.revents & POLLIN) != 0;
}

static void on_gone(uv_poll_t *poll, int status, int events)
{
    struct worker_proc *worker = poll->data;
    struct worker_end end = {0};
    siginfo_t info = {0};

    (void)events;
    if (worker->is_ended) {
        return;
    }
    if (!has_ended(worker)) {
        /* What is written on this word frees a living guest's resources: it is not enough. */
        log_error("worker: told of an end that was none pid=%d status=%d", worker->pid, status);
        return;
    }
    if (worker->link != NULL) {
        control_link_drain(worker->link); /* its last words come before its end */
    }
    if (worker->is_destroyed) {
        return;
    }
    worker->is_ended = true;
    (void)uv_poll_stop(&worker->life);
    if (worker->ready_fd >= 0) {
        (void)uv_poll_stop(&worker->ready);
    }
    drop_link(worker);
    if (waitid(P_PIDFD, (id_t)worker->pidfd, &info, WEXITED | WNOHANG) == 0 && info.si_pid != 0) {
        end = (struct worker_end){.is_child = true, .code = info.si_code, .status = info.si_status};
    }
    if (worker->ready_fd >= 0 && worker->spawn_error[0] == '\0') {
        ssize_t n = read(worker->ready_fd, worker->spawn_error, sizeof(worker->spawn_error) - 1);

        worker->spawn_error[n > 0 ? n : 0] = '\0';
    }
    crash_point("end of the process seen");
    end.spawn_error = worker->spawn_error[0] != '\0' ? worker->spawn_error : NULL;
    worker->hooks->on_ended(worker->context, &end);
}

int worker_signal(struct worker_proc *worker, int signal, struct err *err)
{
    return process_signal(worker->pidfd, signal, err);
}

int worker_set_nice(const struct worker_proc *worker, int nice, struct err *err)
{
    if (has_ended(worker)) {
        return err_set(err, -ESRCH, "it is gone");
    }
    /* A child cannot go away meanwhile. Another's pid could, at this very moment; then a stranger
     * would be as nice as guests are, or an ordinary process. */
    return process_set_nice(worker->pid, nice, err);
}

int worker_hurry(const struct worker_proc *worker, struct err *err)
{
    siginfo_t info;

    if (waitid(P_PIDFD, (id_t)worker->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
        return err_set(err, -ECHILD, "it is not a child");
    }
    return process_hurry(worker->pid, err);
}

/* ---- its life ---- */

int worker_create(struct uv_loop_s *loop, const struct worker_identity *identity, int pidfd,
                  int ready_fd, int dir_fd, const struct worker_hooks *hooks, void *context,
                  struct worker_proc **result, struct err *err)
{
    struct worker_proc *worker = calloc(1, sizeof(*worker));

    if (worker == NULL || uv_poll_init(loop, &worker->life, pidfd) != 0) {
        free(worker);
        return err_set(err, -ENOMEM, "cannot watch the process");
    }
    /* A pipe that cannot be watched is as bad, but the first handle has to be closed properly. */
    worker->open_handles = 2;
    worker->ready_fd = -1;
    if (ready_fd >= 0 && uv_poll_init(loop, &worker->ready, ready_fd) == 0) {
        worker->open_handles = 3;
        worker->ready_fd = ready_fd;
        (void)uv_poll_start(&worker->ready, UV_READABLE, on_ready); /* cannot fail */
    } else {
        cleanup_close(&ready_fd); /* then it is never connected to, and has its deadline */
    }
    (void)uv_timer_init(loop, &worker->timer); /* cannot fail */
    worker->life.data = worker->ready.data = worker->timer.data = worker;
    worker->pidfd = pidfd;
    worker->dir_fd = dir_fd;
    worker->pid = identity->pid;
    worker->instance = identity->instance;
    (void)snprintf(worker->nonce, sizeof(worker->nonce), "%s", identity->nonce);
    worker->hooks = hooks;
    worker->context = context;
    (void)uv_poll_start(&worker->life, UV_READABLE, on_gone); /* cannot fail */
    *result = worker;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct worker_proc *worker = handle->data;

    worker->open_handles--;
    if (worker->open_handles == 0) {
        free(worker);
    }
}

void worker_destroy(struct worker_proc *worker)
{
    if (worker == NULL || worker->is_destroyed) {
        return;
    }
    worker->is_destroyed = true;
    drop_link(worker);
    (void)uv_poll_stop(&worker->life);
    uv_close((uv_handle_t *)&worker->life, on_closed);
    uv_close((uv_handle_t *)&worker->timer, on_closed);
    if (worker->ready_fd >= 0) {
        (void)uv_poll_stop(&worker->ready);
        uv_close((uv_handle_t *)&worker->ready, on_closed);
    }
    cleanup_close(&worker->ready_fd);
    cleanup_close(&worker->pidfd);
}
