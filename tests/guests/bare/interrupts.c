#include "tests/guests/bare/interrupts.h"

#include "tests/guests/bare/acpi.h"
#include "tests/guests/bare/commands.h"
#include "tests/guests/bare/console.h"
#include "tests/guests/bare/layout.h"
#include "tests/guests/bare/machine.h"

#define COM1_GSI 4

enum {
    VECTOR_COM1 = 0x20,
    VECTOR_BUTTON,
    VECTOR_TIMER,
    VECTOR_DEVICE,
    VECTOR_SPURIOUS = 0x2f,
    VECTOR_COUNT = 256
};
enum { EXCEPTION_COUNT = 32, EXCEPTION_STUB_SIZE = 8, GATE_INTERRUPT = 0x8e };
enum { PIC1_MASK = 0x21, PIC2_MASK = 0xa1 };
enum { LAPIC_ID = 0x20, LAPIC_EOI = 0xb0, LAPIC_SVR = 0xf0, LAPIC_ICR = 0x300, LAPIC_ICR2 = 0x310 };
enum { LAPIC_TIMER = 0x320, LAPIC_TIMER_COUNT = 0x380, LAPIC_TIMER_DIVIDE = 0x3e0 };
enum { TIMER_PERIODIC = 1 << 17, TIMER_MASKED = 1 << 16, DIVIDE_BY_1 = 0xb, SVR_ENABLE = 0x100 };
enum { IOAPIC_DATA = 0x10, IOAPIC_REDIRECTION = 0x10, IOAPIC_PINS = 24 };
enum { IOAPIC_LEVEL = 1 << 15, IOAPIC_MASKED = 1 << 16 };
enum { BUS_CYCLES_PER_TICK = 1000000 };
enum { BUTTON_PRESSED = 1, NOBODY_THERE = 0xff, FIXED_BUTTON = 0x100 };

enum { MSR_APIC_BASE = 0x1b, APIC_BASE_X2APIC = 1 << 10, MSR_X2APIC = 0x800 };

#define EXCEPTIONS_WITH_CODE 0x00227d00U /* 8, 10 to 14, 17, 21 */

/* entry.S looks at it, too. */
extern uint32_t lapic_is_long;
uint32_t lapic_is_long;

static void lapic_write(uint32_t reg, uint32_t value)
{
    if (lapic_is_long) {
        msr_write(MSR_X2APIC + (reg >> 4), value);
    } else {
        mmio_write32(acpi_lapic() + reg, value);
    }
}

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
extern uint8_t exception_stubs[], trap_stack_end[];
void user_return(void); /* of memory.c */
extern uint64_t gdt_tss[2];
void segments_load(void);
void user_leave(void) __attribute__((noreturn));
void on_exception(uint64_t vector, const uint64_t *stack) __attribute__((noreturn));

static struct gate idt[VECTOR_COUNT];
static struct tss tss;
static uint8_t button_gsi;
static uint16_t button_port;
static volatile uint64_t ticks;

static void end_of_interrupt(void)
{
    lapic_write(LAPIC_EOI, 0);
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
    interrupts_check_button(); /* a fixed one is level-triggered: it falls before the end */
    end_of_interrupt();
}

static __attribute__((interrupt)) void on_timer(struct interrupt_frame *frame)
{
    (void)frame;
    ticks = ticks + 1;
    end_of_interrupt();
}

static void (*device_handler)(void);

static __attribute__((interrupt)) void on_device(struct interrupt_frame *frame)
{
    (void)frame;
    device_handler();
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

static bool is_fixed_button_pressed(uint16_t port)
{
    bool is_pressed = (inw(port) & FIXED_BUTTON) != 0;

    outw(port, FIXED_BUTTON);
    return is_pressed;
}

void interrupts_check_button(void)
{
    uint16_t fixed = acpi_fixed_event();
    uint8_t event;

    if (fixed != 0) {
        event = is_fixed_button_pressed(fixed) ? BUTTON_PRESSED : 0;
    } else {
        event = inb(button_port);
    }
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
    gate_set(VECTOR_DEVICE, (uint64_t)on_device);
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

/* Active high, to this CPU. */
static void ioapic_route(uint8_t gsi, uint32_t entry)
{
    uint32_t index = IOAPIC_REDIRECTION + 2U * gsi;

    ioapic_write(index + 1, lapic_id() << 24);
    ioapic_write(index, entry);
}

void interrupts_init(uint8_t gsi, uint16_t port)
{
    button_gsi = gsi;
    button_port = port;
    tables_load();
    outb(PIC1_MASK, 0xff);
    outb(PIC2_MASK, 0xff);
    lapic_write(LAPIC_SVR, SVR_ENABLE | VECTOR_SPURIOUS);
    interrupts_restore();
}

void interrupts_restore(void)
{
    for (uint8_t gsi = 0; gsi < IOAPIC_PINS; gsi++) {
        ioapic_route(gsi, IOAPIC_MASKED);
    }
    ioapic_route(COM1_GSI, VECTOR_COM1);
    if (acpi_fixed_event() != 0) {
        outw(acpi_fixed_event() + 2, FIXED_BUTTON); /* its enable bit */
        ioapic_route(button_gsi, IOAPIC_LEVEL | VECTOR_BUTTON);
    } else {
        ioapic_route(button_gsi, VECTOR_BUTTON);
    }
}

void interrupts_listen(uint8_t gsi, void (*handler)(void))
{
    device_handler = handler;
    ioapic_route(gsi, IOAPIC_LEVEL | VECTOR_DEVICE);
}

uint8_t interrupts_vector(void (*handler)(void))
{
    device_handler = handler;
    return VECTOR_DEVICE;
}

void interrupts_set(uint8_t vector, uint64_t handler)
{
    gate_set(vector, handler);
}

void interrupts_route(uint8_t pin, uint32_t entry)
{
    ioapic_route(pin, entry);
}

void timer_start(void)
{
    ticks = 0;
    lapic_write(LAPIC_TIMER_DIVIDE, DIVIDE_BY_1);
    lapic_write(LAPIC_TIMER, TIMER_PERIODIC | VECTOR_TIMER);
    lapic_write(LAPIC_TIMER_COUNT, BUS_CYCLES_PER_TICK);
}

void timer_stop(void)
{
    lapic_write(LAPIC_TIMER, TIMER_MASKED | VECTOR_TIMER);
    lapic_write(LAPIC_TIMER_COUNT, 0);
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

uint32_t lapic_id(void)
{
    if (lapic_is_long) {
        return (uint32_t)msr_read(MSR_X2APIC + (LAPIC_ID >> 4));
    }
    return mmio_read32(acpi_lapic() + LAPIC_ID) >> 24;
}

void lapic_send(uint32_t apic_id, uint32_t command)
{
    if (lapic_is_long) {
        msr_write(MSR_X2APIC + (LAPIC_ICR >> 4), (uint64_t)apic_id << 32 | command);
        return;
    }
    lapic_write(LAPIC_ICR2, apic_id << 24);
    lapic_write(LAPIC_ICR, command);
}

void lapic_use_long_ids(void)
{
    msr_write(MSR_APIC_BASE, msr_read(MSR_APIC_BASE) | APIC_BASE_X2APIC);
    lapic_is_long = 1;
}
