/* The door to one virtual machine. */
#include "qvm-worker/machine/machine.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/counters.h"
#include "qvm-worker/bus/bus.h"
#include "qvm-worker/bus/intr_lines.h"
#include "qvm-worker/loader/firmware.h"
#include "qvm-worker/loader/loader.h"
#include "qvm-worker/lockdown/lockdown.h"
#include "qvm-worker/machine/acpi.h"
#include "qvm-worker/machine/event.h"
#include "qvm-worker/machine/loads.h"
#include "qvm-worker/machine/pci.h"
#include "qvm-worker/machine/places.h"
#include "qvm-worker/machine/power.h"
#include "qvm-worker/machine/private.h"
#include "qvm-worker/pci/pci.h"
#include "qvm-worker/vm/vcpu_set.h"
#include "qvm-worker/vm/vcpu_state.h"
#include "qvm-worker/vm/vm.h"

#define SHORT_IDS 255u /* APIC ids of 8 bits: 0 to 254, 255 is everybody */

static void on_power_off(void *context)
{
    machine_request(context, MACHINE_EVENT_POWEROFF, 0);
}

static void on_power_reset(void *context)
{
    machine_request_for(context, MACHINE_EVENT_RESET, 0,
                        "the guest wrote the reset register of ACPI");
}

static void on_power_pulse(void *context, uint32_t gsi)
{
    machine_intr(context, gsi, true);
    machine_intr(context, gsi, false);
}

static void on_line(void *context, uint32_t gsi, bool is_high)
{
    const struct machine *machine = context;

    vm_irq(machine->vm, gsi, is_high);
    if (machine->irq_count != NULL) {
        counter_add_shared(machine->irq_count, 1);
    }
}

static void on_power_line(void *context, uint32_t gsi, bool is_held)
{
    machine_intr(context, gsi, is_held);
}

static const struct power_ops power_ops = {on_power_off, on_power_reset, on_power_pulse,
                                           on_power_line};

static void on_vcpu_report(void *context, uint32_t index, enum vcpu_end end, const char *text)
{
    static const enum machine_event_kind kinds[] = {
        [VCPU_TRIPLE_FAULT] = MACHINE_EVENT_TRIPLE_FAULT,
        [VCPU_UNSUPPORTED] = MACHINE_EVENT_UNSUPPORTED,
        [VCPU_KVM_FAILED] = MACHINE_EVENT_KVM_FAILED,
        [VCPU_AT_RESET_VECTOR] = MACHINE_EVENT_RESET,
    };
    struct machine *machine = context;

    machine_events_post(machine->events, kinds[end], index, 0, text);
}

static int on_vcpu_ready(void *context, struct err *err)
{
    const struct machine *machine = context;

    return lockdown_close(machine_vcpu_door(machine->spec), err);
}

static int populate(struct machine *machine, struct err *err)
{
    const struct machine_spec *spec = machine->spec;
    int r = spec->is_populated
                ? memory_populate(machine->memory, spec->on_progress, spec->context, err)
                : 0;

    if (r != 0) {
        (void)err_prefix(err, "%s: ", spec->ram[0].where);
    }
    return r;
}

