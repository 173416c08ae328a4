#include "daemon/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "daemon/instance_dir.h"
#include "daemon/lend.h"
#include "daemon/worker_proc.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/msg.h"
#include "proto/spawn_fds.h"

#define SAFE_FD 64 /* above all numbers that descriptors end at */

static struct rlimit child_files = {.rlim_cur = 1024, .rlim_max = 4096};
static bool is_ignored[NSIG]; /* by qvmd: what it handles is not inherited, this is */

void spawn_init(void)
{
    struct sigaction now;
    struct rlimit all;

    for (int number = 1; number < NSIG; number++) {
        is_ignored[number] = sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
    }
    if (getrlimit(RLIMIT_NOFILE, &child_files) < 0) {
        return; /* the defaults above */
    }
    all = child_files;
    all.rlim_cur = all.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &all); /* fewer guests fit otherwise; each failure says so */
}

/* ---- in qvmd: what the child is given ---- */

static int make_socket(int dir_fd, int *result, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    auto_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    mode_t old_mask;
    int r;

    if (fd < 0) {
        return err_sys(err, -errno, "cannot make a control socket");
    }
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" WORKER_SOCKET,
                   dir_fd);
    old_mask = umask(077);
    r = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    (void)umask(old_mask);
    if (r < 0) {
        return err_sys(err, r, "cannot bind the control socket");
    }
    *result = take_fd(&fd);
    return 0;
}

static int write_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, text, size);

        if (n < 0) {
            return -errno;
        }
        text += n;
        size -= (size_t)n;
    }
    return 0;
}

static int make_start(const struct spawn_request *request, int *result, struct err *err)
{
    const struct msg_spawn spawn = {
        .name = lend(request->guest),
        .instance = request->instance,
        .nonce = lend(request->nonce),
        .daemon_uid = geteuid(),
        .definition = lend(request->definition),
    };
    auto_free char *text = msg_encode(MSG_spawn, &spawn);
    auto_close int fd = memfd_create("qvm-start", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int r;

    if (text == NULL || fd < 0) {
        return err_set(err, -ENOMEM, "cannot write down what the qvm is to do");
    }
    r = write_all(fd, text, strlen(text));
    if (r == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0) {
        r = -errno;
    }
    if (r < 0) {
        return err_sys(err, r, "cannot write down what the qvm is to do");
    }
    *result = take_fd(&fd);
    return 0;
}

static int make_exit(int dir_fd, int *result, struct err *err)
{
    int fd = openat(dir_fd, INSTANCE_EXIT_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0) {
        return err_sys(err, -errno, "cannot make the exit record");
    }
    *result = fd;
    return 0;
}

/* ---- in the child: nothing here allocates, locks or returns ---- */

static void __attribute__((noreturn)) child_fail(int ready_fd, const char *step)
{
    char text[128];
    int n = snprintf(text, sizeof(text), "%s: %s", step, strerrorname_np(errno));

    (void)!write(ready_fd, text, (size_t)n); /* nobody else could be told */
    _exit(SPAWN_EXIT_FAILED);
}

/* Put each descriptor at its number; the program's goes out of the way and closes at exec. */
static void child_descriptors(const int fds[SPAWN_FD_COUNT], int *ready_fd, int *qvm_fd)
{
    int moved[SPAWN_FD_COUNT];

    for (int i = 0; i < SPAWN_FD_COUNT; i++) {
        moved[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, SAFE_FD);
        if (moved[i] < 0) {
            child_fail(*ready_fd, "descriptors");
        }
    }
    *ready_fd = moved[SPAWN_FD_READY];
    *qvm_fd = fcntl(*qvm_fd, F_DUPFD_CLOEXEC, SAFE_FD);
    if (*qvm_fd < 0) {
        child_fail(*ready_fd, "descriptors");
    }
    for (int i = 0; i < SPAWN_FD_COUNT; i++) {
        if (dup2(moved[i], i) < 0) {
            child_fail(*ready_fd, "descriptors");
        }
    }
    *ready_fd = SPAWN_FD_READY;
    if (close_range(SPAWN_FD_COUNT, ~0u, CLOSE_RANGE_CLOEXEC) < 0) {
        child_fail(*ready_fd, "close_range");
    }
}

/* The library's own calls would look for other threads, of which a fork knows nothing. */
static void child_user(uid_t uid, int ready_fd)
{
    if (geteuid() != 0) {
        return;
    }
    for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; capability++) {
        /* up to the last one that this kernel has */
    }
    if (syscall(SYS_setgroups, (size_t)0, NULL) < 0 || syscall(SYS_setresgid, uid, uid, uid) < 0 ||
        syscall(SYS_setresuid, uid, uid, uid) < 0) {
        child_fail(ready_fd, "user");
    }
}

