/* The process that has ports of the host. */
#include <errno.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/lockdown/lockdown.h"
#include "qvm-worker/ports/ports.h"

#define IOPORTS "/proc/ioports"
#define WINDOW  "PCI Bus "

struct range {
    uint16_t start;
    uint32_t size;
};

/* ---- the process: what is called here is safe after a fork beside threads ---- */

static uint32_t use(const struct ports_request *request)
{
    switch (request->size | (request->is_write ? 0x80 : 0)) {
    case 1:
        return inb(request->port);
    case 2:
        return inw(request->port);
    case 4:
        return inl(request->port);
    case 0x81:
        outb((uint8_t)request->value, request->port);
        return 0;
    case 0x82:
        outw((uint16_t)request->value, request->port);
        return 0;
    case 0x84:
        outl(request->value, request->port);
        return 0;
    default:
        return UINT32_MAX;
    }
}

static bool is_ours(const struct range *range, const struct ports_request *request)
{
    uint32_t first = request->port;

    return first >= range->start && first + request->size <= range->start + range->size;
}

/* Until the qvm is gone, or says something that makes no sense. */
static void serve(int fd, const struct range *range)
{
    struct ports_request request;

    while (read(fd, &request, sizeof(request)) == (ssize_t)sizeof(request)) {
        uint32_t value = is_ours(range, &request) ? use(&request) : UINT32_MAX;

        if (write(fd, &value, sizeof(value)) != (ssize_t)sizeof(value)) {
            break;
        }
    }
}

/* Its first word is 0, or the errno for which it ends. */
static void process_main(int fd, const struct range *range)
{
    uint32_t said;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* cannot fail: the arguments are right */
    said = ioperm(range->start, range->size, 1) == 0 ? 0 : (uint32_t)errno;
    if (said == 0 && dup2(fd, STDIN_FILENO) != STDIN_FILENO) {
        said = (uint32_t)errno;
    }
    if (said == 0 && syscall(SYS_close_range, STDIN_FILENO + 1, ~0u, 0) != 0) {
        said = (uint32_t)errno;
    }
    if (said == 0 && lockdown_close(LOCKDOWN_PORTS, NULL) != 0) {
        said = EPERM;
    }
    fd = said == 0 ? STDIN_FILENO : fd;
    if (write(fd, &said, sizeof(said)) == (ssize_t)sizeof(said) && said == 0) {
        serve(fd, range);
    }
    _exit(0);
}

/* ---- who wants it ---- */

int ports_find_holder(const char *text, uint16_t start, uint32_t size, char *holder,
                      uint32_t holder_size)
{
    const char *line = text;

    for (; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
        unsigned first, last;
        int at = 0;

        line += *line == '\n' ? 1 : 0;
        if (sscanf(line, " %x-%x : %n", &first, &last, &at) != 2 || at == 0 ||
            first >= start + size || last < start ||
            strncmp(line + at, WINDOW, strlen(WINDOW)) == 0) {
            continue;
        }
        (void)snprintf(holder, holder_size, "%.*s", (int)strcspn(line + at, "\n"), line + at);
        return 1;
    }
    return 0;
}

static int check_host(const struct range *range, struct err *err)
{
    auto_free char *text = NULL;
    char holder[64];
    size_t size = 0;
    FILE *file = fopen(IOPORTS, "re");
    ssize_t length = file != NULL ? getdelim(&text, &size, '\0', file) : -1;

    if (file != NULL) {
        (void)fclose(file); /* it was only read */
    }
    if (length <= 0) {
        return err_sys(err, -EACCES, "cannot read who of the host has them (" IOPORTS ")");
    }
    if (ports_find_holder(text, range->start, range->size, holder, sizeof(holder)) != 0) {
        return err_set(err, -EBUSY, "the host has them: '%s' (" IOPORTS ")", holder);
    }
    return 0;
}

static int refuse(uint32_t said, struct err *err)
{
    if (said == ENOSYS) {
        return err_set(err, -EOPNOTSUPP,
                       "this kernel cannot let a process have some ports alone "
                       "(CONFIG_X86_IOPL_IOPERM)");
    }
    return err_sys(err, -(int)said, "the process that has them could not be made (it needs root)");
}

int ports_open(uint16_t start, uint32_t size, int *fd, struct err *err)
{
    const struct range range = {start, size};
    int sockets[2] = {-1, -1};
    uint32_t said = EPIPE;
    pid_t pid;
    int r = check_host(&range, err);

    if (r != 0) {
        return r;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
        return err_sys(err, -errno, "no sockets for the process that has them");
    }
    pid = fork();
    if (pid == 0) {
        (void)close(sockets[0]); /* nothing of ours depends on it */
        process_main(sockets[1], &range);
    }
    cleanup_close(&sockets[1]);
    if (pid < 0) {
        r = err_sys(err, -errno, "no process for them");
    } else if (read(sockets[0], &said, sizeof(said)) != (ssize_t)sizeof(said) || said != 0) {
        (void)waitpid(pid, NULL, 0); /* it ends by itself */
        r = refuse(said, err);
    }
    *fd = r == 0 ? take_fd(&sockets[0]) : -1;
    cleanup_close(&sockets[0]);
    return r;
}
