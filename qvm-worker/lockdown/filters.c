/* Makes the filters of lockdown.c when the project is built: lists of calls to seccomp's byte code,
 * by libseccomp, as a header on stdout.
 *
 * Lists. A call of LIST_BOTH may be made by every thread; one of LIST_RUN by vCPUs' threads and the
 * control thread, one of LIST_CONTROL by the control thread alone, one of LIST_IO by the I/O
 * threads of devices alone. Where a device of the host is passed through, vCPUs' threads and the
 * control thread may make those of LIST_PASS as well, and the control thread those of
 * LIST_CONTROL_PASS; where memory is shared with other guests, or a device shows memory of its own,
 * those of LIST_SHARE, and where it is shared the control thread those of LIST_CONTROL_SHARE; an
 * I/O thread whose device has a back end outside, those of LIST_BACKEND, one that programs of the
 * host connect to, those of LIST_SOCKETS, one whose queues the kernel works off, those of
 * LIST_VHOST. A process that has ports of the host may make those of LIST_PORTS and no others. What
 * is in no list kills the process. EPERM answers calls that libraries make and do without; a reason
 * stands beside each. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <linux/vhost.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "qvm-worker/lockdown/pid.h"

#define OPTIMIZE_AS_TREE 2u /* of libseccomp; 1 is a list by priority */

enum list {
    LIST_BOTH,
    LIST_RUN,
    LIST_IO,
    LIST_CONTROL,
    LIST_PASS,
    LIST_CONTROL_PASS,
    LIST_SHARE,
    LIST_CONTROL_SHARE,
    LIST_BACKEND,
    LIST_SOCKETS,
    LIST_VHOST,
    LIST_PORTS
};
#define KIND(list) (1u << LIST_##list)
enum check { CHECK_NONE, CHECK_MASKED };

#define CHECKS_MAX 2
#define ALL_BITS   UINT64_MAX

/* Allowed, if argument number `argument`, masked, is `value`. */
struct rule {
    enum list list;
    int number;
    struct {
        enum check check;
        unsigned argument;
        uint64_t mask, value;
    } checks[CHECKS_MAX];
};

#define ALLOW(list, call)                                                                          \
    {                                                                                              \
        LIST_##list, SCMP_SYS(call),                                                               \
        {                                                                                          \
            {                                                                                      \
                CHECK_NONE, 0, 0, 0                                                                \
            }                                                                                      \
        }                                                                                          \
    }
#define ALLOW_BITS(list, call, a, bits, v)                                                         \
    {                                                                                              \
        LIST_##list, SCMP_SYS(call),                                                               \
        {                                                                                          \
            {                                                                                      \
                CHECK_MASKED, a, bits, v                                                           \
            }                                                                                      \
        }                                                                                          \
    }
