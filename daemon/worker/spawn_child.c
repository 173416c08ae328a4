/* The child, from its fork to the program: it gives up one thing after the other.
 *
 * The order matters: descriptors while they can still be told about; the tree while mounting is
 * allowed; limits before the user, who could not be counted otherwise; the user; then what nobody
 * can take back. Nothing here allocates, locks or returns. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/securebits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/worker/spawn.h"
#include "daemon/worker/spawn_inside.h"
#include "proto/base/cleanup.h"

#define SAFE_FD     64                  /* above all numbers that descriptors end at */
#define THREADS_MAX 640                 /* 512 vCPUs, control, KVM's own, and some */
#define STACK_MAX   (UINT64_C(1) << 20) /* of each thread */
/* All stacks, and as much again: memory of its own besides the guest's RAM, also where no control
 * group counts it. */
#define DATA_MAX (2 * THREADS_MAX * STACK_MAX)

#define SECUREBITS                                                                                 \
    (SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |                        \
     SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED)

/* Descriptors that the child needs until it runs the program, out of the way. */
struct own {
    int talk, qvm, vdevs, parent;
};

void spawn_child_fail(int talk_fd, const char *step)
{
    char text[128];
    int n = snprintf(text, sizeof(text), "%s: %s", step, strerrorname_np(errno));

    (void)!write(talk_fd, text, (size_t)n); /* nobody else could be told */
    _exit(SPAWN_EXIT_FAILED);
}

static int move(int fd, int talk)
{
    int moved = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, SAFE_FD);

    if (moved < 0 && fd >= 0) {
        spawn_child_fail(talk, "descriptors");
    }
    return moved;
}

/* Put each descriptor at its number; all others close when the program is run. */
static void place_descriptors(const struct spawn_birth *birth, struct own *own)
{
    int moved[SPAWN_FD_COUNT];

    own->talk = birth->fds[birth->talk_fd];
    own->talk = move(own->talk, own->talk);
    own->qvm = move(birth->qvm_fd, own->talk);
    own->vdevs = move(birth->vdev_fd, own->talk);
    own->parent = move(own->parent, own->talk);
    for (int i = 0; i < SPAWN_FD_COUNT; i++) {
        moved[i] = move(birth->fds[i], own->talk);
    }
    for (int i = 0; i < SPAWN_FD_COUNT; i++) {
        if (moved[i] < 0) {
            (void)close(i); /* nothing may be there at all */
        } else if (dup2(moved[i], i) < 0) {
            spawn_child_fail(own->talk, "descriptors");
        }
    }
    if (close_range(SPAWN_FD_COUNT, ~0u, CLOSE_RANGE_CLOEXEC) < 0) {
        spawn_child_fail(own->talk, "close_range");
    }
}

static void place_vdevs(const struct own *own, bool has_namespaces)
{
    const char *step = "";
    const struct spawn_extra vdevs = {.fd = own->vdevs, .name = "vdevs"};
    int fd = has_namespaces ? spawn_child_tree(&vdevs, 1, &step) : own->vdevs;

    if (fd < 0) {
        spawn_child_fail(own->talk, step);
    }
    if (dup2(move(fd, own->talk), SPAWN_FD_VDEVS) < 0) { /* moved: it may be there, and close */
        spawn_child_fail(own->talk, "descriptors");
    }
}

void spawn_child_reset_signals(void)
{
    const struct sigaction usual = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < NSIG; number++) {
        (void)sigaction(number, &usual, NULL); /* refused for those that cannot be ignored */
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail */
}

static void limit(const struct spawn_common *common, int talk)
{
    const struct {
        __rlimit_resource_t resource;
        struct rlimit limit;
    } limits[] = {
        {RLIMIT_NOFILE, common->files},
        {RLIMIT_CORE, common->core},
        {RLIMIT_STACK, {STACK_MAX, STACK_MAX}},
#ifndef QVM_NO_NAMESPACES /* sanitizers map more than there is */
        {RLIMIT_DATA, {DATA_MAX, DATA_MAX}},
#endif
        {RLIMIT_MEMLOCK, {0, 0}},
        {RLIMIT_MSGQUEUE, {0, 0}},
        {RLIMIT_RTPRIO, {0, 0}},
        {RLIMIT_NICE, {0, 0}},
        /* counted by user: without a uid of its own it would be counted with all of the user's */
        {RLIMIT_NPROC, {THREADS_MAX, THREADS_MAX}},
    };

    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        if (limits[i].resource == RLIMIT_NPROC && !common->is_root) {
            continue;
        }
        if (setrlimit(limits[i].resource, &limits[i].limit) < 0) {
            spawn_child_fail(talk, "limits");
        }
    }
    (void)setpriority(PRIO_PROCESS, 0, common->nice); /* refused if it is less than 0, and is 0 */
}

/* The library's own calls would look for other threads, of which a fork knows nothing. */
static void become(uid_t uid, int talk)
{
    for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; capability++) {
        /* up to the last one that this kernel has */
    }
    if (prctl(PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0) < 0) {
        spawn_child_fail(talk, "securebits");
    }
    if (syscall(SYS_setgroups, (size_t)0, NULL) < 0 || syscall(SYS_setresgid, uid, uid, uid) < 0 ||
        syscall(SYS_setresuid, uid, uid, uid) < 0) {
        spawn_child_fail(talk, "user");
    }
}

/* From here on the kernel ends us with qvmd; becoming another user would have undone it. */
static void die_with_parent(const struct own *own)
{
    struct pollfd parent = {.fd = own->parent, .events = POLLIN};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) {
        spawn_child_fail(own->talk, "prctl");
    }
    if (poll(&parent, 1, 0) != 0) {
        _exit(SPAWN_EXIT_FAILED); /* qvmd is gone already */
    }
}

void spawn_child(const struct spawn_birth *birth, const struct spawn_common *common)
{
    char *const environment[] = {NULL};
    struct own own = {.parent = common->parent_pidfd};

    place_descriptors(birth, &own);
    spawn_child_reset_signals();
    (void)umask(0);
    if (setsid() < 0 || chdir("/") < 0) {
        spawn_child_fail(own.talk, "session");
    }
    place_vdevs(&own, common->has_namespaces);
    (void)umask(077);
    limit(common, own.talk);
    if (common->is_root) {
        become(birth->uid, own.talk);
    }
    die_with_parent(&own);
    (void)execveat(own.qvm, "", birth->argv, environment, AT_EMPTY_PATH);
    spawn_child_fail(own.talk, "execveat");
}
