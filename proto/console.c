/* The console ring: what a guest said last. */
#include "proto/console.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define RING_MAGIC   0x676e697252435651ull /* "QVCRring", little-endian */
#define RING_VERSION 1u
#define DATA_OFFSET  4096u

/* How often a reader that was overtaken tries again before it says "nothing yet". */
#define READ_ATTEMPTS 4

struct console_ring {
    uint64_t magic;
    uint32_t version;
    uint32_t capacity;
    /* The writer announces bytes before it copies them and counts them afterwards: a reader that
     * copied while old bytes were replaced sees it in `begun`. */
    _Atomic uint64_t begun;
    _Atomic uint64_t written;
    uint8_t reserved[DATA_OFFSET - 32];
    _Atomic uint8_t data[CONSOLE_RING_CAPACITY];
};

_Static_assert(sizeof(struct console_ring) == CONSOLE_RING_SIZE, "layout of the console ring");
_Static_assert((CONSOLE_RING_CAPACITY & (CONSOLE_RING_CAPACITY - 1)) == 0, "a power of two");

struct console_ring *console_ring_init(void *memory)
{
    struct console_ring *ring = memory;

    ring->magic = RING_MAGIC;
    ring->version = RING_VERSION;
    ring->capacity = CONSOLE_RING_CAPACITY;
    atomic_store_explicit(&ring->begun, 0, memory_order_relaxed);
    atomic_store_explicit(&ring->written, 0, memory_order_release);
    return ring;
}

void console_ring_write(struct console_ring *ring, const void *data, size_t size)
{
    const uint8_t *from = data;
    uint64_t at = atomic_load_explicit(&ring->written, memory_order_relaxed);

    if (size > CONSOLE_RING_CAPACITY) {
        at += size - CONSOLE_RING_CAPACITY;
        from += size - CONSOLE_RING_CAPACITY;
        size = CONSOLE_RING_CAPACITY;
    }
    atomic_store_explicit(&ring->begun, at + size, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < size; i++) {
        atomic_store_explicit(&ring->data[(at + i) % CONSOLE_RING_CAPACITY], from[i],
                              memory_order_relaxed);
    }
    atomic_store_explicit(&ring->written, at + size, memory_order_release);
}

uint64_t console_ring_end(const struct console_ring *ring)
{
    return atomic_load_explicit(&ring->written, memory_order_acquire);
}

uint64_t console_ring_oldest(const struct console_ring *ring)
{
    uint64_t end = atomic_load_explicit(&ring->begun, memory_order_acquire);

    return end > CONSOLE_RING_CAPACITY ? end - CONSOLE_RING_CAPACITY : 0;
}

/* Copy [start, start + count) and return how many bytes at its beginning were replaced during
 * that. */
static uint64_t copy_out(const struct console_ring *ring, uint64_t start, uint8_t *to, size_t count)
{
    uint64_t oldest;

    for (size_t i = 0; i < count; i++) {
        to[i] = atomic_load_explicit(&ring->data[(start + i) % CONSOLE_RING_CAPACITY],
                                     memory_order_relaxed);
    }
    atomic_thread_fence(memory_order_acquire);
    oldest = console_ring_oldest(ring);
    if (oldest <= start) {
        return 0;
    }
    return oldest - start < count ? oldest - start : count;
}

size_t console_ring_read(const struct console_ring *ring, uint64_t *offset, void *buffer,
                         size_t size, uint64_t *lost)
{
    uint8_t *to = buffer;

    for (int attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
        uint64_t end = console_ring_end(ring);
        uint64_t oldest = console_ring_oldest(ring);
        uint64_t start = *offset;
        uint64_t gone;
        size_t count;

        if (start >= end) {
            *offset = end;
            return 0;
        }
        /* A lying writer may put `oldest` behind `end`: then nothing is there. */
        oldest = oldest < end ? oldest : end;
        if (oldest > start) {
            *lost += oldest - start;
            start = oldest;
        }
        /* Also what such a writer never announced is no reason to copy more than the ring. */
        count = end - start < size ? (size_t)(end - start) : size;
        count = count < CONSOLE_RING_CAPACITY ? count : CONSOLE_RING_CAPACITY;
        gone = copy_out(ring, start, to, count);
        *lost += gone;
        *offset = start + count;
        if (gone < count || count == 0) {
            memmove(to, to + gone, count - (size_t)gone);
            return count - (size_t)gone;
        }
    }
    return 0;
}

