/* One machine for a test: a guest of a few bytes, a device that remembers its accesses, what came
 * of it. The tests' processes have the door closed from fixture_start on. */
#ifndef QVM_TESTS_MACHINE_FIXTURE_H
#define QVM_TESTS_MACHINE_FIXTURE_H

#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "qvm-worker/machine/machine.h"

#define COUNTER      0x200000u /* guest-physical: where guests count */
#define TEST_PORT    0x510
#define TEST_ADDRESS 0xd0000000u
#define ACCESSES_MAX 16
#define PATIENCE_MS  10000

/* Instructions: incq COUNTER; mov al,N; mov dx,PORT; out dx,al; a loop of hlt. */
#define COUNT    0x48, 0xff, 0x04, 0x25, 0, 0, COUNTER >> 16, 0
#define AL(n)    0xb0, n
#define DX(port) 0x66, 0xba, (port)&0xff, (port) >> 8
#define OUT      0xee
#define HLT_LOOP 0xf4, 0xeb, 0xfd

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

extern struct fixture fixture;
extern struct err err;

/* `size` bytes at `data` go to guest-physical `address`; before fixture_create. */
void fixture_add_data(const void *data, size_t size, uint64_t address);

/* Make the machine; make it and start it. */
void fixture_create(const void *code, size_t size, uint32_t cpu_count);
void fixture_start(const void *code, size_t size, uint32_t cpu_count);
#define START(code, cpu_count) fixture_start(code, sizeof(code), cpu_count)

/* What the guest counts at COUNTER, and waiting until it is no more `from`. */
volatile uint64_t *fixture_counter(void);
void fixture_wait_until_counted(uint64_t from);

const struct machine_event *fixture_wait_for_event(void);

/* The end of a test. libcheck would go on with calls that are behind the door by now. */
void fixture_finish(void) __attribute__((noreturn));

/* Run `count` tests that end with fixture_finish; returns main's status. */
int fixture_run(const char *name, const TTest *const *tests, size_t count);

#endif
