#include "daemon/worker/spare.h"
#include "daemon/crash_point.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <uv.h>

#include "daemon/host/process.h"
#include "daemon/worker/spawn_inside.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"

#define LIBRARIES    "/etc/ld.so.cache" /* written anew when libraries come or go */
#define FAILURES_MAX 3                  /* of spares in a row that were made of the same */
#define TAKEN_MS     20                 /* a start takes that long, and comes first */

/* What a spare is made of. */
struct stamp {
    struct piece {
        dev_t device;
        ino_t inode;
        off_t size;
        struct timespec changed;
    } program, vdevs, libraries;
};

struct spare {
    LIST_ENTRY(spare) link;
    struct spares *all;
    struct stamp stamp;
    uid_t uid;
    pid_t pid;
    int pidfd, socket, cgroup_fd;
    uv_poll_t talk, life; /* of the socket, of the pidfd */
    int open_handles;
    bool is_waiting; /* said that it is one */
    bool is_over;    /* ended, or told to */
    bool is_taken;   /* its pidfd is another's */
};

LIST_HEAD(spare_list, spare);

struct spares {
    struct spares_env env;
    struct spare_list list;
    unsigned count; /* of those that may be taken */
    unsigned failures;
    struct stamp failed; /* of the last failure */
    struct stamp proven; /* of the last one that said that it is one */
    uv_timer_t timer;
    bool is_closing;
};

/* ---- what they are made of ---- */

static void piece_of(const struct stat *st, struct piece *piece)
{
    piece->device = st->st_dev;
    piece->inode = st->st_ino;
    piece->size = st->st_size;
    piece->changed = st->st_ctim;
}

static int read_stamp(int qvm_fd, int vdev_fd, struct stamp *stamp)
{
    struct stat st;

    memset(stamp, 0, sizeof(*stamp)); /* with the holes, for memcmp */
    if (fstat(qvm_fd, &st) < 0) {
        return -errno;
    }
    piece_of(&st, &stamp->program);
    if (fstat(vdev_fd, &st) < 0) {
        return -errno;
    }
    piece_of(&st, &stamp->vdevs);
    if (stat(LIBRARIES, &st) == 0) {
        piece_of(&st, &stamp->libraries);
    }
    return 0;
}

