/* The machine on the real /dev/kvm, with the door closed: guests of a few bytes, each test in a
 * process of its own. A vCPU that misses its kick hangs the test until its time-out. */
#include "qvm-worker/machine.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus.h"
#include "qvm-worker/lockdown.h"

#define CODE_START    0x100000u
#define COUNTER       0x200000u /* guest-physical */
#define OTHER_START   0x8000u   /* where a second CPU starts */
#define OTHER_COUNTER 0x9000u
#define HAMMER_ROUNDS 5000
#define HAMMER_DELAYS 4096
#define RESET_ROUNDS  300
#define PATIENCE_MS   10000
#define TEST_PORT     0x510
#define TEST_ADDRESS  0xd0000000u
#define ACCESSES_MAX  16

/* mov al,N */
#define AL(n) 0xb0, (n)
/* mov dx,PORT */
#define DX(port) 0x66, 0xba, (port)&0xff, (port) >> 8
#define OUT      0xee
#define HLT_LOOP 0xf4, 0xeb, 0xfd

static const uint8_t spin[] = {0xeb, 0xfe};
/* 1: incq COUNTER; jmp 1b */
static const uint8_t count[] = {0x48, 0xff, 0x04, 0x25, 0, 0, COUNTER >> 16, 0, 0xeb, 0xf6};
/* 1: incq COUNTER; in al,dx; jmp 1b */
static const uint8_t count_with_exits[] = {DX(TEST_PORT), 0x48, 0xff, 0x04, 0x25, 0, 0,
                                           COUNTER >> 16, 0,    0xec, 0xeb, 0xf5};
static const uint8_t power_off[] = {AL(0x34), DX(0x600), OUT, HLT_LOOP};
/* incq COUNTER, then the reset port */
static const uint8_t count_and_reset[] = {0x48,          0xff, 0x04,  0x25,      0,   0,
                                          COUNTER >> 16, 0,    AL(1), DX(0x602), OUT, HLT_LOOP};
/* incq COUNTER; mov eax,0xffff0; jmp rax: in 64-bit mode the code of the reset vector is the same
 */
static const uint8_t count_and_jump[] = {0x48, 0xff, 0x04, 0x25, 0,    0,    COUNTER >> 16, 0,
                                         0xb8, 0xf0, 0xff, 0x0f, 0x00, 0xff, 0xe0};
static const uint8_t triple_fault[] = {0x0f, 0x0b}; /* ud2 without an interrupt table */
/* mov eax,TEST_ADDRESS+0x100000; jmp rax: no memory is there to fetch from */
static const uint8_t run_from_nowhere[] = {0xb8, 0, 0, 0x10, 0xd0, 0xff, 0xe0};

struct fixture {
    struct memory_range ram;
    struct machine_load loads[2]; /* the second is data, when there is any */
    struct machine_spec spec;
    struct machine *machine;
    struct machine_event last;
    uint32_t event_count;
    int reset_result;
    bool resets;
    uint32_t device_resets;
    uint32_t access_count;
    struct {
        uint64_t offset, value;
        uint32_t size;
        bool is_write;
    } accesses[ACCESSES_MAX];
};

static struct fixture fixture;
static struct err err;

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

/* `data` goes to `address`; before create. */
static void add_data(const void *data, size_t size, uint64_t address)
{
    struct machine_load *load = &fixture.loads[1];

    *load = (struct machine_load){MACHINE_LOAD_DATA, true, address, -1, "data", "g:4"};
    load->fd = memfd_create("data", MFD_CLOEXEC);
    ck_assert_int_eq(write(load->fd, data, size), (ssize_t)size);
}

static void create(const void *code, size_t size, uint32_t cpu_count)
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

static void start(const void *code, size_t size, uint32_t cpu_count)
{
    create(code, size, cpu_count);
    ck_assert_msg(machine_start(fixture.machine, &err) == 0, "%s", err.msg);
}

#define START(code, cpu_count) start(code, sizeof(code), cpu_count)

