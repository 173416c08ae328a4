/* The machine on the real /dev/kvm, with the door closed: kicks and resets. A vCPU that misses its
 * kick hangs the test until its time-out. */
#include "tests/integration/machine_fixture.h"

#include <poll.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/cleanup.h"

#define OTHER_START   0x8000u /* where a second CPU starts */
#define OTHER_COUNTER 0x9000u
#define HAMMER_ROUNDS 5000
#define HAMMER_DELAYS 4096
#define RESET_ROUNDS  300

static const uint8_t spin[] = {0xeb, 0xfe};
static const uint8_t count[] = {COUNT, 0xeb, 0xf6};                                 /* for ever */
static const uint8_t count_with_exits[] = {DX(TEST_PORT), COUNT, 0xec, 0xeb, 0xf5}; /* in al,dx */
static const uint8_t count_and_reset[] = {COUNT, AL(1), DX(0x602), OUT, HLT_LOOP};
/* mov eax,0xffff0; jmp rax */
static const uint8_t count_and_jump[] = {COUNT, 0xb8, 0xf0, 0xff, 0x0f, 0x00, 0xff, 0xe0};

/* clang-format off: an instruction a line */
/* At the first start: start the other CPU, wait until it counts, reset. Then spin. */
static const uint8_t start_other[] = {
    COUNT,
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
    OTHER_START >> 12,
    0x46,
    0,
    0, /* movl $SIPI,(%rbx) */
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
    0xfe, /* spin */
};
/* In real mode. */
static const uint8_t other[] = {
    0x31, 0xc0, 0x8e, 0xd8,               /* xor ax,ax; mov ds,ax */
    0xff, 0x06, 0,    OTHER_COUNTER >> 8, /* 1: incw OTHER_COUNTER */
    0xeb, 0xfa,                           /* jmp 1b */
};
/* clang-format on */

static void hammer(void)
{
    fixture_wait_until_counted(0);
    for (uint32_t i = 0; i < HAMMER_ROUNDS; i++) {
        uint64_t held;

        machine_pause(fixture.machine);
        held = *fixture_counter();
        if (i % 16 == 0) {
            (void)sched_yield();
            ck_assert_uint_eq(*fixture_counter(), held); /* it stands */
        }
        machine_resume(fixture.machine);
        if (i % 64 == 0) {
            fixture_wait_until_counted(held);
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
    fixture_finish();
}
END_TEST

START_TEST(no_kick_is_lost_on_a_guest_that_exits_all_the_time)
{
    START(count_with_exits, 1);
    hammer();
    fixture_finish();
}
END_TEST

START_TEST(pausing_twice_and_stopping_while_paused_is_fine)
{
    START(count, 2);
    fixture_wait_until_counted(0);
    machine_pause(fixture.machine);
    machine_pause(fixture.machine);
    machine_resume(fixture.machine);
    fixture_wait_until_counted(*fixture_counter());
    machine_pause(fixture.machine);
    machine_stop(fixture.machine);
    machine_stop(fixture.machine);
    ck_assert_int_eq(machine_reset(fixture.machine, &err), -EINVAL);
    fixture_finish();
}
END_TEST

START_TEST(machine_that_never_started_is_destroyed)
{
    fixture_create(spin, sizeof(spin), 2);
    machine_destroy(NULL);
    fixture_finish();
}
END_TEST

START_TEST(guest_is_reset_many_times_with_the_door_closed)
{
    START(count_and_reset, 2);
    fixture.resets = true;
    while (fixture.event_count < RESET_ROUNDS) {
        ck_assert_int_eq(fixture_wait_for_event()->kind, MACHINE_EVENT_RESET);
        ck_assert_msg(fixture.reset_result == 0, "%s", err.msg);
    }
    machine_pause(fixture.machine);
    ck_assert_uint_eq(fixture.device_resets, fixture.event_count);
    ck_assert_uint_ge(*fixture_counter(), RESET_ROUNDS); /* RAM is kept over resets */
    fixture_finish();
}
END_TEST

START_TEST(guest_that_sends_init_to_its_boot_cpu_is_reset)
{
    /* mov ebx, the LAPIC; switch it on; destination 0; INIT */
    static const uint8_t code[] = {
        0xbb, 0x00, 0x00, 0xe0, 0xfe, 0xc7, 0x83, 0xf0, 0,    0, 0, 0xff,
        0x01, 0,    0,    0xc7, 0x83, 0x10, 0x03, 0,    0,    0, 0, 0,
        0,    0xc7, 0x83, 0x00, 0x03, 0,    0,    0x00, 0x45, 0, 0, HLT_LOOP,
    };

    START(code, 2);
    fixture.resets = true;
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_int_eq(fixture_wait_for_event()->kind, MACHINE_EVENT_RESET);
        ck_assert_msg(fixture.reset_result == 0, "%s", err.msg);
    }
    fixture_finish();
}
END_TEST

START_TEST(memory_types_are_write_back_at_power_on_and_after_a_reset)
{
    /* mov ecx, the default memory type; rdmsr; out dx, eax; then all uncached, and a reset */
    static const uint8_t code[] = {
        0xb9, 0xff, 0x02, 0,    0,    0x0f,  0x32,      DX(TEST_PORT), 0xef,     0x31,
        0xc0, 0x31, 0xd2, 0x0f, 0x30, AL(1), DX(0x602), OUT,           HLT_LOOP,
    };

    START(code, 1);
    fixture.resets = true;
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_int_eq(fixture_wait_for_event()->kind, MACHINE_EVENT_RESET);
    }
    machine_pause(fixture.machine);
    ck_assert_uint_ge(fixture.access_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_uint_eq(fixture.accesses[i].value, 0x806);
    }
    fixture_finish();
}
END_TEST

