/* What a hot reset costs the VMM, and a look at the state of all vCPUs: reset MILLISECONDS of its
 * own time, by number of vCPUs and by RAM. The first vCPU halts, sleeps and halts again; no INIT
 * starts the others, which wait for one, however many there are. Medians of rounds. */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/machine/machine.h"

#define ROUNDS 21u
#define MIDDLE 10u /* of them */
#define MIB    (1ull << 20)

/* hlt; jmp: a reset finds a vCPU that sleeps in KVM, as most do */
static const uint8_t guest[] = {0xf4, 0xeb, 0xfd};

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void check(int r, const struct err *err)
{
    if (r != 0) {
        (void)fprintf(stderr, "reset: %s\n", err->msg);
        exit(EXIT_FAILURE);
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void tell(const char *what, uint64_t *times)
{
    qsort(times, ROUNDS, sizeof(times[0]), compare);
    printf("  %-24s median %8.2f ms, least %8.2f\n", what, (double)times[MIDDLE] / 1e6,
           (double)times[0] / 1e6);
}

static void on_event(void *context, const struct machine_event *event)
{
    (void)context;
    (void)fprintf(stderr, "reset: %s\n", event->text);
}

static void on_state(void *context, const char *name, const char *value)
{
    size_t *bytes = context;

    *bytes += strlen(name) + strlen(value);
}

static void measure(struct machine *machine)
{
    uint64_t pauses[ROUNDS], resets[ROUNDS], states[ROUNDS];
    struct err err = {0};
    size_t bytes = 0;

    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t at = now_ns();

        machine_pause(machine);
        pauses[i] = now_ns() - at;
        machine_resume(machine);
        at = now_ns();
        check(machine_reset(machine, &err), &err);
        resets[i] = now_ns() - at;
        at = now_ns();
        machine_state(machine, on_state, &bytes);
        states[i] = now_ns() - at;
    }
    tell("pause", pauses);
    tell("reset", resets);
    tell("state", states);
}

int main(int argc, char **argv)
{
    const uint32_t cpus = argc == 3 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
    const struct memory_range ram = {.size = argc == 3 ? strtoul(argv[2], NULL, 10) * MIB : 0,
                                     .where = "bench:1"};
    struct machine_load load = {.path = "guest", .where = "bench:2"};
    struct machine_spec spec = {.name = "bench",
                                .where = "bench:3",
                                .cpu_count = cpus,
                                .ram = &ram,
                                .ram_count = 1,
                                .loads = &load,
                                .load_count = 1,
                                .on_event = on_event};
    struct machine *machine = NULL;
    struct err err = {0};

    if (cpus == 0) {
        (void)fprintf(stderr, "reset VCPUS MIB\n");
        return 2;
    }
    load.fd = memfd_create("guest", MFD_CLOEXEC);
    if (write(load.fd, guest, sizeof(guest)) < 0) {
        perror("reset");
        return EXIT_FAILURE;
    }
    spec.kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    check(machine_create(&spec, &machine, &err), &err);
    check(machine_start(machine, &err), &err);
    printf("%u vCPUs, %s MiB\n", cpus, argv[2]);
    measure(machine);
    (void)fflush(stdout);
    _exit(EXIT_SUCCESS); /* behind the door libraries do not end well */
}
