#include "tests/guests/bare/commands.h"

#include "tests/guests/bare/acpi.h"
#include "tests/guests/bare/clock.h"
#include "tests/guests/bare/console.h"
#include "tests/guests/bare/entered.h"
#include "tests/guests/bare/interrupts.h"
#include "tests/guests/bare/machine.h"
#include "tests/guests/bare/memory.h"
#include "tests/guests/bare/smp.h"
#include "tests/guests/bare/text.h"
#include "tests/guests/bare/virtio.h"

enum { KEYBOARD_PORT = 0x64, KEYBOARD_RESET = 0xfe, RESET_PATIENCE_MS = 100 };

static void command_help(const char *arguments);

void command_poweroff(const char *arguments)
{
    (void)arguments;
    if (!acpi_poweroff()) {
        print("no sleep control register\n");
    }
}

static void command_reboot(const char *arguments)
{
    (void)arguments;
    if (!acpi_reset()) {
        print("no reset register\n");
    }
}

static void command_kbreset(const char *arguments)
{
    (void)arguments;
    outb(KEYBOARD_PORT, KEYBOARD_RESET);
    timer_start();
    timer_wait(RESET_PATIENCE_MS);
    timer_stop();
    print("port 0x64 did not reset\n");
}

/* Triple fault: an exception (a division by zero) while there is no table of handlers. */
static void command_crash(const char *arguments)
{
    static const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) empty = {0, 0};

    (void)arguments;
    interrupts_off();
    __asm__ volatile("lidt %0\n\tdivl %1" : : "m"(empty), "r"(0), "a"(0), "d"(0));
}

/* From here on no button reaches us. */
static void go_deaf(void)
{
    interrupts_off();
    print("deaf\n");
}

static void command_hang(const char *arguments)
{
    (void)arguments;
    go_deaf();
    halt_forever();
}

static void command_spin(const char *arguments)
{
    if (text_equals(arguments, "3")) {
        memory_spin_user();
    }
    go_deaf();
    for (;;) {
        __asm__ volatile("");
    }
}

static void command_flood(const char *arguments)
{
    uint64_t lines = UINT64_MAX;

    (void)text_number(arguments, 10, &lines, NULL); /* no number: endless */
    for (uint64_t i = 1; i <= lines; i++) {
        print("line %u of the flood\n", i);
    }
}

static void command_mem(const char *arguments)
{
    uint64_t address;
    uint64_t errors;
    uint64_t first;
    uint64_t kib;

    if (*arguments != '\0') {
        if (!text_number(arguments, 16, &address, NULL)) {
            print("not a hexadecimal address\n");
            return;
        }
        memory_map_all();
        print("0x%x: 0x%x\n", address, (uint64_t)mmio_read32(address));
        return;
    }
    kib = memory_test(&errors, &first);
    print("memory: %u KiB checked, %u errors\n", kib, errors);
    if (errors != 0) {
        print("memory: first error at 0x%x\n", first);
    }
}

static void command_poke(const char *arguments)
{
    uint64_t address, value;

    if (!text_number(arguments, 16, &address, &arguments) ||
        !text_number(arguments, 16, &value, NULL)) {
        print("not a hexadecimal address and a value\n");
        return;
    }
    memory_map_all();
    mmio_write32(address, (uint32_t)value);
    print("0x%x = 0x%x\n", address, value);
}

static uint64_t watched;

/* A device whose line falls when its register is read. */
static void on_watched(void)
{
    print("news 0x%x\n", (uint64_t)mmio_read32(watched));
}

static void command_watch(const char *arguments)
{
    uint64_t gsi;

    if (!text_number(arguments, 10, &gsi, &arguments) || gsi > UINT8_MAX ||
        !text_number(arguments, 16, &watched, NULL)) {
        print("not a GSI and a hexadecimal address\n");
        return;
    }
    memory_map_all();
    print("watching\n");
    interrupts_listen((uint8_t)gsi, on_watched);
}

/* An instruction that a processor has and KVM's emulator has not, at an address that needs it. */
static void command_strange(const char *arguments)
{
    uint64_t address;
    uint32_t bits;

    if (!text_number(arguments, 16, &address, NULL)) {
        print("not a hexadecimal address\n");
        return;
    }
    memory_map_all();
    __asm__ volatile("popcntl (%1), %0" : "=r"(bits) : "r"(address) : "memory", "cc");
    print("popcnt of 0x%x: %u\n", address, (uint64_t)bits);
}

static void command_cpus(const char *arguments)
{
    (void)arguments;
    print("%u cpus up\n", (uint64_t)smp_start());
}

static void command_ticks(const char *arguments)
{
    uint64_t count;

    if (!text_number(arguments, 10, &count, NULL)) {
        print("how many ticks?\n");
        return;
    }
    timer_start();
    timer_wait(count);
    timer_stop();
    print("%u ticks\n", count);
}

/* A port number at the start of `arguments`. */
static bool parse_port(const char *arguments, uint16_t *port, const char **end)
{
    uint64_t value;

    if (!text_number(arguments, 16, &value, end) || value > UINT16_MAX) {
        print("not a port: 0 to ffff\n");
        return false;
    }
    *port = (uint16_t)value;
    return true;
}

