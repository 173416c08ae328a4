/* What a hand cannot do once it is confined, tried from inside; and what it has to be able to. */
#include "daemon/hand/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/vfio.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/host/pci.h"
#include "daemon/host/pci_disk.h"
#include "proto/base/cleanup.h"
#include "tests/unit/tree_unit.h"
#include "tests/unit/unit.h"

#define PTR(p)      (long)(uintptr_t)(p)
#define NOT_ALLOWED 98
#define X32(number) ((number) | 0x40000000)

struct attempt {
    const char *what;
    long number, arguments[6];
};

static char page[4096] __attribute__((aligned(4096)));
static char *const no_words[] = {NULL};

static const struct attempt forbidden[] = {
    {"signal qvmd", SYS_kill, {1, 0}},
    {"signal itself", SYS_tgkill, {1, 1, 0}},
    {"hold a process", SYS_pidfd_open, {1, 0}},
    {"signal by descriptor", SYS_pidfd_send_signal, {0}},
    {"take another's descriptor", SYS_pidfd_getfd, {0}},
    {"trace", SYS_ptrace, {PTRACE_SEIZE, 1}},
    {"read another's memory", SYS_process_vm_readv, {1}},
    {"write another's memory", SYS_process_vm_writev, {1}},
    {"limit another", SYS_prlimit64, {1, RLIMIT_NOFILE}},
    {"make a process", SYS_fork, {0}},
    {"make a thread", SYS_clone3, {0}},
    {"run a program", SYS_execve, {PTR("/bin/true"), PTR(no_words), PTR(no_words)}},
    {"run a program by descriptor", SYS_execveat, {0, PTR("")}},
    {"make a socket", SYS_socket, {AF_UNIX, SOCK_STREAM}},
    {"connect", SYS_connect, {0}},
    {"get a message of others than qvmd", SYS_recvmsg, {HAND_OTHER + 1}},
    {"write what it opened", SYS_write, {1, PTR(page), 1}},
    {"write at a place", SYS_pwrite64, {1, PTR(page), 1, 0}},
    {"read what it opened", SYS_read, {0, PTR(page), 1}},
    {"read at a place", SYS_pread64, {0, PTR(page), 1, 0}},
    {"cut a file", SYS_ftruncate, {1, 0}},
    {"make a folder", SYS_mkdirat, {AT_FDCWD, PTR("/tmp/x")}},
    {"remove a file", SYS_unlinkat, {AT_FDCWD, PTR("/tmp/x")}},
    {"rename a file", SYS_renameat2, {AT_FDCWD, PTR("/tmp/x")}},
    {"link a file", SYS_linkat, {AT_FDCWD, PTR("/tmp/x")}},
    {"change who may", SYS_fchmodat, {AT_FDCWD, PTR("/tmp/x")}},
    {"change whose it is", SYS_fchownat, {AT_FDCWD, PTR("/tmp/x")}},
    {"mount", SYS_mount, {0}},
    {"have another root", SYS_chroot, {PTR("/")}},
    {"make a namespace", SYS_unshare, {CLONE_NEWUSER}},
    {"be root again", SYS_setuid, {0}},
    {"be dumpable", SYS_prctl, {PR_SET_DUMPABLE, 1}},
    {"map code", SYS_mmap, {0, 4096, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1}},
    {"make code of data", SYS_mprotect, {PTR(page), 4096, PROT_EXEC}},
    {"make a ring", SYS_io_uring_setup, {8, PTR(page)}},
    {"load a program into the kernel", SYS_bpf, {0}},
    {"take a lock of another kind", SYS_flock, {1, LOCK_EX}},
    {"have signals sent", SYS_fcntl, {1, F_SETOWN, 1}},
    {"take a lock of the process", SYS_fcntl, {1, F_SETLK, PTR(page)}},
    {"type for others", SYS_ioctl, {0, 0x5412 /* TIOCSTI */, PTR(page)}},
    {"discard a disk", SYS_ioctl, {1, BLKDISCARD, PTR(page)}},
    {"the x32 way of opening", X32(SYS_openat), {AT_FDCWD, PTR("/"), O_RDONLY}},
    {"a number that is none", 9999, {0}},
};

