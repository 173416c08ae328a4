/* The door to one virtual machine. */
#include "qvm-worker/machine.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/acpi.h"
#include "qvm-worker/bus.h"
#include "qvm-worker/loader/loader.h"
#include "qvm-worker/lockdown.h"
#include "qvm-worker/machine_event.h"
#include "qvm-worker/machine_places.h"
#include "qvm-worker/power.h"
#include "qvm-worker/vcpu_set.h"
#include "qvm-worker/vcpu_state.h"
#include "qvm-worker/vm.h"

struct machine {
    const struct machine_spec *spec; /* borrowed, with all it points to */
    struct memory *memory;
    struct vm *vm;
    struct bus *bus;
    struct power *power;
    struct vcpu_set *vcpus;
    struct machine_events *events;
    struct loader loader;
    struct loader_item items[MACHINE_LOADS_MAX];
    struct machine_device devices[MACHINE_DEVICES_MAX];
    uint32_t device_count;
    bool is_started, is_stopped;
};

static void on_power_off(void *context)
{
    machine_request(context, MACHINE_EVENT_POWEROFF, 0);
}

static void on_power_reset(void *context)
{
    machine_request(context, MACHINE_EVENT_RESET, 0);
}

static void on_power_pulse(void *context, uint32_t gsi)
{
    machine_intr(context, gsi, true);
    machine_intr(context, gsi, false);
}

static const struct power_ops power_ops = {on_power_off, on_power_reset, on_power_pulse};

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

static int on_vcpu_ready(void *context)
{
    (void)context;
    return lockdown_close(LOCKDOWN_VCPU, NULL);
}

static int make_memory(struct machine *machine, struct err *err)
{
    const struct machine_spec *spec = machine->spec;
    int r = memory_create(spec->ram, spec->ram_count, &machine->memory, err);

    if (r == 0 && spec->is_populated) {
        r = memory_populate(machine->memory, spec->on_progress, spec->context, err);
        if (r != 0) {
            (void)err_prefix(err, "%s: ", spec->ram[0].where);
        }
    }
    return r;
}

static int make_vm(struct machine *machine, struct err *err)
{
    const struct machine_spec *spec = machine->spec;
    struct vcpu_config config = {.kvm_fd = spec->kvm_fd,
                                 .bus = machine->bus,
                                 .report = on_vcpu_report,
                                 .ready = on_vcpu_ready,
                                 .context = machine};
    uint32_t max = MACHINE_CPUS_MAX;
    int r = vm_create(spec->kvm_fd, machine->memory, &machine->vm, err);

    if (r != 0) {
        return r;
    }
    config.vm = machine->vm;
    max = vm_vcpus_max(machine->vm) < max ? vm_vcpus_max(machine->vm) : max;
    if (spec->cpu_count == 0 || spec->cpu_count > max) {
        return err_set(err, -EINVAL, "%s: a guest has 1 to %u CPUs, not %u", spec->where, max,
                       spec->cpu_count);
    }
    return vcpu_set_create(&config, spec->cpu_count, &machine->vcpus, err);
}

static int take_loads(struct machine *machine, struct err *err)
{
    static const enum loader_kind kinds[] = {
        [MACHINE_LOAD_DETECT] = LOADER_DETECT, [MACHINE_LOAD_GUEST] = LOADER_GUEST,
        [MACHINE_LOAD_INITRD] = LOADER_INITRD, [MACHINE_LOAD_DATA] = LOADER_DATA,
        [MACHINE_LOAD_ACPI] = LOADER_ACPI,
    };
    const struct machine_spec *spec = machine->spec;

    if (spec->load_count > MACHINE_LOADS_MAX) {
        return err_set(err, -EINVAL, "%s: more than %u files to load",
                       spec->loads[MACHINE_LOADS_MAX].where, MACHINE_LOADS_MAX);
    }
    for (uint32_t i = 0; i < spec->load_count; i++) {
        const struct machine_load *load = &spec->loads[i];

        machine->items[i] = (struct loader_item){.kind = kinds[load->kind],
                                                 .has_address = load->has_address,
                                                 .address = load->address,
                                                 .fd = load->fd,
                                                 .path = load->path,
                                                 .where = load->where};
    }
    machine->loader = (struct loader){.items = machine->items,
                                      .item_count = spec->load_count,
                                      .cmdline = spec->cmdline,
                                      .cmdline_where = spec->cmdline_where,
                                      .where = spec->where,
                                      .reserved_start = VM_RESERVED_START,
                                      .reserved_size = VM_RESERVED_SIZE};
    return 0;
}

