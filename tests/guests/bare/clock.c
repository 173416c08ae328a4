#include "tests/guests/bare/clock.h"

#include "tests/guests/bare/console.h"
#include "tests/guests/bare/machine.h"

#include <stdbool.h>

enum { PORT_INDEX = 0x70, PORT_DATA = 0x71 };
enum { REG_SECONDS = 0, REG_MINUTES = 2, REG_HOURS = 4, REG_DAY = 7, REG_MONTH = 8, REG_YEAR = 9 };
enum { REG_A = 0x0a, REG_B = 0x0b };
enum { A_UPDATING = 0x80, B_BINARY = 0x04, B_24_HOURS = 0x02, HOURS_PM = 0x80, NO_CLOCK = 0xff };
enum { UPDATE_POLLS = 100000, CENTURY = 2000 };

static uint8_t cmos_read(uint8_t reg)
{
    outb(PORT_INDEX, reg);
    return inb(PORT_DATA);
}

static uint64_t cmos_number(uint8_t value, bool is_binary)
{
    return is_binary ? value : (uint64_t)(value >> 4) * 10 + (value & 15);
}

void clock_print(void)
{
    uint8_t b = cmos_read(REG_B);
    bool is_binary = (b & B_BINARY) != 0;
    uint8_t raw_hours;
    uint64_t hours;
    uint64_t minutes;
    uint64_t seconds;

    if (b == NO_CLOCK) {
        print("no clock\n");
        return;
    }
    for (int i = 0; i < UPDATE_POLLS && (cmos_read(REG_A) & A_UPDATING) != 0; i++) {
    }
    seconds = cmos_number(cmos_read(REG_SECONDS), is_binary);
    minutes = cmos_number(cmos_read(REG_MINUTES), is_binary);
    raw_hours = cmos_read(REG_HOURS);
    hours = cmos_number((uint8_t)(raw_hours & ~HOURS_PM), is_binary);
    if ((b & B_24_HOURS) == 0) {
        hours = hours % 12 + ((raw_hours & HOURS_PM) != 0 ? 12 : 0);
    }
    print("%u-%2-%2 ", CENTURY + cmos_number(cmos_read(REG_YEAR), is_binary),
          cmos_number(cmos_read(REG_MONTH), is_binary), cmos_number(cmos_read(REG_DAY), is_binary));
    print("%2:%2:%2\n", hours, minutes, seconds);
}