/* What one that works on devices, as root, has no business with. */
static const struct attempt forbidden_for_devices[] = {
    {"signal qvmd", SYS_kill, {1, 0}},
    {"signal by descriptor", SYS_pidfd_send_signal, {0}},
    {"take another's descriptor", SYS_pidfd_getfd, {0}},
    {"trace", SYS_ptrace, {PTRACE_SEIZE, 1}},
    {"write another's memory", SYS_process_vm_writev, {1}},
    {"make a process", SYS_fork, {0}},
    {"make a thread", SYS_clone3, {0}},
    {"run a program", SYS_execve, {PTR("/bin/true"), PTR(no_words), PTR(no_words)}},
    {"load a module", SYS_finit_module, {0}},
    {"start another kernel", SYS_kexec_file_load, {0}},
    {"make a socket", SYS_socket, {AF_UNIX, SOCK_STREAM}},
    {"get a message of others than qvmd", SYS_recvmsg, {HAND_OTHER}},
    {"make a file", SYS_openat, {AT_FDCWD, PTR("/tmp/x"), O_WRONLY | O_CREAT, 0600}},
    {"empty a file", SYS_openat, {AT_FDCWD, PTR("/tmp/x"), O_WRONLY | O_TRUNC}},
    {"make a folder", SYS_mkdirat, {AT_FDCWD, PTR("/tmp/x")}},
    {"remove a file", SYS_unlinkat, {AT_FDCWD, PTR("/tmp/x")}},
    {"rename a file", SYS_renameat2, {AT_FDCWD, PTR("/tmp/x")}},
    {"change who may", SYS_fchmodat, {AT_FDCWD, PTR("/tmp/x")}},
    {"change whose it is", SYS_fchownat, {AT_FDCWD, PTR("/tmp/x")}},
    {"mount", SYS_mount, {0}},
    {"enter a namespace", SYS_setns, {0, 0}},
    {"be another user", SYS_setuid, {0}},
    {"be dumpable", SYS_prctl, {PR_SET_DUMPABLE, 1}},
    {"have ports", SYS_ioperm, {0x80, 1, 1}},
    {"map code", SYS_mmap, {0, 4096, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1}},
    {"make code of data", SYS_mprotect, {PTR(page), 4096, PROT_EXEC}},
    {"make a ring", SYS_io_uring_setup, {8, PTR(page)}},
    {"load a program into the kernel", SYS_bpf, {0}},
    {"have signals sent", SYS_fcntl, {1, F_SETOWN, 1}},
    {"lock a disk", SYS_fcntl, {1, F_OFD_SETLK, PTR(page)}},
    {"let a device reach memory", SYS_ioctl, {1, VFIO_IOMMU_MAP_DMA, PTR(page)}},
    {"let a device interrupt", SYS_ioctl, {1, VFIO_DEVICE_SET_IRQS, PTR(page)}},
    {"discard a disk", SYS_ioctl, {1, BLKDISCARD, PTR(page)}},
    {"the x32 way of opening", X32(SYS_openat), {AT_FDCWD, PTR("/"), O_RDONLY}},
    {"a number that is none", 9999, {0}},
};

typedef int (*confine_fn)(struct err *err);

static void become_hand(confine_fn confine)
{
    struct err err = {0};

    /* as daemon/hand/child.c does it; the rights are the test's own */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || confine(&err) != 0) {
        _exit(NOT_ALLOWED);
    }
}

