/* Who opens the files of dumps for a qvm alone. */
#include "qvm-worker/dump_opener.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/control/command.h"
#include "qvm-worker/plan/plan.h"

#define NAME_SIZE 4352 /* a path, a guest's name, a time */
#define TRIES     100  /* files of one second */

struct dump_opener {
    int fd;
    unsigned left;
};

/* What the child answers: 0 and a descriptor beside it, or an errno. */
struct answer {
    int32_t code;
    char name[NAME_SIZE];
};

union control_space {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

/* ---- in the child ---- */

static int open_file(const struct plan_dump *dump, const char *guest, char *name)
{
    char stamp[32];
    time_t now = time(NULL);
    struct tm tm;
    int fd = -1;

    (void)localtime_r(&now, &tm);
    (void)strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &tm);
    for (int i = 0; fd < 0 && i < TRIES; i++) {
        char number[16] = "";

        if (i > 0) {
            (void)snprintf(number, sizeof(number), "-%d", i);
        }
        (void)snprintf(name, NAME_SIZE, "%.4095s/%.63s-%s%s.gcore", dump->directory, guest, stamp,
                       number);
        fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0 && errno != EEXIST) {
            return -errno;
        }
    }
    return fd >= 0 ? fd : -EEXIST;
}

static int send_answer(int socket, const struct answer *answer, int fd)
{
    union control_space space = {0};
    struct answer copy = *answer;
    struct iovec piece = {.iov_base = &copy, .iov_len = sizeof(copy)};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

    if (fd >= 0) {
        struct cmsghdr *header;

        message.msg_control = space.bytes;
        message.msg_controllen = sizeof(space.bytes);
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(int));
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void serve(int socket, const struct plan_dump *dump, const char *guest)
{
    char word;

    while (recv(socket, &word, 1, 0) == 1) {
        struct answer answer = {0};
        auto_close int fd = -1;

        if (dump->directory != NULL) {
            fd = open_file(dump, guest, answer.name);
        } else {
            (void)snprintf(answer.name, sizeof(answer.name), "|%.4095s", dump->command);
            int r = command_start(dump->command, false, &fd);

            fd = r == 0 ? fd : r;
        }
        answer.code = fd < 0 ? -fd : 0;
        if (send_answer(socket, &answer, fd) != 0) {
            return;
        }
    }
}

/* Everything but its socket and the standard streams goes: a VM lives as long as its descriptors.
 */
static void become_opener(int socket, const struct plan_dump *dump, const char *guest)
{
    if (socket > STDERR_FILENO + 1) {
        (void)close_range(STDERR_FILENO + 1, (unsigned)socket - 1, 0);
    }
    (void)close_range((unsigned)socket + 1, ~0u, 0);
    (void)prctl(PR_SET_NAME, "dump");
    (void)signal(SIGINT, SIG_IGN); /* of the terminal: the qvm's */
    (void)signal(SIGQUIT, SIG_IGN);
    (void)signal(SIGCHLD, SIG_IGN); /* nobody waits for commands */
    serve(socket, dump, guest);
    _exit(EXIT_SUCCESS);
}

/* ---- in the qvm ---- */

static int check_directory(const struct plan_dump *dump, struct err *err)
{
    auto_close int fd = -1;

    if (dump->directory == NULL) {
        return 0;
    }
    fd = open(dump->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || faccessat(AT_FDCWD, dump->directory, W_OK | X_OK, 0) != 0) {
        return err_sys(err, -errno, "%s: no dump can be written to '%s'", dump->where,
                       dump->directory);
    }
    return 0;
}

int dump_opener_create(const struct plan_dump *dump, const char *guest, struct dump_opener **opener,
                       struct err *err)
{
    struct dump_opener *new = NULL;
    int pair[2];
    pid_t pid;
    int r = check_directory(dump, err);

    if (r != 0) {
        return r;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return err_sys(err, -errno, "cannot make a socket");
    }
    new = calloc(1, sizeof(*new));
    pid = new != NULL ? fork() : -1;
    if (pid == 0) {
        become_opener(pair[1], dump, guest);
    }
    (void)close(pair[1]);
    if (pid < 0) {
        r = -errno;
        (void)close(pair[0]);
        free(new);
        return err_sys(err, r, "cannot make the process that opens dumps");
    }
    new->fd = pair[0];
    new->left = DUMP_OPENER_MAX;
    *opener = new;
    return 0;
}

void dump_opener_destroy(struct dump_opener *opener)
{
    if (opener != NULL) {
        cleanup_close(&opener->fd);
        free(opener);
    }
}

static int receive_answer(int socket, struct answer *answer, int *fd)
{
    union control_space space = {0};
    struct iovec piece = {.iov_base = answer, .iov_len = sizeof(*answer)};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = space.bytes,
                             .msg_controllen = sizeof(space.bytes)};
    ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    struct cmsghdr *header = n >= 0 ? CMSG_FIRSTHDR(&message) : NULL;

    if (header != NULL && header->cmsg_type == SCM_RIGHTS) {
        memcpy(fd, CMSG_DATA(header), sizeof(*fd));
    }
    return n == (ssize_t)sizeof(*answer) ? 0 : -EPIPE;
}

int dump_opener_open(struct dump_opener *opener, int *fd, char *name, size_t size, struct err *err)
{
    struct answer answer = {0};
    int r;

    if (opener->left == 0) {
        return err_set(err, -EDQUOT, "this VM has made %d dumps already", DUMP_OPENER_MAX);
    }
    opener->left--;
    r = send(opener->fd, "o", 1, MSG_NOSIGNAL) == 1 ? 0 : -EPIPE;
    r = r == 0 ? receive_answer(opener->fd, &answer, fd) : r;
    if (r != 0) {
        return err_set(err, r, "the process that opens dumps is gone");
    }
    answer.name[sizeof(answer.name) - 1] = '\0';
    (void)snprintf(name, size, "%s", answer.name);
    return answer.code == 0 ? 0 : err_sys(err, -answer.code, "cannot open '%s'", answer.name);
}
