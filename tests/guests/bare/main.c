/* guest: a bare-metal bootimage to test a VMM with, in integer instructions alone.
 *
 * Files of the same program, linked to run at 1 MiB, entered with RSI = zero page (64-bit entry of
 * the Linux boot protocol):
 *   guest.bzimage  protocol 2.12, 64-bit entry; the 16- and 32-bit entries work as well
 *   guest.elf      entered at e_entry
 *   guest.flat     loaded at 0x100000, entered at its first byte
 *   devices.bzimage  as guest.bzimage, with the commands that few tests need
 * and in 32-bit mode:
 *   guest32.bzimage  the 32-bit entry alone, ESI = zero page
 *   guest32.elf      ELF32, entered at e_entry, ESI = zero page
 *   guest.pvh        ELF64 with Xen's note, EBX = hvm_start_info
 *   guest.multiboot  ELF32 with a multiboot 1 header, EBX = its information
 * It owns RAM from 1 to 2 MiB, and needs at least that much.
 *
 * On COM1 (port 0x3f8, GSI 4, edge) it prints
 *   qvm-guest: up, N cpus, M KiB, boot K, cmdline "..."
 * (N enabled CPUs in the MADT, 0 without ACPI; M KiB of RAM in the e820 map; K from 1)
 * and a prompt "> ", then obeys lines, echoing what is typed:
 *   help                 list of commands
 *   poweroff             writes SLP_TYP 5, SLP_EN (0x34) to the FADT's sleep control register
 *   reboot               writes the FADT's reset value to its reset register; RAM is kept: "boot K"
 *                        counts
 *   kbreset              writes 0xfe to port 0x64
 *   crash                triple fault
 *   hang                 cli; hlt
 *   spin [3]             busy for ever with interrupts off, in ring 0 (or in ring 3)
 *   flood [N]            N numbered lines, or endlessly
 *   mem                  writes and reads all RAM above 2 MiB: "memory: K KiB checked, E errors"
 *   mem ADDRESS          reads 4 bytes there (hex): "0xADDRESS: 0xVALUE"
 *   poke ADDRESS VALUE   writes 4 bytes there (hex): "0xADDRESS = 0xVALUE"
 *   strange ADDRESS      counts the bits of 4 bytes there (hex): "popcnt of 0xADDRESS: N"
 *   cpus                 INIT/SIPI to the CPUs of the MADT: "cpu ID: up" each, then "N cpus up"
 *   ticks N              N ticks of 1 ms of the LAPIC timer, then "N ticks"
 *   in PORT              "port 0xPORT: 0xVALUE" (hex, a byte)
 *   out PORT VALUE       "port 0xPORT = 0xVALUE"
 *   rng ADDRESS GSI N    a virtio-mmio device's random bytes: "rng: N bytes: XX ..."; GSI 0: polled
 *   blk ADDRESS GSI ...  a virtio-mmio disk: info, id, flush, write or read SECTOR COUNT SEED
 *   storm ADDRESS GSI SEED ROUNDS
 *                        writes nonsense into a virtio-mmio device's registers and rings
 *   echo TEXT            TEXT
 *   time                 "YYYY-MM-DD hh:mm:ss" of the CMOS clock (ports 0x70, 0x71), or "no clock"
 *   entry                how it was entered, and the modules (initrds) that it was told of
 *   acpi                 tables, checksums ("good" or "BAD"), registers
 *   anything else        "you said: LINE"
 * devices.bzimage obeys these as well:
 *   irqs                 each way of the interrupt controllers, "NAME: N interrupts, N cycles each"
 *   randomly N           N random accesses, "N accesses"
 *   pci                  "pci D.F VENDOR:DEVICE class C line L" for each function of bus 0 (D, F
 *                        and L decimal)
 *   msix D N, msi D N, events D N, lines D N, intx D N
 *                        N interrupts of the pci-dummy (test on) that is device D
 *   edu D N              N messages of QEMU's edu, by MSI: "edu: N messages"
 *   edudma D ADDRESS     the edu writes 16 bytes there (hex): "edu: 16 bytes there", or "edu: it
 *                        says that it did", which is all that an address without RAM can tell
 *   pcistorm SEED N      N random writes to the configuration of what is on bus 0
 * A line above 255 bytes is answered "line too long". An exception is told and ends the command.
 *
 * The power button: its interrupt (GSI 9, edge) reads the generic event device's byte at port
 * 0x604; bit 0 there: "power button" is printed and the machine powered off. 0xff means nobody is
 * there.
 *
 * Words on the kernel command line:
 *   run=COMMAND,COMMAND  obeyed right after the banner; '_' stands for a blank:
 *                        run=echo_hello,ticks_5,poweroff
 *   button=GSI:PORT      another power button (decimal GSI below 24, hex port)
 *
 * It waits in sti; hlt and polls nothing but a transmitter that is not ready. */
