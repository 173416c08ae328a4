/* One vCPU. */
#include "qvm-worker/vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus.h"
#include "qvm-worker/cpuid.h"
#include "qvm-worker/vcpu_state.h"
#include "qvm-worker/vm.h"

#define REPORT_SIZE    768
#define COMPLETE_TURNS 16 /* an instruction has few parts that devices answer */

#define MUST_PARK (VCPU_PAUSE | VCPU_HALT)

struct vcpu {
    struct vcpu_config config;
    uint32_t index;
    int fd;
    struct kvm_run *run;
    size_t run_size;
    struct vcpu_power_on *power_on;
    atomic_uint requests;
    bool is_started;
    bool needs_completion; /* the last exit's instruction ends at the next KVM_RUN */
    bool has_run;          /* KVM_RUN has come back with something since the start */
    int ready_result;
    pthread_t thread;
    uint64_t exits[VCPU_REASON_COUNT];
};

static __thread struct vcpu *self;

/* The handler of VCPU_KICK_SIGNAL: async-signal-safe, touches one byte. */
static void on_kick(int signal)
{
    (void)signal;
    if (self != NULL) {
        self->run->immediate_exit = 1;
    }
}

static int install_kick(void)
{
    struct sigaction action = {.sa_handler = on_kick};

    return sigaction(VCPU_KICK_SIGNAL, &action, NULL) == 0 ? 0 : -errno;
}

static int set_cpuid(struct vcpu *vcpu, uint32_t count, struct err *err)
{
    auto_free struct kvm_cpuid2 *table = cpuid_copy(vcpu->config.cpuid);
    struct cpuid_topology topology = {.cpu_count = count, .apic_id = vcpu->index};
    int khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);

    if (table == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    topology.tsc_khz = khz > 0 ? (uint32_t)khz : 0;
    cpuid_for_vcpu(table, &topology);
    if (ioctl(vcpu->fd, KVM_SET_CPUID2, table) != 0) {
        return err_sys(err, -errno, "KVM refuses the CPUID of vCPU %u", vcpu->index);
    }
    return 0;
}

static int map_run(struct vcpu *vcpu, struct err *err)
{
    int size = ioctl(vcpu->config.kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    void *at = MAP_FAILED;

    if (size >= (int)sizeof(struct kvm_run)) {
        at = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    }
    if (at == MAP_FAILED) {
        return err_sys(err, -errno, "cannot map vCPU %u", vcpu->index);
    }
    vcpu->run = at;
    vcpu->run_size = (size_t)size;
    return 0;
}

int vcpu_create(const struct vcpu_config *config, uint32_t index, uint32_t count,
                struct vcpu **vcpu, struct err *err)
{
    struct vcpu *new = calloc(1, sizeof(*new));
    int r;

    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    new->config = *config;
    new->index = index;
    atomic_init(&new->requests, VCPU_PAUSE);
    new->fd = ioctl(vm_fd(config->vm), KVM_CREATE_VCPU, index);
    r = new->fd >= 0 ? install_kick()
                     : err_sys(err, -errno, "KVM cannot create vCPU %u of %u", index, count);
    if (r == 0) {
        r = map_run(new, err);
    }
    if (r == 0) {
        r = set_cpuid(new, count, err);
    }
    if (r == 0) {
        r = vcpu_power_on_create(new->fd, &new->power_on, err);
    }
    if (r != 0) {
        vcpu_destroy(new);
        return r;
    }
    *vcpu = new;
    return 0;
}

void vcpu_destroy(struct vcpu *vcpu)
{
    if (vcpu == NULL) {
        return;
    }
    if (vcpu->run != NULL) {
        (void)munmap(vcpu->run, vcpu->run_size); /* cannot fail: it is ours */
    }
    vcpu_power_on_destroy(vcpu->power_on);
    cleanup_close(&vcpu->fd);
    free(vcpu);
}

int vcpu_fd(const struct vcpu *vcpu)
{
    return vcpu->fd;
}

int vcpu_reset(struct vcpu *vcpu, const struct vcpu_common *common, const struct vcpu_entry *entry,
               struct err *err)
{
    int r = vcpu_state_reset(vcpu->fd, common, vcpu->power_on, entry, err);

    if (r == 0) {
        vcpu_unrequest(vcpu, VCPU_HALT);
        vcpu->needs_completion = false;
    }
    return r;
}

static void report(struct vcpu *vcpu, enum vcpu_end end, const char *cause)
{
    char registers[REPORT_SIZE / 2], text[REPORT_SIZE];

    vcpu_state_text(vcpu->fd, registers, sizeof(registers));
    (void)snprintf(text, sizeof(text), "%s on vCPU %u: %s", cause, vcpu->index, registers);
    (void)atomic_fetch_or(&vcpu->requests, VCPU_HALT);
    vcpu->config.report(vcpu->config.context, vcpu->index, end, text);
}

static void report_exit(struct vcpu *vcpu, enum vcpu_end end)
{
    char cause[REPORT_SIZE / 2];

    vcpu_state_exit_text(vcpu->run, cause, sizeof(cause));
    report(vcpu, end, cause);
}

static void on_io(struct vcpu *vcpu)
{
    const struct kvm_run *run = vcpu->run;
    uint8_t *data = (uint8_t *)vcpu->run + run->io.data_offset;
    bool is_write = run->io.direction == KVM_EXIT_IO_OUT;

    for (uint32_t i = 0; i < run->io.count; i++) {
        (void)bus_access(vcpu->config.bus, BUS_IO, run->io.port, data, run->io.size, is_write);
        data += run->io.size;
    }
}

static void on_exit_reason(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;

    vcpu->exits[run->exit_reason % VCPU_REASON_COUNT]++;
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        on_io(vcpu);
        vcpu->needs_completion = true;
        break;
    case KVM_EXIT_MMIO:
        (void)bus_access(vcpu->config.bus, BUS_MEMORY, run->mmio.phys_addr, run->mmio.data,
                         run->mmio.len, run->mmio.is_write != 0);
        vcpu->needs_completion = true;
        break;
    case KVM_EXIT_INTR:
        break;
    case KVM_EXIT_SHUTDOWN:
        report_exit(vcpu, VCPU_TRIPLE_FAULT);
        break;
    case KVM_EXIT_FAIL_ENTRY:
        report_exit(vcpu, VCPU_KVM_FAILED);
        break;
    default:
        if (vcpu_state_is_at_reset_vector(vcpu->fd)) {
            report(vcpu, VCPU_AT_RESET_VECTOR, "the guest sent INIT to its boot CPU");
        } else {
            report_exit(vcpu, VCPU_UNSUPPORTED);
        }
        break;
    }
}

