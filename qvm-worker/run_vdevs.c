/* What the vdevs of a run have of it, and it of them. */
#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/log.h"
#include "qvm-worker/lockdown/lockdown.h"
#include "qvm-worker/machine/machine.h"
#include "qvm-worker/plan/plan.h"
#include "qvm-worker/run_private.h"
#include "qvm-worker/vdev/host.h"

/* Memory slots of devices: behind those that functions of the host may have. */
#define FIRST_SHARED_SLOT 8192u
#define FIRST_SHOWN_SLOT  12288u

static void on_vdev_intr(void *context, uint32_t gsi, bool is_high)
{
    struct run *run = context;

    machine_intr(run->machine, gsi, is_high);
}

static const struct firmware_file *on_vdev_firmware_file(void *context, uint32_t index)
{
    const struct run *run = context;

    return machine_firmware_file(run->machine, index);
}

static void on_vdev_request(void *context, const char *where, const char *device,
                            enum vdev_request request, uint32_t value)
{
    struct run *run = context;
    char why[256];

    switch (request) {
    case VDEV_REQUEST_RESET:
        (void)snprintf(why, sizeof(why), "the guest asked '%.63s' for a reset", device);
        machine_request_for(run->machine, MACHINE_EVENT_RESET, 0, why);
        break;
    case VDEV_REQUEST_POWEROFF:
        machine_request(run->machine, MACHINE_EVENT_POWEROFF, 0);
        break;
    case VDEV_REQUEST_EXIT:
    case VDEV_REQUEST_STATUS: /* the host of vdevs has made it the former */
        machine_request(run->machine, MACHINE_EVENT_EXIT, value);
        break;
    case VDEV_REQUEST_WATCHDOG:
        machine_request(run->machine, MACHINE_EVENT_WATCHDOG, 0);
        break;
    case VDEV_REQUEST_RESTORE:
        machine_request(run->machine, MACHINE_EVENT_RESTORE, 0);
        break;
    case VDEV_REQUEST_FAIL:
        (void)snprintf(why, sizeof(why), "%.160s: vdev '%.63s' cannot go on", where, device);
        machine_request_for(run->machine, MACHINE_EVENT_VDEV_FAILED, 0, why);
        break;
    case VDEV_REQUEST_DUMP:
        machine_request(run->machine, MACHINE_EVENT_DUMP, 0);
        break;
    }
}

static void on_vdev_message(void *context, uint64_t address, uint32_t data)
{
    struct run *run = context;

    machine_message(run->machine, address, data);
}

static void on_vdev_cpu_intr(void *context, bool is_high)
{
    struct run *run = context;

    machine_cpu_intr(run->machine, is_high);
}

static void on_vdev_clock_alarm(void *context)
{
    struct run *run = context;

    machine_clock_alarm(run->machine);
}

static void on_vdev_watch_vector(void *context, uint8_t vector, bool is_watched)
{
    struct run *run = context;

    machine_watch_vector(run->machine, vector, is_watched);
}

static void on_line(void *context, uint32_t gsi, bool is_high)
{
    struct run *run = context;

    vdev_host_line(run->spec.vdevs, gsi, is_high);
}

static int on_acknowledge(void *context)
{
    struct run *run = context;

    return vdev_host_acknowledge(run->spec.vdevs);
}

static void on_end_of_interrupt(void *context, uint8_t vector)
{
    struct run *run = context;

    vdev_host_end_of_interrupt(run->spec.vdevs, vector);
}

void run_tell_chips(struct run *run, struct machine_chips *to)
{
    struct vdev_host_chips chips;

    vdev_host_get_chips(run->spec.vdevs, &chips);
    *to = (struct machine_chips){.are_own = chips.are_own,
                                 .has_timer = chips.has_kernel_timer,
                                 .uses_line_0 = chips.uses_line_0,
                                 .timer_pin = chips.timer_pin,
                                 .ioapic_address = chips.ioapic_address,
                                 .hpet_address = chips.hpet_address,
                                 .hpet_id = chips.hpet_id,
                                 .line = on_line,
                                 .acknowledge = on_acknowledge,
                                 .end_of_interrupt = on_end_of_interrupt,
                                 .context = run};
}

static int add_device(struct run *run, const struct vdev_host_device *from, struct err *err)
{
    struct machine_device device = {
        .name = from->name,
        .context = from->context,
        .reset = from->reset,
        .acpi_hid = from->pci == NULL ? from->acpi_hid : NULL,
        .is_level = from->is_level,
        .gsi = from->intrs[0] == QVM_VDEV_NO_INTR ? MACHINE_NO_GSI : from->intrs[0],
    };

    for (uint32_t i = 0; i < from->region_count; i++) {
        const struct vdev_region *region = &from->regions[i];

        if (region->space == VDEV_SPACE_IO && device.port_count < MACHINE_PORTS_MAX) {
            device.ports[device.port_count].start = (uint16_t)region->start;
            device.ports[device.port_count++].size = (uint16_t)region->size;
        } else if (region->space == VDEV_SPACE_MEMORY && device.place_count < MACHINE_PORTS_MAX &&
                   region->start <= UINT32_MAX && region->size <= UINT32_MAX) {
            device.places[device.place_count].start = (uint32_t)region->start;
            device.places[device.place_count++].size = (uint32_t)region->size;
        }
    }
    return machine_add_device(run->machine, &device, err);
}

