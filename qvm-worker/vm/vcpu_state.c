/* The registers of one vCPU. */
#include "qvm-worker/vm/vcpu_state.h"

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
#include "proto/counters.h"

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
#define TASK_LIMIT    0x67u /* of a task-state segment without a map of ports */

#define RESET_IP      0xfff0u /* where INIT leaves a boot CPU: 16 bytes below 4 GiB */
#define RESET_CS_BASE 0xffff0000u

/* What a processor has at power-on, whatever it is: Intel SDM volume 3, table 10-1; AMD APM volume
 * 2, 14.1.3. Each that KVM need not be asked for saves a start one load of the vCPU. */
#define DR6_RESET   0xffff0ff0u
#define DR7_RESET   0x400u
#define XCR0_RESET  1u
#define FPU_CONTROL 0x37fu
#define MXCSR_RESET 0x1f80u

struct vcpu_common {
    size_t run_size;
    size_t xsave_size; /* 0: this KVM has none */
    bool has_xcrs;
    struct kvm_msr_list *list;
    struct kvm_msrs *msrs;
    struct kvm_msrs *ours; /* those of them that begin otherwise than KVM has them */
};

struct vcpu_power_on {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_lapic_state lapic;
    struct kvm_vcpu_events events;
    struct kvm_mp_state mp;
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

static uint32_t count_unlisted(void)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < ARRAY_LEN(unlisted); i++) {
        count += unlisted[i].count;
    }
    return count;
}

static void add_msr(struct kvm_msrs *msrs, uint32_t index)
{
    for (uint32_t i = 0; i < msrs->nmsrs; i++) {
        if (msrs->entries[i].index == index) {
            return;
        }
    }
    if (!is_kept_out(index)) {
        msrs->entries[msrs->nmsrs++].index = index;
    }
}

static struct kvm_msrs *make_msrs(uint32_t count)
{
    return calloc(1, sizeof(struct kvm_msrs) + count * sizeof(struct kvm_msr_entry));
}

static int change_some(struct kvm_msrs *msrs, struct vcpu_common *common)
{
    struct kvm_msrs *ours = make_msrs(msrs->nmsrs);

    common->ours = ours;
    for (uint32_t i = 0; ours != NULL && i < msrs->nmsrs; i++) {
        struct kvm_msr_entry *entry = &msrs->entries[i];
        uint64_t data = entry->data;

        if (entry->index == MSR_MTRR_DEFAULT) {
            entry->data = MTRR_ENABLED_WRITE_BACK;
        } else if (entry->index == MSR_MISC_ENABLE) {
            entry->data |= MISC_ENABLE_FAST_STRING;
        }
        if (entry->data != data) {
            ours->entries[ours->nmsrs++] = *entry;
        }
    }
    return ours != NULL ? 0 : -ENOMEM;
}

int vcpu_common_read(struct vcpu_common *common, int vcpu_fd, struct err *err)
{
    uint32_t most = count_unlisted() + common->list->nmsrs;
    auto_free struct kvm_msrs *buffer = make_msrs(most);
    struct kvm_msrs *msrs = make_msrs(most);

    common->msrs = msrs;
    if (buffer == NULL || msrs == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < common->list->nmsrs; i++) {
        add_msr(msrs, common->list->indices[i]);
    }
    for (uint32_t i = 0; i < ARRAY_LEN(unlisted); i++) {
        for (uint32_t n = 0; n < unlisted[i].count; n++) {
            add_msr(msrs, unlisted[i].first + n);
        }
    }
    msrs->nmsrs = transfer_msrs(vcpu_fd, KVM_GET_MSRS, msrs->entries, msrs->nmsrs, buffer);
    return change_some(msrs, common) == 0 ? 0 : err_set(err, -ENOMEM, "out of memory");
}

