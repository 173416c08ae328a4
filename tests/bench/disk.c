/* What a request of a disk costs the qvm: the real vdev host, virtio-blk over MMIO with its I/O
 * thread, an image in memory. A driver in this program offers requests and waits for their
 * interrupts; its own CPU time is not counted. Prints microseconds of CPU of the I/O thread for
 * each request (the copy of the data is part of it) and interrupts for each hundred, medians of
 * rounds: disk VDEV_DIR. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus/bus.h"
#include "qvm-worker/memory/memory.h"
#include "qvm-worker/vdev/host.h"

#define REGISTERS  0xd0000000u
#define IMAGE_SIZE (64u << 20)
#define IMAGE_PATH "/proc/self/fd/" /* only told: the image is granted */
#define TABLE      0x100000u        /* rings of QUEUE descriptors, a page each */
#define DATA       0x200000u        /* buffers of 1 MiB */
#define STEP       0x110000u
#define HEADERS    0x110000u
#define QUEUE      256u
#define RAM_SIZE   (48u << 20)
#define DEPTH_MAX  32u
#define ROUNDS     9u

static const struct run {
    const char *what;
    uint32_t size, depth, requests;
} runs[] = {
    {"read 4 KiB, one at a time", 4096, 1, 4000},
    {"read 4 KiB, 32 at once", 4096, 32, 8000},
    {"read 1 MiB, one at a time", 1u << 20, 1, 200},
    {"read 1 MiB, 32 at once", 1u << 20, 32, 400},
};

struct descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t flags, next;
};

static struct bus *bus;
static struct memory *memory;
static uint8_t *ram; /* from TABLE on */
static int bell;
static atomic_uint interrupts;
static uint16_t offered, taken;

static void on_intr(void *context UNUSED, uint32_t gsi UNUSED, bool is_high)
{
    uint64_t one = 1;

    if (is_high) {
        interrupts++;
        (void)!write(bell, &one, sizeof(one)); /* cannot be full: it is read each time */
    }
}

static void on_request(void *context UNUSED, enum vdev_request request UNUSED, uint32_t v UNUSED)
{
}

static void put(uint32_t at, uint32_t value)
{
    (void)bus_access(bus, BUS_MEMORY, REGISTERS + at, (uint8_t *)&value, sizeof(value), true);
}

static void die(const char *what)
{
    (void)fprintf(stderr, "disk: %s\n", what);
    exit(1);
}

static void make_device(const char *directory, uv_loop_t *loop)
{
    struct memory_range range = {.size = 64u << 20, .where = "ram"};
    struct vdev_host_option options[] = {
        {.word = "loc", .argument = "mem:0xd0000000,0x200", .where = "loc"},
        {.word = "intr", .argument = "ioapic:5", .where = "intr"},
        {.word = "hostdev", .argument = IMAGE_PATH, .where = "hostdev"}};
    struct vdev_host_env env = {
        .loop = loop, .cpu_count = 1, .intr = on_intr, .request = on_request};
    int modules = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int image = memfd_create("image", MFD_CLOEXEC);
    struct vdev_host *host = NULL;
    struct err err = {0};

    if (image < 0 || ftruncate(image, IMAGE_SIZE) != 0 || fallocate(image, 0, 0, IMAGE_SIZE) != 0) {
        die("no image");
    }
    bus = bus_create();
    env.bus = bus;
    if (memory_create(&range, 1, &memory, &err) != 0 ||
        vdev_host_create(modules, &host, &err) != 0 ||
        vdev_host_load(host, "virtio-blk", "vdev", &err) != 0 ||
        vdev_host_add(host, "virtio-blk", "vdev", options, ARRAY_LEN(options), &err) != 0) {
        die(err.msg);
    }
    env.memory = memory;
    ram = memory_span(memory, gpa(TABLE), RAM_SIZE);
    vdev_host_grant(host, vdev_host_next_need(host, NULL), image);
    if (vdev_host_build(host, &env, &err) != 0) {
        die(err.msg);
    }
}

/* virtio 1.2, 3.1.1: with the event index, as Linux has it. */
static void start_device(void)
{
    put(0x070, 3);
    put(0x024, 0);
    put(0x020, 1u << 29 | 1u << 9);
    put(0x024, 1);
    put(0x020, 1);
    put(0x070, 11);
    put(0x030, 0);
    put(0x038, QUEUE);
    put(0x080, TABLE);
    put(0x090, TABLE + 0x1000);
    put(0x0a0, TABLE + 0x2000);
    put(0x044, 1);
    put(0x070, 15);
}

