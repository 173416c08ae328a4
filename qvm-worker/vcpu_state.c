/* The registers of one vCPU. */
#include "qvm-worker/vcpu_state.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define MSR_TSC                 0x10u
#define MSR_MISC_ENABLE         0x1a0u
#define MSR_MTRR_DEFAULT        0x2ffu
#define MSR_HYPERV_FIRST        0x40000000u
#define MSR_HYPERV_LAST         0x4000ffffu
#define MISC_ENABLE_FAST_STRING 1u
#define MTRR_ENABLED_WRITE_BACK 0x806u /* without it Linux skips its page attribute table */

#define MSRS_MAX 1024u

#define CR0_PROTECTED 0x00000001ull
#define CR0_FPU_TYPE  0x00000010ull
#define CR0_PAGING    0x80000000ull
#define CR4_PAE       0x00000020ull
#define EFER_LONG     0x00000500ull /* enabled and active */

#define SELECTOR_CODE 0x10u
#define SELECTOR_DATA 0x18u
#define SELECTOR_TASK 0x20u

#define RESET_IP      0xfff0u /* where INIT leaves a boot CPU: 16 bytes below 4 GiB */
#define RESET_CS_BASE 0xffff0000u

#define FPU_CONTROL 0x37fu
#define MXCSR_RESET 0x1f80u

struct vcpu_common {
    size_t xsave_size; /* 0: this KVM has none */
    struct kvm_msrs *msrs;
};

struct vcpu_power_on {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_lapic_state lapic;
    struct kvm_debugregs debug;
    struct kvm_vcpu_events events;
    struct kvm_mp_state mp;
    struct kvm_xcrs xcrs;
};

/* Time goes on over a reset, and Hyper-V's registers are not offered. */
static bool is_kept_out(uint32_t index)
{
    return index == MSR_TSC || (index >= MSR_HYPERV_FIRST && index <= MSR_HYPERV_LAST);
}

static struct kvm_msr_list *read_msr_list(int kvm_fd)
{
    struct kvm_msr_list *list =
        calloc(1, sizeof(struct kvm_msr_list) + MSRS_MAX * sizeof(list->indices[0]));

    if (list != NULL) {
        list->nmsrs = MSRS_MAX;
        if (ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, list) != 0) {
            free(list);
            list = NULL;
        }
    }
    return list;
}

/* Read or write `count` MSRs; KVM stops at the first it refuses: that one is left out (read) or
 * left alone (written). Returns how many are left. */
static uint32_t transfer_msrs(int vcpu_fd, unsigned long request, struct kvm_msr_entry *entries,
                              uint32_t count, struct kvm_msrs *buffer)
{
    uint32_t kept = 0;

    for (uint32_t at = 0; at < count;) {
        int n;

        buffer->nmsrs = count - at;
        memcpy(buffer->entries, &entries[at], (count - at) * sizeof(entries[0]));
        n = ioctl(vcpu_fd, request, buffer);
        if (n < 0) {
            return kept;
        }
        memmove(&entries[kept], buffer->entries, (uint32_t)n * sizeof(entries[0]));
        kept += (uint32_t)n;
        at += (uint32_t)n + 1;
    }
    return kept;
}

/* KVM has the memory type range registers, and does not list them (seen: Linux 6.1 to 6.18). */
static const struct {
    uint32_t first, count;
} unlisted[] = {
    {0x200, 16}, {0x250, 1}, {0x258, 2}, {0x268, 8}, {MSR_MTRR_DEFAULT, 1},
};

static void add_msr(struct kvm_msrs *msrs, uint32_t index)
{
    for (uint32_t i = 0; i < msrs->nmsrs; i++) {
        if (msrs->entries[i].index == index) {
            return;
        }
    }
    if (msrs->nmsrs < MSRS_MAX && !is_kept_out(index)) {
        msrs->entries[msrs->nmsrs++].index = index;
    }
}

