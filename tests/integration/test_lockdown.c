/* The door: what each thread of a qvm cannot do any more, tried from inside. */
#include "qvm-worker/lockdown.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

enum outcome { KILLED, REFUSED, ALLOWED };

struct attempt {
    const char *what;
    long number, arguments[6];
    enum outcome vcpu, control;
};

static char page[4096] __attribute__((aligned(4096)));
static struct flock whole_file = {.l_type = F_WRLCK};
static char *const no_arguments[] = {NULL};

#define PTR(p)      (long)(uintptr_t)(p)
#define X32(number) ((number) | 0x40000000)
#define ME          (-2) /* replaced by our own process id */

static const struct attempt attempts[] = {
    {"open a file", SYS_openat, {AT_FDCWD, PTR("/etc/passwd"), O_RDONLY}, REFUSED, REFUSED},
    {"open a file, the old way", SYS_open, {PTR("/etc/passwd"), O_RDONLY}, REFUSED, REFUSED},
    {"open a file, the new way", SYS_openat2, {AT_FDCWD, PTR("/etc/passwd")}, KILLED, KILLED},
    {"make a socket", SYS_socket, {AF_UNIX, SOCK_STREAM}, KILLED, KILLED},
    {"make two sockets", SYS_socketpair, {AF_UNIX, SOCK_STREAM}, KILLED, KILLED},
    {"connect", SYS_connect, {0}, KILLED, KILLED},
    {"run a program", SYS_execve, {PTR("/bin/true"), PTR(no_arguments)}, KILLED, KILLED},
    {"run a program by descriptor", SYS_execveat, {0, PTR("")}, KILLED, KILLED},
    {"fork", SYS_fork, {0}, KILLED, KILLED},
    {"make a thread", SYS_clone, {SIGCHLD}, KILLED, KILLED},
    {"make a thread, the new way", SYS_clone3, {0}, KILLED, KILLED},
    {"take a lock", SYS_flock, {0, LOCK_EX}, KILLED, KILLED},
    {"give a lock back", SYS_flock, {0, LOCK_UN}, KILLED, KILLED},
    {"lock a range", SYS_fcntl, {0, F_SETLK, PTR(&whole_file)}, KILLED, KILLED},
    {"lock a range and wait", SYS_fcntl, {0, F_SETLKW, PTR(&whole_file)}, KILLED, KILLED},
    {"lock by description", SYS_fcntl, {0, F_OFD_SETLK, PTR(&whole_file)}, KILLED, KILLED},
    {"duplicate by fcntl", SYS_fcntl, {0, F_DUPFD}, KILLED, KILLED},
    {"map code",
     SYS_mmap,
     {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1},
     KILLED,
     KILLED},
    {"make code of data", SYS_mprotect, {PTR(page), 4096, PROT_READ | PROT_EXEC}, KILLED, KILLED},
    {"make code of data with a key",
     SYS_pkey_mprotect,
     {PTR(page), 4096, PROT_EXEC, -1},
     KILLED,
     KILLED},
    {"make an io_uring", SYS_io_uring_setup, {8, PTR(page)}, KILLED, KILLED},
    {"use an io_uring", SYS_io_uring_enter, {0}, KILLED, KILLED},
    {"register with an io_uring", SYS_io_uring_register, {0}, KILLED, KILLED},
    {"trace", SYS_ptrace, {0, 1}, KILLED, KILLED},
    {"write another's memory", SYS_process_vm_writev, {1}, KILLED, KILLED},
    {"signal a process", SYS_kill, {1, 0}, KILLED, KILLED},
    {"signal another's thread", SYS_tgkill, {1, 1, 0}, KILLED, KILLED},
    {"signal by descriptor", SYS_pidfd_send_signal, {0}, KILLED, KILLED},
    {"take another's descriptor", SYS_pidfd_getfd, {0}, KILLED, KILLED},
    {"change one's name", SYS_prctl, {PR_SET_NAME, PTR("x")}, KILLED, KILLED},
    {"be dumpable", SYS_prctl, {PR_SET_DUMPABLE, 1}, KILLED, KILLED},
    {"another filter", SYS_seccomp, {0}, KILLED, KILLED},
    {"new namespaces", SYS_unshare, {CLONE_NEWUSER}, KILLED, KILLED},
    {"mount", SYS_mount, {0}, KILLED, KILLED},
    {"load a program", SYS_bpf, {0}, KILLED, KILLED},
    {"watch a device", SYS_perf_event_open, {0}, KILLED, KILLED},
    {"remove a file", SYS_unlinkat, {AT_FDCWD, PTR("x")}, KILLED, KILLED},
    {"make memory with a name", SYS_memfd_create, {PTR("x")}, KILLED, KILLED},
    {"make a VM", SYS_ioctl, {0, KVM_CREATE_VM}, KILLED, KILLED},
    {"make a vCPU", SYS_ioctl, {0, KVM_CREATE_VCPU}, KILLED, KILLED},
    {"move memory of the VM", SYS_ioctl, {0, (long)KVM_SET_USER_MEMORY_REGION}, KILLED, KILLED},
    {"type for others", SYS_ioctl, {0, 0x5412 /* TIOCSTI */}, KILLED, KILLED},
    {"the x32 way of reading", X32(SYS_read), {0}, KILLED, KILLED},
    {"a number that is none", 9999, {0}, KILLED, KILLED},
    {"look at a path", SYS_newfstatat, {AT_FDCWD, PTR("/"), PTR(page), 0}, KILLED, KILLED},
    {"read registers", SYS_ioctl, {-1, (long)KVM_GET_REGS}, ALLOWED, ALLOWED},
    {"run the guest", SYS_ioctl, {-1, KVM_RUN}, ALLOWED, ALLOWED},
    {"set registers", SYS_ioctl, {-1, (long)KVM_SET_REGS}, KILLED, ALLOWED},
    {"read an image again", SYS_pread64, {-1, PTR(page), 1, 0}, KILLED, ALLOWED},
    {"look at an image", SYS_newfstatat, {-1, PTR(""), PTR(page), AT_EMPTY_PATH}, KILLED, ALLOWED},
    {"get a message", SYS_recvmsg, {-1}, KILLED, ALLOWED},
    {"send a message", SYS_sendmsg, {-1}, KILLED, ALLOWED},
    {"take a connection", SYS_accept4, {-1}, KILLED, ALLOWED},
    {"wait for events", SYS_epoll_wait, {-1, PTR(page), 1, 0}, KILLED, ALLOWED},
    {"close", SYS_close, {-1}, KILLED, ALLOWED},
    {"write", SYS_write, {-1, PTR(page), 1}, ALLOWED, ALLOWED},
    {"set a timer", SYS_timerfd_settime, {-1}, ALLOWED, ALLOWED},
    {"map data",
     SYS_mmap,
     {0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1},
     ALLOWED,
     ALLOWED},
    {"kick a thread of ours", SYS_tgkill, {ME, ME, 0}, ALLOWED, ALLOWED},
};

