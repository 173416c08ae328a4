/* What an exit costs beside KVM, with 30 vdevs present. KVM_RUN is taken over by this program: it
 * comes back at once with a prepared kvm_run page, or goes to the real KVM with a guest that reads
 * a port all the time, or does so in a bare loop that answers nothing. Prints nanoseconds, medians
 * of rounds. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/machine/machine.h"
#include "qvm-worker/vdev/host.h"

#define KIND_COUNT   15 /* of serial lines, and of PCI functions */
#define SCRATCH_PORT 0x3ff
#define KEEP_ADDRESS 0xc000e008u /* of the last of the functions */
#define ROUNDS       21u
#define PREPARED     100000u /* turns of a round */
#define REAL         2000u

/* mov dx,SCRATCH_PORT; 1: in al,dx; jmp 1b */
static const uint8_t guest[] = {0x66, 0xba, 0xff, 0x03, 0xec, 0xeb, 0xfd};

enum phase { PHASE_PORT, PHASE_PORT_WRITE, PHASE_ADDRESS, PHASE_REAL, PHASE_BARE, PHASE_END };

static const struct {
    const char *what;
    uint32_t count;
} phases[] = {
    [PHASE_PORT] = {"dispatch of a port's read", PREPARED},
    [PHASE_PORT_WRITE] = {"dispatch of a port's write", PREPARED},
    [PHASE_ADDRESS] = {"dispatch of a BAR's read", PREPARED},
    [PHASE_REAL] = {"whole exit of a port's read", REAL},
    [PHASE_BARE] = {"the same in a bare KVM_RUN loop", REAL},
};

static struct kvm_run *run; /* of the vCPU: the mapping that vcpu.c makes */
static unsigned phase;
static uint32_t turns;
static uint64_t began_ns;

static uint64_t now_ns(void)
{
    struct timespec now;

    /* Others may have the CPU in between: what is ours alone is our own time. */
    (void)clock_gettime(phase < PHASE_REAL ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void prepare(void)
{
    run->exit_reason = phase == PHASE_ADDRESS ? KVM_EXIT_MMIO : KVM_EXIT_IO;
    if (phase == PHASE_ADDRESS) {
        run->mmio.phys_addr = KEEP_ADDRESS;
        run->mmio.len = 4;
        run->mmio.is_write = 0;
    } else {
        run->io.direction = phase == PHASE_PORT ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
        run->io.size = 1;
        run->io.port = SCRATCH_PORT;
        run->io.count = 1;
        run->io.data_offset = 4096;
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void next_round(void)
{
    static double results[ROUNDS];
    static unsigned rounds;
    char line[96];
    int size;

    results[rounds++] = (double)(now_ns() - began_ns) / phases[phase].count;
    turns = 0;
    if (rounds < ROUNDS) {
        return;
    }
    rounds = 0;
    qsort(results, ROUNDS, sizeof(results[0]), compare);
    size = snprintf(line, sizeof(line), "%-34s %8.1f ns (best %.1f)\n", phases[phase].what,
                    results[ROUNDS / 2], results[0]);
    (void)!write(STDOUT_FILENO, line, (size_t)size); /* a benchmark has nobody to tell */
    if (++phase == PHASE_END) {
        _exit(EXIT_SUCCESS);
    }
}

static int run_vcpu(int fd)
{
    if (turns == phases[phase].count) {
        next_round();
    }
    if (turns == 0) {
        began_ns = now_ns();
        if (phase < PHASE_REAL) {
            prepare();
        }
    }
    turns++;
    if (phase < PHASE_REAL) {
        return 0;
    }
    while (phase == PHASE_BARE && turns < REAL) {
        turns++;
        (void)syscall(SYS_ioctl, fd, KVM_RUN, 0); /* what it reads does not matter */
    }
    return (int)syscall(SYS_ioctl, fd, KVM_RUN, 0);
}

/* In the place of the C library's, for all of the qvm. */
int ioctl(int fd, unsigned long request, ...)
{
    va_list list;
    void *argument;

    va_start(list, request);
    argument = va_arg(list, void *);
    va_end(list);
    return request == KVM_RUN ? run_vcpu(fd) : (int)syscall(SYS_ioctl, fd, request, argument);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    long result = syscall(SYS_mmap, at, size, protection, flags, fd, offset);
    void *mapped;

    memcpy(&mapped, &result, sizeof(mapped));
    if (fd >= 0 && size >= sizeof(struct kvm_run) && size < 16 * 4096) {
        run = mapped; /* nothing else is of that size */
    }
    return mapped;
}

static void check(int r, const struct err *err)
{
    if (r != 0) {
        (void)fprintf(stderr, "dispatch: %s\n", err->msg);
        exit(EXIT_FAILURE);
    }
}

static void add_vdevs(struct vdev_host *host, struct err *err)
{
    for (unsigned i = 0; i < KIND_COUNT; i++) {
        char place[16];
        struct vdev_host_option serial = {.word = "loc", .argument = place, .where = "bench:1"};
        const struct vdev_host_option dummy[] = {
            {.word = "bar", .argument = "0,mem,4K", .where = "bench:2"},
            {.word = "test", .argument = "on", .where = "bench:2"}};

        (void)snprintf(place, sizeof(place), "io:%x,8", i == 0 ? 0x3f8 : 0x1000 + 16 * i);
        check(vdev_host_add(host, "ser8250", "bench:1", &serial, 1, err), err);
        check(vdev_host_add(host, "pci-dummy", "bench:2", dummy, ARRAY_LEN(dummy), err), err);
    }
}

static void on_intr(void *context, uint32_t gsi, bool is_high)
{
    (void)context;
    (void)gsi;
    (void)is_high;
}

static void on_event(void *context, const struct machine_event *event)
{
    (void)context;
    (void)fprintf(stderr, "dispatch: %s\n", event->text);
}

int main(int argc, char **argv)
{
    static const struct memory_range ram = {.size = 4 << 20, .where = "bench:3"};
    static struct machine_load load = {.path = "guest", .where = "bench:4"};
    static struct machine_spec spec = {.name = "bench",
                                       .where = "bench:5",
                                       .cpu_count = 1,
                                       .ram = &ram,
                                       .ram_count = 1,
                                       .loads = &load,
                                       .load_count = 1,
                                       .has_pci = true,
                                       .on_event = on_event};
    struct vdev_host_env env = {.loop = uv_default_loop(), .cpu_count = 1, .intr = on_intr};
    struct vdev_host *host = NULL;
    struct machine *machine = NULL;
    struct err err = {0};
    int vdevs = argc == 2 ? open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;

    if (vdevs < 0) {
        (void)fprintf(stderr, "dispatch VDEV_DIRECTORY\n");
        return 2;
    }
    load.fd = memfd_create("guest", MFD_CLOEXEC);
    (void)!write(load.fd, guest, sizeof(guest)); /* if not, the guest does not run */
    spec.kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    check(vdev_host_create(vdevs, &host, &err), &err);
    add_vdevs(host, &err);
    check(machine_create(&spec, &machine, &err), &err);
    env.bus = machine_bus(machine);
    env.pci = machine_pci(machine);
    check(vdev_host_build(host, &env, &err), &err);
    check(machine_start(machine, &err), &err);
    for (;;) {
        struct pollfd fd = {machine_event_fd(machine), POLLIN, 0};

        (void)poll(&fd, 1, -1); /* interrupted or not: look */
        machine_dispatch(machine);
    }
}
