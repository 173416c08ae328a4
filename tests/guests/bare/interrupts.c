#include "tests/guests/bare/interrupts.h"

#include "tests/guests/bare/acpi.h"
#include "tests/guests/bare/commands.h"
#include "tests/guests/bare/console.h"
#include "tests/guests/bare/layout.h"
#include "tests/guests/bare/machine.h"

#define COM1_GSI 4

enum { VECTOR_COM1 = 0x20, VECTOR_BUTTON, VECTOR_TIMER, VECTOR_SPURIOUS = 0x2f, VECTOR_COUNT };
enum { EXCEPTION_COUNT = 32, EXCEPTION_STUB_SIZE = 8, GATE_INTERRUPT = 0x8e };
enum { PIC1_MASK = 0x21, PIC2_MASK = 0xa1 };
enum { LAPIC_ID = 0x20, LAPIC_EOI = 0xb0, LAPIC_SVR = 0xf0, LAPIC_ICR = 0x300, LAPIC_ICR2 = 0x310 };
enum { LAPIC_TIMER = 0x320, LAPIC_TIMER_COUNT = 0x380, LAPIC_TIMER_DIVIDE = 0x3e0 };
enum { TIMER_PERIODIC = 1 << 17, TIMER_MASKED = 1 << 16, DIVIDE_BY_1 = 0xb, SVR_ENABLE = 0x100 };
enum { IOAPIC_DATA = 0x10, IOAPIC_REDIRECTION = 0x10 };
enum { BUS_CYCLES_PER_TICK = 1000000 };
enum { BUTTON_PRESSED = 1, NOBODY_THERE = 0xff };

#define EXCEPTIONS_WITH_CODE 0x00227d00U /* 8, 10 to 14, 17, 21 */

struct gate {
    uint16_t offset_low;
    uint16_t selector;
    uint8_t stack;
    uint8_t type;
    uint16_t offset_middle;
    uint32_t offset_high;
    uint32_t reserved;
};

struct tss {
    uint32_t reserved_0;
    uint64_t stacks[3];
    uint64_t reserved_1;
    uint64_t interrupt_stacks[7];
    uint64_t reserved_2;
    uint16_t reserved_3;
    uint16_t io_bitmap;
} __attribute__((packed));

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct interrupt_frame;

/* entry.S */
extern uint8_t exception_stubs[], trap_stack_end[], user_return[];
extern uint64_t gdt_tss[2];
void segments_load(void);
void user_leave(void) __attribute__((noreturn));
void on_exception(uint64_t vector, const uint64_t *stack) __attribute__((noreturn));

static struct gate idt[VECTOR_COUNT];
static struct tss tss;
static uint16_t button_port;
static volatile uint64_t ticks;

static void end_of_interrupt(void)
{
    mmio_write32(acpi_lapic() + LAPIC_EOI, 0);
}

static __attribute__((interrupt)) void on_com1(struct interrupt_frame *frame)
{
    (void)frame;
    console_interrupt();
    end_of_interrupt();
}

static __attribute__((interrupt)) void on_button(struct interrupt_frame *frame)
{
    (void)frame;
    end_of_interrupt();
    interrupts_check_button();
}

static __attribute__((interrupt)) void on_timer(struct interrupt_frame *frame)
{
    (void)frame;
    ticks = ticks + 1;
    end_of_interrupt();
}

static __attribute__((interrupt)) void on_spurious(struct interrupt_frame *frame)
{
    (void)frame;
}

void on_exception(uint64_t vector, const uint64_t *stack)
{
    uint64_t code = 0;
    uint64_t cr2;

    if (stack[0] == (uint64_t)user_return) {
        user_leave();
    }
    if ((EXCEPTIONS_WITH_CODE >> vector & 1) != 0) {
        code = *stack++;
    }
    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    print("\nexception %u, code 0x%x, at 0x%x, address 0x%x\n", vector, code, stack[0], cr2);
    prompt_again();
}

