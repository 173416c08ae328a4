/* One VM from its plan and descriptors to its end. */
#include "qvm-worker/run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "qvm-worker/console/console.h"
#include "qvm-worker/exit_status.h"
#include "qvm-worker/hostmem/hostmem.h"
#include "qvm-worker/lockdown/lockdown.h"
#include "qvm-worker/machine/machine.h"
#include "qvm-worker/plan/plan.h"
#include "qvm-worker/ports/ports.h"
#include "qvm-worker/run_private.h"
#include "qvm-worker/signals.h"
#include "qvm-worker/vdev/host.h"
#include "qvm-worker/vfio/passed.h"

/* Memory slots of devices: behind those that functions of the host may have. */
#define FIRST_SHARED_SLOT 8192u

const struct exit_record *run_end(const struct run *run)
{
    return &run->end;
}

const char *run_last_reset(const struct run *run)
{
    return run->reboots > 0 ? run->last_reset : NULL;
}

uint64_t run_reboots(const struct run *run)
{
    return run->reboots;
}

static void on_event_fd(uv_poll_t *poll, int status, int events)
{
    struct run *run = poll->data;

    (void)status;
    (void)events;
    if (run->end.reason == REASON_none) {
        machine_dispatch(run->machine);
        run_look_at_passed(run);
    }
}

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

static void tell_chips(struct run *run, struct machine_chips *to)
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

/* Descriptors to those who asked for them. */
static void hand_out(struct run *run, int *fds)
{
    const struct plan *plan = run->spec.plan;

    for (uint32_t i = 0; i < plan->need_count; i++) {
        const struct plan_need *need = &plan->needs[i];
        int fd = need->kind == RESOURCE_device ? -1 : take_fd(&fds[i]);

        if (need->kind == RESOURCE_kvm) {
            run->kvm_fd = fd;
        } else if (need->load != UINT32_MAX) {
            run->loads[need->load].fd = fd;
        } else if (need->device != NULL) {
            vdev_host_grant(run->spec.vdevs, need->device, fd);
        }
        for (uint32_t j = 1; need->kind == RESOURCE_network && j < need->amount; j++) {
            vdev_host_grant_queue(run->spec.vdevs, need->device, j,
                                  take_fd(&fds[PLAN_FD_QUEUE(need->queue + j - 1)]));
        }
    }
}

static void on_progress(void *context, uint64_t done, uint64_t all)
{
    struct run *run = context;

    signals_end_if_asked();
    if (run->spec.on_progress != NULL) {
        run->spec.on_progress(run->spec.context, done, all);
    }
}

static const enum unsupported_reaction reactions[] = {
    [PLAN_ABORT] = UNSUPPORTED_ABORT,
    [PLAN_FAIL] = UNSUPPORTED_FAIL,
    [PLAN_IGNORE] = UNSUPPORTED_IGNORE,
};

static int make_machine(struct run *run, int kvm_fd, struct err *err)
{
    const struct plan *plan = run->spec.plan;

    for (uint32_t i = 0; i < plan->cpu_count; i++) {
        int r = plan->host->places_cpus ? 0 : placement_check(&plan->cpus[i].placement, err);

        if (r != 0) {
            return r;
        }
        run->placements[i] = plan->host->places_cpus ? NULL : &plan->cpus[i].placement;
    }
    memcpy(run->loads, plan->loads, sizeof(run->loads));
    run->unsupported = (struct unsupported){reactions[plan->unsupported.instruction],
                                            reactions[plan->unsupported.reference],
                                            reactions[plan->unsupported.msr]};
    run->machine_spec = (struct machine_spec){
        .unsupported = &run->unsupported,
        .name = plan->name,
        .where = plan->where,
        .cpu_count = plan->cpu_count,
        .cores = (uint32_t)plan->settings.cores,
        .threads = (uint32_t)plan->settings.threads,
        .identity = &plan->settings.identity,
        .placements = run->placements,
        .ram = plan->ram,
        .ram_count = plan->ram_count,
        .page_size = plan_page_size(plan),
        .loads = run->loads,
        .load_count = plan->load_count,
        .cmdline = plan->cmdline,
        .cmdline_where = plan->cmdline_where,
        .has_pci = vdev_host_wants_pci(run->spec.vdevs) || plan_has_full_acpi(plan) ||
                   plan->pass_count > 0,
        .has_passed = plan->pass_count > 0,
        .is_shared = vdev_host_shmem_window(run->spec.vdevs) > 0,
        .has_full_acpi = plan_has_full_acpi(plan),
        .kvm_fd = kvm_fd,
        .ahead = run->spec.ahead,
        .counters = run->spec.counters,
        .halt_where = plan->settings.exits_on_halt ? NULL : plan->halt_where,
        .is_populated = plan_is_populated(plan),
        .on_progress = on_progress,
        .on_event = run_on_machine_event,
        .context = run,
    };

    tell_chips(run, &run->machine_spec.chips);
    return machine_create(&run->machine_spec, &run->machine, err);
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

static int on_vdev_memory_slot(void *context, uint32_t slot, uint64_t address, void *memory,
                               uint64_t size)
{
    struct run *run = context;

    return machine_device_slot(run->machine, FIRST_SHARED_SLOT + slot, address, memory, size);
}

static int on_io_thread(void *context, enum vdev_host_thread kind, struct err *err)
{
    static const enum lockdown_kind doors[] = {
        [VDEV_HOST_THREAD_PLAIN] = LOCKDOWN_IO,
        [VDEV_HOST_THREAD_BACKEND] = LOCKDOWN_IO_BACKEND,
        [VDEV_HOST_THREAD_SOCKETS] = LOCKDOWN_IO_SOCKETS,
    };

    (void)context;
    return lockdown_close(doors[kind], err);
}

static int make_vdevs(struct run *run, struct err *err)
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
        .memory_slot = on_vdev_memory_slot,
        .on_io_thread = on_io_thread,
    };
    struct vdev_host_device device;
    int r;

    plan_avoid(run->spec.plan, env.pci);
    r = plan_reserve_passes(run->spec.plan, env.pci, err);
    r = r == 0 ? vdev_host_build(run->spec.vdevs, &env, err) : r;

    tell_chips(run, &run->machine_spec.chips); /* now the HPET, too */
    for (size_t i = 0; r == 0 && vdev_host_device(run->spec.vdevs, i, &device); i++) {
        r = add_device(run, &device, err);
    }
    return r;
}

