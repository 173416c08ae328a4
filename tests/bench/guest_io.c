/* What a disk can do, seen from inside a guest: guest_io DEVICE [SECONDS]
 *
 * Writes a pattern over the first AREA bytes, then measures, past the page cache and from memory
 * that the guest has used before, each for SECONDS (2): 1 MiB in order, and 4 KiB anywhere, with 1
 * and with 32 transfers in flight, reading and writing. All that is read is compared with the
 * pattern; at the end all of it, once more. One line each: `guest_io: NAME VALUE`, MiB or transfers
 * a second. Linked statically, with Linux' own asynchronous transfers (io_submit(2)), so that it
 * runs in an initramfs. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define AREA      (UINT64_C(64) << 20)
#define SMALL     4096u
#define LARGE     (1u << 20)
#define DEPTH_MAX 32u

struct run {
    const char *name;
    bool is_write, is_random;
    uint32_t size, depth;
};

struct place {
    struct iocb iocb;
    uint8_t *buffer;
    uint64_t offset;
};

static int disk;
static aio_context_t aio;
static struct place places[DEPTH_MAX];
static uint64_t seed = 88172645463325252u;

static void fail(const char *what)
{
    printf("guest_io: FAILED: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t chance(void) /* xorshift64 */
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Each 8 bytes tell where they belong. */
static void make_pattern(uint8_t *buffer, uint64_t offset, uint32_t size)
{
    for (uint32_t i = 0; i < size; i += 8) {
        uint64_t word = (offset + i) * 0x9e3779b97f4a7c15u;

        memcpy(buffer + i, &word, sizeof(word));
    }
}

static void check_pattern(const uint8_t *buffer, uint64_t offset, uint32_t size)
{
    for (uint32_t i = 0; i < size; i += 8) {
        uint64_t word;

        memcpy(&word, buffer + i, sizeof(word));
        if (word != (offset + i) * 0x9e3779b97f4a7c15u) {
            printf("guest_io: FAILED: wrong data at %" PRIu64 "\n", offset + i);
            exit(1);
        }
    }
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void submit(const struct run *run, struct place *place, uint64_t number)
{
    uint64_t count = AREA / run->size;
    struct iocb *list = &place->iocb;

    place->offset = (run->is_random ? chance() % count : number % count) * run->size;
    if (run->is_write) {
        make_pattern(place->buffer, place->offset, run->size);
    }
    place->iocb = (struct iocb){
        .aio_data = (uint64_t)(place - places),
        .aio_lio_opcode = run->is_write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
        .aio_fildes = (uint32_t)disk,
        .aio_buf = (uintptr_t)place->buffer,
        .aio_nbytes = run->size,
        .aio_offset = (int64_t)place->offset,
    };
    if (syscall(SYS_io_submit, aio, 1, &list) != 1) {
        fail("io_submit");
    }
}

static void take(const struct run *run, const struct io_event *event)
{
    const struct place *place = &places[event->data];

    if (event->res != (int64_t)run->size) {
        errno = event->res < 0 ? (int)-event->res : EIO;
        fail(run->name);
    }
    if (!run->is_write) {
        check_pattern(place->buffer, place->offset, run->size);
    }
}

static void measure(const struct run *run, double seconds)
{
    double start = now(), end = start + seconds;
    uint64_t begun = 0, done = 0;

    while (begun < run->depth) {
        submit(run, &places[begun], begun);
        begun++;
    }
    while (done < begun) {
        struct io_event events[DEPTH_MAX];
        long count = syscall(SYS_io_getevents, aio, 1, DEPTH_MAX, events, NULL);

        if (count < 1) {
            fail("io_getevents");
        }
        for (long i = 0; i < count; i++, done++) {
            take(run, &events[i]);
            if (now() < end) {
                submit(run, &places[events[i].data], begun++);
            }
        }
    }
    seconds = now() - start;
    printf("guest_io: %s %.1f\n", run->name, (double)done / seconds); /* LARGE is one MiB */
}

int main(int argc, char **argv)
{
    static const struct run fill = {"fill", true, false, LARGE, 1};
    static const struct run runs[] = {
        {"write-1M", true, false, LARGE, 1},     {"read-1M", false, false, LARGE, 1},
        {"write-1M-32", true, false, LARGE, 32}, {"read-1M-32", false, false, LARGE, 32},
        {"write-4K", true, true, SMALL, 1},      {"read-4K", false, true, SMALL, 1},
        {"write-4K-32", true, true, SMALL, 32},  {"read-4K-32", false, true, SMALL, 32},
    };
    double seconds = argc > 2 ? atof(argv[2]) : 2;

    disk = open(argc > 1 ? argv[1] : "/dev/vda", O_RDWR | O_DIRECT);
    if (disk < 0) {
        fail(argc > 1 ? argv[1] : "/dev/vda");
    }
    if (syscall(SYS_io_setup, DEPTH_MAX, &aio) != 0) {
        fail("io_setup");
    }
    for (uint32_t i = 0; i < DEPTH_MAX; i++) {
        if (posix_memalign((void **)&places[i].buffer, SMALL, LARGE) != 0) {
            fail("memory");
        }
        memset(places[i].buffer, 0xa5, LARGE); /* else the first transfers wait for the host's */
    }
    for (uint64_t i = 0; i < AREA / LARGE; i++) {
        struct io_event event;

        submit(&fill, &places[0], i);
        if (syscall(SYS_io_getevents, aio, 1, 1, &event, NULL) != 1) {
            fail("io_getevents");
        }
        take(&fill, &event);
    }
    for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        measure(&runs[i], seconds);
    }
    if (fsync(disk) != 0) {
        fail("fsync");
    }
    for (uint64_t offset = 0; offset < AREA; offset += LARGE) {
        if (pread(disk, places[0].buffer, LARGE, (int64_t)offset) != (ssize_t)LARGE) {
            fail("read back");
        }
        check_pattern(places[0].buffer, offset, LARGE);
    }
    printf("guest_io: all data as written\n");
    return 0;
}