static bool is_same(const struct stamp *a, const struct stamp *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* ---- the end of one ---- */

static void free_all(struct spares *spares)
{
    if (spares->is_closing && LIST_EMPTY(&spares->list) &&
        uv_is_closing((uv_handle_t *)&spares->timer) && spares->timer.data == NULL) {
        free(spares);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct spare *spare = handle->data;
    struct spares *spares = spare->all;

    if (--spare->open_handles == 0) {
        cleanup_close(&spare->socket);
        cleanup_close(&spare->cgroup_fd);
        if (!spare->is_taken) {
            cleanup_close(&spare->pidfd);
        }
        LIST_REMOVE(spare, link);
        free(spare);
        free_all(spares);
    }
}

static void close_handles(struct spare *spare)
{
    if (!uv_is_closing((uv_handle_t *)&spare->life)) {
        uv_close((uv_handle_t *)&spare->talk, on_closed);
        uv_close((uv_handle_t *)&spare->life, on_closed);
    }
}

/* It is no longer one that may be taken. */
static void retire(struct spare *spare)
{
    if (!spare->is_over) {
        spare->is_over = true;
        spare->all->count--;
        (void)uv_poll_stop(&spare->talk);
    }
}

/* Nobody needs it; it is reaped when its pidfd says so. */
static void end(struct spare *spare)
{
    retire(spare);
    (void)process_signal(spare->pidfd, SIGKILL, NULL); /* it may have ended already */
}

static void on_life(uv_poll_t *poll, int status, int events)
{
    struct spare *spare = poll->data;
    siginfo_t info = {0};

    (void)status;
    (void)events;
    if (waitid(P_PIDFD, (id_t)spare->pidfd, &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0) {
        return;
    }
    if (!spare->is_over) {
        struct spares *spares = spare->all;

        log_warn("spare: ended pid=%d status=%d", spare->pid, info.si_status);
        spares->failures = is_same(&spares->failed, &spare->stamp) ? spares->failures + 1 : 1;
        spares->failed = spare->stamp;
        retire(spare);
        spares_make_soon(spares, TAKEN_MS);
    }
    spare->all->env.drop_group(spare->all->env.context, spare->uid);
    close_handles(spare);
}

/* ---- the beginning of one ---- */

/* It says SPARE_READY, or why it is none. */
static void on_talk(uv_poll_t *poll, int status, int events)
{
    struct spare *spare = poll->data;
    char text[256];
    ssize_t n = status < 0 ? -1 : recv(spare->socket, text, sizeof(text) - 1, MSG_DONTWAIT);

    (void)events;
    if (n == (ssize_t)strlen(SPARE_READY) && memcmp(text, SPARE_READY, (size_t)n) == 0) {
        spare->is_waiting = true;
        spare->all->proven = spare->stamp;
        spare->all->failures = 0;
        return;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    (void)uv_poll_stop(poll); /* its end says the rest */
    if (n > 0) {
        text[n] = '\0';
        log_warn("spare: none why=\"%s\"", text);
    }
}

static void watch(struct spare *spare)
{
    uv_loop_t *loop = spare->all->env.loop;

    /* these fail for descriptors that epoll refuses, which sockets and pidfds are not */
    (void)uv_poll_init(loop, &spare->talk, spare->socket);
    (void)uv_poll_init(loop, &spare->life, spare->pidfd);
    spare->talk.data = spare->life.data = spare;
    spare->open_handles = 2;
    (void)uv_poll_start(&spare->talk, UV_READABLE, on_talk);
    (void)uv_poll_start(&spare->life, UV_READABLE, on_life);
}

static int give_birth(struct spare *spare, int qvm_fd, int vdev_fd)
{
    char name[] = "qvm", arg[] = SPARE_ARG, room[SPARE_GUEST_SIZE];
    char *const argv[] = {name, arg, room, NULL};
    struct spawn_birth birth = {.argv = argv,
                                .talk_fd = SPAWN_FD_SPARE,
                                .qvm_fd = qvm_fd,
                                .vdev_fd = vdev_fd,
                                .cgroup_fd = spare->cgroup_fd,
                                .uid = spare->uid};
    auto_close int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    auto_close int theirs = -1;
    int sockets[2];

    if (null_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) {
        return -errno;
    }
    spare->socket = sockets[0];
    theirs = sockets[1];
    memset(room, ' ', sizeof(room)); /* the guest's name comes here, for people who look */
    room[sizeof(room) - 1] = '\0';
    for (int i = 0; i < SPAWN_FD_COUNT; i++) {
        birth.fds[i] = i <= SPAWN_FD_LOG_TOO ? null_fd : -1;
    }
    birth.fds[SPAWN_FD_SPARE] = theirs;
    spare->pid = spawn_birth(&birth, &spare->pidfd);
    return spare->pid < 0 ? spare->pid : 0;
}

/* A group of its own, and the process in it. */
static int give_room_and_birth(struct spare *spare, int qvm_fd, int vdev_fd)
{
    const struct spares_env *env = &spare->all->env;
    int r = env->make_group(env->context, spare->uid, &spare->cgroup_fd);

    if (r == 0) {
        r = give_birth(spare, qvm_fd, vdev_fd);
    }
    if (r < 0) {
        env->drop_group(env->context, spare->uid);
    }
    return r;
}

static int make(struct spares *spares, const struct stamp *stamp, int qvm_fd, int vdev_fd)
{
    struct spare *spare = calloc(1, sizeof(*spare));
    int r;

    if (spare == NULL) {
        return -ENOMEM;
    }
    *spare =
        (struct spare){.all = spares, .stamp = *stamp, .pidfd = -1, .socket = -1, .cgroup_fd = -1};
    spare->uid = spares->env.pick_uid(spares->env.context);
    r = spare->uid == SPARE_NO_UID ? -EAGAIN : give_room_and_birth(spare, qvm_fd, vdev_fd);
    if (r < 0) {
        cleanup_close(&spare->socket);
        cleanup_close(&spare->cgroup_fd);
        free(spare);
        return r;
    }
    LIST_INSERT_HEAD(&spares->list, spare, link);
    spares->count++;
    watch(spare);
    return 0;
}

static int make_missing(struct spares *spares)
{
    auto_close int qvm_fd = open(spares->env.qvm_path, O_PATH | O_CLOEXEC);
    auto_close int vdev_fd = open(spares->env.vdev_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stamp stamp;
    int r = qvm_fd < 0 || vdev_fd < 0 ? -errno : read_stamp(qvm_fd, vdev_fd, &stamp);

    if (r < 0 || (spares->failures >= FAILURES_MAX && is_same(&stamp, &spares->failed))) {
        return r; /* a start will say what is missing; one that makes no spares makes none */
    }
    while (r == 0 && spares->count < spares->env.count) {
        r = make(spares, &stamp, qvm_fd, vdev_fd);
    }
    return r;
}

static void on_time(uv_timer_t *timer)
{
    struct spares *spares = timer->data;
    int r = spares->env.are_wanted(spares->env.context) ? make_missing(spares) : 0;

    if (r < 0) {
        log_warn("spare: not made why=\"%s\"", strerrordesc_np(-r));
    }
}

/* ---- what the guests ask ---- */

void spares_make_soon(struct spares *spares, unsigned delay_ms)
{
    if (!spares->is_closing && spares->count < spares->env.count) {
        uv_update_time(spares->env.loop);
        (void)uv_timer_start(&spares->timer, on_time, delay_ms, 0); /* cannot fail */
    }
}

static struct spare *find(const struct spares *spares, uid_t uid)
{
    struct spare *spare;

    LIST_FOREACH(spare, &spares->list, link)
    {
        if (!spare->is_over && spare->uid == uid) {
            return spare;
        }
    }
    return NULL;
}

bool spares_has_uid(const struct spares *spares, uid_t uid)
{
    const struct spare *spare;

    LIST_FOREACH(spare, &spares->list, link)
    {
        if (!spare->is_taken && spare->uid == uid) {
            return true;
        }
    }
    return false;
}

/* Its end may not have been told yet. */
static bool has_ended(const struct spare *spare)
{
    struct pollfd pidfd = {.fd = spare->pidfd, .events = POLLIN};

    return poll(&pidfd, 1, 0) != 0;
}

uid_t spares_offer(struct spares *spares, int qvm_fd, int vdev_fd)
{
    struct stamp now;
    struct spare *spare;
    uid_t uid = SPARE_NO_UID;

    if (LIST_EMPTY(&spares->list) || read_stamp(qvm_fd, vdev_fd, &now) < 0) {
        return uid;
    }
    LIST_FOREACH(spare, &spares->list, link)
    {
        if (spare->is_over || has_ended(spare)) {
            continue;
        }
        if (!spares->env.is_fit(spares->env.context, spare->cgroup_fd) ||
            !is_same(&spare->stamp, &now)) {
            log_info("spare: out of date pid=%d", spare->pid);
            end(spare);
            spares_make_soon(spares, TAKEN_MS);
        } else if (spare->is_waiting || (uid == SPARE_NO_UID && is_same(&now, &spares->proven))) {
            uid = spare->uid; /* one that still wakes up is sooner there than a new one */
        }
    }
    return uid;
}

/* The descriptors with the bits of their numbers, in one packet. */
static int send_order(int socket, const char *guest, const int fds[SPAWN_FD_COUNT])
{
    struct spare_order order = {0};
    int list[SPAWN_FD_COUNT];
    unsigned count = 0;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(list))];
    } control = {0};
    struct iovec piece = {.iov_base = &order, .iov_len = sizeof(order)};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.space};

    for (unsigned i = 0; i < SPAWN_FD_COUNT; i++) {
        if (fds[i] >= 0) {
            order.fds |= 1u << i;
            list[count++] = fds[i];
        }
    }
    (void)snprintf(order.guest, sizeof(order.guest), "%s", guest);
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(&control.header), list, count * sizeof(int));
    return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int spares_take(struct spares *spares, uid_t uid, const char *guest, const int fds[SPAWN_FD_COUNT],
                pid_t *pid, int *pidfd)
{
    struct spare *spare = find(spares, uid);

    if (spare == NULL || send_order(spare->socket, guest, fds) < 0) {
        return -ENOENT; /* one that cannot be reached ends, which its pidfd tells */
    }
    crash_point("spare told what to be");
    *pid = spare->pid;
    *pidfd = spare->pidfd;
    spare->is_taken = true;
    retire(spare);
    close_handles(spare); /* at once: the pidfd has another watcher now */
    spares_make_soon(spares, TAKEN_MS);
    return 0;
}

/* ---- all of them ---- */

void spares_end(struct spares *spares)
{
    struct spare *spare;

    LIST_FOREACH(spare, &spares->list, link)
    {
        if (!spare->is_over) {
            end(spare);
        }
    }
}

int spares_create(const struct spares_env *env, struct spares **result, struct err *err)
{
    struct spares *spares = calloc(1, sizeof(*spares));

    if (spares == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    spares->env = *env;
    LIST_INIT(&spares->list);
    (void)uv_timer_init(env->loop, &spares->timer); /* cannot fail */
    spares->timer.data = spares;
    *result = spares;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct spares *spares = handle->data;

    handle->data = NULL;
    free_all(spares);
}

void spares_destroy(struct spares *spares)
{
    struct spare *spare;

    if (spares == NULL) {
        return;
    }
    spares->is_closing = true;
    LIST_FOREACH(spare, &spares->list, link)
    {
        if (!spare->is_taken) {
            end(spare); /* the kernel reaps what outlives us */
        }
        close_handles(spare);
    }
    uv_close((uv_handle_t *)&spares->timer, on_timer_closed);
}