static int start(struct run *run, int *fds, struct err *err)
{
    int r;

    hand_out(run, fds);
    r = run_make_ports(run, fds, err);
    r = r == 0 ? run_make_memories(run, fds, err) : r;
    r = r == 0 ? make_vdevs(run, err) : r;
    r = r == 0 ? run_make_passed(run, fds, err) : r;
    if (r == 0 && uv_poll_init(run->spec.loop, &run->poll, machine_event_fd(run->machine)) != 0) {
        r = err_set(err, -EIO, "cannot watch the machine");
    }
    if (r != 0) {
        return r;
    }
    (void)uv_timer_init(run->spec.loop, &run->pace_timer); /* cannot fail */
    run->pace_timer.data = run;
    run->poll.data = run;
    run->is_watched = true;
    (void)uv_poll_start(&run->poll, UV_READABLE, on_event_fd); /* fails for closed handles alone */
    cleanup_close(&run->kvm_fd);                               /* nobody makes another VM */
    return machine_start(run->machine, err);
}

/* An image that is none, RAM that overlaps, two vdevs at one port: the words are to blame. */
static bool is_about_configuration(int code)
{
    switch (code) {
    case -EINVAL:
    case -ENOEXEC:
    case -EEXIST:
    case -ERANGE:
    case -E2BIG:
    case -EFBIG:
    case -ENOENT:
        return true;
    default:
        return false;
    }
}

/* How the process ends that could not build its VM. */
static int tell_end(int r, struct exit_record *end, const struct err *err)
{
    if (r != 0) {
        bool is_config = is_about_configuration(r);

        end->reason = is_config ? REASON_config_error : REASON_vmm_crash;
        end->status = is_config ? EXIT_STATUS_CONFIG : EXIT_STATUS_BEFORE;
        (void)snprintf(end->message, sizeof(end->message), "%s", err->msg);
    }
    return r;
}

int run_create(const struct run_spec *spec, int kvm_fd, struct run **run, struct exit_record *end,
               struct err *err)
{
    struct run *new = calloc(1, sizeof(*new));

    if (new == NULL) {
        return tell_end(err_set(err, -ENOMEM, "no memory left"), end, err);
    }
    new->spec = *spec;
    new->kvm_fd = -1;
    *run = new;
    return tell_end(make_machine(new, kvm_fd, err), end, err);
}

int run_await(struct run *run, struct err *err)
{
    return machine_await(run->machine, err);
}

int run_start(struct run *run, int *fds, struct exit_record *end, struct err *err)
{
    return tell_end(start(run, fds, err), end, err);
}

void run_stop(struct run *run)
{
    if (run != NULL && run->machine != NULL) {
        machine_stop(run->machine);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct run *run = handle->data;

    if (++run->closed_count == 2) {
        free(run);
    }
}

void run_destroy(struct run *run)
{
    if (run == NULL) {
        return;
    }
    if (run->is_watched) {
        uv_close((uv_handle_t *)&run->pace_timer, on_closed);
        uv_close((uv_handle_t *)&run->poll, on_closed); /* whichever is last frees the run */
    }
    vfio_passed_destroy(run->passed); /* before the memory that it reaches */
    machine_destroy(run->machine);
    for (uint32_t i = 0; i < run->spec.plan->load_count; i++) {
        cleanup_close(&run->loads[i].fd);
    }
    for (uint32_t i = 0; i < PLAN_PORTS_MAX; i++) {
        ports_destroy(run->ports[i]);
    }
    for (uint32_t i = 0; i < PLAN_MEMORIES_MAX; i++) {
        hostmem_destroy(run->memories[i]);
    }
    cleanup_close(&run->kvm_fd);
    if (!run->is_watched) {
        free(run);
    }
}

size_t run_stats_fds(const struct run *run, int *fds, size_t most)
{
    return machine_stats_fds(run->machine, fds, most);
}