static void block_kick(void)
{
    sigset_t kick;

    (void)sigemptyset(&kick);
    (void)sigaddset(&kick, VCPU_KICK_SIGNAL);
    (void)pthread_sigmask(SIG_BLOCK, &kick, NULL); /* cannot fail: the arguments are right */
}

static int build(struct machine *machine, struct err *err)
{
    int r = take_loads(machine, err);

    if (r == 0) {
        r = machine_events_create(&machine->events, err);
    }
    if (r == 0) {
        r = make_memory(machine, err);
    }
    if (r == 0) {
        machine->bus = bus_create();
        r = machine->bus != NULL ? 0 : err_set(err, -ENOMEM, "out of memory");
    }
    if (r == 0) {
        r = machine_places_claim(machine->bus, machine->memory, err);
    }
    if (r == 0) {
        r = power_create(machine->bus, &power_ops, machine, &machine->power, err);
    }
    return r == 0 ? make_vm(machine, err) : r;
}

int machine_create(const struct machine_spec *spec, struct machine **machine, struct err *err)
{
    struct machine *new = calloc(1, sizeof(*new));
    int r;

    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    new->spec = spec;
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
    power_destroy(machine->power);
    bus_destroy(machine->bus);
    memory_destroy(machine->memory);
    machine_events_destroy(machine->events);
    free(machine);
}

struct bus *machine_bus(struct machine *machine)
{
    return machine->bus;
}

const struct memory *machine_memory(const struct machine *machine)
{
    return machine->memory;
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

void machine_intr(struct machine *machine, uint32_t gsi, bool is_high)
{
    vm_irq(machine->vm, gsi, is_high);
}

void machine_request(struct machine *machine, enum machine_event_kind kind, uint32_t value)
{
    static const char *const texts[MACHINE_EVENT_COUNT] = {
        [MACHINE_EVENT_POWEROFF] = "the guest switched itself off",
        [MACHINE_EVENT_RESET] = "the guest asked for a reset",
        [MACHINE_EVENT_EXIT] = "a device asked for the end",
    };

    vcpu_halt_self();
    machine_events_post(machine->events, kind, vcpu_self_index(), value,
                        texts[kind] != NULL ? texts[kind] : "a device said so");
}

int machine_event_fd(const struct machine *machine)
{
    return machine_events_fd(machine->events);
}

void machine_dispatch(struct machine *machine)
{
    struct machine_event event;

    while (machine_events_take(machine->events, &event)) {
        machine->spec->on_event(machine->spec->context, &event);
    }
}

static uint32_t tell_devices(const struct machine *machine, struct acpi_device *told)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < machine->device_count; i++) {
        const struct machine_device *device = &machine->devices[i];
        struct acpi_device *to = &told[count];

        if (device->acpi_hid == NULL) {
            continue;
        }
        *to = (struct acpi_device){
            .hid = device->acpi_hid, .gsi = device->gsi, .port_count = device->port_count};
        for (uint32_t p = 0; p < device->port_count; p++) {
            to->ports[p].start = device->ports[p].start;
            to->ports[p].size = (uint8_t)device->ports[p].size;
        }
        count++;
    }
    return count;
}

