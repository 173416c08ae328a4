/* The PCI buses of a machine. */
#include "qvm-worker/machine/pci.h"

#include "qvm-worker/machine/event.h"
#include "qvm-worker/machine/power.h"
#include "qvm-worker/machine/private.h"
#include "qvm-worker/memory/memory.h"
#include "qvm-worker/pci/pci.h"
#include "qvm-worker/vm/vcpu.h"

#define GIB       (1ull << 30)
#define HIGH_SIZE (32 * GIB) /* for BARs that are too large for the lower 4 GiB */

static void on_line(void *context, uint32_t gsi, bool is_held)
{
    machine_intr(context, gsi, is_held);
}

static void on_message(void *context, uint64_t address, uint32_t data)
{
    machine_message(context, address, data);
}

static int on_add_route(void *context)
{
    return machine_route_add(context);
}

static void on_set_route(void *context, uint32_t route, uint64_t address, uint32_t data)
{
    machine_route_set(context, route, address, data);
}

static void on_commit_routes(void *context)
{
    machine_routes_commit(context);
}

static int on_hear(void *context, uint32_t route, int fd, bool is_on)
{
    return machine_route_hear(context, route, fd, is_on);
}

static int on_hear_line(void *context, uint32_t gsi, int fd, int resample_fd, bool is_on)
{
    return machine_line_hear(context, gsi, fd, resample_fd, is_on);
}

static void on_pm_base(void *context, uint16_t base)
{
    power_place(machine_power(context), base);
}

/* On the vCPU's thread, or at a power-on, which applies it itself. */
static void change_board(struct machine *machine)
{
    if (machine->has_board && vcpu_self_index() != UINT32_MAX) {
        vcpu_park_self(VCPU_WAIT);
        machine_events_post(machine->events, MACHINE_EVENT_BOARD, vcpu_self_index(), 0, "");
    }
}

static void on_pam(void *context, const uint8_t registers[PCI_PAM_COUNT])
{
    struct machine *machine = context;

    if (machine->has_board && board_pam(&machine->board, registers)) {
        change_board(machine);
    }
}

static void on_ecam(void *context)
{
    change_board(context); /* ACPI tells where it is */
}

static void on_reset(void *context)
{
    machine_request_for(context, MACHINE_EVENT_RESET, 0, "the guest wrote the reset port 0xCF9");
}

/* Above all RAM, at a multiple of 1 GiB. */
static uint64_t high_start(const struct memory *memory)
{
    uint32_t count = 0;
    const struct memory_region *regions = memory_regions(memory, &count);
    uint64_t end = MEMORY_DEVICES_END;

    if (count > 0 && regions[count - 1].start + regions[count - 1].size > end) {
        end = regions[count - 1].start + regions[count - 1].size;
    }
    return (end + GIB - 1) / GIB * GIB;
}

int machine_pci_create(struct machine *machine, const struct machine_spec *spec, struct pci **pci,
                       struct err *err)
{
    static const struct pci_ops ops = {.line = on_line,
                                       .message = on_message,
                                       .add_route = on_add_route,
                                       .set_route = on_set_route,
                                       .commit_routes = on_commit_routes,
                                       .hear = on_hear,
                                       .hear_line = on_hear_line,
                                       .reset = on_reset,
                                       .pam = on_pam,
                                       .ecam = on_ecam,
                                       .pm_base = on_pm_base};
    struct pci_config config = {.bus = machine_bus(machine),
                                .ops = &ops,
                                .context = machine,
                                .has_lpc = spec->has_full_acpi,
                                .has_firmware = machine_has_firmware(machine),
                                .has_own_chips = spec->chips.are_own,
                                .high_start = high_start(machine_memory(machine))};

    config.high_end = config.high_start + HIGH_SIZE;
    return pci_create(&config, pci, err);
}
