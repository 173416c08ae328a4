/* Attempts at the network, other processes, rights, and odd doors of the kernel. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/perf_event.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/attempts/attempts.h"

#define DESCRIPTORS 256
#define KVM_MAJOR   10
#define KVM_MINOR   232
#define SHM_KEY     0x71766d74 /* test_confined.py makes one on the host */

static char page[4096] __attribute__((aligned(4096)));

#define CALL(name, ...)                                                                            \
    long attempt_##name(const struct attempt_target *target)                                       \
    {                                                                                              \
        (void)target;                                                                              \
        return attempt_call(__VA_ARGS__);                                                          \
    }

/* ---- sockets ---- */

static long connect_to(int family, int type, const void *address, size_t size)
{
    long fd = attempt_call(SYS_socket, (long)family, (long)type, 0L);
    long r = fd < 0 ? fd : attempt_call(SYS_connect, fd, address, size);

    if (fd >= 0) {
        (void)close((int)fd);
    }
    return r;
}

static long connect_unix(const char *name, int type, int is_abstract)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(name);

    memcpy(address.sun_path + is_abstract, name,
           size < sizeof(address.sun_path) - 1 ? size : sizeof(address.sun_path) - 2);
    return connect_to(AF_UNIX, type, &address, offsetof(struct sockaddr_un, sun_path) + size + 1);
}

long attempt_connect_by_tcp(const struct attempt_target *target)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(22), .sin_addr = {htonl(INADDR_LOOPBACK)}};

    (void)target;
    return connect_to(AF_INET, SOCK_STREAM, &address, sizeof(address));
}

long attempt_connect_to_qvmd(const struct attempt_target *target)
{
    return connect_unix(target->qvmd_socket, SOCK_STREAM, 0);
}

long attempt_connect_to_a_neighbour(const struct attempt_target *target)
{
    return connect_unix(target->neighbour_socket, SOCK_SEQPACKET, 0);
}

long attempt_connect_to_an_abstract_socket(const struct attempt_target *target)
{
    return connect_unix(target->abstract, SOCK_STREAM, 1);
}

long attempt_connect_to_the_host_by_vsock(const struct attempt_target *target)
{
    const struct sockaddr_vm address = {
        .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = 22};

    (void)target;
    return connect_to(AF_VSOCK, SOCK_STREAM, &address, sizeof(address));
}

/* There is one device, and it is down: the second does not exist. */
long attempt_see_the_network(const struct attempt_target *target)
{
    long fd = attempt_call(SYS_socket, (long)AF_INET, (long)SOCK_DGRAM, 0L);
    struct ifreq request = {.ifr_ifindex = 2};

    (void)target;
    return fd < 0 ? fd : attempt_call(SYS_ioctl, fd, 0x8910L /* SIOCGIFNAME */, &request);
}

/* By a socket that it has: that of the log, which is connected and takes no notice. */
long attempt_send_to_an_address(const struct attempt_target *target)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memcpy(address.sun_path, target->neighbour_socket,
           strnlen(target->neighbour_socket, sizeof(address.sun_path) - 1));
    return attempt_call(SYS_sendto, 1L, "x", 1L, (long)(MSG_DONTWAIT | MSG_NOSIGNAL), &address,
                        (long)sizeof(address));
}

CALL(read_raw_packets, SYS_socket, (long)AF_PACKET, (long)SOCK_RAW, 0x300L)
CALL(make_a_pair_of_sockets, SYS_socketpair, (long)AF_UNIX, (long)SOCK_STREAM, 0L, page)

/* ---- other processes ---- */

static long move_memory(long number, pid_t pid)
{
    const struct iovec ours = {page, sizeof(page)}, theirs = {page, sizeof(page)};

    return attempt_call(number, (long)pid, &ours, 1L, &theirs, 1L, 0L);
}

CALL(signal_a_neighbour, SYS_kill, (long)target->neighbour, 0L)
CALL(signal_qvmd, SYS_kill, (long)target->qvmd, 0L)
CALL(signal_a_neighbours_thread, SYS_tgkill, (long)target->neighbour, (long)target->neighbour, 0L)
CALL(signal_everybody, SYS_kill, -1L, 0L)
CALL(hold_a_neighbour, SYS_pidfd_open, (long)target->neighbour, 0L)
CALL(hold_qvmd, SYS_pidfd_open, (long)target->qvmd, 0L)
CALL(take_a_descriptor, SYS_pidfd_getfd, 1L, 0L, 0L)
CALL(trace_a_neighbour, SYS_ptrace, (long)PTRACE_SEIZE, (long)target->neighbour, 0L, 0L)
CALL(trace_qvmd, SYS_ptrace, (long)PTRACE_SEIZE, (long)target->qvmd, 0L, 0L)
CALL(move_a_neighbour_to_another_cpu, SYS_sched_setaffinity, (long)target->neighbour, 8L,
     "\1\0\0\0\0\0\0")
CALL(attach_shared_memory, SYS_shmget, (long)SHM_KEY, 1L, 0L)
CALL(open_a_message_queue, SYS_mq_open, "qvm-attempt", (long)O_RDWR, 0L, 0L)

long attempt_read_the_ram_of_a_neighbour(const struct attempt_target *target)
{
    return move_memory(SYS_process_vm_readv, target->neighbour);
}

long attempt_write_the_ram_of_a_neighbour(const struct attempt_target *target)
{
    return move_memory(SYS_process_vm_writev, target->neighbour);
}

long attempt_read_the_memory_of_qvmd(const struct attempt_target *target)
{
    return move_memory(SYS_process_vm_readv, target->qvmd);
}

