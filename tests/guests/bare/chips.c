#include "tests/guests/bare/chips.h"

#include "tests/guests/bare/acpi.h"
#include "tests/guests/bare/console.h"
#include "tests/guests/bare/interrupts.h"
#include "tests/guests/bare/machine.h"
#include "tests/guests/bare/memory.h"

#include <stdbool.h>

enum { PIC1 = 0x20, PIC2 = 0xa0, PIC_ICW1 = 0x11, PIC_ICW4 = 0x01, PIC_EOI = 0x20 };
enum { VECTOR_PIC = 0x40, VECTOR_TIMER = VECTOR_PIC, VECTOR_PIC_5 = 0x45, VECTOR_PIC_10 = 0x4a };
enum { VECTOR_EDGE = 0x50, VECTOR_LEVEL, VECTOR_TIMER_PIN };
enum { EDGE_LEVEL = 0x4d0, VECTOR_FIRST = 0x30, VECTOR_LAST = 0xff };
enum { TIMER_COUNT = 0x40, TIMER_CONTROL = 0x43, TIMER_100_HZ = 11932 };
enum {
    LINES = 0x2000,
    LINE_COUNT = 24,
    LINE_PIC = 5,
    LINE_PIC_2 = 10,
    LINE_EDGE = 6,
    LINE_LEVEL = 11
};
enum { LAPIC_EOI = 0xb0, LAPIC_LINT0 = 0x350, LINT_EXTINT = 0x700, LINT_MASKED = 0x10000 };
enum { IOAPIC_LEVEL = 0x8000, IOAPIC_MASKED = 0x10000, ROUNDS = 200, TICKS = 20 };
enum { LOUD_LEVELS = 3 }; /* of so many interrupts by level, one lowers the line */

struct interrupt_frame;

static volatile uint32_t count, level_count;

static void end_of_pic(bool is_second)
{
    if (is_second) {
        outb(PIC2, PIC_EOI);
    }
    outb(PIC1, PIC_EOI);
}

static void end_of_lapic(void)
{
    mmio_write32(acpi_lapic() + LAPIC_EOI, 0);
}

static __attribute__((interrupt)) void on_timer(struct interrupt_frame *frame)
{
    (void)frame;
    count = count + 1;
    end_of_pic(false);
}

static __attribute__((interrupt)) void on_timer_pin(struct interrupt_frame *frame)
{
    (void)frame;
    count = count + 1;
    end_of_lapic();
}

static __attribute__((interrupt)) void on_pic_5(struct interrupt_frame *frame)
{
    (void)frame;
    outb(LINES + LINE_PIC, 0);
    end_of_pic(false);
    count = count + 1;
}

static __attribute__((interrupt)) void on_pic_10(struct interrupt_frame *frame)
{
    (void)frame;
    outb(LINES + LINE_PIC_2, 0);
    end_of_pic(true);
    count = count + 1;
}

static __attribute__((interrupt)) void on_edge(struct interrupt_frame *frame)
{
    (void)frame;
    outb(LINES + LINE_EDGE, 0);
    end_of_lapic();
    count = count + 1;
}

/* The line stays high over two ends of interrupts: each must bring it again. */
static __attribute__((interrupt)) void on_level(struct interrupt_frame *frame)
{
    (void)frame;
    level_count = level_count + 1;
    if (level_count % LOUD_LEVELS == 0) {
        outb(LINES + LINE_LEVEL, 0);
        count = count + 1;
    } else {
        (void)inb(LINES + LINE_LEVEL); /* as a driver looks at its device */
    }
    end_of_lapic();
}

/* What a storm made the IOAPIC send. */
static __attribute__((interrupt)) void on_stray(struct interrupt_frame *frame)
{
    (void)frame;
    end_of_lapic();
}

static void wait_for(uint32_t wanted)
{
    interrupts_off();
    while (count < wanted) {
        interrupts_wait();
    }
    interrupts_on();
}

static void init_pic(uint8_t mask1, uint8_t mask2)
{
    outb(PIC1, PIC_ICW1);
    outb(PIC2, PIC_ICW1);
    outb(PIC1 + 1, VECTOR_PIC);
    outb(PIC2 + 1, VECTOR_PIC + 8);
    outb(PIC1 + 1, 4);
    outb(PIC2 + 1, 2);
    outb(PIC1 + 1, PIC_ICW4);
    outb(PIC2 + 1, PIC_ICW4);
    outb(EDGE_LEVEL, 0);
    outb(EDGE_LEVEL + 1, 0);
    outb(PIC1 + 1, mask1);
    outb(PIC2 + 1, mask2);
}

static void start_timer(void)
{
    count = 0;
    outb(TIMER_CONTROL, 0x34); /* counter 0, both bytes, mode 2 */
    outb(TIMER_COUNT, TIMER_100_HZ & 0xff);
    outb(TIMER_COUNT, TIMER_100_HZ >> 8);
}

static void stop_timer(void)
{
    outb(TIMER_CONTROL, 0x30); /* mode 0: it waits for a count */
}

static void try_line(const char *name, uint16_t line)
{
    uint64_t start;

    outb((uint16_t)(LINES + line), 0); /* as a storm may have left it */
    start = cycles();
    count = 0;
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        outb((uint16_t)(LINES + line), 1);
        wait_for(i);
    }
    print("%s: %u interrupts, %u cycles each\n", name, (uint64_t)ROUNDS,
          (cycles() - start) / ROUNDS);
}

