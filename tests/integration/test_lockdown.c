/* The door: what each thread of a qvm cannot do any more, tried from inside. */
#include "qvm-worker/lockdown/lockdown.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <linux/vhost.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
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
    enum outcome vcpu, io, control;
};

static char page[4096] __attribute__((aligned(4096)));
static struct flock whole_file = {.l_type = F_WRLCK};
static char *const no_arguments[] = {NULL};

#define PTR(p)      (long)(uintptr_t)(p)
#define X32(number) ((number) | 0x40000000)
#define ME          (-2) /* replaced by our own process id */

static const struct attempt attempts[] = {
    {"open a file",
     SYS_openat,
     {AT_FDCWD, PTR("/etc/passwd"), O_RDONLY},
     REFUSED,
     REFUSED,
     REFUSED},
    {"open a file, the old way",
     SYS_open,
     {PTR("/etc/passwd"), O_RDONLY},
     REFUSED,
     REFUSED,
     REFUSED},
    {"open a file, the new way",
     SYS_openat2,
     {AT_FDCWD, PTR("/etc/passwd")},
     KILLED,
     KILLED,
     KILLED},
    {"make a socket", SYS_socket, {AF_UNIX, SOCK_STREAM}, KILLED, KILLED, KILLED},
    {"make two sockets", SYS_socketpair, {AF_UNIX, SOCK_STREAM}, KILLED, KILLED, KILLED},
    {"connect", SYS_connect, {0}, KILLED, KILLED, KILLED},
    {"run a program", SYS_execve, {PTR("/bin/true"), PTR(no_arguments)}, KILLED, KILLED, KILLED},
    {"run a program by descriptor", SYS_execveat, {0, PTR("")}, KILLED, KILLED, KILLED},
    {"fork", SYS_fork, {0}, KILLED, KILLED, KILLED},
    {"make a thread", SYS_clone, {SIGCHLD}, KILLED, KILLED, KILLED},
    {"make a thread, the new way", SYS_clone3, {0}, KILLED, KILLED, KILLED},
    {"take a lock", SYS_flock, {0, LOCK_EX}, KILLED, KILLED, KILLED},
    {"give a lock back", SYS_flock, {0, LOCK_UN}, KILLED, KILLED, KILLED},
    {"lock a range", SYS_fcntl, {0, F_SETLK, PTR(&whole_file)}, KILLED, KILLED, KILLED},
    {"lock a range and wait", SYS_fcntl, {0, F_SETLKW, PTR(&whole_file)}, KILLED, KILLED, KILLED},
    {"lock by description", SYS_fcntl, {0, F_OFD_SETLK, PTR(&whole_file)}, KILLED, KILLED, KILLED},
    {"duplicate by fcntl", SYS_fcntl, {0, F_DUPFD}, KILLED, KILLED, KILLED},
    {"duplicate by fcntl, closed on exec", SYS_fcntl, {0, F_DUPFD_CLOEXEC}, KILLED, KILLED, KILLED},
    {"map code",
     SYS_mmap,
     {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1},
     KILLED,
     KILLED,
     KILLED},
    {"make code of data",
     SYS_mprotect,
     {PTR(page), 4096, PROT_READ | PROT_EXEC},
     KILLED,
     KILLED,
     KILLED},
    {"make code of data with a key",
     SYS_pkey_mprotect,
     {PTR(page), 4096, PROT_EXEC, -1},
     KILLED,
     KILLED,
     KILLED},
    {"make an io_uring", SYS_io_uring_setup, {8, PTR(page)}, KILLED, KILLED, KILLED},
    {"use an io_uring", SYS_io_uring_enter, {0}, ALLOWED, ALLOWED, ALLOWED},
    {"register with an io_uring", SYS_io_uring_register, {0}, KILLED, KILLED, KILLED},
    {"trace", SYS_ptrace, {0, 1}, KILLED, KILLED, KILLED},
    {"write another's memory", SYS_process_vm_writev, {1}, KILLED, KILLED, KILLED},
    {"signal a process", SYS_kill, {1, 0}, KILLED, KILLED, KILLED},
    {"signal another's thread", SYS_tgkill, {1, 1, 0}, KILLED, KILLED, KILLED},
    {"signal by descriptor", SYS_pidfd_send_signal, {0}, KILLED, KILLED, KILLED},
    {"take another's descriptor", SYS_pidfd_getfd, {0}, KILLED, KILLED, KILLED},
    {"change one's name", SYS_prctl, {PR_SET_NAME, PTR("x")}, KILLED, KILLED, KILLED},
    {"be dumpable", SYS_prctl, {PR_SET_DUMPABLE, 1}, KILLED, KILLED, KILLED},
    {"another filter", SYS_seccomp, {0}, KILLED, KILLED, KILLED},
    {"new namespaces", SYS_unshare, {CLONE_NEWUSER}, KILLED, KILLED, KILLED},
    {"mount", SYS_mount, {0}, KILLED, KILLED, KILLED},
    {"load a program", SYS_bpf, {0}, KILLED, KILLED, KILLED},
    {"watch a device", SYS_perf_event_open, {0}, KILLED, KILLED, KILLED},
    {"remove a file", SYS_unlinkat, {AT_FDCWD, PTR("x")}, KILLED, KILLED, KILLED},
    {"make memory with a name", SYS_memfd_create, {PTR("x")}, KILLED, KILLED, KILLED},
    {"make a VM", SYS_ioctl, {0, KVM_CREATE_VM}, KILLED, KILLED, KILLED},
    {"make a vCPU", SYS_ioctl, {0, KVM_CREATE_VCPU}, KILLED, KILLED, KILLED},
    {"move memory of the VM",
     SYS_ioctl,
     {0, (long)KVM_SET_USER_MEMORY_REGION},
     KILLED,
     KILLED,
     ALLOWED},
    {"type for others", SYS_ioctl, {0, 0x5412 /* TIOCSTI */}, KILLED, KILLED, KILLED},
    {"the x32 way of reading", X32(SYS_read), {0}, KILLED, KILLED, KILLED},
    {"a number that is none", 9999, {0}, KILLED, KILLED, KILLED},
    {"look at a path",
     SYS_newfstatat,
     {AT_FDCWD, PTR("/"), PTR(page), 0},
     REFUSED,
     REFUSED,
     REFUSED},
    {"look at a path, the new way",
     SYS_statx,
     {AT_FDCWD, PTR("/"), 0, 0, PTR(page)},
     KILLED,
     KILLED,
     KILLED},
    {"map a file", SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE, 0}, KILLED, KILLED, KILLED},
    {"move a mapping where it wants",
     SYS_mremap,
     {PTR(page), 4096, 4096, 3, 0},
     KILLED,
     KILLED,
     KILLED},
    {"have memory dumped", SYS_madvise, {PTR(page), 4096, MADV_DODUMP}, KILLED, KILLED, KILLED},
    {"put a descriptor anywhere", SYS_dup3, {0, STDERR_FILENO + 1, 0}, KILLED, KILLED, KILLED},
    {"take the log's place", SYS_dup3, {-1, STDERR_FILENO, 0}, KILLED, KILLED, KILLED},
    {"count what was used", SYS_getrusage, {0, PTR(page)}, KILLED, KILLED, KILLED},
    {"send to an address", SYS_sendto, {-1, 0, 0, 0, PTR(page), 16}, KILLED, KILLED, KILLED},
    {"ask TCP", SYS_getsockopt, {-1, 6, 0}, KILLED, KILLED, KILLED},
    {"cut a file", SYS_ftruncate, {-1, 0}, KILLED, KILLED, KILLED},
    {"raise a limit", SYS_prlimit64, {0, 7}, KILLED, KILLED, KILLED},
    {"be another user", SYS_setuid, {0}, KILLED, KILLED, KILLED},
    {"have another root", SYS_chroot, {PTR("/")}, KILLED, KILLED, KILLED},
    {"another's keys", SYS_keyctl, {0}, KILLED, KILLED, KILLED},
    {"handle page faults", SYS_userfaultfd, {0}, KILLED, KILLED, KILLED},
    {"read registers", SYS_ioctl, {-1, (long)KVM_GET_REGS}, ALLOWED, KILLED, ALLOWED},
    {"send a message of MSI", SYS_ioctl, {-1, (long)KVM_SIGNAL_MSI}, ALLOWED, ALLOWED, ALLOWED},
    {"move a doorbell", SYS_ioctl, {-1, (long)KVM_IOEVENTFD}, ALLOWED, KILLED, ALLOWED},
    {"watch an interrupt's end",
     SYS_ioctl,
     {-1, (long)KVM_SET_GSI_ROUTING},
     ALLOWED,
     KILLED,
     ALLOWED},
    {"interrupt a vCPU", SYS_ioctl, {-1, (long)KVM_INTERRUPT}, ALLOWED, KILLED, ALLOWED},
    {"set KVM's timer", SYS_ioctl, {-1, (long)KVM_SET_PIT2}, KILLED, KILLED, ALLOWED},
    {"have a descriptor interrupt", SYS_ioctl, {-1, (long)KVM_IRQFD}, ALLOWED, KILLED, ALLOWED},
    {"change an exception", SYS_ioctl, {-1, (long)KVM_SET_VCPU_EVENTS}, ALLOWED, KILLED, ALLOWED},
    {"write to an image", SYS_pwritev, {-1, PTR(page), 0}, KILLED, ALLOWED, KILLED},
    {"make a hole in an image",
     SYS_fallocate,
     {-1, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 512},
     KILLED,
     ALLOWED,
     KILLED},
    {"make a file longer", SYS_fallocate, {-1, 0, 0, 512}, KILLED, KILLED, KILLED},
    {"flush an image", SYS_fdatasync, {-1}, KILLED, ALLOWED, KILLED},
    {"watch another descriptor", SYS_epoll_ctl, {-1}, KILLED, KILLED, ALLOWED},
    {"run the guest", SYS_ioctl, {-1, KVM_RUN}, ALLOWED, KILLED, ALLOWED},
    {"set registers", SYS_ioctl, {-1, (long)KVM_SET_REGS}, KILLED, KILLED, ALLOWED},
    {"read an image again", SYS_pread64, {-1, PTR(page), 1, 0}, KILLED, KILLED, ALLOWED},
    {"look at an image", SYS_fstat, {-1, PTR(page)}, KILLED, KILLED, ALLOWED},
    {"send to whom it is connected", SYS_sendto, {-1}, KILLED, KILLED, ALLOWED},
    {"get a message", SYS_recvmsg, {-1}, KILLED, KILLED, ALLOWED},
    {"send a message", SYS_sendmsg, {-1}, KILLED, KILLED, ALLOWED},
    {"take a connection", SYS_accept4, {-1}, KILLED, KILLED, ALLOWED},
    {"wait for events", SYS_epoll_wait, {-1, PTR(page), 1, 0}, KILLED, ALLOWED, ALLOWED},
    {"close", SYS_close, {-1}, KILLED, KILLED, ALLOWED},
    {"write", SYS_write, {-1, PTR(page), 1}, ALLOWED, ALLOWED, ALLOWED},
    {"set a timer", SYS_timerfd_settime, {-1}, ALLOWED, ALLOWED, ALLOWED},
    {"map data",
     SYS_mmap,
     {0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1},
     ALLOWED,
     ALLOWED,
     ALLOWED},
    {"kick a thread of ours", SYS_tgkill, {ME, ME, 0}, ALLOWED, ALLOWED, ALLOWED},
};