static struct kvm_msrs *make_msrs(uint32_t count)
{
    return calloc(1, sizeof(struct kvm_msrs) + count * sizeof(struct kvm_msr_entry));
}

static int read_msrs(int kvm_fd, int vcpu_fd, struct vcpu_common *common)
{
    auto_free struct kvm_msr_list *list = read_msr_list(kvm_fd);
    auto_free struct kvm_msrs *buffer = make_msrs(MSRS_MAX);
    struct kvm_msrs *msrs = make_msrs(MSRS_MAX);

    common->msrs = msrs;
    if (list == NULL || buffer == NULL || msrs == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < list->nmsrs; i++) {
        add_msr(msrs, list->indices[i]);
    }
    for (uint32_t i = 0; i < ARRAY_LEN(unlisted); i++) {
        for (uint32_t n = 0; n < unlisted[i].count; n++) {
            add_msr(msrs, unlisted[i].first + n);
        }
    }
    msrs->nmsrs = transfer_msrs(vcpu_fd, KVM_GET_MSRS, msrs->entries, msrs->nmsrs, buffer);
    for (uint32_t i = 0; i < msrs->nmsrs; i++) {
        if (msrs->entries[i].index == MSR_MTRR_DEFAULT) {
            msrs->entries[i].data = MTRR_ENABLED_WRITE_BACK;
        } else if (msrs->entries[i].index == MSR_MISC_ENABLE) {
            msrs->entries[i].data |= MISC_ENABLE_FAST_STRING;
        }
    }
    return 0;
}

int vcpu_common_create(int kvm_fd, int vcpu_fd, struct vcpu_common **common, struct err *err)
{
    struct vcpu_common *new = calloc(1, sizeof(*new));
    int size;

    if (new == NULL || read_msrs(kvm_fd, vcpu_fd, new) != 0) {
        vcpu_common_destroy(new);
        return err_set(err, -ENOMEM, "KVM does not tell its model-specific registers");
    }
    if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE) > 0) {
        size = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
        new->xsave_size = sizeof(struct kvm_xsave);
        if (size > 0 && (size_t)size > new->xsave_size) {
            new->xsave_size = (size_t)size;
        }
    }
    *common = new;
    return 0;
}

void vcpu_common_destroy(struct vcpu_common *common)
{
    if (common != NULL) {
        free(common->msrs);
        free(common);
    }
}

int vcpu_power_on_create(int vcpu_fd, struct vcpu_power_on **power_on, struct err *err)
{
    auto_free struct vcpu_power_on *new = calloc(1, sizeof(*new));

    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    if (ioctl(vcpu_fd, KVM_GET_REGS, &new->regs) != 0 ||
        ioctl(vcpu_fd, KVM_GET_SREGS, &new->sregs) != 0 ||
        ioctl(vcpu_fd, KVM_GET_LAPIC, &new->lapic) != 0 ||
        ioctl(vcpu_fd, KVM_GET_DEBUGREGS, &new->debug) != 0 ||
        ioctl(vcpu_fd, KVM_GET_VCPU_EVENTS, &new->events) != 0 ||
        ioctl(vcpu_fd, KVM_GET_MP_STATE, &new->mp) != 0) {
        return err_sys(err, -errno, "KVM does not tell the power-on state of a vCPU");
    }
    if (ioctl(vcpu_fd, KVM_GET_XCRS, &new->xcrs) != 0) {
        new->xcrs.nr_xcrs = 0; /* a processor without XSAVE */
    }
    *power_on = take_ptr(new);
    return 0;
}

void vcpu_power_on_destroy(struct vcpu_power_on *power_on)
{
    free(power_on);
}