#define ALLOW_BITS_2(list, call, a1, bits1, v1, a2, bits2, v2)                                     \
    {                                                                                              \
        LIST_##list, SCMP_SYS(call),                                                               \
        {                                                                                          \
            {CHECK_MASKED, a1, bits1, v1},                                                         \
            {                                                                                      \
                CHECK_MASKED, a2, bits2, v2                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define ALLOW_IF(list, call, a, v)         ALLOW_BITS(list, call, a, ALL_BITS, v)
#define ALLOW_WITHOUT(list, call, a, bits) ALLOW_BITS(list, call, a, bits, 0)
#define IOCTL(list, request)               ALLOW_IF(list, ioctl, 1, request)
#define FCNTL(list, command)               ALLOW_IF(list, fcntl, 1, command)

static const struct rule rules[] = {
    /* running the guest, moving its lines, its registers for a report */
    IOCTL(RUN, KVM_RUN),
    IOCTL(BOTH, KVM_IRQ_LINE),
    IOCTL(RUN, KVM_IOEVENTFD), /* a doorbell that is rung for the first time, or moves */
    IOCTL(BOTH, KVM_SIGNAL_MSI),
    IOCTL(RUN, KVM_INTERRUPT),       /* of an 8259 that is a vdev */
    IOCTL(RUN, KVM_SET_GSI_ROUTING), /* of an IOAPIC that is one: whose ends are told; messages */
    IOCTL(RUN, KVM_IRQFD),           /* a message that events raise is masked, or no more */
    IOCTL(RUN, KVM_GET_REGS),
    IOCTL(RUN, KVM_GET_SREGS),
    /* raising an exception where nothing is (`unsupported reference fail`) */
    IOCTL(RUN, KVM_GET_VCPU_EVENTS),
    IOCTL(RUN, KVM_SET_VCPU_EVENTS),
    /* waking each other, logging, timers of devices */
    ALLOW(BOTH, futex),
    ALLOW(BOTH, read),
    ALLOW(BOTH, write),
    ALLOW(BOTH, writev),
    ALLOW(BOTH, timerfd_settime),
    ALLOW(BOTH,
          io_uring_enter), /* rings that know one image; a reset waits for what is in flight */
    ALLOW(BOTH, clock_gettime),
    ALLOW(BOTH, clock_getres),
    ALLOW(BOTH, gettimeofday),
    ALLOW(BOTH, sched_yield),
    ALLOW(BOTH, restart_syscall),
    /* memory for ourselves, nothing executable */
    ALLOW(BOTH, brk),
    ALLOW(BOTH, munmap),
    ALLOW_IF(BOTH, mremap, 3, MREMAP_MAYMOVE),
    ALLOW_IF(BOTH, madvise, 2, MADV_DONTNEED),
    /* of no file, and of ours alone: what is shared counts for no limit but a control group's */
    ALLOW_BITS_2(BOTH, mmap, 2, PROT_EXEC, 0, 3, MAP_ANONYMOUS | MAP_SHARED, MAP_ANONYMOUS),
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

    /* an I/O thread waits for doorbells */
    ALLOW(IO, epoll_wait),
    ALLOW(IO, epoll_pwait),
    /* frames of a cable to another guest: the socket is its, too, and none of us waits for it */
    ALLOW_BITS_2(IO, sendto, 3, ALL_BITS, MSG_DONTWAIT | MSG_NOSIGNAL, 4, ALL_BITS, 0),
    ALLOW_BITS_2(IO, recvfrom, 3, ALL_BITS, MSG_DONTWAIT | MSG_TRUNC, 4, ALL_BITS, 0),
    ALLOW(IO, preadv), /* transfers of an image without a ring */
    ALLOW(IO, pwritev),
    ALLOW(IO, fdatasync),
    ALLOW_IF(IO, fallocate, 1, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE),

    /* a device of the host: registers that are trapped, how it says that it wants service, where
     * its memory is in the guest (which moves on the thread of the vCPU that moves it) */
    ALLOW(PASS, pread64),
    ALLOW(PASS, pwrite64),
    IOCTL(PASS, VFIO_DEVICE_SET_IRQS),
    IOCTL(PASS, KVM_SET_USER_MEMORY_REGION),
    IOCTL(CONTROL_PASS, VFIO_DEVICE_RESET),
    /* the number is VFIO_IOMMU_MAP_DMA's, too: the container's descriptor is closed by then */
    IOCTL(CONTROL_PASS, VFIO_DEVICE_PCI_HOT_RESET),

    /* memory that is shared with other guests, or a device's own: where it is in the guest; of the
     * shared, what came from qvmd is mapped, to be read and written, wherever the kernel likes */
    IOCTL(SHARE, KVM_SET_USER_MEMORY_REGION),
    ALLOW_BITS_2(CONTROL_SHARE, mmap, 2, ALL_BITS, PROT_READ | PROT_WRITE, 3, ALL_BITS, MAP_SHARED),

    /* a back end that works queues off: what is said to it, with descriptors of memory and events
     */
    ALLOW_IF(BACKEND, sendmsg, 2, MSG_DONTWAIT | MSG_NOSIGNAL),
    ALLOW(BACKEND, poll),
    ALLOW_IF(BACKEND, shutdown, 1, SHUT_RDWR),

    /* programs of the host that connect: they are taken, heard and spoken to, and never waited for
     */
    ALLOW_IF(SOCKETS, accept4, 3, SOCK_NONBLOCK | SOCK_CLOEXEC),
    ALLOW_IF(SOCKETS, epoll_ctl, 1, EPOLL_CTL_ADD),
    ALLOW_BITS_2(SOCKETS, recvfrom, 3, ALL_BITS, MSG_DONTWAIT, 4, ALL_BITS, 0),
    ALLOW(SOCKETS, shutdown),
    ALLOW(SOCKETS, close),

    /* the kernel works queues off: where they are, what they are, and from where to where. What
     * memory it has for that was said before, as was whose it is */
    IOCTL(VHOST, VHOST_SET_FEATURES),
    IOCTL(VHOST, VHOST_SET_VRING_NUM),
    IOCTL(VHOST, VHOST_SET_VRING_ADDR),
    IOCTL(VHOST, VHOST_SET_VRING_BASE),
    IOCTL(VHOST, VHOST_GET_VRING_BASE),
    IOCTL(VHOST, VHOST_SET_VRING_KICK),
    IOCTL(VHOST, VHOST_SET_VRING_CALL),
    IOCTL(VHOST, VHOST_SET_VRING_ERR),
    IOCTL(VHOST, VHOST_NET_SET_BACKEND),
    IOCTL(VHOST, VHOST_VSOCK_SET_RUNNING),
    IOCTL(VHOST, TUNSETOFFLOAD), /* what the driver leaves to the tap, or cannot take */
    IOCTL(VHOST, TUNSETQUEUE),   /* which of its queues take part */
    ALLOW_IF(VHOST, epoll_ctl, 1, EPOLL_CTL_MOD), /* who hears doorbells: the kernel, or we */

    /* the process that has ports of the host: requests come and answers go, and that is all */
    ALLOW(PORTS, read),
    ALLOW(PORTS, write),
    ALLOW(PORTS, exit_group),

    /* a reset: the vCPUs and chips back to power-on, the images again */
    IOCTL(CONTROL, KVM_SET_REGS),
    IOCTL(CONTROL, KVM_SET_SREGS),
    IOCTL(CONTROL, KVM_SET_MSRS),
    IOCTL(CONTROL, KVM_SET_FPU),
    IOCTL(CONTROL, KVM_SET_XSAVE),
    IOCTL(CONTROL, KVM_SET_XCRS),
    IOCTL(CONTROL, KVM_SET_LAPIC),
    IOCTL(CONTROL, KVM_SET_DEBUGREGS),
    IOCTL(CONTROL, KVM_GET_MP_STATE),
    IOCTL(CONTROL, KVM_SET_MP_STATE),
    IOCTL(CONTROL, KVM_SET_IRQCHIP),
    IOCTL(CONTROL, KVM_SET_USER_MEMORY_REGION), /* firmware makes its shadow RAM or ROM */
    IOCTL(CONTROL, KVM_KVMCLOCK_CTRL),          /* the end of a pause */
    IOCTL(CONTROL, KVM_GET_FPU),                /* a dump, and where memory has been touched */
    ALLOW(CONTROL, lseek),
    ALLOW(CONTROL, pwrite64),
    IOCTL(CONTROL, KVM_SET_PIT2),
    ALLOW(CONTROL, pread64),
    ALLOW(CONTROL, fstat), /* fd_stat.h: the C library's own would look at any path */
    /* the loop and the messages: qvmd connects anew, nobody makes a socket */
    ALLOW(CONTROL, epoll_wait),
    ALLOW(CONTROL, epoll_pwait),
    ALLOW(CONTROL, epoll_ctl),
    ALLOW(CONTROL, poll),
    ALLOW(CONTROL, accept4),
    ALLOW(CONTROL, recvmsg),
    ALLOW(CONTROL, recvfrom),
    ALLOW(CONTROL, sendmsg),
    ALLOW_IF(CONTROL, sendto, 4, 0), /* to whom it is connected */
    ALLOW(CONTROL, shutdown),
    ALLOW_IF(CONTROL, getsockopt, 1, SOL_SOCKET),
    ALLOW(CONTROL, close),
    FCNTL(CONTROL, F_GETFL),
    FCNTL(CONTROL, F_SETFL),
    IOCTL(CONTROL, FIONBIO),
    /* a qvm alone gives its terminal back */
    IOCTL(CONTROL, TCGETS),
    IOCTL(CONTROL, TCSETS),
    IOCTL(CONTROL, TCSETSW),
    IOCTL(CONTROL, TCSETSF),
    IOCTL(CONTROL, TIOCGWINSZ),
    ALLOW(CONTROL, rt_sigaction),
    ALLOW(CONTROL, getrandom),
};

/* Calls that get EPERM, in every thread. */
static const int refused[] = {
    SCMP_SYS(openat), /* malloc reads the CPU list when a ninth thread comes; localtime its zone */
    SCMP_SYS(open), SCMP_SYS(newfstatat), /* the C library's fstat; it could look at paths */
};

static int add_rule(scmp_filter_ctx filter, const struct rule *rule)
{
    struct scmp_arg_cmp compares[CHECKS_MAX];
    unsigned count = 0;

    for (; count < CHECKS_MAX && rule->checks[count].check != CHECK_NONE; count++) {
        compares[count] = (struct scmp_arg_cmp){.arg = rule->checks[count].argument,
                                                .op = SCMP_CMP_MASKED_EQ,
                                                .datum_a = rule->checks[count].mask,
                                                .datum_b = rule->checks[count].value};
    }
    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rule->number, count, compares);
}

static int fill(scmp_filter_ctx filter, unsigned lists)
{
    int r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

    if (r == 0) { /* the kernel tries each call there is when it takes the filter in */
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, OPTIMIZE_AS_TREE);
    }
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(rules); i++) {
        if ((lists & 1u << rules[i].list) != 0) {
            r = add_rule(filter, &rules[i]);
        }
    }
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(refused); i++) {
        r = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0, NULL);
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

