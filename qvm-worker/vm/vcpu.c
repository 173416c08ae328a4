/* One vCPU. */
#include "qvm-worker/vm/vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus/bus.h"
#include "qvm-worker/lockdown/apart.h"
#include "qvm-worker/topology.h"
#include "qvm-worker/vm/cpuid.h"
#include "qvm-worker/vm/placement.h"
#include "qvm-worker/vm/vcpu_private.h"
#include "qvm-worker/vm/vcpu_state.h"
#include "qvm-worker/vm/vm_ahead.h"

#define REPORT_SIZE      768
#define THREAD_NAME_SIZE 16 /* what the kernel keeps, with its NUL */
#define COMPLETE_TURNS   16 /* an instruction has few parts that devices answer */

#define MUST_PARK (VCPU_PAUSE | VCPU_HALT | VCPU_WAIT)

static __thread struct vcpu *self;

/* The handler of VCPU_KICK_SIGNAL: async-signal-safe, touches one byte. */
static void on_kick(int signal)
{
    (void)signal;
    if (self != NULL) {
        self->run->immediate_exit = 1;
    }
}

int vcpu_install_kick(struct err *err)
{
    struct sigaction action = {.sa_handler = on_kick};

    return sigaction(VCPU_KICK_SIGNAL, &action, NULL) == 0
               ? 0
               : err_sys(err, -errno, "cannot handle the signal that kicks vCPUs");
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
    cleanup_close(&vcpu->stats_fd);
    cleanup_close(&vcpu->fd);
    (void)pthread_cond_destroy(&vcpu->wake); /* nobody waits */
    free(vcpu);
}

int vcpu_fd(const struct vcpu *vcpu)
{
    return vcpu->fd;
}

int vcpu_stats_fd(const struct vcpu *vcpu)
{
    return vcpu->stats_fd;
}

void vcpu_enter(struct vcpu *vcpu, const struct vcpu_entry *entry)
{
    vcpu->entry = *entry;
    vcpu->has_entry = true;
}

int vcpu_begin(struct vcpu *vcpu, const struct vcpu_common *common, struct err *err)
{
    return vcpu_state_begin(vcpu->fd, common, vcpu->power_on, err);
}

int vcpu_reset(struct vcpu *vcpu, const struct vcpu_common *common, const struct vcpu_entry *entry,
               struct err *err)
{
    int r = vcpu_state_reset(vcpu->fd, common, vcpu->power_on, entry, err);