static int make_vm(struct machine *machine, struct err *err)
{
    const struct machine_spec *spec = machine->spec;
    const struct vm_chips chips = {.are_own = spec->chips.are_own,
                                   .has_timer = spec->chips.has_timer,
                                   .uses_line_0 = spec->chips.uses_line_0,
                                   .timer_pin = spec->chips.timer_pin,
                                   .line = spec->chips.line,
                                   .context = spec->chips.context};
    struct vcpu_config config = {.kvm_fd = spec->kvm_fd,
                                 .ahead = spec->ahead,
                                 .chips = chips.are_own ? &machine->vcpu_chips : NULL,
                                 .topology = &machine->topology,
                                 .shows_qnx = spec->shows_qnx,
                                 .bus = machine->bus,
                                 .placements = spec->placements,
                                 .counters = spec->counters,
                                 .unsupported = {.instruction = UNSUPPORTED_ABORT,
                                                 .reference = UNSUPPORTED_IGNORE,
                                                 .msr = UNSUPPORTED_FAIL},
                                 .report = on_vcpu_report,
                                 .ready = on_vcpu_ready,
                                 .context = machine};
    uint32_t highest, max = MACHINE_CPUS_MAX;
    int r = vm_create(spec->kvm_fd, spec->ahead, machine->memory, machine->has_board, &chips,
                      &machine->vm, err);

    machine->vcpu_chips.acknowledge = spec->chips.acknowledge;
    machine->vcpu_chips.end_of_interrupt = spec->chips.end_of_interrupt;
    machine->vcpu_chips.context = spec->chips.context;
    if (r != 0) {
        return r;
    }
    config.vm = machine->vm;
    max = vm_vcpus_max(machine->vm) < max ? vm_vcpus_max(machine->vm) : max;
    if (spec->cpu_count == 0 || spec->cpu_count > max) {
        return err_set(err, -EINVAL, "%s: a guest has 1 to %u CPUs, not %u", spec->where, max,
                       spec->cpu_count);
    }
    if (spec->unsupported != NULL) {
        config.unsupported = *spec->unsupported;
    }
    r = unsupported_enable(vm_fd(machine->vm), &config.unsupported, err);
    if (r != 0) {
        return err_prefix(err, "%s: ", spec->where);
    }
    if (spec->halt_where != NULL && vm_keep_halted(machine->vm, err) != 0) {
        return err_prefix(err, "%s: ", spec->halt_where);
    }
    highest = topology_apic_id(&machine->topology, spec->cpu_count - 1);
    r = highest >= SHORT_IDS ? vm_use_long_ids(machine->vm, err) : 0;
    return r == 0 ? vcpu_set_create(&config, spec->cpu_count, &machine->vcpus, err)
                  : err_prefix(err, "%s: APIC ids from %u on: ", spec->where, SHORT_IDS);
}

/* What the memory map keeps a guest off. Where ECAM is, it believes only if it is told here. */
static void reserve(struct loader *loader, const struct machine_spec *spec)
{
    if (spec->has_pci) {
        loader->reserved[loader->reserved_count++] =
            (struct boot_range){PCI_ECAM_START, PCI_ECAM_SIZE};
    }
    loader->reserved[loader->reserved_count++] =
        (struct boot_range){VM_RESERVED_START, VM_RESERVED_SIZE};
}

static int take_loads(struct machine *machine, struct err *err)
{
    const struct machine_spec *spec = machine->spec;

    if (spec->load_count > MACHINE_LOADS_MAX) {
        return err_set(err, -EINVAL, "%s: more than %u files to load",
                       spec->loads[MACHINE_LOADS_MAX].where, MACHINE_LOADS_MAX);
    }
    for (uint32_t i = 0; i < spec->load_count; i++) {
        machine_load_item(&spec->loads[i], &machine->items[i]);
    }
    machine->loader = (struct loader){.items = machine->items,
                                      .item_count = spec->load_count,
                                      .cmdline = spec->cmdline,
                                      .cmdline_where = spec->cmdline_where,
                                      .where = spec->where,
                                      .has_shadow = machine->has_board};
    reserve(&machine->loader, spec);
    return 0;
}

static void block_kick(void)
{
    sigset_t kick;

    (void)sigemptyset(&kick);
    (void)sigaddset(&kick, VCPU_KICK_SIGNAL);
    (void)pthread_sigmask(SIG_BLOCK, &kick, NULL); /* cannot fail: the arguments are right */
}

bool machine_has_firmware(const struct machine *machine)
{
    const struct machine_spec *spec = machine->spec;

    for (uint32_t i = 0; i < spec->load_count; i++) {
        const struct machine_load *load = &spec->loads[i];
        bool is_bootimage =
            load->kind == MACHINE_LOAD_GUEST || (load->kind == MACHINE_LOAD_DETECT && i == 0);

        if (is_bootimage && load->has_address && firmware_is_at(machine->memory, load->address)) {
            return true;
        }
    }
    return false;
}