/* What a device of the host needs, in the order of enum lockdown_kind. */
static const struct {
    struct attempt attempt;
    enum outcome outcomes[5];
} device_attempts[] = {
    {{.what = "move memory of the VM",
      .number = SYS_ioctl,
      .arguments = {-1, (long)KVM_SET_USER_MEMORY_REGION}},
     {KILLED, KILLED, ALLOWED, ALLOWED, ALLOWED}},
    {{.what = "read a register of a device",
      .number = SYS_pread64,
      .arguments = {-1, PTR(page), 1, 0}},
     {KILLED, KILLED, ALLOWED, ALLOWED, ALLOWED}},
    {{.what = "write a register of a device",
      .number = SYS_pwrite64,
      .arguments = {-1, PTR(page), 1, 0}},
     {KILLED, KILLED, ALLOWED, ALLOWED, ALLOWED}},
    {{.what = "say how a device interrupts",
      .number = SYS_ioctl,
      .arguments = {-1, VFIO_DEVICE_SET_IRQS}},
     {KILLED, KILLED, KILLED, ALLOWED, ALLOWED}},
    {{.what = "reset a device", .number = SYS_ioctl, .arguments = {-1, VFIO_DEVICE_RESET}},
     {KILLED, KILLED, KILLED, KILLED, ALLOWED}},
    /* of a container the same number would map memory: that descriptor is closed by then */
    {{.what = "reset the bus of a device",
      .number = SYS_ioctl,
      .arguments = {-1, VFIO_DEVICE_PCI_HOT_RESET}},
     {KILLED, KILLED, KILLED, KILLED, ALLOWED}},
    {{.what = "take memory from a device",
      .number = SYS_ioctl,
      .arguments = {-1, VFIO_IOMMU_UNMAP_DMA}},
     {KILLED, KILLED, KILLED, KILLED, KILLED}},
    {{.what = "take a device of a group",
      .number = SYS_ioctl,
      .arguments = {-1, VFIO_GROUP_GET_DEVICE_FD}},
     {KILLED, KILLED, KILLED, KILLED, KILLED}},
    {{.what = "take a group out of its container",
      .number = SYS_ioctl,
      .arguments = {-1, VFIO_GROUP_UNSET_CONTAINER}},
     {KILLED, KILLED, KILLED, KILLED, KILLED}},
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

START_TEST(io_threads_can_interrupt_and_move_bytes_of_images_and_no_more)
{
    for (uint32_t i = 0; i < ARRAY_LEN(attempts); i++) {
        ck_assert_msg(outcome_of(LOCKDOWN_IO, &attempts[i]) == attempts[i].io, "%s",
                      attempts[i].what);
    }
}
END_TEST

START_TEST(who_has_a_back_end_can_talk_to_it_without_waiting_and_no_more)
{
    static const struct attempt talk[] = {
        {"send to it", SYS_sendmsg, {-1, 0, MSG_DONTWAIT | MSG_NOSIGNAL}, KILLED, ALLOWED, ALLOWED},
        {"wait in sending", SYS_sendmsg, {-1, 0, MSG_NOSIGNAL}, KILLED, KILLED, ALLOWED},
        {"wait for an answer", SYS_poll, {0, 0, 0}, KILLED, ALLOWED, ALLOWED},
        {"end it", SYS_shutdown, {-1, SHUT_RDWR}, KILLED, ALLOWED, ALLOWED},
        {"end one half", SYS_shutdown, {-1, SHUT_WR}, KILLED, KILLED, ALLOWED},
    };

    for (uint32_t i = 0; i < ARRAY_LEN(talk); i++) {
        ck_assert_msg(outcome_of(LOCKDOWN_IO_BACKEND, &talk[i]) == talk[i].io, "%s", talk[i].what);
        ck_assert_int_eq(outcome_of(LOCKDOWN_IO, &talk[i]), KILLED);
    }
    for (uint32_t i = 0; i < ARRAY_LEN(attempts); i++) {
        ck_assert_msg(outcome_of(LOCKDOWN_IO_BACKEND, &attempts[i]) == attempts[i].io, "%s",
                      attempts[i].what);
    }
}
END_TEST

START_TEST(who_has_the_kernel_work_queues_off_can_say_where_and_nothing_else_of_it)
{
    static const struct attempt order[] = {
        {"place a ring", SYS_ioctl, {-1, VHOST_SET_VRING_ADDR}, KILLED, ALLOWED, KILLED},
        {"begin and end", SYS_ioctl, {-1, VHOST_NET_SET_BACKEND}, KILLED, ALLOWED, KILLED},
        {"begin and end", SYS_ioctl, {-1, VHOST_VSOCK_SET_RUNNING}, KILLED, ALLOWED, KILLED},
        {"take an address", SYS_ioctl, {-1, VHOST_VSOCK_SET_GUEST_CID}, KILLED, KILLED, KILLED},
        {"leave the tap", SYS_ioctl, {-1, TUNSETQUEUE}, KILLED, ALLOWED, KILLED},
        {"hear no more", SYS_epoll_ctl, {-1, EPOLL_CTL_MOD}, KILLED, ALLOWED, ALLOWED},
        {"hear of more", SYS_epoll_ctl, {-1, EPOLL_CTL_ADD}, KILLED, KILLED, ALLOWED},
        {"show other memory", SYS_ioctl, {-1, VHOST_SET_MEM_TABLE}, KILLED, KILLED, KILLED},
        {"give it away", SYS_ioctl, {-1, VHOST_RESET_OWNER}, KILLED, KILLED, KILLED},
        {"take another tap", SYS_ioctl, {-1, TUNSETIFF}, KILLED, KILLED, KILLED},
    };

    for (uint32_t i = 0; i < ARRAY_LEN(order); i++) {
        ck_assert_msg(outcome_of(LOCKDOWN_IO_VHOST, &order[i]) == order[i].io, "%s", order[i].what);
        ck_assert_int_eq(outcome_of(LOCKDOWN_IO, &order[i]), KILLED);
        ck_assert_int_eq(outcome_of(LOCKDOWN_CONTROL, &order[i]), order[i].control);
        ck_assert_int_eq(outcome_of(LOCKDOWN_VCPU, &order[i]), KILLED);
    }
    for (uint32_t i = 0; i < ARRAY_LEN(attempts); i++) {
        ck_assert_msg(outcome_of(LOCKDOWN_IO_VHOST, &attempts[i]) == attempts[i].io, "%s",
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

START_TEST(who_has_a_device_of_the_host_can_do_what_that_needs_and_no_more)
{
    for (uint32_t i = 0; i < ARRAY_LEN(device_attempts); i++) {
        for (uint32_t kind = 0; kind < ARRAY_LEN(device_attempts[i].outcomes); kind++) {
            ck_assert_msg(outcome_of((enum lockdown_kind)kind, &device_attempts[i].attempt) ==
                              device_attempts[i].outcomes[kind],
                          "%s, kind %u", device_attempts[i].attempt.what, kind);
        }
    }
    for (uint32_t i = 0; i < ARRAY_LEN(attempts); i++) {
        bool is_a_device = attempts[i].number == SYS_pread64 ||
                           attempts[i].arguments[1] == (long)KVM_SET_USER_MEMORY_REGION;

        ck_assert_msg(is_a_device ||
                          outcome_of(LOCKDOWN_VCPU_PASS, &attempts[i]) == attempts[i].vcpu,
                      "%s", attempts[i].what);
        ck_assert_msg(outcome_of(LOCKDOWN_CONTROL_PASS, &attempts[i]) == attempts[i].control, "%s",
                      attempts[i].what);
    }
}
END_TEST

START_TEST(who_shares_memory_can_map_and_move_it_and_no_more)
{
    static const struct attempt move = {.what = "move memory of the VM",
                                        .number = SYS_ioctl,
                                        .arguments = {-1, (long)KVM_SET_USER_MEMORY_REGION}};
    static const struct attempt map = {
        .what = "map what is shared",
        .number = SYS_mmap,
        .arguments = {0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, -1, 0}};
    static const struct attempt fixed = {
        .what = "map it over something",
        .number = SYS_mmap,
        .arguments = {0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, -1, 0}};
    static const struct attempt code = {
        .what = "run what is shared",
        .number = SYS_mmap,
        .arguments = {0, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, -1, 0}};

    ck_assert_int_eq(outcome_of(LOCKDOWN_VCPU, &move), KILLED);
    ck_assert_int_eq(outcome_of(LOCKDOWN_VCPU_SHARE, &move), ALLOWED);
    ck_assert_int_eq(outcome_of(LOCKDOWN_CONTROL, &map), KILLED);
    ck_assert_int_eq(outcome_of(LOCKDOWN_CONTROL_PASS, &map), KILLED);
    ck_assert_int_eq(outcome_of(LOCKDOWN_VCPU_SHARE, &map), KILLED);
    ck_assert_int_eq(outcome_of(LOCKDOWN_CONTROL_SLOTS, &move), ALLOWED);
    ck_assert_int_eq(outcome_of(LOCKDOWN_CONTROL_SLOTS, &map), KILLED);
    ck_assert_int_eq(outcome_of(LOCKDOWN_CONTROL_SHARE, &map), ALLOWED);
    ck_assert_int_eq(outcome_of(LOCKDOWN_CONTROL_BOTH, &map), ALLOWED);
    ck_assert_int_eq(outcome_of(LOCKDOWN_CONTROL_SHARE, &fixed), KILLED);
    ck_assert_int_eq(outcome_of(LOCKDOWN_CONTROL_SHARE, &code), KILLED);
    for (uint32_t i = 0; i < ARRAY_LEN(attempts); i++) {
        bool is_move = attempts[i].arguments[1] == (long)KVM_SET_USER_MEMORY_REGION;

        ck_assert_msg(is_move || outcome_of(LOCKDOWN_VCPU_SHARE, &attempts[i]) == attempts[i].vcpu,
                      "%s", attempts[i].what);
        ck_assert_msg(outcome_of(LOCKDOWN_CONTROL_SHARE, &attempts[i]) == attempts[i].control, "%s",
                      attempts[i].what);
    }
}
END_TEST

START_TEST(who_has_ports_of_the_host_can_read_and_write_and_no_more)
{
    for (uint32_t i = 0; i < ARRAY_LEN(attempts); i++) {
        enum outcome expected = attempts[i].number == SYS_write ? ALLOWED
                                : attempts[i].vcpu == REFUSED   ? REFUSED
                                                                : KILLED;

        ck_assert_msg(outcome_of(LOCKDOWN_PORTS, &attempts[i]) == expected, "%s", attempts[i].what);
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
          io_threads_can_interrupt_and_move_bytes_of_images_and_no_more,
          who_has_a_back_end_can_talk_to_it_without_waiting_and_no_more,
          who_has_the_kernel_work_queues_off_can_say_where_and_nothing_else_of_it,
          control_thread_can_do_its_work_and_nothing_else,
          who_has_a_device_of_the_host_can_do_what_that_needs_and_no_more,
          who_shares_memory_can_map_and_move_it_and_no_more,
          who_has_ports_of_the_host_can_read_and_write_and_no_more,
          no_way_leads_through_32_bit_calls, this_build_has_a_door)
