/* The hand itself, from its fork to its end. */
#include "daemon/hand/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "proto/base/cleanup.h"

/* ---- in the hand ---- */

static int send_packet(const struct hand_packet *packet, size_t size, int fd)
{
    return hand_send(HAND_SOCKET, packet, size, &fd, fd >= 0 ? 1 : 0, 0);
}

int hand_tell(const struct hand_packet *packet, int fd)
{
    return send_packet(packet, HAND_PACKET_FILE_SIZE, fd);
}

static int at(const struct hand_file *file, int r, struct err *err)
{
    if (r != 0 && file->where != NULL) {
        (void)err_prefix(err, "%s: ", file->where);
    }
    return r;
}

/* A file that is made is qvmd's to pass on, which may be later and more than once. */
static int check_server(const struct hand_file *file, int fd, struct err *err)
{
    struct statfs about;

    if (fstatfs(fd, &about) != 0) {
        return err_set(err, -EACCES, "cannot tell what file system '%s' lies on: %s", file->path,
                       strerrordesc_np(errno));
    }
    if (about.f_type == FUSE_SUPER_MAGIC) {
        return err_set(err, -EACCES,
                       "'%s' lies on a file system that a program serves (FUSE): only guests of "
                       "root may have files made there, since qvmd would wait for that program",
                       file->path);
    }
    return 0;
}

/* Tell of a file, with its descriptor unless that is better kept from qvmd. */
static int tell(const struct hand_opened *opened)
{
    struct hand_packet packet = {
        .size = opened->size, .is_exclusive = opened->is_exclusive, .is_kept = opened->is_kept};

    memcpy(packet.id, opened->id, sizeof(packet.id));
    return send_packet(&packet, HAND_PACKET_FILE_SIZE, opened->is_kept ? -1 : opened->fd);
}

/* Open and tell one after the other; what was opened stays open here until the end, so that a
 * file that is named twice meets its own lock. `kept` are those that qvmd does not get. */
static int open_files(const struct hand_order *order, const char *user, bool is_trusted, int *kept,
                      struct hand_packet *end)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < order->count; i++) {
        struct hand_opened opened = {.fd = -1};
        const struct hand_file *file = &order->files[i];

        end->bad = i;
        r = hand_open(file, user, &opened, &end->err);
        if (r == 0 && file->is_new && !is_trusted) {
            r = check_server(file, opened.fd, &end->err);
        }
        r = at(file, r, &end->err);
        opened.is_kept = file->is_listener || file->is_kept ||
                         (!file->is_new && !file->is_socket && !hand_closes_at_once(opened.fd));
        kept[i] = opened.is_kept ? opened.fd : -1;
        r = r == 0 ? tell(&opened) : r;
    }
    return r;
}

/* All is opened: for as long as qvmd has orders for it. */
static void stay(const struct hand_packet *end, const int *kept, size_t count)
{
    if (send_packet(end, sizeof(*end), -1) == 0) {
        hand_keep(HAND_SOCKET, kept, count);
        _exit(0);
    }
}

static void open_and_keep(const struct hand_order *order, const char *user, bool is_trusted,
                          struct hand_packet *end)
{
    int kept[HAND_FILES_MAX];
    bool keeps = false;

    if (open_files(order, user, is_trusted, kept, end) != 0) {
        return;
    }
    for (size_t i = 0; i < order->count; i++) {
        keeps = keeps || kept[i] >= 0;
    }
    if (keeps) {
        stay(end, kept, order->count);
    }
}

static void take_and_keep(const struct hand_order *order, struct hand_packet *end)
{
    int kept[HAND_TAKEN_MAX];

    if (hand_take(order, kept, end) == 0) {
        stay(end, kept, order->count);
    }
}

static void open_taps_and_keep(const struct hand_order *order, struct hand_packet *end)
{
    int kept[HAND_FILES_MAX];

    if (hand_open_all_taps(order, kept, end) == 0) {
        stay(end, kept, order->count);
    }
}

/* A hand that hangs must not outlive its qvmd. */
static void die_with(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
        _exit(1);
    }
}

/* From here on it can do what its files need, and no more. */
static int confine(const struct hand_order *order, struct err *err)
{
    bool connects = false, listens = false;

    for (size_t i = 0; i < order->count; i++) {
        connects = connects || order->files[i].is_socket;
        listens = listens || order->files[i].is_listener;
    }
    return listens    ? hand_confine_listening(err)
           : connects ? hand_confine_connecting(err)
                      : hand_confine(err);
}