static volatile uint64_t *counter(void)
{
    return memory_span(machine_memory(fixture.machine), gpa(COUNTER), 8);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void wait_until_counted(uint64_t from)
{
    uint64_t end = now_ms() + PATIENCE_MS;

    while (*counter() == from) {
        ck_assert_msg(now_ms() < end, "the guest does not run on after %llu",
                      (unsigned long long)from);
        (void)sched_yield();
    }
}

static const struct machine_event *wait_for_event(void)
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

/* The end of a test. libcheck would go on with calls that are behind the door by now. */
static void finish(void)
{
    machine_destroy(fixture.machine);
    _exit(EXIT_SUCCESS);
}

static void hammer(void)
{
    wait_until_counted(0);
    for (uint32_t i = 0; i < HAMMER_ROUNDS; i++) {
        uint64_t held;

        machine_pause(fixture.machine);
        held = *counter();
        if (i % 16 == 0) {
            (void)sched_yield();
            ck_assert_uint_eq(*counter(), held); /* it stands */
        }
        machine_resume(fixture.machine);
        if (i % 64 == 0) {
            wait_until_counted(held);
        }
        for (uint32_t spins = i % HAMMER_DELAYS; spins > 0; spins--) {
            __asm__ volatile("" : : : "memory"); /* the next one comes at another moment */
        }
    }
}

START_TEST(no_kick_is_lost_on_a_guest_that_never_exits)
{
    START(count, 2); /* the second waits for its start, in the kernel */
    hammer();
    finish();
}
END_TEST

START_TEST(no_kick_is_lost_on_a_guest_that_exits_all_the_time)
{
    START(count_with_exits, 1);
    hammer();
    finish();
}
END_TEST

START_TEST(pausing_twice_and_stopping_while_paused_is_fine)
{
    START(count, 2);
    wait_until_counted(0);
    machine_pause(fixture.machine);
    machine_pause(fixture.machine);
    machine_resume(fixture.machine);
    wait_until_counted(*counter());
    machine_pause(fixture.machine);
    machine_stop(fixture.machine);
    machine_stop(fixture.machine);
    ck_assert_int_eq(machine_reset(fixture.machine, &err), -EINVAL);
    finish();
}
END_TEST

START_TEST(machine_that_never_started_is_destroyed)
{
    create(spin, sizeof(spin), 2);
    machine_destroy(NULL);
    finish();
}
END_TEST

START_TEST(guest_switches_itself_off)
{
    START(power_off, 1);
    ck_assert_int_eq(wait_for_event()->kind, MACHINE_EVENT_POWEROFF);
    ck_assert_uint_eq(fixture.last.vcpu, 0);
    finish();
}
END_TEST

START_TEST(guest_is_reset_many_times_with_the_door_closed)
{
    START(count_and_reset, 2);
    fixture.resets = true;
    while (fixture.event_count < RESET_ROUNDS) {
        ck_assert_int_eq(wait_for_event()->kind, MACHINE_EVENT_RESET);
        ck_assert_msg(fixture.reset_result == 0, "%s", err.msg);
    }
    machine_pause(fixture.machine);
    ck_assert_uint_eq(fixture.device_resets, fixture.event_count);
    ck_assert_uint_ge(*counter(), RESET_ROUNDS); /* RAM is kept over resets */
    finish();
}
END_TEST

START_TEST(running_guest_is_reset_at_any_moment)
{
    START(count_with_exits, 2);
    for (uint32_t i = 0; i < RESET_ROUNDS; i++) {
        wait_until_counted(*counter());
        machine_dispatch(fixture.machine); /* nothing happened: no crash after a reset */
        ck_assert_uint_eq(fixture.event_count, 0);
        ck_assert_msg(machine_reset(fixture.machine, &err) == 0, "%s", err.msg);
    }
    wait_until_counted(*counter());
    finish();
}
END_TEST

START_TEST(cpu_that_ran_before_a_reset_waits_for_its_start_after_it)
{
    /* At the first start: start the other CPU, wait until it counts, reset. Then spin. */
    static const uint8_t code[] = {0x48,
                                   0xff,
                                   0x04,
                                   0x25,
                                   0,
                                   0,
                                   COUNTER >> 16,
                                   0, /* incq COUNTER */
                                   0x48,
                                   0x83,
                                   0x3c,
                                   0x25,
                                   0,
                                   0,
                                   COUNTER >> 16,
                                   0,
                                   1, /* cmpq $1,COUNTER */
                                   0x75,
                                   49, /* jne spin */
                                   0xbb,
                                   0x00,
                                   0x03,
                                   0xe0,
                                   0xfe, /* mov $0xfee00300,%ebx */
                                   0xc7,
                                   0x43,
                                   0x10,
                                   0,
                                   0,
                                   0,
                                   1, /* movl $1<<24,0x10(%rbx) */
                                   0xc7,
                                   0x03,
                                   0x00,
                                   0x45,
                                   0,
                                   0, /* movl $INIT,(%rbx) */
                                   0xc7,
                                   0x43,
                                   0x10,
                                   0,
                                   0,
                                   0,
                                   1, /* movl $1<<24,0x10(%rbx) */
                                   0xc7,
                                   0x03,
                                   0x08,
                                   0x46,
                                   0,
                                   0, /* movl $SIPI|8,(%rbx) */
                                   0x66,
                                   0x83,
                                   0x3c,
                                   0x25,
                                   0,
                                   OTHER_COUNTER >> 8,
                                   0,
                                   0,
                                   0, /* 1: cmpw $0,OTHER_COUNTER */
                                   0x74,
                                   0xf5, /* je 1b */
                                   AL(1),
                                   DX(0x602),
                                   OUT, /* reset */
                                   0xeb,
                                   0xfe}; /* spin */
    /* In real mode: xor ax,ax; mov ds,ax; 1: incw OTHER_COUNTER; jmp 1b */
    static const uint8_t other[] = {0x31, 0xc0, 0x8e, 0xd8, 0xff, 0x06, 0, OTHER_COUNTER >> 8,
                                    0xeb, 0xfa};
    volatile uint16_t *counted;
    uint16_t before;

    add_data(other, sizeof(other), OTHER_START);
    START(code, 2);
    fixture.resets = true;
    ck_assert_int_eq(wait_for_event()->kind, MACHINE_EVENT_RESET);
    wait_until_counted(1);
    counted = memory_span(machine_memory(fixture.machine), gpa(OTHER_COUNTER), 2);
    before = *counted;
    ck_assert_uint_ne(before, 0);
    (void)poll(NULL, 0, 50);
    machine_dispatch(fixture.machine);
    ck_assert_uint_eq(*counted, before);
    ck_assert_uint_eq(fixture.event_count, 1); /* the reset: it does not run anything else either */
    finish();
}
END_TEST

START_TEST(guest_that_jumps_to_the_reset_vector_is_reset)
{
    START(count_and_jump, 1);
    fixture.resets = true;
    while (fixture.event_count < 2) {
        ck_assert_int_eq(wait_for_event()->kind, MACHINE_EVENT_RESET);
    }
    ck_assert_uint_ge(*counter(), 2);
    finish();
}
END_TEST

START_TEST(file_that_changed_in_place_stops_the_reset)
{
    START(count, 1);
    wait_until_counted(0);
    ck_assert_int_eq(pwrite(fixture.loads[0].fd, "xx", 2, sizeof(count)), 2);
    ck_assert_int_eq(machine_reset(fixture.machine, &err), -ESTALE);
    ck_assert_str_eq(err.msg, "g:3: 'code' was changed in place since this guest started; stop it "
                              "and start it anew");
    finish();
}
END_TEST

START_TEST(triple_fault_is_told_with_registers)
{
    START(triple_fault, 1);
    ck_assert_int_eq(wait_for_event()->kind, MACHINE_EVENT_TRIPLE_FAULT);
    ck_assert_ptr_nonnull(strstr(fixture.last.text, "triple fault on vCPU 0: rip=0x"));
    ck_assert_int_eq(machine_reset(fixture.machine, &err), 0); /* and can be gone on from */
    ck_assert_int_eq(wait_for_event()->kind, MACHINE_EVENT_TRIPLE_FAULT);
    finish();
}
END_TEST

START_TEST(what_kvm_cannot_do_is_told_and_the_process_lives)
{
    START(run_from_nowhere, 1);
    ck_assert_int_eq(wait_for_event()->kind, MACHINE_EVENT_UNSUPPORTED);
    ck_assert_msg(strstr(fixture.last.text, "rip=0xd0100000") != NULL, "%s", fixture.last.text);
    finish();
}
END_TEST

START_TEST(repeated_string_io_comes_one_by_one)
{
    /* mov esi,CODE_START; mov ecx,3; mov dx,TEST_PORT; rep outsb;
     * mov edi,COUNTER; mov ecx,2; rep insw; power off */
    static const uint8_t code[] = {
        0xbe, 0,    0,    0x10, 0,        0xb9,      3,   0,       0, 0, DX(TEST_PORT),
        0xf3, 0x6e, 0xbf, 0,    0,        0x20,      0,   0xb9,    2, 0, 0,
        0,    0xf3, 0x66, 0x6d, AL(0x34), DX(0x600), OUT, HLT_LOOP};

    START(code, 1);
    ck_assert_int_eq(wait_for_event()->kind, MACHINE_EVENT_POWEROFF);
    ck_assert_uint_eq(fixture.access_count, 5);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert(fixture.accesses[i].is_write);
        ck_assert_uint_eq(fixture.accesses[i].value, code[i]);
        ck_assert_uint_eq(fixture.accesses[i].size, 1);
    }
    ck_assert_uint_eq(fixture.accesses[4].size, 2);
    ck_assert_uint_eq(*counter(), 'd' | (uint64_t)'e' << 16);
    finish();
}
END_TEST

