/* Counters that a qvm shares. */
#include "proto/counters.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define COUNTERS_MAGIC   0x746e756f43525651ull /* "QVRCount", little-endian */
#define COUNTERS_VERSION 1u
#define CACHE_LINE       64u

struct counters {
    uint64_t magic;
    uint32_t version;
    uint32_t vcpu_count;
    _Atomic uint32_t named_count;
    uint8_t reserved[CACHE_LINE - 20];
    struct {
        char name[COUNTERS_NAME_SIZE];
        counter_t value;
    } named[COUNTERS_NAMED_MAX];
    counter_t exits[COUNTERS_VCPUS_MAX][COUNTERS_REASONS];
};

_Static_assert(sizeof(struct counters) == COUNTERS_SIZE, "layout of the counters");
_Static_assert(offsetof(struct counters, exits) % CACHE_LINE == 0, "no line has two writers");

const char *counters_reason_name(uint32_t reason)
{
    static const char *const names[COUNTERS_REASONS] = {
        [COUNTERS_HLT] = "hlt",
        [COUNTERS_IO] = "io",
        [COUNTERS_MMIO] = "mmio",
        [COUNTERS_SHUTDOWN] = "triple-fault",
        [COUNTERS_FAIL_ENTRY] = "fail-entry",
        [COUNTERS_INTR] = "signal",
        [COUNTERS_INTERNAL_ERROR] = "internal-error",
        [COUNTERS_SYSTEM_EVENT] = "system-event",
    };

    return reason < COUNTERS_REASONS ? names[reason] : NULL;
}

static bool is_name(const char *name, size_t size)
{
    size_t length = strnlen(name, size);

    return length > 0 && length < size &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-.") == length;
}

int counters_create(uint32_t vcpu_count, int *fd, struct counters **counters, struct err *err)
{
    auto_close int memory_fd = memfd_create("qvm-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct counters *new;

    if (memory_fd < 0 || ftruncate(memory_fd, COUNTERS_SIZE) != 0) {
        return err_sys(err, -errno, "cannot make memory for counters");
    }
    new = mmap(NULL, COUNTERS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
    if (new == MAP_FAILED) {
        return err_sys(err, -errno, "cannot map memory for counters");
    }
    if (fcntl(memory_fd, F_ADD_SEALS, COUNTERS_SEALS) != 0) {
        int r = -errno;

        counters_unmap(new);
        return err_sys(err, r, "cannot seal memory for counters");
    }
    new->magic = COUNTERS_MAGIC;
    new->version = COUNTERS_VERSION;
    new->vcpu_count = vcpu_count < COUNTERS_VCPUS_MAX ? vcpu_count : COUNTERS_VCPUS_MAX;
    *counters = new;
    *fd = take_fd(&memory_fd);
    return 0;
}

counter_t *counters_vcpu(struct counters *counters, uint32_t vcpu)
{
    return vcpu < COUNTERS_VCPUS_MAX ? counters->exits[vcpu] : NULL;
}

counter_t *counters_add_name(struct counters *counters, const char *name)
{
    uint32_t count = atomic_load_explicit(&counters->named_count, memory_order_relaxed);

    if (count >= COUNTERS_NAMED_MAX || !is_name(name, COUNTERS_NAME_SIZE)) {
        return NULL;
    }
    (void)strcpy(counters->named[count].name, name); /* fits: is_name() */
    atomic_store_explicit(&counters->named_count, count + 1, memory_order_release);
    return &counters->named[count].value;
}

static int check(const struct counters *counters, struct err *err)
{
    if (counters->magic != COUNTERS_MAGIC || counters->version != COUNTERS_VERSION) {
        return err_set(err, -EPROTO, "the memory of counters does not begin as it should");
    }
    return 0;
}

int counters_map(int fd, const struct counters **counters, struct err *err)
{
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;
    void *memory;
    int r;

    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
        return err_set(err, -EPROTO, "the descriptor of the counters is no sealed memory");
    }
    if (fstat(fd, &st) != 0) {
        return err_sys(err, -errno, "cannot look at the memory of counters");
    }
    if (st.st_size < (off_t)COUNTERS_SIZE) {
        return err_set(err, -EPROTO, "the memory of counters has %lld bytes, not %u",
                       (long long)st.st_size, COUNTERS_SIZE);
    }
    memory = mmap(NULL, COUNTERS_SIZE, PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        return err_sys(err, -errno, "cannot map the memory of counters");
    }
    (void)madvise(memory, COUNTERS_SIZE, MADV_DONTFORK); /* children have no use for it */
    r = check(memory, err);
    if (r != 0) {
        counters_unmap(memory);
        return r;
    }
    *counters = memory;
    counters_rest(*counters);
    return 0;
}

void counters_rest(const struct counters *counters)
{
    void *memory;

    memcpy(&memory, &counters, sizeof(memory));
    (void)madvise(memory, COUNTERS_SIZE, MADV_DONTNEED); /* shared: nothing is lost */
}

void counters_unmap(const struct counters *counters)
{
    void *memory;

    if (counters != NULL) {
        memcpy(&memory, &counters, sizeof(memory)); /* a mapping to read is unmapped like any */
        (void)munmap(memory, COUNTERS_SIZE);        /* our own: cannot fail */
    }
}

uint32_t counters_vcpu_count(const struct counters *counters)
{
    uint32_t count = counters->vcpu_count;

    return count < COUNTERS_VCPUS_MAX ? count : COUNTERS_VCPUS_MAX;
}

static int64_t read_counter(const counter_t *counter)
{
    return (int64_t)(atomic_load_explicit(counter, memory_order_relaxed) & INT64_MAX);
}

int64_t counters_exits(const struct counters *counters, uint32_t vcpu, uint32_t reason)
{
    if (vcpu >= COUNTERS_VCPUS_MAX || reason >= COUNTERS_REASONS) {
        return 0;
    }
    return read_counter(&counters->exits[vcpu][reason]);
}

bool counters_named(const struct counters *counters, uint32_t index, char name[COUNTERS_NAME_SIZE],
                    int64_t *value)
{
    uint32_t count = atomic_load_explicit(&counters->named_count, memory_order_acquire);

    if (index >= COUNTERS_NAMED_MAX || index >= count) {
        return false;
    }
    memcpy(name, counters->named[index].name, COUNTERS_NAME_SIZE); /* then looked at: a copy */
    if (!is_name(name, COUNTERS_NAME_SIZE)) {
        return false;
    }
    *value = read_counter(&counters->named[index].value);
    return true;
}
