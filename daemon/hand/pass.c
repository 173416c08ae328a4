/* Files that qvmd never has: the hand that opened them passes them on.
 *
 * close(2) waits for the server of some file systems to say that nothing is left to be written
 * (FUSE, NFS and others), for as long as that likes, and no signal ends that. A descriptor that is
 * on its way in a socket is no descriptor of anybody's: who sends it and who drops it there wait
 * for nothing. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "daemon/hand/inside.h"
#include "proto/base/cleanup.h"
#include "proto/base/lend.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

#define MEM_MAJOR 1 /* /dev/null, zero, full */

/* ---- in both ---- */

int hand_send(int socket, const void *packet, size_t size, const int *fds, size_t fd_count,
              int flags)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(HAND_PASS_MAX * sizeof(int))];
    } space = {0};
    struct iovec piece = {.iov_base = lend(packet), .iov_len = size};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    ssize_t n;

    if (fd_count > 0) {
        struct cmsghdr *header;

        message.msg_control = space.bytes;
        message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
    }
    do {
        n = sendmsg(socket, &message, MSG_NOSIGNAL | flags);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* ---- in the hand ---- */

/* File systems that have nothing to do when a file is closed; what is not known may have. What an
 * overlay lies on was chosen by the host's root, and what is written there lies on a disk. */
static bool is_plain(const struct statfs *about)
{
    switch ((unsigned long)about->f_type) {
    case BTRFS_SUPER_MAGIC:
    case EXT4_SUPER_MAGIC: /* 2 and 3, too */
    case OVERLAYFS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case XFS_SUPER_MAGIC:
        return true;
    default:
        return false;
    }
}

bool hand_closes_at_once(int fd)
{
    struct statfs about;
    struct stat st;

    if (fstat(fd, &st) != 0 || fstatfs(fd, &about) != 0) {
        return false;
    }
    if (S_ISCHR(st.st_mode)) { /* what else a driver does is not known */
        return major(st.st_rdev) == MEM_MAJOR;
    }
    return (S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode) || S_ISDIR(st.st_mode)) && is_plain(&about);
}

/* An order, with the socket that it is for: 1; 0 no more of them come. */
static int receive(int socket, struct hand_pass *pass, int *to)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec piece = {.iov_base = pass, .iov_len = sizeof(*pass)};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof(control.space)};
    const struct cmsghdr *header;
    ssize_t n;

    do {
        n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    header = CMSG_FIRSTHDR(&message);
    if (n != (ssize_t)sizeof(*pass) || header == NULL || header->cmsg_type != SCM_RIGHTS) {
        return 0;
    }
    memcpy(to, CMSG_DATA(&control.header), sizeof(int));
    return 1;
}

static int pass_on(const struct hand_pass *pass, int to, const int *kept, size_t kept_count,
                   struct err *err)
{
    int fds[HAND_PASS_MAX];
    int r = 0;

    for (size_t i = 0; r == 0 && i < pass->count; i++) {
        fds[i] = pass->files[i] < kept_count ? kept[pass->files[i]] : -1;
        r = fds[i] >= 0 ? 0 : -EBADF;
    }
    if (r == 0) {
        r = hand_send(to, pass->text, pass->size, fds, pass->count, MSG_DONTWAIT);
    }
    return r == 0 ? 0 : err_sys(err, r, "cannot send files on");
}

void hand_keep(int socket, const int *fds, size_t count)
{
    static struct hand_pass pass;
    int to = -1;

    while (receive(socket, &pass, &to) == 1) {
        struct hand_packet end = {.is_end = true};

        (void)pass_on(&pass, to, fds, count, &end.err);
        cleanup_close(&to);
        if (hand_send(socket, &end, sizeof(end), NULL, 0, 0) != 0) {
            return;
        }
    }
}

/* Of what has no file system: whose names begin like this. A device of the host is one as well, and
 * so is a whole VM. */
