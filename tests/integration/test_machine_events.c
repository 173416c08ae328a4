/* The machine on the real /dev/kvm: what guests do to it, what it does for them. */
#include "tests/integration/machine_fixture.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "qvm-worker/lockdown/lockdown.h"

static const uint8_t spin[] = {0xeb, 0xfe};
static const uint8_t power_off[] = {AL(0x34), DX(0x600), OUT, HLT_LOOP};
static const uint8_t triple_fault[] = {0x0f, 0x0b}; /* ud2 without an interrupt table */
/* mov eax,TEST_ADDRESS+0x100000; jmp rax: no memory is there to fetch from */
static const uint8_t run_from_nowhere[] = {0xb8, 0, 0, 0x10, 0xd0, 0xff, 0xe0};

START_TEST(guest_switches_itself_off)
{
    START(power_off, 1);
    ck_assert_int_eq(fixture_wait_for_event()->kind, MACHINE_EVENT_POWEROFF);
    ck_assert_uint_eq(fixture.last.vcpu, 0);
    fixture_finish();
}
END_TEST

START_TEST(triple_fault_is_told_with_registers)
{
    START(triple_fault, 1);
    ck_assert_int_eq(fixture_wait_for_event()->kind, MACHINE_EVENT_TRIPLE_FAULT);
    ck_assert_ptr_nonnull(strstr(fixture.last.text, "triple fault on vCPU 0: rip=0x"));
    ck_assert_int_eq(machine_reset(fixture.machine, &err), 0); /* and can be gone on from */
    ck_assert_int_eq(fixture_wait_for_event()->kind, MACHINE_EVENT_TRIPLE_FAULT);
    fixture_finish();
}
END_TEST

START_TEST(what_kvm_cannot_do_is_told_and_the_process_lives)
{
    START(run_from_nowhere, 1);
    ck_assert_int_eq(fixture_wait_for_event()->kind, MACHINE_EVENT_UNSUPPORTED);
    ck_assert_msg(strstr(fixture.last.text, "rip=0xd0100000") != NULL, "%s", fixture.last.text);
    fixture_finish();
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
    ck_assert_int_eq(fixture_wait_for_event()->kind, MACHINE_EVENT_POWEROFF);
    ck_assert_uint_eq(fixture.access_count, 5);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert(fixture.accesses[i].is_write);
        ck_assert_uint_eq(fixture.accesses[i].value, code[i]);
        ck_assert_uint_eq(fixture.accesses[i].size, 1);
    }
    ck_assert_uint_eq(fixture.accesses[4].size, 2);
    ck_assert_uint_eq(*fixture_counter(), 'd' | (uint64_t)'e' << 16);
    fixture_finish();
}
END_TEST

START_TEST(memory_access_of_eight_bytes_comes_whole)
{
    /* mov ebx,TEST_ADDRESS; mov rax,[rbx+8]; mov [rbx+16],rax; power off */
    static const uint8_t code[] = {0xbb, 0,    0,    0,    0xd0,     0x48,      0x8b, 0x43,    8,
                                   0x48, 0x89, 0x43, 0x10, AL(0x34), DX(0x600), OUT,  HLT_LOOP};

    START(code, 1);
    ck_assert_int_eq(fixture_wait_for_event()->kind, MACHINE_EVENT_POWEROFF);
    ck_assert_uint_eq(fixture.access_count, 2);
    ck_assert_uint_eq(fixture.accesses[0].size, 8);
    ck_assert_uint_eq(fixture.accesses[0].offset, 8);
    ck_assert_uint_eq(fixture.accesses[1].offset, 16);
    ck_assert_uint_eq(fixture.accesses[1].value, 'a');
    fixture_finish();
}
END_TEST

START_TEST(requests_of_devices_become_events)
{
    START(spin, 1);
    machine_request(fixture.machine, MACHINE_EVENT_EXIT, 42);
    ck_assert_int_eq(fixture_wait_for_event()->kind, MACHINE_EVENT_EXIT);
    ck_assert_uint_eq(fixture.last.value, 42);
    ck_assert_uint_eq(fixture.last.vcpu, UINT32_MAX);
    fixture_finish();
}
END_TEST

START_TEST(nothing_is_opened_once_it_runs)
{
    START(spin, 1);
    ck_assert(lockdown_is_real());
    ck_assert_int_eq(open("/dev/null", O_RDONLY | O_CLOEXEC), -1);
    ck_assert_int_eq(errno, EPERM);
    fixture_finish();
}
END_TEST

START_TEST(wrong_counts_of_cpus_are_refused)
{
    struct fixture *f = &fixture;

    fixture_create(spin, sizeof(spin), 1);
    machine_destroy(f->machine);
    f->spec.cpu_count = 0;
    ck_assert_int_eq(machine_create(&f->spec, &f->machine, &err), -EINVAL);
    f->spec.cpu_count = MACHINE_CPUS_MAX + 1;
    ck_assert_int_eq(machine_create(&f->spec, &f->machine, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "g:1: a guest has 1 to "));
    f->spec.kvm_fd = STDIN_FILENO;
    f->spec.cpu_count = 1;
    ck_assert_int_ne(machine_create(&f->spec, &f->machine, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.msg, "/dev/kvm is not KVM"));
    fixture.machine = NULL;
    fixture_finish();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        guest_switches_itself_off,
        triple_fault_is_told_with_registers,
        what_kvm_cannot_do_is_told_and_the_process_lives,
        repeated_string_io_comes_one_by_one,
        memory_access_of_eight_bytes_comes_whole,
        requests_of_devices_become_events,
        nothing_is_opened_once_it_runs,
        wrong_counts_of_cpus_are_refused,
    };

    return fixture_run("machine-events", tests, ARRAY_LEN(tests));
}
