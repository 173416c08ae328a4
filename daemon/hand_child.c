/* The hand itself, from its fork to its end. */
#include "daemon/hand_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/base/cleanup.h"

#define HAND_SOCKET 3 /* the only descriptor of a hand besides 0, 1 and 2 */

/* ---- in the hand ---- */

static int send_packet(struct hand_packet *packet, size_t size, int fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec piece = {.iov_base = packet, .iov_len = size};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    ssize_t n;

    if (fd >= 0) {
        message.msg_control = control.space;
        message.msg_controllen = sizeof(control.space);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
    }
    do {
        n = sendmsg(HAND_SOCKET, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

static int at(const struct hand_file *file, int r, struct err *err)
{
    if (r != 0 && file->where != NULL) {
        (void)err_prefix(err, "%s: ", file->where);
    }
    return r;
}

/* Open and send one after the other; what was opened stays open here until the end, so that a
 * file that is named twice meets its own lock. */
static int open_files(const struct hand_order *order, const char *user, struct hand_packet *end)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < order->count; i++) {
        struct hand_opened opened = {.fd = -1};
        struct hand_packet packet = {0};

        end->bad = i;
        r = at(&order->files[i], hand_open(&order->files[i], user, &opened, &end->err), &end->err);
        if (r == 0) {
            memcpy(packet.id, opened.id, sizeof(packet.id));
            packet.size = opened.size;
            packet.is_exclusive = opened.is_exclusive;
            r = send_packet(&packet, HAND_PACKET_FILE_SIZE, opened.fd);
        }
    }
    return r;
}

/* A hand that hangs must not outlive its qvmd. */
static void die_with(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
        _exit(1);
    }
}

static void do_order(const struct hand_order *order, struct hand_packet *end, pid_t parent)
{
    char user[HAND_USER_SIZE] = "";

    if (hand_become(order->owner, user, &end->err) != 0) {
        return;
    }
    die_with(parent); /* again: becoming another user took it away */
    if (order->step == HAND_OPEN_FILES) {
        (void)open_files(order, user, end);
    } else {
        (void)hand_await(order->files[0].path, order->id, user, &end->err);
    }
}

/* Nothing of qvmd's may be held by a hand that hangs: locks, sockets, guests' descriptors. */
static int leave_all_behind(int socket)
{
    if (socket != HAND_SOCKET && dup3(socket, HAND_SOCKET, O_CLOEXEC) < 0) {
        return -errno;
    }
    return close_range(HAND_SOCKET + 1, ~0u, 0) == 0 ? 0 : -errno;
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
    if (leave_all_behind(socket) != 0) {
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
        packet->is_end != (*fd < 0)) {
        cleanup_close(fd);
        return -EPROTO;
    }
    packet->id[HAND_ID_SIZE - 1] = '\0';
    return 1;
}