static bool is_known(int fd)
{
    static const char *const known[] = {"anon_inode:[eventfd]", "anon_inode:kvm-vcpu-stats"};
    char path[32], name[64];
    ssize_t n;

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    n = readlinkat(AT_FDCWD, path, name, sizeof(name) - 1);
    name[n > 0 ? n : 0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strncmp(name, known[i], strlen(known[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* What a qvm may well send: shared memory, sockets, statistics. */
static bool is_harmless(int fd)
{
    struct statfs about;

    if (hand_closes_at_once(fd)) {
        return true;
    }
    return fstatfs(fd, &about) == 0 &&
           ((unsigned long)about.f_type == SOCKFS_MAGIC ||
            ((unsigned long)about.f_type == ANON_INODE_FS_MAGIC && is_known(fd)));
}

void hand_sift(int from, struct hand_packet *end)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(HAND_PASS_MAX * sizeof(int))];
    } control = {0};
    char text; /* the rest of it is thrown away */
    struct iovec piece = {.iov_base = &text, .iov_len = sizeof(text)};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof(control.space)};
    int fds[HAND_PASS_MAX];
    size_t count = 0;
    int r = recvmsg(from, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0 ? -errno : 0;
    const struct cmsghdr *header = r == 0 ? CMSG_FIRSTHDR(&message) : NULL;

    if (r == 0 && (message.msg_flags & MSG_CTRUNC) != 0) {
        r = -E2BIG;
    }
    if (header != NULL && header->cmsg_type == SCM_RIGHTS) {
        count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(&control.header), count * sizeof(int));
    }
    for (size_t i = 0; r == 0 && i < count; i++) {
        const struct hand_packet packet = {.is_kept = !is_harmless(fds[i])};

        r = hand_send(HAND_SOCKET, &packet, HAND_PACKET_FILE_SIZE, &fds[i], packet.is_kept ? 0 : 1,
                      0);
    }
    if (r < 0) {
        (void)err_sys(&end->err, r, "cannot receive descriptors");
    }
}

/* ---- in qvmd ---- */

int hand_receive(struct hands *hands, uid_t owner, int socket, unsigned deadline_ms,
                 hand_fn on_done, void *data, struct hand **hand, struct err *err)
{
    struct hand_file places[HAND_PASS_MAX]; /* room for what comes back */
    struct hand *made;

    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        places[i] = (struct hand_file){.path = ""};
    }
    made = hand_make(hands, owner, places, ARRAY_LEN(places), deadline_ms, on_done, data);
    if (made == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    made->order.step = HAND_RECEIVE;
    made->order.socket = socket;
    return hand_submit(made, hand, err);
}

int hand_child_send(int socket, const struct hand_pass *pass, int fd)
{
    return hand_send(socket, pass, sizeof(*pass), &fd, 1, MSG_DONTWAIT);
}

int hand_pass(struct hand *keeper, int socket, const char *text, const size_t *files, size_t count,
              hand_fn on_done, void *data, struct err *err)
{
    static struct hand_pass pass; /* of the one loop thread */
    size_t size = strlen(text);
    int r;

    if (size > sizeof(pass.text) || count > HAND_PASS_MAX) {
        return err_set(err, -EMSGSIZE, "a packet with %zu files and %zu bytes is too big", count,
                       size);
    }
    pass = (struct hand_pass){.count = count, .size = size};
    memcpy(pass.text, text, size);
    for (size_t i = 0; i < count; i++) {
        pass.files[i] = (uint16_t)files[i];
    }
    r = keeper->is_closing || keeper->is_timed_out
            ? -EPIPE
            : hand_child_send(keeper->child.socket, &pass, socket);
    if (r < 0) {
        return err_sys(err, r, "cannot tell a hand to send files on");
    }
    keeper->is_answered = keeper->is_reported = false;
    keeper->on_done = on_done;
    keeper->data = data;
    hand_listen(keeper);
    return 0;
}