static void child_process(uid_t uid, pid_t parent, int ready_fd)
{
    const struct rlimit no_core = {0, 0};
    const struct sigaction usual = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < NSIG; number++) {
        if (is_ignored[number]) {
            (void)sigaction(number, &usual, NULL); /* cannot fail: it could be ignored, too */
        }
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail */
    (void)umask(077);
    if (setsid() < 0 || chdir("/") < 0 || setrlimit(RLIMIT_CORE, &no_core) < 0 ||
        setrlimit(RLIMIT_NOFILE, &child_files) < 0) {
        child_fail(ready_fd, "limits");
    }
    child_user(uid, ready_fd);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) {
        child_fail(ready_fd, "prctl");
    }
    if (getppid() != parent) {
        _exit(SPAWN_EXIT_FAILED); /* qvmd is gone already */
    }
}

static void __attribute__((noreturn))
child_main(const struct spawn_request *request, const int fds[SPAWN_FD_COUNT], pid_t parent)
{
    char name[] = "qvm", arg[] = SPAWN_ARG;
    char *const argv[] = {name, arg, lend(request->guest), NULL};
    char *const environment[] = {NULL};
    int ready_fd = fds[SPAWN_FD_READY];
    int qvm_fd = request->qvm_fd;

    child_descriptors(fds, &ready_fd, &qvm_fd);
    child_process(request->uid, parent, ready_fd);
    (void)execveat(qvm_fd, "", argv, environment, AT_EMPTY_PATH);
    child_fail(ready_fd, "execveat");
}

/* A child with copies of everything, as by fork; its pidfd comes with it. */
static pid_t fork_with_pidfd(int *pidfd)
{
    struct clone_args args = {
        .flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
        .pidfd = (uint64_t)(uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
    };

    return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

static int make_ready(int *read_fd, int *write_fd, struct err *err)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0) {
        return err_sys(err, -errno, "cannot make a pipe");
    }
    *read_fd = fds[0];
    *write_fd = fds[1];
    if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0) {
        return err_sys(err, -errno, "cannot make a pipe");
    }
    return 0;
}

int spawn_qvm(const struct spawn_request *request, struct spawned *spawned, struct err *err)
{
    auto_close int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    auto_close int control_fd = -1, start_fd = -1, exit_fd = -1, ready_read = -1, ready_write = -1;
    pid_t parent = getpid();
    int pidfd = -1;
    pid_t pid;
    int r = null_fd < 0 ? err_sys(err, -errno, "cannot open /dev/null") : 0;

    if (r == 0) {
        r = make_socket(request->dir_fd, &control_fd, err);
    }
    if (r == 0) {
        r = make_start(request, &start_fd, err);
    }
    if (r == 0) {
        r = make_exit(request->dir_fd, &exit_fd, err);
    }
    if (r == 0) {
        r = make_ready(&ready_read, &ready_write, err);
    }
    if (r < 0) {
        return r;
    }
    pid = fork_with_pidfd(&pidfd);
    if (pid < 0) {
        return err_sys(err, -errno, "cannot make a process for guest '%s'", request->guest);
    }
    if (pid == 0) {
        const int fds[SPAWN_FD_COUNT] = {
            [SPAWN_FD_NULL] = null_fd,
            [SPAWN_FD_LOG] = request->log_fd,
            [SPAWN_FD_LOG_TOO] = request->log_fd,
            [SPAWN_FD_CONTROL] = control_fd,
            [SPAWN_FD_START] = start_fd,
            [SPAWN_FD_EXIT] = exit_fd,
            [SPAWN_FD_VDEVS] = request->vdev_fd,
            [SPAWN_FD_READY] = ready_write,
        };

        child_main(request, fds, parent);
    }
    *spawned = (struct spawned){.pid = pid, .pidfd = pidfd, .ready_fd = take_fd(&ready_read)};
    return 0;
}
