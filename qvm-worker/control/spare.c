#include "qvm-worker/control/spare.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/spawn_fds.h"

/* What came with the order, while it has not found its place. */
struct arrived {
    int fds[SPAWN_FD_COUNT];
    size_t count;
};

static int receive(struct spare_order *order, struct arrived *arrived)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(arrived->fds))];
    } control;
    struct iovec piece = {.iov_base = order, .iov_len = sizeof(*order)};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof(control.space)};
    const struct cmsghdr *header;
    ssize_t n;

    do { /* qvmd hangs up behind its order: ECONNRESET tells that it did not read SPARE_READY */
        n = recvmsg(SPAWN_FD_SPARE, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    if (n != (ssize_t)sizeof(*order) || (message.msg_flags & MSG_CTRUNC) != 0) {
        return -EPROTO;
    }
    header = CMSG_FIRSTHDR(&message);
    if (header == NULL || header->cmsg_type != SCM_RIGHTS) {
        return -EPROTO;
    }
    arrived->count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(arrived->fds, CMSG_DATA(header), arrived->count * sizeof(int));
    return 0;
}

/* None of them lies where another one goes: those places are taken, or lower than what is free. */
static int place(const struct spare_order *order, struct arrived *arrived)
{
    size_t next = 0;

    for (size_t i = 0; i < arrived->count; i++) {
        int moved = fcntl(arrived->fds[i], F_DUPFD_CLOEXEC, SPAWN_FD_COUNT);

        (void)close(arrived->fds[i]);
        arrived->fds[i] = moved;
    }
    for (int number = 0; number < SPAWN_FD_COUNT; number++) {
        if ((order->fds & 1u << number) == 0) {
            continue;
        }
        if (next == arrived->count || dup2(arrived->fds[next], number) < 0) {
            return -EPROTO;
        }
        (void)close(arrived->fds[next++]);
    }
    return next == arrived->count ? 0 : -EPROTO;
}

/* For people who look at processes: our arguments lie one behind the other. */
static void show(char **argv, const char *guest)
{
    char *end = argv[2] + strlen(argv[2]);
    size_t room = (size_t)(end - argv[1]), used = sizeof(SPAWN_ARG) + strlen(guest);

    if (argv[2] > argv[1] && used <= room) {
        memset(argv[1], 0, room);
        memcpy(argv[1], SPAWN_ARG, sizeof(SPAWN_ARG));
        argv[2] = argv[1] + sizeof(SPAWN_ARG);
        memcpy(argv[2], guest, strlen(guest));
    }
}

void spare_hide(void)
{
    struct rlimit core = {0};

    if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_max == 0) {
        (void)prctl(PR_SET_DUMPABLE, 0); /* fails for wrong values alone */
    }
}

const char *spare_wait(char **argv)
{
    static struct spare_order order;
    struct arrived arrived = {.count = 0};

    spare_hide();
    (void)!send(SPAWN_FD_SPARE, SPARE_READY, strlen(SPARE_READY), MSG_NOSIGNAL); /* or it knows */
    if (receive(&order, &arrived) < 0 || place(&order, &arrived) < 0) {
        return NULL;
    }
    order.guest[SPARE_GUEST_SIZE - 1] = '\0';
    show(argv, order.guest);
    return order.guest;
}