START_TEST(running_guest_is_reset_at_any_moment)
{
    START(count_with_exits, 2);
    for (uint32_t i = 0; i < RESET_ROUNDS; i++) {
        fixture_wait_until_counted(*fixture_counter());
        machine_dispatch(fixture.machine); /* nothing happened: no crash after a reset */
        ck_assert_uint_eq(fixture.event_count, 0);
        ck_assert_msg(machine_reset(fixture.machine, &err) == 0, "%s", err.msg);
    }
    fixture_wait_until_counted(*fixture_counter());
    fixture_finish();
}
END_TEST

START_TEST(cpu_that_ran_before_a_reset_waits_for_its_start_after_it)
{
    volatile uint16_t *counted;
    uint16_t before;

    fixture_add_data(other, sizeof(other), OTHER_START);
    START(start_other, 2);
    fixture.resets = true;
    ck_assert_int_eq(fixture_wait_for_event()->kind, MACHINE_EVENT_RESET);
    fixture_wait_until_counted(1);
    counted = memory_span(machine_memory(fixture.machine), gpa(OTHER_COUNTER), 2);
    before = *counted;
    ck_assert_uint_ne(before, 0);
    (void)poll(NULL, 0, 50);
    machine_dispatch(fixture.machine);
    ck_assert_uint_eq(*counted, before);
    ck_assert_uint_eq(fixture.event_count, 1); /* the reset: it does not run anything else either */
    fixture_finish();
}
END_TEST

START_TEST(guest_that_jumps_to_the_reset_vector_is_reset)
{
    START(count_and_jump, 1);
    fixture.resets = true;
    while (fixture.event_count < 2) {
        ck_assert_int_eq(fixture_wait_for_event()->kind, MACHINE_EVENT_RESET);
    }
    ck_assert_uint_ge(*fixture_counter(), 2);
    fixture_finish();
}
END_TEST

START_TEST(file_that_changed_in_place_stops_the_reset)
{
    START(count, 1);
    fixture_wait_until_counted(0);
    ck_assert_int_eq(write(fixture.loads[0].fd, "xx", 2), 2);
    ck_assert_int_eq(machine_reset(fixture.machine, &err), -ESTALE);
    ck_assert_str_eq(err.msg, "g:3: 'code' was changed in place since this guest started; stop it "
                              "and start it anew");
    fixture_finish();
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
    fixture_wait_until_counted(0);
    machine_state(fixture.machine, on_state, &seen);
    ck_assert_uint_eq(seen, 1);
    fixture_wait_until_counted(*fixture_counter());
    fixture_finish();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        no_kick_is_lost_on_a_guest_that_never_exits,
        no_kick_is_lost_on_a_guest_that_exits_all_the_time,
        pausing_twice_and_stopping_while_paused_is_fine,
        machine_that_never_started_is_destroyed,
        guest_is_reset_many_times_with_the_door_closed,
        guest_that_sends_init_to_its_boot_cpu_is_reset,
        memory_types_are_write_back_at_power_on_and_after_a_reset,
        running_guest_is_reset_at_any_moment,
        cpu_that_ran_before_a_reset_waits_for_its_start_after_it,
        guest_that_jumps_to_the_reset_vector_is_reset,
        file_that_changed_in_place_stops_the_reset,
        state_is_told_of_a_guest_that_goes_on_running,
    };

    return fixture_run("machine", tests, ARRAY_LEN(tests));
}
