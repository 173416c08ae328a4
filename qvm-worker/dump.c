/* A core dump of a guest. */
#include "qvm-worker/dump.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/procfs.h>
#include <sys/user.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/memory/memory.h"

#define PAGE        4096u
#define NAME_SIZE   8u /* of a note, padded */
#define PIECE_SIZE  (1u << 20)
#define MXCSR_FIRST 0x1f80u

/* A note's header and name, as they lie in the file without a gap; all sizes are multiples of 4. */
struct note_head {
    uint32_t name_size, size, type;
    char name[NAME_SIZE];
};

/* What is told of one vCPU. */
struct vcpu_notes {
    struct elf_prstatus status;
    struct user_fpregs_struct fp;
    struct kvm_sregs sregs;
};
#define VCPU_NOTES_SIZE (3 * sizeof(struct note_head) + sizeof(struct vcpu_notes))
_Static_assert(sizeof(struct note_head) == 20, "no gap");

struct out {
    int fd;
    bool is_file;
    uint64_t at; /* of a pipe: bytes written */
};

/* ---- writing ---- */

/* Until a pipe takes more. */
static int wait_for_room(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    int r = poll(&poll_fd, 1, DUMP_STALL_MS);

    if (r == 0) {
        return -ETIMEDOUT;
    }
    return r < 0 && errno != EINTR ? -errno : 0;
}

static int put_all(struct out *out, const void *data, uint64_t size, uint64_t offset)
{
    const uint8_t *at = data;

    while (size > 0) {
        size_t piece = size < PIECE_SIZE ? (size_t)size : PIECE_SIZE;
        ssize_t n =
            out->is_file ? pwrite(out->fd, at, piece, (off_t)offset) : write(out->fd, at, piece);
        int r = n < 0 ? -errno : 0;

        if (r == -EAGAIN) {
            r = wait_for_room(out->fd);
        }
        if (r < 0 && r != -EINTR) {
            return r;
        }
        if (n > 0) {
            at += n;
            offset += (uint64_t)n;
            size -= (uint64_t)n;
        }
    }
    return 0;
}

static int put_zeros(struct out *out, uint64_t size)
{
    static const uint8_t zeros[PAGE];
    int r = 0;

    while (r == 0 && size > 0) {
        uint64_t piece = size < PAGE ? size : PAGE;

        r = put_all(out, zeros, piece, 0);
        size -= piece;
    }
    return r;
}

/* `size` bytes at `offset` of the dump; what lies before it and was not written is zero. */
static int put(struct out *out, const void *data, uint64_t size, uint64_t offset)
{
    int r = out->is_file ? 0 : put_zeros(out, offset - out->at);

    if (r == 0) {
        r = put_all(out, data, size, offset);
    }
    out->at = offset + size;
    return r;
}

/* ---- notes ---- */

static void fill_registers(elf_gregset_t to, const struct kvm_regs *regs,
                           const struct kvm_sregs *sregs)
{
    const struct user_regs_struct user = {
        .r15 = regs->r15,
        .r14 = regs->r14,
        .r13 = regs->r13,
        .r12 = regs->r12,
        .rbp = regs->rbp,
        .rbx = regs->rbx,
        .r11 = regs->r11,
        .r10 = regs->r10,
        .r9 = regs->r9,
        .r8 = regs->r8,
        .rax = regs->rax,
        .rcx = regs->rcx,
        .rdx = regs->rdx,
        .rsi = regs->rsi,
        .rdi = regs->rdi,
        .orig_rax = UINT64_MAX, /* it is in no system call that a debugger would start again */
        .rip = regs->rip,
        .cs = sregs->cs.selector,
        .eflags = regs->rflags,
        .rsp = regs->rsp,
        .ss = sregs->ss.selector,
        .fs_base = sregs->fs.base,
        .gs_base = sregs->gs.base,
        .ds = sregs->ds.selector,
        .es = sregs->es.selector,
        .fs = sregs->fs.selector,
        .gs = sregs->gs.selector,
    };

    _Static_assert(sizeof(user) == sizeof(elf_gregset_t), "the same registers by two names");
    memcpy(to, &user, sizeof(user));
}

static void fill_fp(struct user_fpregs_struct *to, const struct kvm_fpu *fpu)
{
    *to = (struct user_fpregs_struct){.cwd = fpu->fcw,
                                      .swd = fpu->fsw,
                                      .ftw = fpu->ftwx,
                                      .fop = fpu->last_opcode,
                                      .rip = fpu->last_ip,
                                      .rdp = fpu->last_dp,
                                      .mxcsr = fpu->mxcsr,
                                      .mxcr_mask = MXCSR_FIRST};
    _Static_assert(sizeof(to->st_space) == sizeof(fpu->fpr), "eight registers of 16 bytes");
    _Static_assert(sizeof(to->xmm_space) == sizeof(fpu->xmm), "sixteen registers of 16 bytes");
    memcpy(to->st_space, fpu->fpr, sizeof(to->st_space));
    memcpy(to->xmm_space, fpu->xmm, sizeof(to->xmm_space));
}