static int print_filter(const char *name, unsigned lists)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int fd = memfd_create("filter", MFD_CLOEXEC);
    int r = filter == NULL || fd < 0 ? -ENOMEM : fill(filter, lists);

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
    const unsigned vcpu = KIND(BOTH) | KIND(RUN), control = vcpu | KIND(CONTROL);
    const struct {
        const char *name;
        unsigned lists;
    } filters[] = {
        {"lockdown_vcpu_code", vcpu},
        {"lockdown_io_code", KIND(BOTH) | KIND(IO)},
        {"lockdown_control_code", control},
        {"lockdown_vcpu_pass_code", vcpu | KIND(PASS)},
        {"lockdown_control_pass_code", control | KIND(PASS) | KIND(CONTROL_PASS)},
        {"lockdown_vcpu_share_code", vcpu | KIND(SHARE)},
        {"lockdown_control_slots_code", control | KIND(SHARE)},
        {"lockdown_control_share_code", control | KIND(SHARE) | KIND(CONTROL_SHARE)},
        {"lockdown_control_both_code",
         control | KIND(PASS) | KIND(CONTROL_PASS) | KIND(CONTROL_SHARE)},
        {"lockdown_io_backend_code", KIND(BOTH) | KIND(IO) | KIND(BACKEND)},
        {"lockdown_io_sockets_code", KIND(BOTH) | KIND(IO) | KIND(SOCKETS)},
        {"lockdown_io_vhost_code", KIND(BOTH) | KIND(IO) | KIND(VHOST)},
        {"lockdown_ports_code", KIND(PORTS)},
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(filters); i++) {
        r = print_filter(filters[i].name, filters[i].lists);
    }
    if (r != 0) {
        fprintf(stderr, "lockdown_filters: %s\n", strerror(-r));
    }
    return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
