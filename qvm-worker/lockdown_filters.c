/* Makes the filters of lockdown.c when the project is built: lists of calls to seccomp's byte code,
 * by libseccomp, as a header on stdout.
 *
 * Two lists. A call of LIST_BOTH may be made by every thread; one of LIST_CONTROL by the control
 * thread alone. What is in no list kills the process. EPERM answers calls that libraries make and
 * do without; a reason stands beside each. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <termios.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "qvm-worker/lockdown_pid.h"

#define AT_EMPTY_PATH_FLAG 0x1000u

enum list { LIST_BOTH, LIST_CONTROL };
enum check { CHECK_NONE, CHECK_EQUAL, CHECK_MASKED };

/* Allowed, if argument number `argument`, masked, is `value`. */
struct rule {
    enum list list;
    int number;
    enum check check;
    unsigned argument;
    uint64_t mask, value;
};

#define ALLOW(list, call)                                                                          \
    {                                                                                              \
        LIST_##list, SCMP_SYS(call), CHECK_NONE, 0, 0, 0                                           \
    }
#define ALLOW_IF(list, call, a, v)                                                                 \
    {                                                                                              \
        LIST_##list, SCMP_SYS(call), CHECK_EQUAL, a, 0, v                                          \
    }
#define ALLOW_WITHOUT(list, call, a, bits)                                                         \
    {                                                                                              \
        LIST_##list, SCMP_SYS(call), CHECK_MASKED, a, bits, 0                                      \
    }
#define IOCTL(list, request) ALLOW_IF(list, ioctl, 1, request)
#define FCNTL(list, command) ALLOW_IF(list, fcntl, 1, command)

static const struct rule rules[] = {
    /* running the guest, moving its lines, its registers for a report */
    IOCTL(BOTH, KVM_RUN),
    IOCTL(BOTH, KVM_IRQ_LINE),
    IOCTL(BOTH, KVM_GET_REGS),
    IOCTL(BOTH, KVM_GET_SREGS),
    /* waking each other, logging, timers of devices */
    ALLOW(BOTH, futex),
    ALLOW(BOTH, read),
    ALLOW(BOTH, write),
    ALLOW(BOTH, writev),
    ALLOW(BOTH, timerfd_settime),
    ALLOW(BOTH, clock_gettime),
    ALLOW(BOTH, clock_getres),
    ALLOW(BOTH, gettimeofday),
    ALLOW(BOTH, sched_yield),
    ALLOW(BOTH, restart_syscall),
    /* memory for ourselves, nothing executable */
    ALLOW(BOTH, brk),
    ALLOW(BOTH, munmap),
    ALLOW(BOTH, mremap),
    ALLOW(BOTH, madvise),
    ALLOW_WITHOUT(BOTH, mmap, 2, PROT_EXEC),
    ALLOW_WITHOUT(BOTH, mprotect, 2, PROT_EXEC),
    ALLOW(BOTH, sched_getaffinity), /* malloc counts CPUs */
    /* signals: the kick goes to our own threads alone */
    ALLOW(BOTH, rt_sigreturn),
    ALLOW(BOTH, rt_sigprocmask),
    ALLOW_IF(BOTH, tgkill, 0, LOCKDOWN_PID),
    ALLOW(BOTH, getpid),
    ALLOW(BOTH, gettid),
    /* ending */
    ALLOW(BOTH, exit),
    ALLOW(BOTH, exit_group),

    /* a reset: the vCPUs and chips back to power-on, the images again */
    IOCTL(CONTROL, KVM_SET_REGS),
    IOCTL(CONTROL, KVM_SET_SREGS),
    IOCTL(CONTROL, KVM_SET_MSRS),
    IOCTL(CONTROL, KVM_SET_FPU),
    IOCTL(CONTROL, KVM_SET_XSAVE),
    IOCTL(CONTROL, KVM_SET_XCRS),
    IOCTL(CONTROL, KVM_SET_LAPIC),
    IOCTL(CONTROL, KVM_SET_DEBUGREGS),
    IOCTL(CONTROL, KVM_SET_VCPU_EVENTS),
    IOCTL(CONTROL, KVM_GET_MP_STATE),
    IOCTL(CONTROL, KVM_SET_MP_STATE),
    IOCTL(CONTROL, KVM_SET_IRQCHIP),
    ALLOW(CONTROL, pread64),
    ALLOW(CONTROL, fstat),
    ALLOW_IF(CONTROL, newfstatat, 3, AT_EMPTY_PATH_FLAG), /* how the C library spells fstat */
    /* the loop and the messages: qvmd connects anew, nobody makes a socket */
    ALLOW(CONTROL, epoll_wait),
    ALLOW(CONTROL, epoll_pwait),
    ALLOW(CONTROL, epoll_ctl),
    ALLOW(CONTROL, poll),
    ALLOW(CONTROL, ppoll),
    ALLOW(CONTROL, accept4),
    ALLOW(CONTROL, recvmsg),
    ALLOW(CONTROL, recvfrom),
    ALLOW(CONTROL, sendmsg),
    ALLOW(CONTROL, sendto),
    ALLOW(CONTROL, shutdown),
    ALLOW(CONTROL, getsockopt),
    ALLOW(CONTROL, getsockname),
    ALLOW(CONTROL, getpeername),
    ALLOW(CONTROL, readv),
    ALLOW(CONTROL, lseek),
    ALLOW(CONTROL, pwrite64),
    ALLOW(CONTROL, ftruncate), /* of the exit record */
    ALLOW(CONTROL, fsync),
    ALLOW(CONTROL, fdatasync),
    ALLOW(CONTROL, close),
    ALLOW(CONTROL, dup3), /* a new log takes the old one's place */
    ALLOW(CONTROL, timerfd_gettime),
    FCNTL(CONTROL, F_GETFL),
    FCNTL(CONTROL, F_SETFL),
    FCNTL(CONTROL, F_GETFD),
    FCNTL(CONTROL, F_SETFD),
    IOCTL(CONTROL, FIONBIO),
    /* a qvm alone gives its terminal back */
    IOCTL(CONTROL, TCGETS),
    IOCTL(CONTROL, TCSETS),
    IOCTL(CONTROL, TCSETSW),
    IOCTL(CONTROL, TCSETSF),
    IOCTL(CONTROL, TIOCGWINSZ),
    ALLOW(CONTROL, rt_sigaction),
    ALLOW(CONTROL, sigaltstack),
    ALLOW(CONTROL, getrandom),
    ALLOW(CONTROL, getrusage), /* the state that is shown */
    ALLOW(CONTROL, getuid),
    ALLOW(CONTROL, geteuid),
    ALLOW(CONTROL, getgid),
    ALLOW(CONTROL, getegid),
};

