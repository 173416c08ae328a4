#include "daemon/worker/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "daemon/cgroup/cgroup.h"
#include "daemon/crash_point.h"
#include "daemon/worker/instance_dir.h"
#include "daemon/worker/spare.h"
#include "daemon/worker/spawn_inside.h"
#include "daemon/worker/worker_proc.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/lend.h"
#include "proto/base/log.h"
#include "proto/msg.h"

static struct spawn_common common = {.files = {.rlim_cur = 1024, .rlim_max = 4096},
                                     .parent_pidfd = -1};

void spawn_init(void)
{
    struct rlimit all;

    common.parent_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    common.is_root = geteuid() == 0;
    common.nice = getpriority(PRIO_PROCESS, 0); /* which cannot fail for ourselves */
#ifndef QVM_NO_NAMESPACES                       /* sanitizers look into /proc */
    common.has_namespaces = common.is_root;
#endif
    if (getrlimit(RLIMIT_NOFILE, &common.files) < 0) {
        return; /* the defaults above */
    }
    all = common.files;
    all.rlim_cur = all.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &all); /* fewer guests fit otherwise; each failure says so */
}

void spawn_allow_core(uint64_t size)
{
    common.core = (struct rlimit){.rlim_cur = size, .rlim_max = size};
}

bool spawn_has_namespaces(void)
{
    return common.has_namespaces;
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
    crash_point("control socket bound");
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
    auto_free struct spawn_host *host = NULL;
    struct msg_spawn spawn = {
        .name = lend(request->guest),
        .instance = request->instance,
        .nonce = lend(request->nonce),
        .daemon_uid = geteuid(),
        .definition = lend(request->definition),
        .ends_on_reboot = request->ends_on_reboot,
    };
    auto_free char *text = NULL;
    auto_close int fd = memfd_create("qvm-start", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int r;

    if (request->partitions != NULL && spawn_tell_host(request->partitions, &host, &spawn) < 0) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    text = msg_encode(MSG_spawn, &spawn);
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
    int fd = openat(dir_fd, INSTANCE_EXIT_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0) {
        return err_sys(err, -errno, "cannot make the exit record");
    }
    crash_point("exit record made");
    *result = fd;
    return 0;
}

/* ---- the process ---- */

/* Namespaces that cost nothing to give up: nobody in there needs any of them. Its mounts follow in
 * the child, which has to find the libraries first. */
#define NAMESPACES (CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)

/* clone3 does not exist where a filter has to look at its flags, which lie in memory: below
 * systemd's RestrictNamespaces, for one. The older call does the same, but for the group, which the
 * child enters itself. */
static pid_t fork_the_old_way(const struct spawn_birth *birth, uint64_t flags, int *pidfd)
{
    sigset_t all, old;
    pid_t pid;

    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &old); /* no handler of ours is to run in the child */
    pid = (pid_t)syscall(SYS_clone, flags | CLONE_PIDFD | SIGCHLD, NULL, pidfd, NULL, NULL);
    if (pid == 0) {
        if (birth->cgroup_fd >= 0 && cgroup_enter(birth->cgroup_fd) < 0) {
            spawn_child_fail(birth->fds[birth->talk_fd], "cgroup");
        }
        return 0;
    }
    pid = pid < 0 ? -errno : pid;
    (void)sigprocmask(SIG_SETMASK, &old, NULL);
    return pid;
}

/* A child with copies of everything, as by fork; its pidfd comes with it. */
static pid_t fork_with_pidfd(const struct spawn_birth *birth, uint64_t flags, int *pidfd)
{
    struct clone_args args = {
        .flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND | flags,
        .pidfd = (uint64_t)(uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
    };
    pid_t pid;

    if (birth->cgroup_fd >= 0) {
        args.flags |= (__u64)CLONE_INTO_CGROUP;
        args.cgroup = (__u64)birth->cgroup_fd;
    }
    pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    if (pid < 0 && errno == ENOSYS) {
        return fork_the_old_way(birth, flags, pidfd);
    }
    return pid < 0 ? -errno : pid;
}

pid_t spawn_fork(const struct spawn_birth *birth, int *pidfd)
{
    uint64_t namespaces = NAMESPACES & ~(birth->has_network ? (uint64_t)CLONE_NEWNET : 0);

    return fork_with_pidfd(birth, common.has_namespaces ? namespaces : 0, pidfd);
}

pid_t spawn_birth(const struct spawn_birth *birth, int *pidfd)
{
    pid_t pid = fork_with_pidfd(birth, common.has_namespaces ? NAMESPACES : 0, pidfd);

    if ((pid == -EPERM || pid == -EINVAL) && common.has_namespaces) {
        log_warn("spawn: no namespaces for guests why=\"%s\"", strerrordesc_np(-pid));
        common.has_namespaces = false;
        pid = fork_with_pidfd(birth, 0, pidfd);
    }
    if (pid == 0) {
        spawn_child(birth, &common);
    }
    return pid;
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

/* A process for `request`: the spare that has its uid, or a new one. */
static pid_t process_for(const struct spawn_request *request, const int fds[SPAWN_FD_COUNT],
                         struct spawned *spawned)
{
    char name[] = "qvm", arg[] = SPAWN_ARG;
    char *const argv[] = {name, arg, lend(request->guest), NULL};
    struct spawn_birth birth = {.argv = argv,
                                .talk_fd = SPAWN_FD_READY,
                                .qvm_fd = request->qvm_fd,
                                .vdev_fd = request->vdev_fd,
                                .cgroup_fd = request->cgroup_fd,
                                .uid = request->uid};

    if (request->spares != NULL && spares_take(request->spares, request->uid, request->guest, fds,
                                               &spawned->pid, &spawned->pidfd) == 0) {
        spawned->is_spare = true;
        return spawned->pid;
    }
    memcpy(birth.fds, fds, sizeof(birth.fds));
    spawned->pid = spawn_birth(&birth, &spawned->pidfd);
    return spawned->pid;
}

int spawn_qvm(const struct spawn_request *request, struct spawned *spawned, struct err *err)
{
    auto_close int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    auto_close int control_fd = -1, start_fd = -1, exit_fd = -1, ready_read = -1, ready_write = -1;
    struct spawned made = {.pidfd = -1, .ready_fd = -1};
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
    pid = process_for(request,
                      (const int[SPAWN_FD_COUNT]){
                          [SPAWN_FD_NULL] = null_fd,
                          [SPAWN_FD_LOG] = request->log_fd,
                          [SPAWN_FD_LOG_TOO] = request->log_fd,
                          [SPAWN_FD_CONTROL] = control_fd,
                          [SPAWN_FD_START] = start_fd,
                          [SPAWN_FD_EXIT] = exit_fd,
                          [SPAWN_FD_VDEVS] = -1, /* the child puts it there */
                          [SPAWN_FD_READY] = ready_write,
                          [SPAWN_FD_LOG_END] = request->log_end_fd,
                          [SPAWN_FD_KVM] = request->kvm_fd >= 0 ? request->kvm_fd : null_fd,
                      },
                      &made);
    if (pid < 0) {
        return err_sys(err, pid, "cannot make a process for guest '%s'", request->guest);
    }
    crash_point("process made");
    made.ready_fd = take_fd(&ready_read);
    *spawned = made;
    return 0;
}