/* In a child: close the door, try, and leave with what came of it. */
static void try_in_child(enum lockdown_kind kind, const struct attempt *attempt)
{
    long a[6], pid = getpid(), result;

    for (uint32_t i = 0; i < 6; i++) {
        a[i] = attempt->arguments[i] == ME ? pid : attempt->arguments[i];
    }
    if (lockdown_close(kind, NULL) != 0) {
        _exit(99);
    }
    result = syscall(attempt->number, a[0], a[1], a[2], a[3], a[4], a[5]);
    _exit(result < 0 && errno == EPERM ? REFUSED : ALLOWED);
}

static enum outcome outcome_of(enum lockdown_kind kind, const struct attempt *attempt)
{
    int status = 0;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        try_in_child(kind, attempt);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        ck_assert_int_eq(WTERMSIG(status), SIGSYS);
        return KILLED;
    }
    ck_assert_int_ne(WEXITSTATUS(status), 99);
    return (enum outcome)WEXITSTATUS(status);
}

START_TEST(vcpu_threads_can_do_next_to_nothing)
{
    for (uint32_t i = 0; i < ARRAY_LEN(attempts); i++) {
        ck_assert_msg(outcome_of(LOCKDOWN_VCPU, &attempts[i]) == attempts[i].vcpu, "%s",
                      attempts[i].what);
    }
}
END_TEST

START_TEST(control_thread_can_do_its_work_and_nothing_else)
{
    for (uint32_t i = 0; i < ARRAY_LEN(attempts); i++) {
        ck_assert_msg(outcome_of(LOCKDOWN_CONTROL, &attempts[i]) == attempts[i].control, "%s",
                      attempts[i].what);
    }
}
END_TEST

/* The 32-bit door into the kernel has other numbers: 5 is open there, fstat here. */
START_TEST(no_way_leads_through_32_bit_calls)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        long result = 20; /* getpid there */

        (void)lockdown_close(LOCKDOWN_CONTROL, NULL);
        __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}
END_TEST

START_TEST(this_build_has_a_door)
{
    ck_assert(lockdown_is_real());
}
END_TEST

UNIT_MAIN("lockdown", vcpu_threads_can_do_next_to_nothing,
          control_thread_can_do_its_work_and_nothing_else, no_way_leads_through_32_bit_calls,
          this_build_has_a_door)