static int build(struct machine *machine, struct err *err)
{
    int r = machine_events_create(&machine->events, err);

    if (r == 0) {
        uint64_t page_size = machine->spec->page_size;

        r = memory_create_in(page_size != 0 ? page_size : MEMORY_PAGE_SIZE, machine->spec->ram,
                             machine->spec->ram_count, &machine->memory, err);
    }
    if (r == 0) {
        machine->bus = bus_create();
        r = machine->bus != NULL ? 0 : err_set(err, -ENOMEM, "out of memory");
    }
    if (r == 0) {
        machine->has_board = machine->spec->has_pci && machine_has_firmware(machine);
        r = machine_places_claim(machine->bus, machine->memory, !machine->spec->chips.are_own,
                                 machine->has_board, err);
    }
    if (r == 0 && machine->has_board) {
        r = board_init(&machine->board, machine->memory, machine->bus, err);
    }
    if (r == 0) {
        r = power_create(machine->bus, &power_ops, machine, machine->spec->has_full_acpi,
                         &machine->power, err);
    }
    if (r == 0 && power_timer_fd(machine->power) >= 0) {
        r = machine_events_watch(machine->events, power_timer_fd(machine->power), err);
    }
    if (r == 0 && machine->spec->has_pci) {
        r = machine_pci_create(machine, machine->spec, &machine->pci, err);
    }
    if (r == 0 && machine->spec->counters != NULL) {
        machine->irq_count = counters_add_name(machine->spec->counters, "irq_line_changes");
    }
    return r == 0 ? make_vm(machine, err) : r;
}

int machine_create(const struct machine_spec *spec, struct machine **machine, struct err *err)
{
    struct machine *new = malloc(sizeof(*new));
    int r;

    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    memset(new, 0, offsetof(struct machine, devices));
    new->spec = spec;
    new->topology = (struct topology){spec->cpu_count, spec->cores, spec->threads};
    intr_lines_init(&new->lines, on_line, new);
    block_kick();
    r = build(new, err);
    if (r != 0) {
        machine_destroy(new);
        return r;
    }
    *machine = new;
    return 0;
}

void machine_destroy(struct machine *machine)
{
    if (machine == NULL) {
        return;
    }
    vcpu_set_destroy(machine->vcpus);
    vm_destroy(machine->vm);
    pci_destroy(machine->pci);
    power_destroy(machine->power);
    bus_destroy(machine->bus);
    memory_destroy(machine->memory);
    machine_events_destroy(machine->events);
    firmware_files_fini(&machine->files);
    intr_lines_fini(&machine->lines);
    free(machine);
}

int machine_add_device(struct machine *machine, const struct machine_device *device,
                       struct err *err)
{
    if (machine->device_count == MACHINE_DEVICES_MAX) {
        return err_set(err, -ENOSPC, "%s: more than %u devices", device->name, MACHINE_DEVICES_MAX);
    }
    if (device->gsi != MACHINE_NO_GSI && device->gsi >= VM_GSI_COUNT) {
        return err_set(err, -EINVAL, "%s: the interrupt controller has lines 0 to %u, not %u",
                       device->name, VM_GSI_COUNT - 1, device->gsi);
    }
    for (uint32_t i = 0; device->acpi_hid != NULL && i < device->port_count; i++) {
        if (i == MACHINE_PORTS_MAX || device->ports[i].size > UINT8_MAX) {
            return err_set(err, -EINVAL, "%s: ACPI can tell %u ranges of %u ports of a device",
                           device->name, MACHINE_PORTS_MAX, UINT8_MAX);
        }
    }
    machine->devices[machine->device_count++] = *device;
    return 0;
}

int machine_doorbell(struct machine *machine, int fd, bool is_port, uint64_t address, uint32_t size,
                     const uint64_t *value, bool is_there)
{
    return vm_doorbell(machine->vm, fd, is_port, address, size, value, is_there);
}

void machine_request(struct machine *machine, enum machine_event_kind kind, uint32_t value)
{
    static const char *const texts[MACHINE_EVENT_COUNT] = {
        [MACHINE_EVENT_POWEROFF] = "the guest switched itself off",
        [MACHINE_EVENT_RESET] = "the guest asked for a reset",
        [MACHINE_EVENT_DUMP] = "a device asked for a dump",
        [MACHINE_EVENT_WATCHDOG] = "the guest's watchdog expired",
        [MACHINE_EVENT_EXIT] = "a device asked for the end",
        [MACHINE_EVENT_RESTORE] = "a device asked to be saved and restored",
    };

    machine_request_for(machine, kind, value,
                        texts[kind] != NULL ? texts[kind] : "a device said so");
}

void machine_request_for(struct machine *machine, enum machine_event_kind kind, uint32_t value,
                         const char *why)
{
    vcpu_park_self(VCPU_HALT);
    machine_events_post(machine->events, kind, vcpu_self_index(), value, why);
}