static void command_in(const char *arguments)
{
    uint16_t port;

    if (parse_port(arguments, &port, NULL)) {
        print("port 0x%x: 0x%x\n", (uint64_t)port, (uint64_t)inb(port));
    }
}

static void command_out(const char *arguments)
{
    uint16_t port;
    uint64_t value;

    if (!parse_port(arguments, &port, &arguments)) {
        return;
    }
    if (!text_number(arguments, 16, &value, NULL) || value > UINT8_MAX) {
        print("not a byte: 0 to ff\n");
        return;
    }
    outb(port, (uint8_t)value);
    print("port 0x%x = 0x%x\n", (uint64_t)port, value);
}

static void command_msr(const char *arguments)
{
    uint64_t number;

    if (!text_number(arguments, 16, &number, NULL) || number > UINT32_MAX) {
        print("not a register: 0 to ffffffff\n");
        return;
    }
    print("register 0x%x: 0x%x\n", number, msr_read((uint32_t)number));
}

static void command_cpuid(const char *arguments)
{
    uint64_t leaf;
    uint32_t a, b, c = 0, d;

    if (!text_number(arguments, 16, &leaf, NULL) || leaf > UINT32_MAX) {
        print("not a leaf: 0 to ffffffff\n");
        return;
    }
    a = (uint32_t)leaf;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    print("leaf 0x%x: 0x%x", leaf, (uint64_t)a);
    print(" 0x%x 0x%x", (uint64_t)b, (uint64_t)c);
    print(" 0x%x\n", (uint64_t)d);
}

static void command_echo(const char *arguments)
{
    print("%s\n", arguments);
}

static void command_time(const char *arguments)
{
    (void)arguments;
    clock_print();
}

static void command_acpi(const char *arguments)
{
    (void)arguments;
    acpi_print();
}

static void command_entry(const char *arguments)
{
    (void)arguments;
    entered_print();
}

static const struct command commands[] = {
    {"help", command_help, "this list"},
    {"poweroff", command_poweroff, "off, through the ACPI sleep control register"},
    {"reboot", command_reboot, "reset, through the ACPI reset register"},
    {"kbreset", command_kbreset, "reset, through port 0x64"},
    {"crash", command_crash, "triple fault"},
    {"hang", command_hang, "cli; hlt"},
    {"spin", command_spin, "[3]: busy for ever, interrupts off, in ring 0 or 3"},
    {"flood", command_flood, "[N]: print N numbered lines, or endlessly"},
    {"mem", command_mem, "[ADDRESS]: test all RAM, or read 4 bytes (hex)"},
    {"poke", command_poke, "ADDRESS VALUE: write 4 bytes (hex)"},
    {"watch", command_watch, "GSI ADDRESS: tell what is there (hex) at each interrupt"},
    {"strange", command_strange, "ADDRESS: read it by an instruction that few expect there"},
    {"cpus", command_cpus, "start the other CPUs"},
    {"ticks", command_ticks, "N: wait for N ticks of the LAPIC timer"},
    {"in", command_in, "PORT: read a byte (hex)"},
    {"rng", virtio_command_rng, "ADDRESS GSI N: random bytes of a virtio device"},
    {"blk", virtio_command_blk, "ADDRESS GSI info|id|grow|flush|write|read|flight|recall: a disk"},
    {"master", virtio_command_master, "ADDRESS GSI: random bytes for who is no bus master"},
    {"storm", virtio_command_storm, "ADDRESS GSI SEED ROUNDS: nonsense for a virtio device"},
    {"out", command_out, "PORT VALUE: write a byte (hex)"},
    {"msr", command_msr, "NUMBER: read a model-specific register (hex)"},
    {"cpuid", command_cpuid, "LEAF: what CPUID tells (hex)"},
    {"echo", command_echo, "TEXT: print it"},
    {"time", command_time, "date and time of the CMOS clock"},
    {"entry", command_entry, "how it was entered, and its modules"},
    {"acpi", command_acpi, "the tables, their checksums, what they say"},
};

static void help_of(const struct command *list, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        print("%s  %s\n", list[i].name, list[i].help);
    }
}

static void command_help(const char *arguments)
{
    (void)arguments;
    help_of(commands, ARRAY_LEN(commands));
    help_of(more_commands, more_command_count);
}

/* The arguments, if `line` begins with the word `name`; else NULL. */
static const char *arguments_of(const char *line, const char *name)
{
    while (*name != '\0' && *line == *name) {
        line++;
        name++;
    }
    return *name == '\0' && (*line == '\0' || *line == ' ') ? text_skip_blanks(line) : NULL;
}

static bool obey(const struct command *list, unsigned count, const char *line)
{
    for (unsigned i = 0; i < count; i++) {
        const char *arguments = arguments_of(line, list[i].name);

        if (arguments != NULL) {
            list[i].run(arguments);
            return true;
        }
    }
    return false;
}

void command_run(const char *line)
{
    line = text_skip_blanks(line);
    if (*line != '\0' && !obey(commands, ARRAY_LEN(commands), line) &&
        !obey(more_commands, more_command_count, line)) {
        print("you said: %s\n", line);
    }
}
