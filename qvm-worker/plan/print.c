/* The plan as people read it. */
#include <inttypes.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "qvm-worker/plan/private.h"

/* Bytes as `ram` takes them: "512M", "3G", "4100K". */
static void print_size(uint64_t size, FILE *out)
{
    static const char *const units[] = {"", "K", "M", "G"};
    unsigned unit = 0;

    while (unit < 3 && size != 0 && size % 1024 == 0) {
        size /= 1024;
        unit++;
    }
    (void)fprintf(out, "%" PRIu64 "%s", size, units[unit]);
}

/* vCPUs that follow each other and are alike are one line. */
static void print_cpus(const struct plan *plan, FILE *out)
{
    for (uint32_t i = 0; i < plan->cpu_count;) {
        const struct plan_cpu *cpu = &plan->cpus[i];
        const struct placement *placement = &cpu->placement;
        uint32_t first = i;
        char cpus[PLACEMENT_NAMES_SIZE];

        while (i < plan->cpu_count && plan_runs_alike(cpu, &plan->cpus[i])) {
            i++;
        }
        (void)fprintf(out, "cpus %" PRIu32, i - first);
        if (placement->has_cpus) {
            placement_name_cpus(&placement->cpus, cpus, sizeof(cpus));
            (void)fprintf(out, " on %s of the host", cpus);
        }
        if (placement->policy == PLACEMENT_DEADLINE) {
            (void)fprintf(out, " sched %s %" PRIu64 " of %" PRIu64 " ns",
                          plan_policy_name(placement->policy), placement->budget_ns,
                          placement->period_ns);
        } else if (placement->policy != PLACEMENT_NORMAL) {
            (void)fprintf(out, " sched %s %" PRIu32, plan_policy_name(placement->policy),
                          placement->priority);
        }
        if (cpu->partition != NULL) {
            (void)fprintf(out, " partition %s", cpu->partition);
        }
        (void)fprintf(out, "    # %s\n", cpu->where);
    }
}

/* Without a device number it gets the lowest that nobody names. */
static void print_pci(const struct loc_pci *pci, FILE *out)
{
    (void)fprintf(out, "loc pci:");
    if (pci->has_device) {
        (void)fprintf(out, "%" PRIu32 ":%" PRIu32, pci->bus, pci->device);
    }
    if (pci->has_function) {
        (void)fprintf(out, ".%" PRIu32, pci->function);
    }
}

static void print_reserves(const struct plan *plan, FILE *out)
{
    for (uint32_t i = 0; i < plan->reserve_count; i++) {
        const struct plan_reserve *reserve = &plan->reserves[i];
        const struct loc *loc = &reserve->loc;

        (void)fprintf(out, "reserve ");
        if (reserve->is_intr) {
            (void)fprintf(out, "intr %" PRIu32, reserve->intr);
        } else if (loc->kind == LOC_PCI) {
            print_pci(&loc->pci, out);
        } else {
            (void)fprintf(out, "loc %s:0x%" PRIx64 ",%" PRIu64, loc->kind == LOC_IO ? "io" : "mem",
                          loc->start, loc->size);
        }
        (void)fprintf(out, "    # %s\n", reserve->where);
    }
}

static void print_passes(const struct plan *plan, FILE *out)
{
    for (uint32_t i = 0; i < plan->pass_count; i++) {
        const struct plan_pass *pass = &plan->passes[i];

        (void)fprintf(out, "pass %s", pass->id);
        if (pass->guest.has_device) {
            (void)fprintf(out, " at pci:%" PRIu32 ":%" PRIu32 ".%" PRIu32, pass->guest.bus,
                          pass->guest.device, pass->guest.function);
        }
        (void)fprintf(out, "    # %s\n", pass->where);
    }
}

static void print_ports(const struct plan *plan, FILE *out)
{
    for (uint32_t i = 0; i < plan->ports_count; i++) {
        (void)fprintf(out, "pass io:0x%x,%" PRIu32 "    # %s\n", plan->ports[i].start,
                      plan->ports[i].size, plan->ports[i].where);
    }
}

static void print_memories(const struct plan *plan, FILE *out)
{
    for (uint32_t i = 0; i < plan->memory_count; i++) {
        const struct plan_memory *memory = &plan->memories[i];

        (void)fprintf(out, "pass mem:0x%" PRIx64 ",%" PRIu64 "=0x%" PRIx64 "    # %s\n",
                      memory->guest, memory->size, memory->host, memory->where);
    }
}

static void print_loggers(const struct plan *plan, FILE *out)
{
    for (unsigned to = 0; to < PLAN_LOG_COUNT; to++) {
        const char *before = "logger ";

        for (unsigned level = 0; level < LOG_LEVEL_COUNT; level++) {
            if ((plan->log.to[to] & LOG_BIT(level)) != 0) {
                (void)fprintf(out, "%s%s", before, log_level_name((enum log_level)level));
                before = ",";
            }
        }
        if (plan->log.where[to] != NULL) {
            (void)fprintf(out, " %s    # %s\n", plan_log_name((enum plan_log_to)to),
                          plan->log.where[to]);
        }
    }
}

