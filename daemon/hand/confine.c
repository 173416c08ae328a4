/* In the hand: giving up what opening files does not take.
 *
 * A hand follows paths that strangers chose, into file systems that may be strangers' too. What
 * could go wrong there is to reach nobody else: a hand that shares its user with others (an owner's
 * own programs, qvmd itself when a user runs it) can neither signal nor trace nor read them. */
#include "daemon/hand/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <linux/sockios.h>
#include <linux/vfio.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/base/cleanup.h"

#define FILES_MAX (HAND_FILES_MAX + 16) /* the places of one file, its socket, 0, 1 and 2 */

#define SECUREBITS                                                                                 \
    (SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |                        \
     SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED)

/* ---- the filter ---- */

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define ARGUMENT(number)                                                                           \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * (number))
#define DO(action) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_##action)

/* The call is allowed. */
#define ALLOW(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), DO(ALLOW)

/* The call ends here, one way or the other: `count` instructions follow that decide. */
#define CHECK(call, count) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, count)
#define ALLOW_VALUE(value) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1), DO(ALLOW)

/* Allowed with none of these bits in that argument. */
#define NONE_OF(call, number, bits)                                                                \
    CHECK(call, 4), ARGUMENT(number), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 1, 0), DO(ALLOW), \
        DO(KILL_PROCESS)

/* What each filter begins with, what each hand needs for memory of its own, and for its end. */
#define CALLS_OF_X86_64                                                                            \
    LOAD(arch), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0), DO(KILL_PROCESS),    \
        LOAD(nr)
#define OWN_MEMORY ALLOW(brk), ALLOW(munmap), NONE_OF(mmap, 2, PROT_EXEC)
#define ITS_END    ALLOW(rt_sigreturn), ALLOW(restart_syscall), ALLOW(exit_group), DO(KILL_PROCESS)

static struct sock_filter file_code[] = {
    CALLS_OF_X86_64,
    /* opening files, looking at them, handing them over */
    ALLOW(openat),
    ALLOW(readlinkat),
    ALLOW(newfstatat),
    ALLOW(fstat),
    ALLOW(fstatfs),
    ALLOW(close),
    ALLOW(sendmsg),
    /* connecting to who listens at such a file */
    CHECK(socket, 7),
    ARGUMENT(0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 1, 0),
    DO(KILL_PROCESS),
    ARGUMENT(1),
    ALLOW_VALUE(HAND_SOCKET_TYPE),
    DO(KILL_PROCESS),
    ALLOW(connect),
    /* making such a file, and removing it */
    ALLOW(bind),
    ALLOW(listen),
    ALLOW(umask),
    ALLOW(unlinkat),
    /* orders of qvmd's, and a packet that it must not receive itself */
    CHECK(recvmsg, 6),
    ARGUMENT(0),
    ALLOW_VALUE(HAND_SOCKET),
    ALLOW_VALUE(HAND_OTHER),
    DO(KILL_PROCESS),
    OWN_MEMORY,
    /* the size of a block device */
    CHECK(ioctl, 4),
    ARGUMENT(1),
    ALLOW_VALUE(BLKGETSIZE64),
    DO(KILL_PROCESS),
    /* locks, and waiting for a file in earnest */
    CHECK(fcntl, 14),
    ARGUMENT(1),
    ALLOW_VALUE(F_OFD_SETLK),
    ALLOW_VALUE(F_OFD_SETLKW),
    ALLOW_VALUE(F_OFD_GETLK),
    ALLOW_VALUE(F_GETLK),
    ALLOW_VALUE(F_GETFL),
    ALLOW_VALUE(F_SETFL),
    DO(KILL_PROCESS),
    ITS_END,
};

/* Before it, of one that connects to nobody, or that makes no such file: the calls for that end
 * here. */
#define REFUSE(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), DO(KILL_PROCESS)

static struct sock_filter lonely_code[] = {
    LOAD(nr),
    REFUSE(socket),
    REFUSE(connect),
    DO(ALLOW),
};

static struct sock_filter silent_code[] = {
    LOAD(nr), REFUSE(bind), REFUSE(listen), REFUSE(umask), REFUSE(unlinkat), DO(ALLOW),
};

/* Of a hand that works on devices, as root: it looks around in /sys and /proc, says there which
 * driver has what, and opens what VFIO has. It makes no file, and sends no order to a device. */