static long set_limit(pid_t pid, int resource, rlim_t limit)
{
    const struct rlimit new = {limit, limit};

    return attempt_call(SYS_prlimit64, (long)pid, (long)resource, &new, 0L);
}

long attempt_limit_a_neighbour(const struct attempt_target *target)
{
    return set_limit(target->neighbour, RLIMIT_NOFILE, 1);
}

/* ---- rights ---- */

long attempt_raise_the_number_of_files(const struct attempt_target *target)
{
    (void)target;
    return set_limit(0, RLIMIT_NOFILE, 1 << 20);
}

long attempt_allow_core_files(const struct attempt_target *target)
{
    (void)target;
    return set_limit(0, RLIMIT_CORE, RLIM_INFINITY);
}

long attempt_have_a_larger_heap(const struct attempt_target *target)
{
    (void)target;
    return set_limit(0, RLIMIT_DATA, RLIM_INFINITY);
}

long attempt_have_capabilities(const struct attempt_target *target)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct data[2] = {{~0u, ~0u, ~0u}, {0x1ff, 0x1ff, 0x1ff}};

    (void)target;
    return attempt_call(SYS_capset, &header, data);
}

long attempt_run_before_all_others(const struct attempt_target *target)
{
    const struct sched_param parameters = {.sched_priority = 1};

    (void)target;
    return attempt_call(SYS_sched_setscheduler, 0L, (long)SCHED_FIFO, &parameters);
}

CALL(be_root, SYS_setuid, 0L)
CALL(be_in_the_group_of_root, SYS_setgid, 0L)
CALL(have_new_privileges, SYS_prctl, (long)PR_SET_NO_NEW_PRIVS, 0L, 0L, 0L, 0L)
CALL(mount, SYS_mount, "x", "/", "tmpfs", 0L, 0L)
CALL(unmount, SYS_umount2, "/vdevs", 2L)
CALL(mount_the_new_way, SYS_fsopen, "tmpfs", 0L)
CALL(have_another_root, SYS_chroot, "/usr")
CALL(make_a_namespace, SYS_unshare, (long)CLONE_NEWNET)
CALL(enter_a_namespace, SYS_setns, 0L, 0L)
CALL(name_the_host, SYS_sethostname, "x", 1L)
CALL(set_the_clock, SYS_clock_settime, 0L, page)
CALL(load_a_module, SYS_init_module, page, 1L, "")
CALL(load_a_kernel, SYS_kexec_load, 0L, 0L, 0L, 0L)
CALL(reboot_the_host, SYS_reboot, 0xfee1deadL, 672274793L, 0x89abcdefL, 0L)
CALL(use_ports, SYS_iopl, 3L)
CALL(read_the_log_of_the_kernel, SYS_syslog, 3L, page, 16L)

/* ---- odd doors ---- */

/* No descriptor of ours is /dev/kvm any more. (Trying all of them would wait for vCPUs that run.)
 */
long attempt_make_a_vm(const struct attempt_target *target)
{
    long r = attempt_call(SYS_ioctl, -1L, (long)KVM_CREATE_VM, 0L);

    (void)target;
    for (int fd = 0; r == -EBADF && fd < DESCRIPTORS; fd++) {
        struct stat st;

        if (attempt_call(SYS_fstat, (long)fd, &st) == 0 && S_ISCHR(st.st_mode) &&
            major(st.st_rdev) == KVM_MAJOR && minor(st.st_rdev) == KVM_MINOR) {
            r = attempt_call(SYS_ioctl, (long)fd, (long)KVM_CREATE_VM, 0L);
        }
    }
    return r;
}

/* The image of the vdev has one, where the kernel gives rings: it takes no other file. */
long attempt_add_a_file_to_every_ring(const struct attempt_target *target)
{
    const int file = STDERR_FILENO;
    long r = -EOPNOTSUPP; /* no descriptor is a ring */

    (void)target;
    for (int fd = 0; fd < DESCRIPTORS; fd++) {
        long one =
            attempt_call(SYS_io_uring_register, (long)fd, (long)IORING_REGISTER_FILES, &file, 1L);

        if (one != -EBADF && one != -EOPNOTSUPP && r != 0) {
            r = one;
        }
    }
    return r;
}

long attempt_load_a_bpf_program(const struct attempt_target *target)
{
    const struct bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K},
                                    {.code = BPF_JMP | BPF_EXIT}};
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_KPROBE,
                           .insns = (__u64)(unsigned long)code,
                           .insn_cnt = 2,
                           .license = (__u64)(unsigned long)"GPL"};

    (void)target;
    return attempt_call(SYS_bpf, (long)BPF_PROG_LOAD, &load, sizeof(load));
}

long attempt_watch_with_perf(const struct attempt_target *target)
{
    struct perf_event_attr watch = {.type = PERF_TYPE_SOFTWARE, .size = sizeof(watch)};

    (void)target;
    return attempt_call(SYS_perf_event_open, &watch, -1L, 0L, -1L, 0L);
}

CALL(make_a_ring, SYS_io_uring_setup, 8L, page)
CALL(make_an_event, SYS_eventfd2, 0L, 0L)
CALL(handle_page_faults, SYS_userfaultfd, 0L)
CALL(add_a_key, SYS_add_key, "user", "x", "x", 1L, -3L)
CALL(have_another_filter, SYS_seccomp, 3L, 0L, page)
CALL(be_dumpable, SYS_prctl, (long)PR_SET_DUMPABLE, 1L, 0L, 0L, 0L)