#include "tests/guests/bare/acpi.h"
#include "tests/guests/bare/bootparams.h"
#include "tests/guests/bare/commands.h"
#include "tests/guests/bare/console.h"
#include "tests/guests/bare/entered.h"
#include "tests/guests/bare/interrupts.h"
#include "tests/guests/bare/layout.h"
#include "tests/guests/bare/machine.h"
#include "tests/guests/bare/memory.h"
#include "tests/guests/bare/text.h"

#define LINE_SIZE 256
#define GSI_COUNT 24

void guest_main(const void *info, unsigned entry) __attribute__((noreturn));

static char cmdline[CMDLINE_MAX + 1] __attribute__((section(".noinit")));
static char line[LINE_SIZE] __attribute__((section(".noinit")));
static const char *run_next; /* what is left of run=; NULL: nothing */

static void copy_cmdline(const struct boot_params *params)
{
    const char *from = params->cmdline == 0 ? "" : (const char *)(uint64_t)params->cmdline;
    unsigned i;

    for (i = 0; i < CMDLINE_MAX && from[i] != '\0'; i++) {
        cmdline[i] = from[i];
    }
    cmdline[i] = '\0';
}

static void init_interrupts(void)
{
    const char *button = text_option(cmdline, "button=");
    uint64_t gsi = BUTTON_GSI;
    uint64_t port = BUTTON_PORT;

    if (button != NULL &&
        (!text_number(button, 10, &gsi, &button) || *button != ':' || gsi >= GSI_COUNT ||
         !text_number(button + 1, 16, &port, NULL) || port > UINT16_MAX)) {
        print("button= wants GSI:PORT\n");
        gsi = BUTTON_GSI;
        port = BUTTON_PORT;
    }
    interrupts_init((uint8_t)gsi, (uint16_t)port);
}

/* Take the next command of run= into `line`. */
static bool take_run_command(void)
{
    unsigned length = 0;

    if (run_next == NULL || *run_next == '\0' || *run_next == ' ') {
        return false;
    }
    for (; *run_next != '\0' && *run_next != ' ' && *run_next != ','; run_next++) {
        if (length + 1 < LINE_SIZE) {
            line[length++] = *run_next == '_' ? ' ' : *run_next;
        }
    }
    line[length] = '\0';
    if (*run_next == ',') {
        run_next++;
    }
    return true;
}

void prompt_loop(void)
{
    for (;;) {
        print("> ");
        if (take_run_command()) {
            print("%s\n", line);
        } else if (!console_read_line(line, LINE_SIZE)) {
            print("line too long: %u bytes at most\n", (uint64_t)(LINE_SIZE - 1));
            continue;
        }
        command_run(line);
    }
}

void guest_main(const void *info, unsigned entry)
{
    const struct boot_params *params = entered_note(entry, info);
    uint64_t rsdp = params->acpi_rsdp_addr;

    copy_cmdline(params);
    memory_init(params);
    acpi_init(rsdp);
    console_init();
    init_interrupts();
    run_next = text_option(cmdline, "run=");
    print("qvm-guest: up, %u cpus, %u KiB, boot %u, cmdline \"%s\"\n", (uint64_t)acpi_cpu_count(),
          memory_ram_kib(), (uint64_t)memory_count_boot(), cmdline);
    console_receive();
    interrupts_check_button();
    interrupts_on();
    prompt_loop();
}