/* Calls that get EPERM, in every thread. */
static const int refused[] = {
    SCMP_SYS(openat), /* malloc reads the CPU list when a ninth thread comes; localtime its zone */
    SCMP_SYS(open),
};

static int add_rule(scmp_filter_ctx filter, const struct rule *rule)
{
    struct scmp_arg_cmp compare = {.arg = rule->argument,
                                   .op = rule->check == CHECK_EQUAL ? SCMP_CMP_EQ
                                                                    : SCMP_CMP_MASKED_EQ,
                                   .datum_a = rule->check == CHECK_EQUAL ? rule->value : rule->mask,
                                   .datum_b = rule->value};

    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rule->number,
                                  rule->check == CHECK_NONE ? 0 : 1, &compare);
}

static int fill(scmp_filter_ctx filter, bool is_control)
{
    int r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(rules); i++) {
        if (rules[i].list == LIST_BOTH || is_control) {
            r = add_rule(filter, &rules[i]);
        }
    }
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(refused); i++) {
        r = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0, NULL);
    }
    if (r == 0) {
        r = seccomp_syscall_priority(filter, SCMP_SYS(ioctl), UINT8_MAX); /* KVM_RUN comes first */
    }
    return r;
}

static int print_code(int fd, const char *name)
{
    struct {
        uint16_t code;
        uint8_t jt, jf;
        uint32_t k;
    } instruction;

    if (lseek(fd, 0, SEEK_SET) != 0) {
        return -errno;
    }
    printf("static const struct sock_filter %s[] = {\n", name);
    while (read(fd, &instruction, sizeof(instruction)) == (ssize_t)sizeof(instruction)) {
        printf("    {0x%04x, %u, %u, 0x%08x},\n", instruction.code, instruction.jt, instruction.jf,
               instruction.k);
    }
    printf("};\n");
    return 0;
}

static int print_filter(const char *name, bool is_control)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int fd = memfd_create("filter", MFD_CLOEXEC);
    int r = filter == NULL || fd < 0 ? -ENOMEM : fill(filter, is_control);

    if (r == 0) {
        r = seccomp_export_bpf(filter, fd);
    }
    if (r == 0) {
        r = print_code(fd, name);
    }
    seccomp_release(filter);
    cleanup_close(&fd);
    return r;
}

int main(void)
{
    int r = print_filter("lockdown_vcpu_code", false);

    if (r == 0) {
        r = print_filter("lockdown_control_code", true);
    }
    if (r != 0) {
        fprintf(stderr, "lockdown_filters: %s\n", strerror(-r));
    }
    return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
