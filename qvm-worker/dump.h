/* A core dump of a guest: ELF64, ET_CORE, as gdb and others read it.
 *
 * One PT_NOTE: for each vCPU, which is a thread for those who read it, NT_PRSTATUS and NT_FPREGSET
 * as of <sys/procfs.h>, and a note "QVMCPU" of type DUMP_NOTE_SREGS with KVM's struct kvm_sregs.
 * One PT_LOAD for each region of guest memory; virtual addresses are guest-physical ones. */
#ifndef QVM_WORKER_DUMP_H
#define QVM_WORKER_DUMP_H

#include <stdint.h>

struct err;
struct memory;

#define DUMP_NOTE_SREGS 0x51564d01u
#define DUMP_STALL_MS   10000 /* who reads a pipe may let us wait so long at a time */

struct dump_source {
    const struct memory *memory;
    uint32_t vcpu_count;
    int (*vcpu_fd)(void *context, uint32_t index);
    void *context;
};

/* Write it to `fd`, from the offset 0 on if it is a file, where memory that nobody has touched
 * stays a hole; to a pipe with its zeros. All vCPUs are parked. Memory is not touched by it.
 * -EPIPE, -ETIMEDOUT: who reads the pipe has gone, or does not read; others as of write(2). */
int dump_write(const struct dump_source *source, int fd, struct err *err);

#endif