static int fill_notes(int vcpu_fd, uint32_t index, struct vcpu_notes *notes)
{
    struct kvm_regs regs;
    struct kvm_fpu fpu;

    if (ioctl(vcpu_fd, KVM_GET_REGS, &regs) != 0 ||
        ioctl(vcpu_fd, KVM_GET_SREGS, &notes->sregs) != 0 ||
        ioctl(vcpu_fd, KVM_GET_FPU, &fpu) != 0) {
        return -errno;
    }
    memset(&notes->status, 0, sizeof(notes->status));
    notes->status.pr_pid = (pid_t)index + 1; /* 0 is no thread */
    notes->status.pr_fpvalid = 1;
    fill_registers(notes->status.pr_reg, &regs, &notes->sregs);
    fill_fp(&notes->fp, &fpu);
    return 0;
}

/* ---- the file ---- */

struct plan {
    uint64_t notes_at, notes_size, memory_at;
    uint32_t region_count;
    const struct memory_region *regions;
};

static struct plan make_plan(const struct dump_source *source)
{
    struct plan plan = {0};

    plan.regions = memory_regions(source->memory, &plan.region_count);
    plan.notes_at = sizeof(Elf64_Ehdr) + (plan.region_count + 1) * sizeof(Elf64_Phdr);
    plan.notes_size = source->vcpu_count * VCPU_NOTES_SIZE;
    plan.memory_at = (plan.notes_at + plan.notes_size + PAGE - 1) / PAGE * PAGE;
    return plan;
}

static int put_headers(struct out *out, const struct plan *plan)
{
    Elf64_Ehdr header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_CORE,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_phoff = sizeof(header),
        .e_ehsize = sizeof(header),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = (uint16_t)(plan->region_count + 1)};
    Elf64_Phdr notes = {
        .p_type = PT_NOTE, .p_offset = plan->notes_at, .p_filesz = plan->notes_size, .p_align = 4};
    uint64_t offset = plan->memory_at;
    int r = put(out, &header, sizeof(header), 0);

    r = r == 0 ? put(out, &notes, sizeof(notes), out->at) : r;
    for (uint32_t i = 0; r == 0 && i < plan->region_count; i++) {
        const struct memory_region *region = &plan->regions[i];
        const Elf64_Phdr load = {.p_type = PT_LOAD,
                                 .p_flags = PF_R | PF_W | PF_X,
                                 .p_offset = offset,
                                 .p_vaddr = region->start,
                                 .p_paddr = region->start,
                                 .p_filesz = region->size,
                                 .p_memsz = region->size,
                                 .p_align = PAGE};

        r = put(out, &load, sizeof(load), out->at);
        offset += region->size;
    }
    return r;
}

static int put_note(struct out *out, const char *name, uint32_t type, const void *data, size_t size)
{
    struct note_head head = {
        .name_size = (uint32_t)strlen(name) + 1, .size = (uint32_t)size, .type = type};
    int r;

    memcpy(head.name, name, strlen(name));
    r = put(out, &head, sizeof(head), out->at);
    return r == 0 ? put(out, data, size, out->at) : r;
}

static int put_notes(struct out *out, const struct dump_source *source)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < source->vcpu_count; i++) {
        struct vcpu_notes notes;

        r = fill_notes(source->vcpu_fd(source->context, i), i, &notes);
        r = r == 0 ? put_note(out, "CORE", NT_PRSTATUS, &notes.status, sizeof(notes.status)) : r;
        r = r == 0 ? put_note(out, "CORE", NT_FPREGSET, &notes.fp, sizeof(notes.fp)) : r;
        r = r == 0 ? put_note(out, "QVMCPU", DUMP_NOTE_SREGS, &notes.sregs, sizeof(notes.sregs))
                   : r;
    }
    return r;
}

/* What of a region somebody has touched: the memfd knows. */
static int put_region(struct out *out, int memory_fd, const struct memory_region *region,
                      uint64_t offset)
{
    uint64_t end = region->offset + region->size, at = region->offset;
    int r = 0;

    while (r == 0 && at < end) {
        off_t data = lseek(memory_fd, (off_t)at, SEEK_DATA);
        off_t hole = data < 0 ? -1 : lseek(memory_fd, data, SEEK_HOLE);
        uint64_t stop = hole >= 0 && (uint64_t)hole < end ? (uint64_t)hole : end;

        if (data < 0 || hole < 0) {
            return errno == ENXIO ? 0 : -errno; /* none behind it */
        }
        if ((uint64_t)data < end) {
            r = put(out, region->host + ((uint64_t)data - region->offset), stop - (uint64_t)data,
                    offset + ((uint64_t)data - region->offset));
        }
        at = (uint64_t)data < end ? stop : end;
    }
    return r;
}

static int put_memory(struct out *out, const struct plan *plan, const struct memory *memory)
{
    static const uint8_t zero;
    uint64_t offset = plan->memory_at;
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < plan->region_count; i++) {
        r = put_region(out, memory_fd(memory), &plan->regions[i], offset);
        offset += plan->regions[i].size;
    }
    if (r == 0 && out->at < offset) {
        r = put(out, &zero, 1, offset - 1); /* the file is as long as its headers say */
    }
    return r;
}

int dump_write(const struct dump_source *source, int fd, struct err *err)
{
    struct plan plan = make_plan(source);
    struct out out = {.fd = fd, .is_file = lseek(fd, 0, SEEK_SET) == 0};
    int r = put_headers(&out, &plan);

    r = r == 0 ? put_notes(&out, source) : r;
    r = r == 0 ? put_memory(&out, &plan, source->memory) : r;
    if (r == -ETIMEDOUT) {
        return err_set(err, r, "who reads the dump has taken nothing for %d s",
                       DUMP_STALL_MS / 1000);
    }
    return r == 0 ? 0 : err_sys(err, r, "cannot write the dump");
}
