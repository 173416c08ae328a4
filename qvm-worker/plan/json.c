/* The plan as programs read it. Each thing has its FILE:LINE as `where`. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "qvm-worker/plan/json_out.h"
#include "qvm-worker/plan/private.h"

static void add_cpu(const struct plan_cpu *cpu, struct json_out *out)
{
    const struct placement *placement = &cpu->placement;

    json_out_open_object(out, NULL);
    if (placement->has_cpus) {
        json_out_open_array(out, "host_cpus");
        for (unsigned i = 0; i < PLACEMENT_CPUS_MAX; i++) {
            if (CPU_ISSET(i, &placement->cpus)) {
                json_out_number(out, NULL, i);
            }
        }
        json_out_close_array(out);
    }
    json_out_string(out, "sched", plan_policy_name(placement->policy));
    if (placement->priority != 0) {
        json_out_number(out, "priority", placement->priority);
    }
    if (placement->policy == PLACEMENT_DEADLINE) {
        json_out_number(out, "period_ns", placement->period_ns);
        json_out_number(out, "budget_ns", placement->budget_ns);
    }
    if (cpu->partition != NULL) {
        json_out_string(out, "partition", cpu->partition);
    }
    json_out_string(out, "where", cpu->where);
    json_out_close_object(out);
}

static void add_memory(const struct plan *plan, struct json_out *out)
{
    json_out_open_array(out, "memory");
    for (uint32_t i = 0; i < plan->ram_count; i++) {
        const struct memory_range *range = &plan->ram[i];

        json_out_open_object(out, NULL);
        json_out_string(out, "kind", range->is_rom ? "rom" : "ram");
        if (range->has_start) {
            json_out_number(out, "start", range->start);
        }
        json_out_number(out, "size", range->size);
        json_out_string(out, "where", range->where);
        json_out_close_object(out);
    }
    json_out_close_array(out);
}

static void add_loads(const struct plan *plan, struct json_out *out)
{
    json_out_open_array(out, "loads");
    for (uint32_t i = 0; i < plan->load_count; i++) {
        const struct machine_load *load = &plan->loads[i];

        json_out_open_object(out, NULL);
        json_out_string(out, "kind", plan_load_name(load->kind));
        if (load->has_address) {
            json_out_number(out, "address", load->address);
        }
        json_out_string(out, "path", load->path);
        json_out_string(out, "where", load->where);
        json_out_close_object(out);
    }
    json_out_close_array(out);
    if (plan->cmdline != NULL) {
        json_out_string(out, "cmdline", plan->cmdline);
    }
}

static void add_pci(const struct loc_pci *pci, struct json_out *out)
{
    json_out_open_object(out, "pci");
    if (pci->has_device) {
        json_out_number(out, "bus", pci->bus);
        json_out_number(out, "device", pci->device);
        json_out_number(out, "function", pci->function);
    }
    json_out_close_object(out);
}

static void add_region(const char *space, uint64_t start, uint64_t size, struct json_out *out)
{
    json_out_string(out, "space", space);
    json_out_number(out, "start", start);
    json_out_number(out, "size", size);
}

static void add_vdev(const struct vdev_host_device *device, struct json_out *out)
{
    json_out_open_object(out, NULL);
    json_out_string(out, "vdev", device->module);
    json_out_string(out, "name", device->name);
    json_out_open_array(out, "regions");
    for (uint32_t i = 0; i < device->region_count; i++) {
        const struct vdev_region *region = &device->regions[i];

        json_out_open_object(out, NULL);
        add_region(region->space == VDEV_SPACE_IO ? "io" : "mem", region->start, region->size, out);
        json_out_close_object(out);
    }
    json_out_close_array(out);
    if (device->pci != NULL) {
        add_pci(device->pci, out);
    }
    json_out_open_array(out, "intrs");
    for (uint32_t i = 0; i < device->intr_count; i++) {
        if (device->intrs[i] != QVM_VDEV_NO_INTR) {
            json_out_number(out, NULL, device->intrs[i]);
        }
    }
    json_out_close_array(out);
    json_out_string(out, "where", device->where);
    if (device->is_implied) {
        json_out_string(out, "added", "for the firmware");
    }
    json_out_close_object(out);
}

static void add_vdevs(const struct plan *plan, struct json_out *out)
{
    struct vdev_host_device device;

    json_out_open_array(out, "vdevs");
    for (size_t i = 0; vdev_host_device(plan->vdevs, i, &device); i++) {
        add_vdev(&device, out);
    }
    json_out_close_array(out);
}

/* Which vdevs have which line. */
static void add_interrupts(const struct plan *plan, struct json_out *out)
{
    struct vdev_host_device device;

    json_out_open_array(out, "interrupts");
    for (uint32_t line = 0; line < VDEV_HOST_GSI_COUNT; line++) {
        bool is_open = false;

        for (size_t i = 0; vdev_host_device(plan->vdevs, i, &device); i++) {
            if (!plan_has_line(&device, line)) {
                continue;
            }
            if (!is_open) {
                json_out_open_object(out, NULL);
                json_out_number(out, "line", line);
                json_out_open_array(out, "vdevs");
                is_open = true;
            }
            json_out_string(out, NULL, device.name);
        }
        if (is_open) {
            json_out_close_array(out);
            json_out_close_object(out);
        }
    }
    json_out_close_array(out);
}