static int build_acpi(struct machine *machine, const struct acpi_extra *extras,
                      uint32_t extra_count, struct err *err)
{
    struct acpi_device told[MACHINE_DEVICES_MAX];
    struct acpi_config config = {.cpu_count = machine->spec->cpu_count,
                                 .devices = told,
                                 .device_count = tell_devices(machine, told),
                                 .extras = extras,
                                 .extra_count = extra_count,
                                 .sleep_control = POWER_SLEEP_CONTROL,
                                 .sleep_status = POWER_SLEEP_STATUS,
                                 .reset = POWER_RESET,
                                 .reset_value = POWER_RESET_VALUE,
                                 .event = POWER_EVENT,
                                 .event_gsi = POWER_GSI};
    uint8_t *area = memory_span(machine->memory, gpa(LOADER_ACPI_START), LOADER_ACPI_SIZE);

    return acpi_build(&config, area, LOADER_ACPI_START, LOADER_ACPI_SIZE, err);
}

/* The tables of `acpi load`, read anew each time. */
struct extras {
    uint32_t count;
    uint8_t *bytes[MACHINE_LOADS_MAX];
    struct acpi_extra list[MACHINE_LOADS_MAX];
};

static int read_extras(struct machine *machine, struct extras *extras, struct err *err)
{
    for (uint32_t i = 0; i < machine->loader.item_count; i++) {
        struct loader_item *item = &machine->items[i];
        struct acpi_extra *extra = &extras->list[extras->count];
        uint8_t **bytes = &extras->bytes[extras->count];
        int r;

        if (item->kind != LOADER_ACPI) {
            continue;
        }
        r = loader_read_acpi(item, bytes, &extra->size, err);
        if (r != 0) {
            return r;
        }
        extra->bytes = *bytes;
        extra->path = item->path;
        extra->where = item->where;
        extras->count++;
    }
    return 0;
}

static int write_acpi(struct machine *machine, struct err *err)
{
    struct extras extras = {0};
    int r = read_extras(machine, &extras, err);

    if (r == 0) {
        r = build_acpi(machine, extras.list, extras.count, err);
    }
    for (uint32_t i = 0; i < extras.count; i++) {
        free(extras.bytes[i]);
    }
    return r;
}

/* Everything that a power-on puts into memory and registers. No vCPU runs. */
static int power_on(struct machine *machine, struct err *err)
{
    struct vcpu_entry entry = {.rsi = LOADER_ZERO_PAGE,
                               .rsp = LOADER_STACK,
                               .page_tables = LOADER_PAGE_TABLES,
                               .gdt = LOADER_GDT,
                               .gdt_size = LOADER_GDT_SIZE};
    int r = loader_load(&machine->loader, machine->memory, &entry.rip, err);

    if (r == 0) {
        r = write_acpi(machine, err);
    }
    if (r == 0) {
        power_write_vector(machine->memory);
        r = vcpu_set_reset(machine->vcpus, &entry, err);
    }
    return r;
}

int machine_start(struct machine *machine, struct err *err)
{
    int r;

    if (machine->is_started) {
        return err_set(err, -EALREADY, "the machine was started before");
    }
    machine->is_started = true;
    r = power_on(machine, err);
    if (r == 0) {
        r = vcpu_set_start(machine->vcpus, err);
    }
    if (r == 0) {
        r = lockdown_close(LOCKDOWN_CONTROL, err); /* while the vCPUs close theirs */
    }
    if (r == 0) {
        r = vcpu_set_await(machine->vcpus, err);
    }
    if (r == 0) {
        vcpu_set_resume(machine->vcpus);
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
    r = vm_reset(machine->vm, err);
    if (r == 0) {
        r = power_on(machine, err);
    }
    machine_events_forget(machine->events);
    if (r == 0) {
        vcpu_set_resume(machine->vcpus);
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
    vcpu_set_resume(machine->vcpus);
}

void machine_stop(struct machine *machine)
{
    machine->is_stopped = true;
    vcpu_set_stop(machine->vcpus);
}

void machine_state(struct machine *machine, machine_state_fn add, void *context)
{
    bool was_paused = vcpu_set_is_paused(machine->vcpus);

    if (!was_paused) {
        vcpu_set_pause(machine->vcpus);
    }
    vcpu_set_state(machine->vcpus, add, context);
    if (!was_paused) {
        vcpu_set_resume(machine->vcpus);
    }
}