static uint16_t *available(uint32_t i)
{
    return (uint16_t *)(void *)(ram + 0x1000) + i;
}

static uint16_t *used(uint32_t i)
{
    return (uint16_t *)(void *)(ram + 0x2000) + i;
}

/* Request `place` is three descriptors that stay as they are, but for where it reads. */
static void describe(uint32_t place, uint32_t size)
{
    struct descriptor *table = (struct descriptor *)(void *)ram + (size_t)place * 3;
    uint16_t first = (uint16_t)(place * 3);

    table[0] = (struct descriptor){HEADERS + place * 32, 16, 1, (uint16_t)(first + 1)};
    table[1] = (struct descriptor){DATA + place * STEP, size, 3, (uint16_t)(first + 2)};
    table[2] = (struct descriptor){HEADERS + place * 32 + 16, 1, 2, 0};
}

static void offer(uint32_t place, uint64_t offset)
{
    uint64_t sector = offset / 512;
    uint16_t event;

    memcpy(ram + HEADERS - TABLE + (size_t)place * 32 + 8, &sector, sizeof(sector));
    *available(2 + offered % QUEUE) = (uint16_t)(place * 3);
    __atomic_store_n(available(1), ++offered, __ATOMIC_SEQ_CST);
    event = __atomic_load_n(used(2 + 4 * QUEUE), __ATOMIC_SEQ_CST);
    if ((uint16_t)(offered - event - 1) < 1) {
        put(0x050, 0);
    }
}

/* Wait for the interrupt, and take what was used; ask for the next one. */
static uint32_t take(uint32_t *places)
{
    struct pollfd of = {.fd = bell, .events = POLLIN};
    uint32_t count = 0;
    uint64_t rung;

    for (;;) {
        while (taken != __atomic_load_n(used(1), __ATOMIC_ACQUIRE)) {
            places[count++] = *(uint32_t *)(void *)used(2 + 4 * (taken % QUEUE)) / 3;
            taken++;
        }
        __atomic_store_n(available(2 + QUEUE), taken, __ATOMIC_SEQ_CST);
        if (count > 0 && taken == __atomic_load_n(used(1), __ATOMIC_SEQ_CST)) {
            return count;
        }
        if (taken == __atomic_load_n(used(1), __ATOMIC_SEQ_CST)) {
            if (poll(&of, 1, 10000) != 1) {
                die("no interrupt for ten seconds");
            }
            (void)!read(bell, &rung, sizeof(rung)); /* readable */
            put(0x064, 1);
        }
    }
}

static uint64_t time_of(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now); /* there is one */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Microseconds of the I/O thread for each request. */
static double round_of(const struct run *run, double *per_hundred)
{
    uint64_t begin = time_of(CLOCK_PROCESS_CPUTIME_ID) - time_of(CLOCK_THREAD_CPUTIME_ID);
    uint32_t places[QUEUE], sent = 0, done = 0;

    interrupts = 0;
    for (; sent < run->depth; sent++) {
        describe(sent, run->size);
        offer(sent, (uint64_t)sent * run->size % IMAGE_SIZE);
    }
    while (done < run->requests) {
        uint32_t count = take(places);

        done += count;
        for (uint32_t i = 0; i < count && sent < run->requests; i++, sent++) {
            offer(places[i], (uint64_t)sent * run->size % IMAGE_SIZE);
        }
    }
    *per_hundred = 100.0 * interrupts / run->requests;
    return (double)(time_of(CLOCK_PROCESS_CPUTIME_ID) - time_of(CLOCK_THREAD_CPUTIME_ID) - begin) /
           1000.0 / run->requests;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    uv_loop_t loop;

    if (argc != 2) {
        die("disk VDEV_DIR");
    }
    (void)uv_loop_init(&loop); /* never runs: the device has its own thread */
    bell = eventfd(0, EFD_CLOEXEC);
    make_device(argv[1], &loop);
    start_device();
    for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
        double cost[ROUNDS], rate[ROUNDS];

        for (uint32_t round = 0; round < ROUNDS; round++) {
            cost[round] = round_of(&runs[i], &rate[round]);
        }
        qsort(cost, ROUNDS, sizeof(cost[0]), compare);
        qsort(rate, ROUNDS, sizeof(rate[0]), compare);
        printf("%-28s %8.2f us %8.1f interrupts for 100\n", runs[i].what, cost[ROUNDS / 2],
               rate[ROUNDS / 2]);
    }
    (void)fflush(stdout);
    _exit(0); /* its threads are not waited for */
}