static int reset_fpu(int vcpu_fd, const struct vcpu_common *common)
{
    auto_free uint32_t *area = NULL;

    if (common->xsave_size == 0) {
        struct kvm_fpu fpu = {.fcw = FPU_CONTROL, .mxcsr = MXCSR_RESET};

        return ioctl(vcpu_fd, KVM_SET_FPU, &fpu);
    }
    area = calloc(1, common->xsave_size);
    if (area == NULL) {
        errno = ENOMEM;
        return -1;
    }
    area[0] = FPU_CONTROL; /* XSTATE_BV of 0 in the header: all components as at power-on */
    area[6] = MXCSR_RESET;
    return ioctl(vcpu_fd, KVM_SET_XSAVE, area);
}

static int reset_msrs(int vcpu_fd, const struct vcpu_common *common)
{
    uint32_t count = common->msrs->nmsrs;
    auto_free struct kvm_msrs *copy = make_msrs(count);
    auto_free struct kvm_msrs *buffer = make_msrs(count);

    if (copy == NULL || buffer == NULL) {
        errno = ENOMEM;
        return -1;
    }
    memcpy(copy->entries, common->msrs->entries, count * sizeof(copy->entries[0]));
    /* What KVM refuses stays as it is: it refuses the guest as well. */
    (void)transfer_msrs(vcpu_fd, KVM_SET_MSRS, copy->entries, count, buffer);
    return 0;
}

static void enter_long_mode(struct kvm_sregs *sregs, const struct vcpu_entry *entry)
{
    struct kvm_segment code = {.limit = UINT32_MAX,
                               .selector = SELECTOR_CODE,
                               .type = 11,
                               .present = 1,
                               .s = 1,
                               .l = 1,
                               .g = 1};
    struct kvm_segment data = {.limit = UINT32_MAX,
                               .selector = SELECTOR_DATA,
                               .type = 3,
                               .present = 1,
                               .s = 1,
                               .db = 1,
                               .g = 1};
    struct kvm_segment task = {
        .limit = UINT16_MAX, .selector = SELECTOR_TASK, .type = 11, .present = 1};

    sregs->cs = code;
    sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
    sregs->tr = task;
    sregs->gdt.base = entry->gdt;
    sregs->gdt.limit = (uint16_t)(entry->gdt_size - 1);
    sregs->idt.base = 0;
    sregs->idt.limit = 0;
    sregs->cr0 = CR0_PAGING | CR0_FPU_TYPE | CR0_PROTECTED;
    sregs->cr3 = entry->page_tables;
    sregs->cr4 = CR4_PAE;
    sregs->efer = EFER_LONG;
}

int vcpu_state_reset(int vcpu_fd, const struct vcpu_common *common,
                     const struct vcpu_power_on *power_on, const struct vcpu_entry *entry,
                     struct err *err)
{
    struct kvm_vcpu_events events = power_on->events;
    struct kvm_sregs sregs = power_on->sregs;
    struct kvm_regs regs = power_on->regs;
    struct kvm_mp_state pending;

    if (entry != NULL) {
        enter_long_mode(&sregs, entry);
        regs =
            (struct kvm_regs){.rip = entry->rip, .rsi = entry->rsi, .rsp = entry->rsp, .rflags = 2};
    }
    events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    /* Reading the state takes in INIT and SIPI that are on their way, so none comes later. */
    if (ioctl(vcpu_fd, KVM_GET_MP_STATE, &pending) != 0 ||
        ioctl(vcpu_fd, KVM_SET_MP_STATE, &power_on->mp) != 0 ||
        ioctl(vcpu_fd, KVM_SET_SREGS, &sregs) != 0 ||
        ioctl(vcpu_fd, KVM_SET_LAPIC, &power_on->lapic) != 0 || reset_msrs(vcpu_fd, common) != 0 ||
        ioctl(vcpu_fd, KVM_SET_VCPU_EVENTS, &events) != 0 ||
        ioctl(vcpu_fd, KVM_SET_DEBUGREGS, &power_on->debug) != 0 ||
        (power_on->xcrs.nr_xcrs > 0 && ioctl(vcpu_fd, KVM_SET_XCRS, &power_on->xcrs) != 0) ||
        reset_fpu(vcpu_fd, common) != 0 || ioctl(vcpu_fd, KVM_SET_REGS, &regs) != 0) {
        return err_sys(err, -errno, "KVM does not put a vCPU back to power-on");
    }
    return 0;
}