static int on_vdev_doorbell(void *context, const struct vdev_host_bell *bell, bool is_there)
{
    struct run *run = context;

    return machine_doorbell(run->machine, bell->fd, bell->space == VDEV_SPACE_IO, bell->address,
                            bell->size, bell->has_value ? &bell->value : NULL, is_there);
}

static int on_vdev_shmem_wish(void *context, int64_t serial, const char *name, uint64_t bytes,
                              uint64_t most)
{
    const struct run *run = context;

    return run->spec.wish_shmem != NULL
               ? run->spec.wish_shmem(run->spec.context, serial, name, bytes, most)
               : -ENOTCONN;
}

static void on_vdev_shmem_left(void *context, const char *name)
{
    const struct run *run = context;

    if (run->spec.leave_shmem != NULL) {
        run->spec.leave_shmem(run->spec.context, name);
    }
}

static int on_vdev_connect_wish(void *context, int64_t serial, const char *path, uint32_t port)
{
    const struct run *run = context;

    return run->spec.wish_connection(run->spec.context, serial, path, port);
}

static int on_vdev_helper_wish(void *context, const char *device)
{
    const struct run *run = context;

    return run->spec.wish_helper(run->spec.context, device);
}

static int on_vdev_memory_slot(void *context, uint32_t slot, uint64_t address, void *memory,
                               uint64_t size)
{
    struct run *run = context;

    return machine_device_slot(run->machine, FIRST_SHARED_SLOT + slot, address, memory, size);
}

static int on_vdev_shown_slot(void *context, uint32_t slot, uint64_t address, void *memory,
                              uint64_t size)
{
    struct run *run = context;

    return machine_shown_slot(run->machine, FIRST_SHOWN_SLOT + slot, address, memory, size);
}

static int on_io_thread(void *context, enum vdev_host_thread kind, struct err *err)
{
    static const enum lockdown_kind doors[] = {
        [VDEV_HOST_THREAD_PLAIN] = LOCKDOWN_IO,
        [VDEV_HOST_THREAD_BACKEND] = LOCKDOWN_IO_BACKEND,
        [VDEV_HOST_THREAD_SOCKETS] = LOCKDOWN_IO_SOCKETS,
        [VDEV_HOST_THREAD_VHOST] = LOCKDOWN_IO_VHOST,
    };

    (void)context;
    return lockdown_close(doors[kind], err);
}

int run_make_vdevs(struct run *run, struct err *err)
{
    const struct memory *memory = machine_memory(run->machine);
    struct vdev_host_env env = {
        .loop = run->spec.loop,
        .bus = machine_bus(run->machine),
        .pci = machine_pci(run->machine),
        .console = run->spec.console,
        .system = run->spec.plan->name,
        .cpu_count = run->spec.plan->cpu_count,
        .ram_below_4g = memory_size_below_4g(memory),
        .ram_above_4g = memory_size_above_4g(memory),
        .context = run,
        .intr = on_vdev_intr,
        .message = on_vdev_message,
        .cpu_intr = on_vdev_cpu_intr,
        .clock_alarm = on_vdev_clock_alarm,
        .watch_vector = on_vdev_watch_vector,
        .request_of = on_vdev_request,
        .trouble = run_on_trouble,
        .firmware_file = on_vdev_firmware_file,
        .memory = memory,
        .doorbell = on_vdev_doorbell,
        .shmem_wish = on_vdev_shmem_wish,
        .shmem_left = on_vdev_shmem_left,
        .connect_wish = run->spec.wish_connection != NULL ? on_vdev_connect_wish : NULL,
        .helper_wish = run->spec.wish_helper != NULL ? on_vdev_helper_wish : NULL,
        .memory_slot = on_vdev_memory_slot,
        .shown_slot = on_vdev_shown_slot,
        .on_io_thread = on_io_thread,
    };
    struct vdev_host_device device;
    int r;

    plan_avoid(run->spec.plan, env.pci);
    r = plan_reserve_passes(run->spec.plan, env.pci, err);
    r = r == 0 ? vdev_host_build(run->spec.vdevs, &env, err) : r;

    run_tell_chips(run, &run->machine_spec.chips); /* now the HPET, too */
    for (size_t i = 0; r == 0 && vdev_host_device(run->spec.vdevs, i, &device); i++) {
        r = add_device(run, &device, err);
    }
    return r;
}