int vcpu_common_create(int kvm_fd, struct vcpu_common **common, struct err *err)
{
    struct vcpu_common *new = calloc(1, sizeof(*new));
    int size;

    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    *common = new;
    new->list = read_msr_list(kvm_fd);
    if (new->list == NULL) {
        return err_set(err, -ENOMEM, "KVM does not tell its model-specific registers");
    }
    size = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < (int)sizeof(struct kvm_run)) {
        return err_set(err, -EOPNOTSUPP, "KVM does not tell how large a vCPU's page is");
    }
    new->run_size = (size_t)size;
    new->has_xcrs = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XCRS) > 0;
    if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE) > 0) {
        size = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
        new->xsave_size = sizeof(struct kvm_xsave);
        if (size > 0 && (size_t)size > new->xsave_size) {
            new->xsave_size = (size_t)size;
        }
    }
    return 0;
}

size_t vcpu_common_run_size(const struct vcpu_common *common)
{
    return common->run_size;
}

void vcpu_common_destroy(struct vcpu_common *common)
{
    if (common != NULL) {
        free(common->list);
        free(common->msrs);
        free(common->ours);
        free(common);
    }
}

int vcpu_power_on_create(int vcpu_fd, bool is_first, struct vcpu_power_on **power_on,
                         struct err *err)
{
    auto_free struct vcpu_power_on *new = calloc(1, sizeof(*new));

    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    if (ioctl(vcpu_fd, KVM_GET_REGS, &new->regs) != 0 ||
        ioctl(vcpu_fd, KVM_GET_SREGS, &new->sregs) != 0 ||
        ioctl(vcpu_fd, KVM_GET_LAPIC, &new->lapic) != 0 ||
        ioctl(vcpu_fd, KVM_GET_VCPU_EVENTS, &new->events) != 0) {
        return err_sys(err, -errno, "KVM does not tell the power-on state of a vCPU");
    }
    new->mp.mp_state = is_first ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_UNINITIALIZED;
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

static int set_msrs(int vcpu_fd, const struct kvm_msrs *msrs)
{
    uint32_t count = msrs->nmsrs;
    auto_free struct kvm_msrs *copy = make_msrs(count);
    auto_free struct kvm_msrs *buffer = make_msrs(count);

    if (copy == NULL || buffer == NULL) {
        errno = ENOMEM;
        return -1;
    }
    memcpy(copy->entries, msrs->entries, count * sizeof(copy->entries[0]));
    /* What KVM refuses stays as it is: it refuses the guest as well. */
    (void)transfer_msrs(vcpu_fd, KVM_SET_MSRS, copy->entries, count, buffer);
    return 0;
}

static void enter_image(struct kvm_sregs *sregs, const struct vcpu_entry *entry)
{
    bool is_64bit = !entry->is_32bit;
    struct kvm_segment code = {.limit = UINT32_MAX,
                               .selector = SELECTOR_CODE,
                               .type = 11,
                               .present = 1,
                               .s = 1,
                               .l = is_64bit,
                               .db = !is_64bit,
                               .g = 1};
    struct kvm_segment data = {.limit = UINT32_MAX,
                               .selector = SELECTOR_DATA,
                               .type = 3,
                               .present = 1,
                               .s = 1,
                               .db = 1,
                               .g = 1};
    struct kvm_segment task = {
        .limit = TASK_LIMIT, .selector = SELECTOR_TASK, .type = 11, .present = 1};

    sregs->cs = code;
    sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
    sregs->tr = task;
    sregs->gdt.base = entry->gdt;
    sregs->gdt.limit = (uint16_t)(entry->gdt_size - 1);
    sregs->idt.base = 0;
    sregs->idt.limit = 0;
    sregs->cr0 = (is_64bit ? CR0_PAGING : 0) | CR0_FPU_TYPE | CR0_PROTECTED;
    sregs->cr3 = is_64bit ? entry->page_tables : 0;
    sregs->cr4 = is_64bit ? CR4_PAE : 0;
    sregs->efer = is_64bit ? EFER_LONG : 0;
}

static void enter(const struct vcpu_entry *entry, struct kvm_sregs *sregs, struct kvm_regs *regs)
{
    if (entry != NULL) {
        enter_image(sregs, entry);
        *regs = (struct kvm_regs){.rip = entry->rip,
                                  .rax = entry->rax,
                                  .rbx = entry->rbx,
                                  .rsi = entry->rsi,
                                  .rsp = entry->rsp,
                                  .rflags = 2};
    }
}

int vcpu_state_begin(int vcpu_fd, const struct vcpu_common *common,
                     const struct vcpu_power_on *power_on, struct err *err)
{
    /* KVM looks for the one that was made last where it was not yet (kvm_recalculate_apic_map),
     * until the local APIC of one is set. */
    if (ioctl(vcpu_fd, KVM_SET_LAPIC, &power_on->lapic) != 0 ||
        set_msrs(vcpu_fd, common->ours) != 0) {
        return err_sys(err, -errno, "KVM does not take the registers of a vCPU");
    }
    return 0;
}

void vcpu_state_enter(struct kvm_run *run, const struct vcpu_power_on *power_on,
                      const struct vcpu_entry *entry)
{
    run->s.regs.sregs = power_on->sregs;
    enter(entry, &run->s.regs.sregs, &run->s.regs.regs);
    run->kvm_dirty_regs = KVM_SYNC_X86_SREGS | KVM_SYNC_X86_REGS;
}

int vcpu_state_reset(int vcpu_fd, const struct vcpu_common *common,
                     const struct vcpu_power_on *power_on, const struct vcpu_entry *entry,
                     struct err *err)
{
    struct kvm_vcpu_events events = power_on->events;
    struct kvm_sregs sregs = power_on->sregs;
    struct kvm_regs regs = power_on->regs;
    struct kvm_mp_state pending;
    struct kvm_debugregs debug = {.dr6 = DR6_RESET, .dr7 = DR7_RESET};
    struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs[0].value = XCR0_RESET};