bool vcpu_state_is_at_reset_vector(int vcpu_fd)
{
    struct kvm_sregs sregs;
    struct kvm_regs regs;

    return ioctl(vcpu_fd, KVM_GET_REGS, &regs) == 0 && ioctl(vcpu_fd, KVM_GET_SREGS, &sregs) == 0 &&
           regs.rip == RESET_IP && sregs.cs.base == RESET_CS_BASE;
}

void vcpu_state_text(int vcpu_fd, char *text, size_t size)
{
    struct kvm_sregs s;
    struct kvm_regs r;

    if (ioctl(vcpu_fd, KVM_GET_REGS, &r) != 0 || ioctl(vcpu_fd, KVM_GET_SREGS, &s) != 0) {
        (void)snprintf(text, size, "registers unknown");
        return;
    }
    (void)snprintf(text, size,
                   "rip=0x%llx rsp=0x%llx rflags=0x%llx rax=0x%llx rbx=0x%llx rcx=0x%llx "
                   "rdx=0x%llx rsi=0x%llx rdi=0x%llx rbp=0x%llx cs=0x%x cr0=0x%llx cr2=0x%llx "
                   "cr3=0x%llx cr4=0x%llx efer=0x%llx",
                   r.rip, r.rsp, r.rflags, r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp,
                   s.cs.selector, s.cr0, s.cr2, s.cr3, s.cr4, s.efer);
}

static void emulation_text(const struct kvm_run *run, char *text, size_t size)
{
    const uint8_t *bytes = run->emulation_failure.insn_bytes;
    uint32_t count = 0;
    size_t used;

    if (run->emulation_failure.ndata > 0 &&
        (run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) != 0) {
        count = run->emulation_failure.insn_size;
    }
    (void)snprintf(text, size, "KVM cannot emulate an instruction");
    for (uint32_t i = 0; i < count && i < sizeof(run->emulation_failure.insn_bytes); i++) {
        used = strlen(text);
        (void)snprintf(text + used, size - used, "%s%02x", i == 0 ? ": bytes " : " ", bytes[i]);
    }
}

void vcpu_state_exit_text(const struct kvm_run *run, char *text, size_t size)
{
    switch (run->exit_reason) {
    case KVM_EXIT_SHUTDOWN:
        (void)snprintf(text, size, "triple fault");
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
            emulation_text(run, text, size);
        } else {
            (void)snprintf(text, size, "KVM internal error %u", run->internal.suberror);
        }
        break;
    case KVM_EXIT_FAIL_ENTRY:
        (void)snprintf(text, size, "the processor refuses the vCPU's state, reason 0x%llx",
                       run->fail_entry.hardware_entry_failure_reason);
        break;
    default:
        (void)snprintf(text, size, "KVM came back for reason %u, which nobody asked for",
                       run->exit_reason);
        break;
    }
}

const char *vcpu_state_exit_name(uint32_t reason)
{
    switch (reason) {
    case KVM_EXIT_IO:
        return "io";
    case KVM_EXIT_MMIO:
        return "mmio";
    case KVM_EXIT_INTR:
        return "signal";
    case KVM_EXIT_SHUTDOWN:
        return "triple-fault";
    case KVM_EXIT_INTERNAL_ERROR:
        return "internal-error";
    case KVM_EXIT_FAIL_ENTRY:
        return "fail-entry";
    case KVM_EXIT_SYSTEM_EVENT:
        return "system-event";
    case KVM_EXIT_HLT:
        return "hlt";
    default:
        return NULL;
    }
}