static void on_run_failed(struct vcpu *vcpu, int code)
{
    char cause[REPORT_SIZE / 2];

    if (code == EAGAIN && (vcpu->index != 0 || vcpu->has_run)) {
        return; /* a vCPU that waited for its start was woken */
    }
    if (code == EAGAIN) {
        (void)snprintf(cause, sizeof(cause),
                       "KVM_RUN needs one more thread than RLIMIT_NPROC or pids.max allow");
    } else {
        (void)snprintf(cause, sizeof(cause), "KVM_RUN: %s", strerrordesc_np(code));
    }
    report(vcpu, VCPU_KVM_FAILED, cause);
}

/* One turn in the guest. */
static void turn(struct vcpu *vcpu)
{
    vcpu->needs_completion = false;
    if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
        vcpu->has_run = true;
        on_exit_reason(vcpu);
    } else if (errno == EINTR) {
        vcpu->has_run = true;
        vcpu->run->immediate_exit = 0; /* before the requests are looked at, never after */
        atomic_thread_fence(memory_order_seq_cst);
    } else {
        on_run_failed(vcpu, errno);
    }
}

/* An instruction that a device answered ends at the next entry: enter, and come back at once. */
static void complete(struct vcpu *vcpu)
{
    for (int i = 0; vcpu->needs_completion && i < COMPLETE_TURNS; i++) {
        vcpu->run->immediate_exit = 1;
        turn(vcpu);
    }
}

static bool must_wait(const struct vcpu *vcpu)
{
    uint32_t requests = atomic_load(&vcpu->requests);

    return (requests & MUST_PARK) != 0 && (requests & VCPU_EXIT) == 0;
}

static void park(struct vcpu *vcpu)
{
    struct vcpu_gate *gate = vcpu->config.gate;

    complete(vcpu);
    (void)pthread_mutex_lock(&gate->mutex);
    gate->parked_count++;
    (void)pthread_cond_broadcast(&gate->changed);
    while (must_wait(vcpu)) {
        (void)pthread_cond_wait(&gate->changed, &gate->mutex);
    }
    gate->parked_count--;
    (void)pthread_mutex_unlock(&gate->mutex);
}

static void *vcpu_main(void *context)
{
    struct vcpu *vcpu = context;
    sigset_t kick;

    self = vcpu;
    (void)sigemptyset(&kick);
    (void)sigaddset(&kick, VCPU_KICK_SIGNAL);
    (void)pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
    vcpu->ready_result = vcpu->config.ready(vcpu->config.context);
    for (;;) {
        uint32_t requests = atomic_load(&vcpu->requests);

        if ((requests & VCPU_EXIT) != 0) {
            return NULL;
        }
        if ((requests & MUST_PARK) != 0) {
            park(vcpu);
        } else {
            turn(vcpu);
        }
    }
}

int vcpu_start(struct vcpu *vcpu, struct err *err)
{
    sigset_t all, before;
    int r;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&vcpu->thread, NULL, vcpu_main, vcpu);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0) {
        return err_sys(err, -r, "cannot make the thread of vCPU %u", vcpu->index);
    }
    vcpu->is_started = true;
    return 0;
}

void vcpu_join(struct vcpu *vcpu)
{
    if (vcpu->is_started) {
        (void)pthread_join(vcpu->thread, NULL); /* fails for a programmer's error alone */
        vcpu->is_started = false;
    }
}

bool vcpu_is_started(const struct vcpu *vcpu)
{
    return vcpu->is_started;
}

int vcpu_ready_result(const struct vcpu *vcpu)
{
    return vcpu->ready_result;
}

void vcpu_request(struct vcpu *vcpu, uint32_t request)
{
    (void)atomic_fetch_or(&vcpu->requests, request);
    if (vcpu->is_started) {
        (void)pthread_kill(vcpu->thread, VCPU_KICK_SIGNAL); /* fails once it has ended: fine */
    }
}

void vcpu_unrequest(struct vcpu *vcpu, uint32_t request)
{
    (void)atomic_fetch_and(&vcpu->requests, ~request);
}

void vcpu_halt_self(void)
{
    if (self != NULL) {
        (void)atomic_fetch_or(&self->requests, VCPU_HALT);
    }
}

uint32_t vcpu_self_index(void)
{
    return self != NULL ? self->index : UINT32_MAX;
}

uint64_t vcpu_exits(const struct vcpu *vcpu, uint32_t reason)
{
    return reason < VCPU_REASON_COUNT ? vcpu->exits[reason] : 0;
}