    enter(entry, &sregs, &regs);
    events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    /* Reading the state takes in INIT and SIPI that are on their way, so none comes later. */
    if (ioctl(vcpu_fd, KVM_GET_MP_STATE, &pending) != 0) {
        return err_sys(err, -errno, "KVM does not tell the state of a vCPU");
    }
    if (pending.mp_state == KVM_MP_STATE_UNINITIALIZED) {
        /* no INIT since then: nothing but an NMI can have reached it */
        return ioctl(vcpu_fd, KVM_SET_VCPU_EVENTS, &events) == 0
                   ? 0
                   : err_sys(err, -errno, "KVM does not take a vCPU's events back");
    }
    if (ioctl(vcpu_fd, KVM_SET_MP_STATE, &power_on->mp) != 0 ||
        ioctl(vcpu_fd, KVM_SET_SREGS, &sregs) != 0 ||
        ioctl(vcpu_fd, KVM_SET_LAPIC, &power_on->lapic) != 0 ||
        set_msrs(vcpu_fd, common->msrs) != 0 || ioctl(vcpu_fd, KVM_SET_VCPU_EVENTS, &events) != 0 ||
        ioctl(vcpu_fd, KVM_SET_DEBUGREGS, &debug) != 0 ||
        (common->has_xcrs && ioctl(vcpu_fd, KVM_SET_XCRS, &xcrs) != 0) ||
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

_Static_assert((int)COUNTERS_IO == KVM_EXIT_IO && (int)COUNTERS_HLT == KVM_EXIT_HLT &&
                   (int)COUNTERS_MMIO == KVM_EXIT_MMIO &&
                   (int)COUNTERS_SHUTDOWN == KVM_EXIT_SHUTDOWN &&
                   (int)COUNTERS_FAIL_ENTRY == KVM_EXIT_FAIL_ENTRY &&
                   (int)COUNTERS_INTR == KVM_EXIT_INTR &&
                   (int)COUNTERS_INTERNAL_ERROR == KVM_EXIT_INTERNAL_ERROR &&
                   (int)COUNTERS_SYSTEM_EVENT == KVM_EXIT_SYSTEM_EVENT,
               "exits are counted by KVM's numbers");

const char *vcpu_state_exit_name(uint32_t reason)
{
    return counters_reason_name(reason);
}