static void do_order(const struct hand_order *order, struct hand_packet *end, pid_t parent)
{
    char user[HAND_USER_SIZE] = "";
    bool is_trusted = order->owner == 0 || order->owner == geteuid(); /* who is still qvmd's */

    if (order->device_count > 0) {
        if (hand_confine_root(&end->err) != 0) {
            return;
        }
        if (order->step == HAND_TAKE_DEVICES) {
            take_and_keep(order, end);
        } else if (order->step == HAND_LOOK_AT_DEVICES) {
            (void)hand_look(order, end);
        } else {
            (void)hand_give(order, end);
        }
        return;
    }
    if (order->step == HAND_OPEN_TAPS) {
        open_taps_and_keep(order, end);
        return;
    }
    if (hand_become(order->owner, user, &end->err) != 0) {
        return;
    }
    die_with(parent); /* again: becoming another user took it away */
    if (confine(order, &end->err) != 0) {
        return;
    }
    if (order->step == HAND_OPEN_FILES) {
        open_and_keep(order, user, is_trusted, end);
    } else if (order->step == HAND_RECEIVE) {
        hand_sift(HAND_OTHER, end);
    } else if (order->step == HAND_REMOVE_LISTENER) {
        (void)hand_remove(order->files[0].path, &end->err);
    } else {
        (void)hand_await(order->files[0].path, order->id, user, &end->err);
    }
}

/* Nothing of qvmd's may be held by a hand that hangs: locks, sockets, guests' descriptors. */
static int leave_all_behind(int socket, int other)
{
    int moved = other >= 0 ? fcntl(other, F_DUPFD_CLOEXEC, HAND_OTHER + 1) : -1;

    if ((other >= 0 && moved < 0) ||
        (socket != HAND_SOCKET && dup3(socket, HAND_SOCKET, O_CLOEXEC) < 0) ||
        (other >= 0 && dup3(moved, HAND_OTHER, O_CLOEXEC) < 0)) {
        return -errno;
    }
    return close_range(other >= 0 ? HAND_OTHER + 1 : HAND_SOCKET + 1, ~0u, 0) == 0 ? 0 : -errno;
}

static void reset_signals(void)
{
    sigset_t none;

    (void)sigemptyset(&none);
    for (int i = 1; i < NSIG; i++) {
        (void)signal(i, SIG_DFL); /* refused for SIGKILL, SIGSTOP and libc's own */
    }
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void live(const struct hand_order *order, int socket, pid_t parent)
{
    struct hand_packet end = {.is_end = true};

    reset_signals();
    die_with(parent);
    if (order->step == HAND_CLOSE) {
        hand_close_last(order, socket);
    }
    if (leave_all_behind(socket, order->socket) != 0) {
        _exit(1);
    }
    do_order(order, &end, parent);
    _exit(send_packet(&end, sizeof(end), -1) == 0 ? 0 : 1);
}

/* ---- in qvmd ---- */

int hand_child_start(const struct hand_order *order, struct hand_child *child, struct err *err)
{
    auto_close int ours = -1;
    auto_close int theirs = -1;
    pid_t parent = getpid();
    pid_t pid;
    int sockets[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
        return err_sys(err, -errno, "cannot make a socket pair for a hand");
    }
    ours = sockets[0];
    theirs = sockets[1];
    pid = fork();
    if (pid < 0) {
        return err_sys(err, -errno, "cannot fork a hand");
    }
    if (pid == 0) {
        live(order, theirs, parent);
    }
    /* ours alone to reap, so the pid cannot be another's yet */
    child->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (child->pidfd < 0) {
        return err_sys(err, -errno, "cannot watch a hand"); /* it ends: nobody reads its socket */
    }
    child->pid = pid;
    child->socket = take_fd(&ours);
    return 0;
}

int hand_child_receive(int socket, struct hand_packet *packet, int *fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec piece = {.iov_base = packet, .iov_len = sizeof(*packet)};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof(control.space)};
    const struct cmsghdr *header;
    ssize_t n;

    *fd = -1;
    do {
        n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        return n == 0 || errno == ECONNRESET ? 0 : -errno;
    }
    header = CMSG_FIRSTHDR(&message);
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
        memcpy(fd, CMSG_DATA(header), sizeof(int));
    }
    if ((message.msg_flags & MSG_CTRUNC) != 0) {
        return -EMFILE;
    }
    if ((size_t)n != (packet->is_end ? sizeof(*packet) : HAND_PACKET_FILE_SIZE) ||
        (packet->is_end || packet->is_kept) != (*fd < 0)) {
        cleanup_close(fd);
        return -EPROTO;
    }
    packet->id[HAND_ID_SIZE - 1] = '\0';
    return 1;
}