int machine_event_fd(const struct machine *machine)
{
    return machine_events_fd(machine->events);
}

/* Who wrote the host bridge's registers waits for this. */
static void change_board(struct machine *machine)
{
    struct err err = {0};
    int r;

    vcpu_set_pause(machine->vcpus);
    r = board_apply(&machine->board, machine->vm, &err);
    r = r == 0 ? machine_write_tables(machine, true, &err) : r;
    if (r != 0) {
        machine_events_post(machine->events, MACHINE_EVENT_KVM_FAILED, UINT32_MAX, 0, err.msg);
        return;
    }
    vcpu_set_go_on(machine->vcpus);
    machine_resume(machine);
}

void machine_dispatch(struct machine *machine)
{
    struct machine_event event;

    power_tick(machine->power);
    while (machine_events_take(machine->events, &event)) {
        if (event.kind == MACHINE_EVENT_BOARD) {
            change_board(machine);
        } else {
            machine->spec->on_event(machine->spec->context, &event);
        }
    }
}

/* What a power-on puts into memory, and then into registers: no vCPU runs. */
static int power_on(struct machine *machine, bool is_first, struct err *err)
{
    struct loader_entry image = {0};
    struct vcpu_entry entry = {.rsp = LOADER_STACK,
                               .page_tables = LOADER_PAGE_TABLES,
                               .gdt = LOADER_GDT,
                               .gdt_size = LOADER_GDT_SIZE};
    const struct vcpu_entry *into;
    int r = loader_load(&machine->loader, machine->memory, &image, err);

    entry.is_32bit = image.is_32bit;
    entry.rip = image.address;
    entry.rax = image.eax;
    entry.rbx = image.ebx;
    entry.rsi = image.esi;
    into = image.is_firmware ? NULL : &entry;
    if (r == 0) {
        r = machine_write_tables(machine, image.is_firmware, err);
    }
    if (r == 0 && machine->has_board) {
        r = board_apply(&machine->board, machine->vm, err);
    }
    if (r != 0) {
        return r;
    }
    return is_first ? vcpu_set_begin(machine->vcpus, into, err)
                    : vcpu_set_reset(machine->vcpus, into, err);
}

int machine_await(struct machine *machine, struct err *err)
{
    return vcpu_set_await(machine->vcpus, err);
}

int machine_start(struct machine *machine, struct err *err)
{
    int r;

    if (machine->is_started) {
        return err_set(err, -EALREADY, "the machine was started before");
    }
    machine->is_started = true;
    r = take_loads(machine, err);
    if (r == 0 && machine->pci != NULL) {
        r = pci_seal(machine->pci, err);
    }
    if (r == 0) {
        r = populate(machine, err);
    }
    if (r == 0) {
        /* while the vCPUs are made, and close theirs */
        r = lockdown_close(machine_control_door(machine->spec), err);
    }
    if (r == 0) {
        r = power_on(machine, true, err);
    }
    if (r == 0) {
        vcpu_set_resume(machine->vcpus);
        r = vcpu_set_await(machine->vcpus, err);
    }
    return r;
}

int machine_reset(struct machine *machine, struct err *err)
{
    int r;

    if (!machine->is_started || machine->is_stopped) {
        return err_set(err, -EINVAL, "the machine does not run");
    }
    vcpu_set_pause(machine->vcpus);
    for (uint32_t i = 0; i < machine->device_count; i++) {
        if (machine->devices[i].reset != NULL) {
            machine->devices[i].reset(machine->devices[i].context);
        }
    }
    power_reset(machine->power);
    if (machine->pci != NULL) {
        pci_reset(machine->pci);
    }
    r = vm_reset(machine->vm, err);
    if (r == 0) {
        r = power_on(machine, false, err);
    }
    machine_events_forget(machine->events);
    if (r == 0) {
        machine_resume(machine);
    }
    return r;
}

void machine_press_power(struct machine *machine)
{
    power_press(machine->power);
}

void machine_pause(struct machine *machine)
{
    vcpu_set_pause(machine->vcpus);
}

void machine_resume(struct machine *machine)
{
    if (!machine->is_held) {
        vcpu_set_resume(machine->vcpus);
    }
}

void machine_stop(struct machine *machine)
{
    machine->is_stopped = true;
    vcpu_set_stop(machine->vcpus);
}
