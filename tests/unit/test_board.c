/* The host bridge's PAM registers, segment by segment: Intel 3 series, 5.1.14 to 5.1.20. */
#include "qvm-worker/machine/board.h"

#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus/bus.h"
#include "qvm-worker/memory/memory.h"
#include "tests/unit/unit.h"

#define REGISTERS 7u
#define LAST_64K  12u /* the first segment of 0xF0000 */

static struct err err;
static struct bus *bus;
static struct memory *memory;
static struct board board;

static void set_up(void)
{
    const struct memory_range ram = {.size = 16ull << 20, .where = "t:1"};

    bus = bus_create();
    ck_assert_ptr_nonnull(bus);
    ck_assert_int_eq(memory_create(&ram, 1, &memory, &err), 0);
    ck_assert_int_eq(board_init(&board, memory, bus, &err), 0);
}

static void tear_down(void)
{
    bus_destroy(bus);
    memory_destroy(memory);
}

/* Half a register, by its number from 0xC0000 on: two to each of PAM1 to PAM6, one in PAM0. */
static void set_half(uint8_t registers[REGISTERS], uint32_t half, uint8_t bits)
{
    uint32_t at = half < LAST_64K ? 1 + half / 2 : 0;
    unsigned shift = half < LAST_64K && half % 2 == 0 ? 0 : 4;

    registers[at] = (uint8_t)(bits << shift);
}

START_TEST(each_half_of_a_register_is_of_its_own_segment)
{
    for (uint32_t half = 0; half <= LAST_64K; half++) {
        for (uint8_t bits = 1; bits < 4; bits++) {
            uint8_t registers[REGISTERS] = {0};

            set_half(registers, half, bits);
            ck_assert(board_pam(&board, registers));
            for (uint32_t i = 0; i < VM_SHADOW_SEGMENTS; i++) {
                bool is_of_it = i == half || (half == LAST_64K && i > LAST_64K);

                ck_assert_uint_eq(board.wanted[i], is_of_it ? bits : 0);
            }
        }
    }
}
END_TEST

START_TEST(registers_that_say_what_is_there_change_nothing)
{
    uint8_t registers[REGISTERS] = {0};

    ck_assert(!board_pam(&board, registers));
    memset(registers, 0xcc, sizeof(registers)); /* bits that mean nothing */
    ck_assert(!board_pam(&board, registers));
    memset(registers, 0x33, sizeof(registers));
    ck_assert(board_pam(&board, registers));
    memcpy(board.seen, board.wanted, sizeof(board.seen));
    registers[0] = 0x30; /* its low half is reserved */
    ck_assert(!board_pam(&board, registers));
}
END_TEST

/* What a segment's first byte in RAM is after a guest wrote 0x5a there by way of the bus. */
static uint8_t written(uint32_t segment)
{
    uint64_t address = VM_SHADOW_START + segment * VM_SHADOW_SEGMENT;
    uint8_t *ram = memory_span(memory, gpa(address), 1);
    uint8_t byte = 0x5a;

    *ram = 0;
    (void)bus_access(bus, BUS_MEMORY, address, &byte, 1, true);
    return *ram;
}

START_TEST(ram_takes_writes_of_those_segments_alone_that_say_so)
{
    for (uint32_t open = 0; open < VM_SHADOW_SEGMENTS; open++) {
        memset(board.seen, 0, sizeof(board.seen));
        board.seen[open] = VM_SHADOW_WRITE;
        for (uint32_t i = 0; i < VM_SHADOW_SEGMENTS; i++) {
            uint8_t byte = 0;

            ck_assert_uint_eq(written(i), i == open ? 0x5a : 0);
            (void)bus_access(bus, BUS_MEMORY, VM_SHADOW_START + i * VM_SHADOW_SEGMENT, &byte, 1,
                             false);
            ck_assert_uint_eq(byte, 0xff); /* reads that come here find neither RAM nor ROM */
        }
    }
}
END_TEST

UNIT_MAIN_WITH("board", set_up, tear_down, each_half_of_a_register_is_of_its_own_segment,
               registers_that_say_what_is_there_change_nothing,
               ram_takes_writes_of_those_segments_alone_that_say_so)
