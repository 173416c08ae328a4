/* Counters that a qvm shares: what its vCPUs did, in memory that it writes and qvmd maps to read.
 *
 * Counting costs a load, an addition and a store in the writer's own cache line: nobody is told,
 * nobody waits. Reading needs nothing of the writer: it may be stopped, stuck or dead.
 *
 * A reader takes the writer for a stranger: no bound comes out of the page, a name that is none is
 * left out, a value means no more than that the qvm says so.
 *
 * The memory is a memfd of COUNTERS_SIZE bytes with COUNTERS_SEALS. Later versions only add
 * behind what is there, or fill what is reserved; a reader asks for a size of at least
 * COUNTERS_SIZE. */
#ifndef QVM_PROTO_COUNTERS_H
#define QVM_PROTO_COUNTERS_H

#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct counters; /* the shared memory */

#define COUNTERS_REASONS   64u  /* exits are counted by their reason modulo this */
#define COUNTERS_VCPUS_MAX 256u /* blocks, one a vCPU, each in cache lines of its own */
#define COUNTERS_NAMED_MAX 63u  /* further counters, of the machine and of devices */
#define COUNTERS_NAME_SIZE 56u  /* with its NUL: lower-case letters, digits, `_`, `-`, `.` */

#define COUNTERS_SIZE  (4096u + COUNTERS_VCPUS_MAX * COUNTERS_REASONS * 8u)
#define COUNTERS_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)

typedef _Atomic uint64_t counter_t;

/* Numbers of linux/kvm.h, KVM_EXIT_...; the kernel never changes them. */
enum counters_reason {
    COUNTERS_IO = 2,
    COUNTERS_HLT = 5,
    COUNTERS_MMIO = 6,
    COUNTERS_SHUTDOWN = 8,
    COUNTERS_FAIL_ENTRY = 9,
    COUNTERS_INTR = 10,
    COUNTERS_INTERNAL_ERROR = 17,
    COUNTERS_SYSTEM_EVENT = 24,
};

/* What KVM_RUN comes back with, in a word; NULL: it is too rare for one. */
const char *counters_reason_name(uint32_t reason);

/* ---- the writer ---- */

/* A new sealed memfd, mapped for writing. The caller owns *fd and *counters (counters_unmap). */
int counters_create(uint32_t vcpu_count, int *fd, struct counters **counters, struct err *err);

/* The block of one vCPU: COUNTERS_REASONS counters. NULL: there are only COUNTERS_VCPUS_MAX. */
counter_t *counters_vcpu(struct counters *counters, uint32_t vcpu);

/* A new counter with a name. One thread at a time. NULL: they are all taken, or it is no name. */
counter_t *counters_add_name(struct counters *counters, const char *name);

/* Count in a counter that this thread alone writes; and in one that several do. */
static inline void counter_bump(counter_t *counter)
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(counter, now + 1, memory_order_relaxed);
}

static inline void counter_add_shared(counter_t *counter, uint64_t amount)
{
    (void)atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
}

/* ---- readers ---- */

/* Map a descriptor that came from elsewhere, to read only; it stays the caller's. -EPROTO: it is no
 * sealed memory of the right size, or holds no counters; `err` says which. */
int counters_map(int fd, const struct counters **counters, struct err *err);
void counters_unmap(const struct counters *counters); /* NULL is fine */

/* Nobody will read for a while: what was looked at no longer counts as the reader's memory. */
void counters_rest(const struct counters *counters);

/* At most COUNTERS_VCPUS_MAX. */
uint32_t counters_vcpu_count(const struct counters *counters);

/* How often the vCPU came out of KVM_RUN for a reason; 0 for what does not exist. */
int64_t counters_exits(const struct counters *counters, uint32_t vcpu, uint32_t reason);

/* The `index`-th named counter, index below COUNTERS_NAMED_MAX; false: there is none. */
bool counters_named(const struct counters *counters, uint32_t index, char name[COUNTERS_NAME_SIZE],
                    int64_t *value);

#endif