int console_ring_check(const void *memory, size_t size, struct err *err)
{
    const struct console_ring *ring = memory;

    if (size != CONSOLE_RING_SIZE) {
        return err_set(err, -EPROTO, "the console's memory has %zu bytes, not %u", size,
                       CONSOLE_RING_SIZE);
    }
    if (ring->magic != RING_MAGIC) {
        return err_set(err, -EPROTO, "the console's memory does not begin as a console ring does");
    }
    if (ring->version != RING_VERSION || ring->capacity != CONSOLE_RING_CAPACITY) {
        return err_set(err, -EPROTO,
                       "the console ring is of version %" PRIu32 " with %" PRIu32
                       " bytes; known is version %u with %u",
                       ring->version, ring->capacity, RING_VERSION, CONSOLE_RING_CAPACITY);
    }
    return 0;
}

int console_ring_create(int *fd, struct console_ring **ring, struct err *err)
{
    auto_close int memory_fd = memfd_create("qvm-console", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *memory;

    if (memory_fd < 0 || ftruncate(memory_fd, CONSOLE_RING_SIZE) != 0) {
        return err_sys(err, -errno, "cannot make the console's memory");
    }
    memory = mmap(NULL, CONSOLE_RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
    if (memory == MAP_FAILED) {
        return err_sys(err, -errno, "cannot map the console's memory");
    }
    if (fcntl(memory_fd, F_ADD_SEALS, CONSOLE_RING_SEALS) != 0) {
        int r = -errno;

        (void)munmap(memory, CONSOLE_RING_SIZE); /* our own mapping: cannot fail */
        return err_sys(err, r, "cannot seal the console's memory");
    }
    *ring = console_ring_init(memory);
    *fd = take_fd(&memory_fd);
    return 0;
}

int console_ring_map(int fd, const struct console_ring **ring, struct err *err)
{
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;
    void *memory;
    int r;

    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
        return err_set(err, -EPROTO, "the console's descriptor is no sealed memory");
    }
    if (fstat(fd, &st) != 0) {
        return err_sys(err, -errno, "cannot look at the console's memory");
    }
    if (st.st_size != (off_t)CONSOLE_RING_SIZE) {
        return err_set(err, -EPROTO, "the console's memory has %lld bytes, not %u",
                       (long long)st.st_size, CONSOLE_RING_SIZE);
    }
    memory = mmap(NULL, CONSOLE_RING_SIZE, PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        return err_sys(err, -errno, "cannot map the console's memory");
    }
    (void)madvise(memory, CONSOLE_RING_SIZE, MADV_DONTFORK); /* children have no use for it */
    r = console_ring_check(memory, CONSOLE_RING_SIZE, err);
    if (r != 0) {
        console_ring_unmap(memory);
        return r;
    }
    *ring = memory;
    console_ring_rest(*ring);
    return 0;
}

void console_ring_rest(const struct console_ring *ring)
{
    void *memory;

    memcpy(&memory, &ring, sizeof(memory));
    (void)madvise(memory, CONSOLE_RING_SIZE, MADV_DONTNEED); /* shared: nothing is lost */
}

void console_ring_unmap(const struct console_ring *ring)
{
    void *memory;

    if (ring != NULL) {
        memcpy(&memory, &ring, sizeof(memory));  /* a mapping to read is unmapped like any other */
        (void)munmap(memory, CONSOLE_RING_SIZE); /* our own: cannot fail */
    }
}