    if (r == 0) {
        vcpu->has_entry = false;
        vcpu->run->kvm_dirty_regs = 0;
        vcpu_unrequest(vcpu, VCPU_HALT | VCPU_WAIT);
        vcpu->needs_completion = false;
        vcpu->vector = -1;
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

/* Nobody answers there. */
static void on_nobody(struct vcpu *vcpu, const char *space, uint64_t address, bool is_write)
{
    enum unsupported_reaction reaction = vcpu->config.unsupported.reference;
    char cause[REPORT_SIZE / 2];

    if (reaction != UNSUPPORTED_IGNORE &&
        unsupported_reference(vcpu->fd, reaction, space, address, is_write, cause, sizeof(cause))) {
        report(vcpu, VCPU_UNSUPPORTED, cause);
    }
}

static void on_msr(struct vcpu *vcpu)
{
    char cause[REPORT_SIZE / 2];

    if (unsupported_register(vcpu->run, vcpu->config.unsupported.msr, cause, sizeof(cause))) {
        report(vcpu, VCPU_UNSUPPORTED, cause);
    }
}

static void on_mmio(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    bool is_write = run->mmio.is_write != 0;

    if (!bus_access(vcpu->config.bus, BUS_MEMORY, run->mmio.phys_addr, run->mmio.data,
                    run->mmio.len, is_write)) {
        on_nobody(vcpu, "address", run->mmio.phys_addr, is_write);
    }
}

static void on_io(struct vcpu *vcpu)
{
    bool is_answered = true;
    const struct kvm_run *run = vcpu->run;
    uint8_t *data = (uint8_t *)vcpu->run + run->io.data_offset;
    bool is_write = run->io.direction == KVM_EXIT_IO_OUT;

    for (uint32_t i = 0; i < run->io.count; i++) {
        is_answered =
            bus_access(vcpu->config.bus, BUS_IO, run->io.port, data, run->io.size, is_write) &&
            is_answered;
        data += run->io.size;
    }
    if (!is_answered) {
        on_nobody(vcpu, "port", run->io.port, is_write);
    }
}

static void on_exit_reason(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;

    counter_bump(&vcpu->exits[run->exit_reason % COUNTERS_REASONS]);
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        on_io(vcpu);
        vcpu->needs_completion = true;
        break;
    case KVM_EXIT_MMIO:
        on_mmio(vcpu);
        vcpu->needs_completion = true;
        break;
    case KVM_EXIT_X86_RDMSR:
    case KVM_EXIT_X86_WRMSR:
        on_msr(vcpu);
        vcpu->needs_completion = true;
        break;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN: /* offer_interrupt comes next */
        break;
    case KVM_EXIT_IOAPIC_EOI:
        if (vcpu->config.chips != NULL) {
            vcpu->config.chips->end_of_interrupt(vcpu->config.chips->context, run->eoi.vector);
        }
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
        } else if (!unsupported_instruction(vcpu->fd, run, vcpu->config.unsupported.instruction)) {
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

/* An 8259 of ours wants to interrupt: let it when the guest can take it, and else ask KVM to come
 * back then. */
static void offer_interrupt(struct vcpu *vcpu, struct vcpu_chips *chips)
{
    struct kvm_run *run = vcpu->run;

    if (run->ready_for_interrupt_injection != 0 &&
        (vcpu->vector >= 0 || atomic_load(&chips->is_intr_high))) {
        struct kvm_interrupt interrupt = {0};

        if (vcpu->vector < 0) {
            vcpu->vector = chips->acknowledge(chips->context);
        }
        interrupt.irq = (uint32_t)vcpu->vector;
        if (vcpu->vector >= 0 && ioctl(vcpu->fd, KVM_INTERRUPT, &interrupt) == 0) {
            vcpu->vector = -1; /* else KVM still has one that it did not deliver */
        }
    }
    run->request_interrupt_window = vcpu->vector >= 0 || atomic_load(&chips->is_intr_high);
}

/* One turn in the guest. */
static void turn(struct vcpu *vcpu)
{
    if (vcpu->config.chips != NULL && vcpu->index == 0) {
        offer_interrupt(vcpu, vcpu->config.chips);
    }
    if (vcpu->has_entry) {
        vcpu_state_enter(vcpu->run, vcpu->power_on, &vcpu->entry);
        vcpu->has_entry = false;
    }
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
    if (++gate->parked_count >= gate->awaited_count) {
        (void)pthread_cond_signal(&gate->changed);
    }
    while (must_wait(vcpu)) {
        (void)pthread_cond_wait(&vcpu->wake, &gate->mutex);
    }
    gate->parked_count--;
    (void)pthread_mutex_unlock(&gate->mutex);
}

/* Make the vCPU, let kicks in, close the door. */
static int begin(struct vcpu *vcpu)
{
    char name[THREAD_NAME_SIZE];
    sigset_t kick;
    int r;

    (void)snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
    (void)prctl(PR_SET_NAME, name); /* for people, and for qvmd, which reads its time by it */
    r = vcpu_make(vcpu, &vcpu->err);
    if (r == 0 && vcpu->placement != NULL) {
        r = placement_apply(vcpu->placement, &vcpu->err);
    }
    if (r == 0) {
        self = vcpu;
        (void)sigemptyset(&kick);
        (void)sigaddset(&kick, VCPU_KICK_SIGNAL);
        (void)pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
        r = vcpu->config.ready(vcpu->config.context, &vcpu->err);
    }
    return r;
}

/* Say so. One that could not be made goes nowhere. */
static void tell_made(struct vcpu *vcpu)
{
    struct vcpu_gate *gate = vcpu->config.gate;

    if (vcpu->result != 0) {
        (void)atomic_fetch_or(&vcpu->requests, VCPU_HALT);
    }
    (void)pthread_mutex_lock(&gate->mutex);
    if (++gate->made_count >= gate->awaited_count) {
        (void)pthread_cond_signal(&gate->changed);
    }
    (void)pthread_mutex_unlock(&gate->mutex);
}

static void *vcpu_main(void *context)
{
    struct vcpu *vcpu = context;

    vcpu->result = begin(vcpu);
    tell_made(vcpu);
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

int vcpu_create(const struct vcpu_config *config, uint32_t index, uint32_t count,
                struct vcpu **vcpu, struct err *err)
{
    struct vcpu *new = calloc(1, sizeof(*new));
    int r = 0;

    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    new->config = *config;
    new->index = index;
    new->apic_id = topology_apic_id(config->topology, index);
    new->placement = config->placements != NULL ? config->placements[index] : NULL;
    new->count = count;
    new->fd = -1;
    new->exits = config->counters != NULL ? counters_vcpu(config->counters, index) : NULL;
    new->exits = new->exits != NULL ? new->exits : new->own_exits;
    new->stats_fd = -1;
    new->vector = -1;
    (void)pthread_cond_init(&new->wake, NULL); /* cannot fail on Linux */
    atomic_init(&new->requests, VCPU_PAUSE);
    if (index > 0 || !vm_ahead_go_on(config->ahead, vcpu_main, new, &new->thread)) {
        r = apart_create(&new->thread, vcpu_main, new);
    }
    if (r != 0) {
        vcpu_destroy(new);
        return err_sys(err, -r, "cannot make the thread of vCPU %u", index);
    }
    *vcpu = new;
    return 0;
}

void vcpu_join(struct vcpu *vcpu)
{
    if (!vcpu->is_joined) {
        (void)pthread_join(vcpu->thread, NULL); /* fails for a programmer's error alone */
        vcpu->is_joined = true;
    }
}

int vcpu_result(const struct vcpu *vcpu, struct err *err)
{
    return vcpu->result == 0 ? 0 : err_set(err, vcpu->result, "%s", vcpu->err.msg);
}

void vcpu_request(struct vcpu *vcpu, uint32_t request)
{
    (void)atomic_fetch_or(&vcpu->requests, request);
    if (!vcpu->is_joined) {
        (void)pthread_kill(vcpu->thread, VCPU_KICK_SIGNAL); /* fails once it has ended: fine */
    }
}

void vcpu_unrequest(struct vcpu *vcpu, uint32_t request)
{
    (void)atomic_fetch_and(&vcpu->requests, ~request);
}

void vcpu_wake(struct vcpu *vcpu)
{
    if (!must_wait(vcpu)) {
        (void)pthread_cond_signal(&vcpu->wake);
    }
}

void vcpu_look(struct vcpu *vcpu)
{
    if (self != vcpu && !vcpu->is_joined) { /* its own thread looks before it goes on */
        (void)pthread_kill(vcpu->thread, VCPU_KICK_SIGNAL); /* fails once it has ended: fine */
    }
}

void vcpu_park_self(uint32_t request)
{
    if (self != NULL) {
        (void)atomic_fetch_or(&self->requests, request);
    }
}

uint32_t vcpu_self_index(void)
{
    return self != NULL ? self->index : UINT32_MAX;
}

uint64_t vcpu_exits(const struct vcpu *vcpu, uint32_t reason)
{
    return reason < COUNTERS_REASONS
               ? atomic_load_explicit(&vcpu->exits[reason], memory_order_relaxed)
               : 0;
}