static struct sock_filter device_code[] = {
    CALLS_OF_X86_64,
    NONE_OF(openat, 2, O_CREAT | O_TRUNC),
    ALLOW(read),
    ALLOW(pread64),
    ALLOW(write),
    ALLOW(lseek),
    ALLOW(readlinkat),
    ALLOW(getdents64),
    ALLOW(newfstatat),
    ALLOW(fstat),
    ALLOW(flock),
    ALLOW(close),
    ALLOW(clock_nanosleep),
    /* for directory streams; who has a disk as an image */
    CHECK(fcntl, 8),
    ARGUMENT(1),
    ALLOW_VALUE(F_GETFL),
    ALLOW_VALUE(F_SETFD),
    ALLOW_VALUE(F_OFD_GETLK),
    DO(KILL_PROCESS),
    CHECK(ioctl, 14),
    ARGUMENT(1),
    ALLOW_VALUE(VFIO_GET_API_VERSION),
    ALLOW_VALUE(VFIO_CHECK_EXTENSION),
    ALLOW_VALUE(VFIO_SET_IOMMU),
    ALLOW_VALUE(VFIO_GROUP_GET_STATUS),
    ALLOW_VALUE(VFIO_GROUP_SET_CONTAINER),
    ALLOW_VALUE(VFIO_GROUP_GET_DEVICE_FD),
    DO(KILL_PROCESS),
    /* to qvmd, and what it keeps to a qvm */
    ALLOW(sendmsg),
    CHECK(recvmsg, 4),
    ARGUMENT(0),
    ALLOW_VALUE(HAND_SOCKET),
    DO(KILL_PROCESS),
    ALLOW(mremap),
    OWN_MEMORY,
    ITS_END,
};

/* Of a hand that makes taps: it opens what makes them, and speaks of network devices on a socket
 * that reaches nobody. */
static struct sock_filter tap_code[] = {
    CALLS_OF_X86_64,
    NONE_OF(openat, 2, O_CREAT | O_TRUNC),
    CHECK(socket, 4),
    ARGUMENT(0),
    ALLOW_VALUE(AF_UNIX),
    DO(KILL_PROCESS),
    CHECK(ioctl, 22),
    ARGUMENT(1),
    ALLOW_VALUE(TUNSETIFF),
    ALLOW_VALUE(TUNGETIFF),
    ALLOW_VALUE(TUNSETVNETHDRSZ),
    ALLOW_VALUE(TUNSETOFFLOAD),
    ALLOW_VALUE(SIOCGIFINDEX),
    ALLOW_VALUE(SIOCGIFFLAGS),
    ALLOW_VALUE(SIOCSIFFLAGS),
    ALLOW_VALUE(SIOCGIFHWADDR),
    ALLOW_VALUE(SIOCSIFHWADDR),
    ALLOW_VALUE(SIOCBRADDIF),
    DO(KILL_PROCESS),
    ALLOW(close),
    ALLOW(clock_nanosleep),
    ALLOW(sendmsg),
    CHECK(recvmsg, 4),
    ARGUMENT(0),
    ALLOW_VALUE(HAND_SOCKET),
    DO(KILL_PROCESS),
    OWN_MEMORY,
    ITS_END,
};

static int close_door(struct sock_filter *filter, unsigned short length)
{
#ifdef QVM_NO_HAND_DOOR /* sanitizers open and print at will */
    (void)filter;
    (void)length;
    return 0;
#else
    const struct sock_fprog program = {.len = length, .filter = filter};

    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0 ? 0 : -errno;
#endif
}

/* ---- limits ---- */

static int limit(void)
{
    const struct {
        __rlimit_resource_t resource;
        rlim_t most;
    } limits[] = {
        {RLIMIT_CORE, 0},  {RLIMIT_FSIZE, 0},    {RLIMIT_MEMLOCK, 0},
        {RLIMIT_NPROC, 0}, {RLIMIT_MSGQUEUE, 0}, {RLIMIT_NOFILE, FILES_MAX},
    };

    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        const struct rlimit limit = {limits[i].most, limits[i].most};

        if (setrlimit(limits[i].resource, &limit) != 0) {
            return -errno;
        }
    }
    return 0;
}

int hand_bound(struct err *err)
{
    if (prctl(PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0) != 0) {
        return err_sys(err, -errno, "cannot drop the privileges of a hand");
    }
    for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; capability++) {
        /* up to the last one that this kernel has */
    }
    return 0;
}

/* No program that it could run would gain anything. */
static int confine_more(struct sock_filter *filter, unsigned short length, struct err *err)
{
    int r = limit();

    if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        r = -errno;
    }
    r = r == 0 ? close_door(filter, length) : r;
    return r == 0 ? 0 : err_sys(err, r, "cannot confine a hand");
}

int hand_confine_root(struct err *err)
{
    return confine_more(device_code, ARRAY_LEN(device_code), err);
}

int hand_confine_taps(struct err *err)
{
    return confine_more(tap_code, ARRAY_LEN(tap_code), err);
}

int hand_confine(struct err *err)
{
    int r = close_door(lonely_code, ARRAY_LEN(lonely_code));

    return r == 0 ? hand_confine_connecting(err) : err_sys(err, r, "cannot confine a hand");
}

int hand_confine_connecting(struct err *err)
{
    int r = close_door(silent_code, ARRAY_LEN(silent_code));

    return r == 0 ? hand_confine_listening(err) : err_sys(err, r, "cannot confine a hand");
}

int hand_confine_listening(struct err *err)
{
    int r = limit();

    r = r == 0 ? close_door(file_code, ARRAY_LEN(file_code)) : r;
    return r == 0 ? 0 : err_sys(err, r, "cannot confine a hand");
}