START_TEST(memory_access_of_eight_bytes_comes_whole)
{
    /* mov ebx,TEST_ADDRESS; mov rax,[rbx+8]; mov [rbx+16],rax; power off */
    static const uint8_t code[] = {0xbb, 0,    0,    0,    0xd0,     0x48,      0x8b, 0x43,    8,
                                   0x48, 0x89, 0x43, 0x10, AL(0x34), DX(0x600), OUT,  HLT_LOOP};

    START(code, 1);
    ck_assert_int_eq(wait_for_event()->kind, MACHINE_EVENT_POWEROFF);
    ck_assert_uint_eq(fixture.access_count, 2);
    ck_assert_uint_eq(fixture.accesses[0].size, 8);
    ck_assert_uint_eq(fixture.accesses[0].offset, 8);
    ck_assert_uint_eq(fixture.accesses[1].offset, 16);
    ck_assert_uint_eq(fixture.accesses[1].value, 'a');
    finish();
}
END_TEST

static void on_state(void *context, const char *name, const char *value)
{
    (void)value;
    *(uint32_t *)context += strcmp(name, "vcpu1.registers") == 0 ? 1 : 0;
}

START_TEST(state_is_told_of_a_guest_that_goes_on_running)
{
    uint32_t seen = 0;

    START(count, 2);
    wait_until_counted(0);
    machine_state(fixture.machine, on_state, &seen);
    ck_assert_uint_eq(seen, 1);
    wait_until_counted(*counter());
    finish();
}
END_TEST