static void add_reserves(const struct plan *plan, struct json_out *out)
{
    json_out_open_array(out, "reserved");
    for (uint32_t i = 0; i < plan->reserve_count; i++) {
        const struct plan_reserve *reserve = &plan->reserves[i];
        const struct loc *loc = &reserve->loc;

        json_out_open_object(out, NULL);
        if (reserve->is_intr) {
            json_out_number(out, "intr", reserve->intr);
        } else if (loc->kind == LOC_PCI) {
            add_pci(&loc->pci, out);
        } else {
            add_region(loc->kind == LOC_IO ? "io" : "mem", loc->start, loc->size, out);
        }
        json_out_string(out, "where", reserve->where);
        json_out_close_object(out);
    }
    json_out_close_array(out);
}

static void add_logs(const struct plan *plan, struct json_out *out)
{
    json_out_open_array(out, "loggers");
    for (unsigned to = 0; to < PLAN_LOG_COUNT; to++) {
        if (plan->log.where[to] == NULL) {
            continue;
        }
        json_out_open_object(out, NULL);
        json_out_string(out, "to", plan_log_name((enum plan_log_to)to));
        json_out_open_array(out, "filters");
        for (unsigned level = 0; level < LOG_LEVEL_COUNT; level++) {
            if ((plan->log.to[to] & LOG_BIT(level)) != 0) {
                json_out_string(out, NULL, log_level_name((enum log_level)level));
            }
        }
        json_out_close_array(out);
        json_out_string(out, "where", plan->log.where[to]);
        json_out_close_object(out);
    }
    json_out_close_array(out);
}

static void add_policies(const struct plan *plan, struct json_out *out)
{
    json_out_open_object(out, "unsupported");
    json_out_string(out, "instruction", plan_reaction_name(plan->unsupported.instruction));
    json_out_string(out, "reference", plan_reaction_name(plan->unsupported.reference));
    json_out_string(out, "register", plan_reaction_name(plan->unsupported.msr));
    json_out_close_object(out);
    if (plan->dump.where != NULL) {
        json_out_open_object(out, "dump");
        json_out_string(out, plan->dump.command != NULL ? "command" : "directory",
                        plan->dump.command != NULL ? plan->dump.command : plan->dump.directory);
        json_out_string(out, "where", plan->dump.where);
        json_out_close_object(out);
    }
}

static void add_passes(const struct plan *plan, struct json_out *out)
{
    char text[96];

    json_out_open_array(out, "passes");
    for (uint32_t i = 0; i < plan->pass_count; i++) {
        const struct plan_pass *pass = &plan->passes[i];

        json_out_open_object(out, NULL);
        json_out_string(out, "device", pass->id);
        if (pass->guest.has_device) {
            (void)snprintf(text, sizeof(text), "pci:%" PRIu32 ":%" PRIu32 ".%" PRIu32,
                           pass->guest.bus, pass->guest.device, pass->guest.function);
            json_out_string(out, "loc", text);
        }
        json_out_string(out, "where", pass->where);
        json_out_close_object(out);
    }
    for (uint32_t i = 0; i < plan->ports_count; i++) {
        (void)snprintf(text, sizeof(text), "io:0x%x,%" PRIu32, plan->ports[i].start,
                       plan->ports[i].size);
        json_out_open_object(out, NULL);
        json_out_string(out, "loc", text);
        json_out_string(out, "where", plan->ports[i].where);
        json_out_close_object(out);
    }
    for (uint32_t i = 0; i < plan->memory_count; i++) {
        (void)snprintf(text, sizeof(text), "mem:0x%" PRIx64 ",%" PRIu64 "=0x%" PRIx64,
                       plan->memories[i].guest, plan->memories[i].size, plan->memories[i].host);
        json_out_open_object(out, NULL);
        json_out_string(out, "loc", text);
        json_out_string(out, "where", plan->memories[i].where);
        json_out_close_object(out);
    }
    json_out_close_array(out);
}

static void on_setting(void *context, const char *name, const char *value)
{
    json_out_string(context, name, value);
}

static void add_needs(const struct plan *plan, struct json_out *out)
{
    json_out_open_array(out, "asks");
    for (uint32_t i = 0; i < plan->need_count; i++) {
        const struct plan_need *need = &plan->needs[i];

        json_out_open_object(out, NULL);
        json_out_string(out, "kind", words_name(&words_resource_kind, (int)need->kind));
        json_out_string(out, "id", need->id);
        if (need->amount != 0) {
            json_out_number(out, "amount", need->amount);
        }
        if (need->is_readable || need->is_writable) {
            json_out_bool(out, "readable", need->is_readable);
            json_out_bool(out, "writable", need->is_writable);
        }
        json_out_string(out, "where", need->where);
        json_out_close_object(out);
    }
    json_out_close_array(out);
}

void plan_json(const struct plan *plan, struct json_out *out)
{
    json_out_string(out, "system", plan->name);
    json_out_string(out, "where", plan->where);
    json_out_open_array(out, "cpus");
    for (uint32_t i = 0; i < plan->cpu_count; i++) {
        add_cpu(&plan->cpus[i], out);
    }
    json_out_close_array(out);
    add_memory(plan, out);
    add_loads(plan, out);
    add_vdevs(plan, out);
    add_interrupts(plan, out);
    add_reserves(plan, out);
    add_passes(plan, out);
    add_logs(plan, out);
    add_policies(plan, out);
    json_out_open_object(out, "settings");
    plan_each_setting(&plan->settings, on_setting, out);
    json_out_close_object(out);
    json_out_open_array(out, "warnings");
    for (uint32_t i = 0; i < plan->warning_count; i++) {
        json_out_string(out, NULL, plan->warnings[i]);
    }
    json_out_close_array(out);
    add_needs(plan, out);
}