static void print_policies(const struct plan *plan, FILE *out)
{
    (void)fprintf(out, "unsupported instruction %s reference %s register %s\n",
                  plan_reaction_name(plan->unsupported.instruction),
                  plan_reaction_name(plan->unsupported.reference),
                  plan_reaction_name(plan->unsupported.msr));
    if (plan->dump.where != NULL) {
        (void)fprintf(out, "dump %s%s    # %s\n", plan->dump.command != NULL ? "|" : "",
                      plan->dump.command != NULL ? plan->dump.command : plan->dump.directory,
                      plan->dump.where);
    }
}

static void on_setting(void *context, const char *name, const char *value)
{
    const char *quote = strchr(value, ' ') != NULL ? "\"" : "";

    (void)fprintf(context, "set %s %s%s%s\n", name, quote, value, quote);
}

static void print_memory(const struct plan *plan, FILE *out)
{
    for (uint32_t i = 0; i < plan->ram_count; i++) {
        const struct memory_range *range = &plan->ram[i];

        (void)fprintf(out, "%s ", range->is_rom ? "rom" : "ram");
        if (range->has_start) {
            (void)fprintf(out, "0x%" PRIx64 ",", range->start);
        }
        print_size(range->size, out);
        (void)fprintf(out, "    # %s\n", range->where);
    }
}

static void print_loads(const struct plan *plan, FILE *out)
{
    for (uint32_t i = 0; i < plan->load_count; i++) {
        const struct machine_load *load = &plan->loads[i];

        const char *kind = plan_load_name(load->kind);

        (void)fprintf(out, "%s%sload ", kind, kind[0] != '\0' ? " " : "");
        if (load->has_address) {
            (void)fprintf(out, "0x%" PRIx64 ",", load->address);
        }
        (void)fprintf(out, "%s    # %s\n", load->path, load->where);
    }
}

static void print_vdevs(const struct plan *plan, FILE *out)
{
    struct vdev_host_device device;

    for (size_t i = 0; vdev_host_device(plan->vdevs, i, &device); i++) {
        (void)fprintf(out, "vdev %s name %s", device.module, device.name);
        if (device.pci != NULL) {
            (void)fprintf(out, " ");
            print_pci(device.pci, out);
        }
        for (uint32_t j = 0; j < device.region_count; j++) {
            const struct vdev_region *region = &device.regions[j];

            (void)fprintf(out, " loc %s:0x%" PRIx64 ",%" PRIu64,
                          region->space == VDEV_SPACE_IO ? "io" : "mem", region->start,
                          region->size);
        }
        for (uint32_t j = 0; j < device.intr_count; j++) {
            if (device.intrs[j] != QVM_VDEV_NO_INTR) {
                (void)fprintf(out, " intr %" PRIu32, device.intrs[j]);
            }
        }
        (void)fprintf(out, "    # %s%s\n", device.where,
                      device.is_implied ? " (added for the firmware)" : "");
    }
}

static void print_interrupts(const struct plan *plan, FILE *out)
{
    struct vdev_host_device device;

    (void)fprintf(out, "interrupts:\n");
    for (uint32_t line = 0; line < VDEV_HOST_GSI_COUNT; line++) {
        bool is_told = false;

        for (size_t i = 0; vdev_host_device(plan->vdevs, i, &device); i++) {
            if (plan_has_line(&device, line)) {
                if (!is_told) {
                    (void)fprintf(out, "  %" PRIu32, line);
                }
                (void)fprintf(out, " %s", device.name);
                is_told = true;
            }
        }
        if (is_told) {
            (void)fputc('\n', out);
        }
    }
}

static void print_needs(const struct plan *plan, FILE *out)
{
    (void)fprintf(out, "asks for:\n");
    for (uint32_t i = 0; i < plan->need_count; i++) {
        const struct plan_need *need = &plan->needs[i];

        (void)fprintf(out, "  %s %s", words_name(&words_resource_kind, (int)need->kind), need->id);
        if (need->amount != 0) {
            (void)fprintf(out, " ");
            need->kind == RESOURCE_memory ? print_size(need->amount, out)
                                          : (void)fprintf(out, "%" PRIu64, need->amount);
        }
        if (need->is_readable || need->is_writable) {
            (void)fprintf(out, " %s%s", need->is_readable ? "r" : "", need->is_writable ? "w" : "");
        }
        (void)fprintf(out, "    # %s\n", need->where);
    }
}

void plan_print(const struct plan *plan, FILE *out)
{
    (void)fprintf(out, "system %s    # %s\n", plan->name, plan->where);
    print_cpus(plan, out);
    print_memory(plan, out);
    print_loads(plan, out);
    if (plan->cmdline != NULL) {
        (void)fprintf(out, "cmdline \"%s\"    # %s\n", plan->cmdline, plan->cmdline_where);
    }
    print_vdevs(plan, out);
    print_interrupts(plan, out);
    print_reserves(plan, out);
    print_passes(plan, out);
    print_ports(plan, out);
    print_memories(plan, out);
    print_loggers(plan, out);
    print_policies(plan, out);
    plan_each_setting(&plan->settings, on_setting, out);
    for (uint32_t i = 0; i < plan->warning_count; i++) {
        (void)fprintf(out, "warning %s\n", plan->warnings[i]);
    }
    print_needs(plan, out);
}
