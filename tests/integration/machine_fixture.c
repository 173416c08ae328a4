/* One machine for a test. */
#include "tests/integration/machine_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "qvm-worker/bus/bus.h"

struct fixture fixture;
struct err err;

static void on_event(void *context, const struct machine_event *event)
{
    struct fixture *f = context;

    f->last = *event;
    f->event_count++;
    if (f->resets && event->kind == MACHINE_EVENT_RESET) {
        f->reset_result = machine_reset(f->machine, &err);
    }
}

static void on_access(void *device, uint32_t region, uint64_t offset, uint32_t size,
                      uint64_t *value, bool is_write)
{
    struct fixture *f = device;

    (void)region;
    if (f->access_count < ACCESSES_MAX) {
        f->accesses[f->access_count].offset = offset;
        f->accesses[f->access_count].size = size;
        f->accesses[f->access_count].is_write = is_write;
        f->accesses[f->access_count].value = *value;
    }
    if (!is_write) {
        *value = 'a' + f->access_count;
    }
    f->access_count++;
}

static void on_device_reset(void *context)
{
    ((struct fixture *)context)->device_resets++;
}

void fixture_add_data(const void *data, size_t size, uint64_t address)
{
    struct machine_load *load = &fixture.loads[1];

    *load = (struct machine_load){MACHINE_LOAD_DATA, true, address, -1, "data", "g:4"};
    load->fd = memfd_create("data", MFD_CLOEXEC);
    ck_assert_int_eq(write(load->fd, data, size), (ssize_t)size);
}

void fixture_create(const void *code, size_t size, uint32_t cpu_count)
{
    struct fixture *f = &fixture;
    const struct machine_device device = {
        .name = "test", .context = f, .reset = on_device_reset, .gsi = MACHINE_NO_GSI};

    f->ram = (struct memory_range){.size = 4 << 20, .where = "g:2"};
    f->loads[0] = (struct machine_load){.path = "code", .where = "g:3"};
    f->loads[0].fd = memfd_create("code", MFD_CLOEXEC);
    ck_assert_int_eq(write(f->loads[0].fd, code, size), (ssize_t)size);
    f->spec = (struct machine_spec){.name = "test",
                                    .where = "g:1",
                                    .cpu_count = cpu_count,
                                    .ram = &f->ram,
                                    .ram_count = 1,
                                    .loads = f->loads,
                                    .load_count = f->loads[1].path == NULL ? 1 : 2,
                                    .on_event = on_event,
                                    .context = f};
    f->spec.kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    ck_assert_msg(f->spec.kvm_fd >= 0, "/dev/kvm: %s", strerror(errno));
    ck_assert_msg(machine_create(&f->spec, &f->machine, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(
        bus_add(machine_bus(f->machine), BUS_IO, TEST_PORT, 8, on_access, f, 0, "test", &err), 0);
    ck_assert_int_eq(bus_add(machine_bus(f->machine), BUS_MEMORY, TEST_ADDRESS, 64, on_access, f, 0,
                             "test", &err),
                     0);
    ck_assert_int_eq(machine_add_device(f->machine, &device, &err), 0);
}

void fixture_start(const void *code, size_t size, uint32_t cpu_count)
{
    fixture_create(code, size, cpu_count);
    ck_assert_msg(machine_start(fixture.machine, &err) == 0, "%s", err.msg);
}

volatile uint64_t *fixture_counter(void)
{
    return memory_span(machine_memory(fixture.machine), gpa(COUNTER), 8);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void fixture_wait_until_counted(uint64_t from)
{
    uint64_t end = now_ms() + PATIENCE_MS;

    while (*fixture_counter() == from) {
        ck_assert_msg(now_ms() < end, "the guest does not run on after %llu",
                      (unsigned long long)from);
        (void)sched_yield();
    }
}

const struct machine_event *fixture_wait_for_event(void)
{
    struct pollfd fd = {machine_event_fd(fixture.machine), POLLIN, 0};
    uint32_t before = fixture.event_count;
    uint64_t end = now_ms() + PATIENCE_MS;

    while (fixture.event_count == before) {
        ck_assert_msg(now_ms() < end, "no event comes");
        ck_assert_int_ge(poll(&fd, 1, PATIENCE_MS), 0);
        machine_dispatch(fixture.machine);
    }
    return &fixture.last;
}

void fixture_finish(void)
{
    machine_destroy(fixture.machine);
    _exit(EXIT_SUCCESS);
}

int fixture_run(const char *name, const TTest *const *tests, size_t count)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    SRunner *runner;
    int failed;

    for (size_t i = 0; i < count; i++) {
        tcase_add_exit_test(tcase, tests[i], EXIT_SUCCESS);
    }
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