static void try_pic(void)
{
    init_pic(0xff & ~(1 << 0 | 1 << 2 | 1 << LINE_PIC), 0xff & ~(1 << (LINE_PIC_2 - 8)));
    mmio_write32(acpi_lapic() + LAPIC_LINT0, LINT_EXTINT);
    start_timer();
    wait_for(TICKS);
    stop_timer();
    print("timer by the 8259: %u ticks\n", (uint64_t)TICKS);
    try_line("8259", LINE_PIC);
    try_line("second 8259", LINE_PIC_2);
    init_pic(0xff, 0xff);
    mmio_write32(acpi_lapic() + LAPIC_LINT0, LINT_MASKED);
}

static void try_ioapic(uint8_t timer_pin)
{
    interrupts_route(timer_pin, VECTOR_TIMER_PIN);
    start_timer();
    wait_for(TICKS);
    stop_timer();
    interrupts_route(timer_pin, IOAPIC_MASKED);
    print("timer by pin %u: %u ticks\n", (uint64_t)timer_pin, (uint64_t)TICKS);
    interrupts_route(LINE_EDGE, VECTOR_EDGE);
    try_line("edges", LINE_EDGE);
    level_count = 0;
    interrupts_route(LINE_LEVEL, IOAPIC_LEVEL | VECTOR_LEVEL);
    try_line("levels", LINE_LEVEL);
    interrupts_route(LINE_EDGE, IOAPIC_MASKED);
    interrupts_route(LINE_LEVEL, IOAPIC_MASKED);
    print("levels came %u times\n", (uint64_t)level_count);
}

void chips_try(void)
{
    if (inb(LINES) == 0xff) {
        print("no test device\n");
        return;
    }
    interrupts_set(VECTOR_TIMER, (uint64_t)on_timer);
    interrupts_set(VECTOR_PIC_5, (uint64_t)on_pic_5);
    interrupts_set(VECTOR_PIC_10, (uint64_t)on_pic_10);
    interrupts_set(VECTOR_EDGE, (uint64_t)on_edge);
    interrupts_set(VECTOR_LEVEL, (uint64_t)on_level);
    interrupts_set(VECTOR_TIMER_PIN, (uint64_t)on_timer_pin);
    try_pic();
    try_ioapic(acpi_timer_pin());
}

static uint32_t next_random(void)
{
    static uint64_t seed = 0x9e3779b97f4a7c15;

    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
}

/* Where a storm would end the guest, or take its console away: the power registers, COM1's, the
 * ways to a reset, the port that ends all. */
static bool is_spared(uint32_t port)
{
    return (port >= 0x600 && port < 0x610) || (port >= 0x3f8 && port < 0x400) || port == 0x60 ||
           port == 0x64 || (port >= 0x441 && port <= 0x443) || port == 0x501 || port == 0x502 ||
           port == 0xcf9;
}

static void storm_port(uint32_t kind, uint32_t value)
{
    /* Half of it where devices are. */
    uint16_t port = (uint16_t)(kind % 2 == 0 ? next_random() : next_random() % 0x100);

    for (uint32_t i = 0; i < 4; i++) {
        if (is_spared(port + i)) {
            return;
        }
    }
    if (kind % 16 < 4) {
        (void)inb(port);
    } else if (kind % 16 < 8) {
        outb(port, (uint8_t)value);
    } else if (kind % 16 < 12) {
        __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
    } else {
        __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    }
}

static void storm_memory(uint32_t kind, uint32_t value)
{
    enum { IOAPIC_BASES = 2, IOAPIC_ODD_MODES = 0x600 };
    static const uint32_t bases[] = {0xfec00000, 0xf8000000, 0xfed00000, 0xff000000,
                                     0xfeb00000, 0xe0000000, 0xf0000000};
    uint32_t base = next_random() % ARRAY_LEN(bases), offset = next_random() % 0x1000;
    uint64_t address = bases[base] + offset;

    if (base < IOAPIC_BASES) {
        value &= ~(uint32_t)IOAPIC_ODD_MODES; /* an INIT or NMI is no fault of the qvm's */
    }

    if (kind % 4 == 0) {
        (void)*(volatile uint8_t *)address;
    } else if (kind % 4 == 1) {
        (void)mmio_read32(address);
    } else if (kind % 4 == 2) {
        *(volatile uint16_t *)address = (uint16_t)value;
    } else {
        mmio_write32(address, value);
    }
}

void chips_expect_anything(void)
{
    for (unsigned vector = VECTOR_FIRST; vector <= VECTOR_LAST; vector++) {
        interrupts_set((uint8_t)vector, (uint64_t)on_stray);
    }
}

void chips_storm(unsigned accesses)
{
    memory_map_all();
    chips_expect_anything();
    interrupts_off();
    for (unsigned i = 0; i < accesses; i++) {
        uint32_t kind = next_random(), value = next_random();

        if (kind % 4 != 3) {
            storm_port(kind >> 2, value);
        } else {
            storm_memory(kind >> 2, value);
        }
    }
    for (uint16_t line = 0; line < LINE_COUNT; line++) {
        outb((uint16_t)(LINES + line), 0);
    }
    stop_timer();
    init_pic(0xff, 0xff);
    interrupts_restore();
    interrupts_on();
}