static int status_of(const struct attempt *attempt, confine_fn confine)
{
    const long *a = attempt->arguments;
    int status = 0;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        become_hand(confine);
        (void)syscall(attempt->number, a[0], a[1], a[2], a[3], a[4], a[5]);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static void check_all(const struct attempt *attempts, size_t count, confine_fn confine)
{
    for (size_t i = 0; i < count; i++) {
        int status = status_of(&attempts[i], confine);

        ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%s", attempts[i].what);
    }
}

START_TEST(a_hand_that_tries_anything_else_is_killed)
{
    check_all(forbidden, ARRAY_LEN(forbidden), hand_confine);
}
END_TEST

START_TEST(one_that_connects_makes_sockets_of_one_kind_and_nothing_else_besides)
{
    static const struct attempt sockets[] = {
        {"one for datagrams", SYS_socket, {AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK}},
        {"one that waits", SYS_socket, {AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC}},
        {"one of the network", SYS_socket, {AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK}},
        {"listen", SYS_listen, {0, 1}},
        {"have an address", SYS_bind, {0}},
    };
    static const struct attempt fine[] = {
        {"its own", SYS_socket, {AF_UNIX, HAND_SOCKET_TYPE}},
        {"connect", SYS_connect, {0}},
    };

    check_all(sockets, ARRAY_LEN(sockets), hand_confine_connecting);
    for (size_t i = 0; i < ARRAY_LEN(forbidden); i++) {
        if (forbidden[i].number != SYS_connect) {
            check_all(&forbidden[i], 1, hand_confine_connecting);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(fine); i++) {
        ck_assert_msg(WIFEXITED(status_of(&fine[i], hand_confine_connecting)), "%s", fine[i].what);
        ck_assert_msg(WIFSIGNALED(status_of(&fine[i], hand_confine)), "%s", fine[i].what);
    }
}
END_TEST

START_TEST(and_so_is_one_that_works_on_devices)
{
    check_all(forbidden_for_devices, ARRAY_LEN(forbidden_for_devices), hand_confine_root);
}
END_TEST

#define DISK "/sys/class/block/sda"

START_TEST(a_hand_for_devices_still_sees_what_there_is_and_what_the_host_does_with_it)
{
    int status = 0;
    pid_t pid;

    tree_link(DISK, "../../devices/pci0000:00/0000:01:00.0");
    tree_bytes("/sys/devices/pci0000:00/0000:01:00.0/hidden", "0\n", 2);
    tree_bytes("/dev/sda", "disk", 4);
    pid = fork();
    if (pid == 0) {
        struct pci_table table = {0};
        struct err err = {0};
        int disks[4];
        size_t count = 0;

        become_hand(hand_confine_root);
        (void)pci_read("", &table, &err); /* as many as this machine has */
        (void)pci_hold_disks(tree_root, "0000:01:00.0", disks, ARRAY_LEN(disks), &count, &err);
        pci_fini(&table);
        _exit(count == 1 ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status), "signal %d", WTERMSIG(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

START_TEST(a_hand_still_opens_and_locks_and_tells_sizes)
{
    char path[] = "/tmp/test_hand_confine-XXXXXX";
    auto_close int fd = mkstemp(path);
    int status = 0;
    pid_t pid;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, "abc", 3), 3);
    pid = fork();
    if (pid == 0) {
        const struct hand_file file = {.path = path, .is_readable = true, .is_writable = true};
        struct hand_opened opened = {.fd = -1};
        struct err err = {0};

        become_hand(hand_confine);
        _exit(hand_open(&file, "test", &opened, &err) == 0 && opened.size == 3 ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    (void)unlink(path);
    ck_assert_msg(WIFEXITED(status), "signal %d", WTERMSIG(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

/* The door kills; behind it the limits stand, which the child tells before the door closes. */
START_TEST(a_hand_has_limits_of_its_own)
{
    static const int none[] = {RLIMIT_CORE, RLIMIT_FSIZE, RLIMIT_MEMLOCK, RLIMIT_NPROC};
    struct rlimit limit;
    int fds[2];
    char answer = 0;
    pid_t pid;

    ck_assert_int_eq(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        become_hand(hand_confine);
        for (;;) {
            (void)fcntl(fds[1], F_GETFL); /* allowed: it stays until it is killed */
        }
    }
    (void)close(fds[1]);
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        do { /* until it got so far */
            ck_assert_int_eq(prlimit(pid, (enum __rlimit_resource)none[i], NULL, &limit), 0);
        } while (limit.rlim_max != 0);
    }
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(read(fds[0], &answer, 1), 0);
    (void)close(fds[0]);
}
END_TEST

UNIT_MAIN_WITH("hand_confine", tree_make, tree_remove, a_hand_that_tries_anything_else_is_killed,
               one_that_connects_makes_sockets_of_one_kind_and_nothing_else_besides,
               and_so_is_one_that_works_on_devices,
               a_hand_for_devices_still_sees_what_there_is_and_what_the_host_does_with_it,
               a_hand_still_opens_and_locks_and_tells_sizes, a_hand_has_limits_of_its_own)