START_TEST(requests_of_devices_become_events)
{
    START(spin, 1);
    machine_request(fixture.machine, MACHINE_EVENT_EXIT, 42);
    ck_assert_int_eq(wait_for_event()->kind, MACHINE_EVENT_EXIT);
    ck_assert_uint_eq(fixture.last.value, 42);
    ck_assert_uint_eq(fixture.last.vcpu, UINT32_MAX);
    finish();
}
END_TEST

START_TEST(nothing_is_opened_once_it_runs)
{
    START(count, 1);
    ck_assert(lockdown_is_real());
    ck_assert_int_eq(open("/dev/null", O_RDONLY | O_CLOEXEC), -1);
    ck_assert_int_eq(errno, EPERM);
    finish();
}
END_TEST

START_TEST(wrong_counts_of_cpus_are_refused)
{
    struct fixture *f = &fixture;

    create(spin, sizeof(spin), 1);
    machine_destroy(f->machine);
    f->spec.cpu_count = 0;
    ck_assert_int_eq(machine_create(&f->spec, &f->machine, &err), -EINVAL);
    f->spec.cpu_count = MACHINE_CPUS_MAX + 1;
    ck_assert_int_eq(machine_create(&f->spec, &f->machine, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "g:1: a guest has 1 to "));
    f->spec.kvm_fd = STDIN_FILENO;
    f->spec.cpu_count = 1;
    ck_assert_int_ne(machine_create(&f->spec, &f->machine, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.msg, "the descriptor granted as /dev/kvm is none"));
    fixture.machine = NULL;
    finish();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        no_kick_is_lost_on_a_guest_that_never_exits,
        no_kick_is_lost_on_a_guest_that_exits_all_the_time,
        pausing_twice_and_stopping_while_paused_is_fine,
        machine_that_never_started_is_destroyed,
        guest_switches_itself_off,
        guest_is_reset_many_times_with_the_door_closed,
        running_guest_is_reset_at_any_moment,
        cpu_that_ran_before_a_reset_waits_for_its_start_after_it,
        guest_that_jumps_to_the_reset_vector_is_reset,
        file_that_changed_in_place_stops_the_reset,
        triple_fault_is_told_with_registers,
        what_kvm_cannot_do_is_told_and_the_process_lives,
        repeated_string_io_comes_one_by_one,
        memory_access_of_eight_bytes_comes_whole,
        state_is_told_of_a_guest_that_goes_on_running,
        requests_of_devices_become_events,
        nothing_is_opened_once_it_runs,
        wrong_counts_of_cpus_are_refused,
    };
    Suite *suite = suite_create("machine");
    TCase *tcase = tcase_create("machine");
    SRunner *runner;
    int failed;

    for (size_t i = 0; i < ARRAY_LEN(tests); i++) {
        tcase_add_exit_test(tcase, tests[i], EXIT_SUCCESS); /* see finish() */
    }
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