void interrupts_check_button(void)
{
    uint8_t event = inb(button_port);

    if (event != NOBODY_THERE && (event & BUTTON_PRESSED) != 0) {
        print("\npower button\n");
        command_poweroff("");
    }
}

static void gate_set(int vector, uint64_t handler)
{
    idt[vector] = (struct gate){.offset_low = (uint16_t)handler,
                                .selector = SEL_KERNEL_CODE,
                                .type = GATE_INTERRUPT,
                                .offset_middle = (uint16_t)(handler >> 16),
                                .offset_high = (uint32_t)(handler >> 32)};
}

static void tables_load(void)
{
    const struct table_pointer pointer = {sizeof(idt) - 1, (uint64_t)idt};
    uint64_t base = (uint64_t)&tss;

    for (int i = 0; i < EXCEPTION_COUNT; i++) {
        gate_set(i, (uint64_t)exception_stubs + (uint64_t)i * EXCEPTION_STUB_SIZE);
    }
    gate_set(VECTOR_COM1, (uint64_t)on_com1);
    gate_set(VECTOR_BUTTON, (uint64_t)on_button);
    gate_set(VECTOR_TIMER, (uint64_t)on_timer);
    gate_set(VECTOR_SPURIOUS, (uint64_t)on_spurious);
    __asm__ volatile("lidt %0" : : "m"(pointer));

    tss.stacks[0] = (uint64_t)trap_stack_end;
    tss.io_bitmap = sizeof(tss);
    gdt_tss[0] = 0x0000890000000000 | (sizeof(tss) - 1) | (base & 0xffffff) << 16 |
                 (base >> 24 & 0xff) << 56;
    gdt_tss[1] = base >> 32;
    segments_load();
}

static void ioapic_write(uint32_t index, uint32_t value)
{
    mmio_write32(acpi_ioapic(), index);
    mmio_write32(acpi_ioapic() + IOAPIC_DATA, value);
}

/* Edge triggered, active high, to this CPU. */
static void ioapic_route(uint8_t gsi, uint8_t vector)
{
    uint32_t index = IOAPIC_REDIRECTION + 2U * gsi;

    ioapic_write(index + 1, (uint32_t)lapic_id() << 24);
    ioapic_write(index, vector);
}

void interrupts_init(uint8_t button_gsi, uint16_t port)
{
    button_port = port;
    tables_load();
    outb(PIC1_MASK, 0xff);
    outb(PIC2_MASK, 0xff);
    mmio_write32(acpi_lapic() + LAPIC_SVR, SVR_ENABLE | VECTOR_SPURIOUS);
    ioapic_route(COM1_GSI, VECTOR_COM1);
    ioapic_route(button_gsi, VECTOR_BUTTON);
}

void timer_start(void)
{
    ticks = 0;
    mmio_write32(acpi_lapic() + LAPIC_TIMER_DIVIDE, DIVIDE_BY_1);
    mmio_write32(acpi_lapic() + LAPIC_TIMER, TIMER_PERIODIC | VECTOR_TIMER);
    mmio_write32(acpi_lapic() + LAPIC_TIMER_COUNT, BUS_CYCLES_PER_TICK);
}

void timer_stop(void)
{
    mmio_write32(acpi_lapic() + LAPIC_TIMER, TIMER_MASKED | VECTOR_TIMER);
    mmio_write32(acpi_lapic() + LAPIC_TIMER_COUNT, 0);
}

void timer_wait(uint64_t count)
{
    uint64_t end = ticks + count;

    interrupts_off();
    while (ticks < end) {
        interrupts_wait();
    }
    interrupts_on();
}

uint8_t lapic_id(void)
{
    return (uint8_t)(mmio_read32(acpi_lapic() + LAPIC_ID) >> 24);
}

void lapic_send(uint8_t apic_id, uint32_t command)
{
    mmio_write32(acpi_lapic() + LAPIC_ICR2, (uint32_t)apic_id << 24);
    mmio_write32(acpi_lapic() + LAPIC_ICR, command);
}
