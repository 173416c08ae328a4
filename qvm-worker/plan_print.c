/* The plan as people read it. */
#include <inttypes.h>

#include "proto/base/cleanup.h"
#include "qvm-worker/plan_private.h"

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

static void print_memory(const struct plan *plan, FILE *out)
{
    for (uint32_t i = 0; i < plan->ram_count; i++) {
        const struct memory_range *range = &plan->ram[i];

        (void)fprintf(out, "ram ");
        if (range->has_start) {
            (void)fprintf(out, "0x%" PRIx64 ",", range->start);
        }
        print_size(range->size, out);
        (void)fprintf(out, "    # %s\n", range->where);
    }
}

static void print_loads(const struct plan *plan, FILE *out)
{
    static const char *const kinds[] = {"", "guest ", "initrd ", "data ", "acpi "};

    for (uint32_t i = 0; i < plan->load_count; i++) {
        const struct machine_load *load = &plan->loads[i];

        (void)fprintf(out, "%sload ", kinds[load->kind]);
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
        for (uint32_t j = 0; j < device.region_count; j++) {
            const struct vdev_region *region = &device.regions[j];

            (void)fprintf(out, " loc %s:0x%" PRIx64 ",%" PRIu64,
                          region->space == VDEV_SPACE_IO ? "io" : "mem", region->start,
                          region->size);
        }
        if (device.intr_line != QVM_VDEV_NO_INTR) {
            (void)fprintf(out, " intr %" PRIu32, device.intr_line);
        }
        (void)fprintf(out, "    # %s\n", device.where);
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
    (void)fprintf(out, "cpus %" PRIu32 "    # %s\n", plan->cpu_count, plan->cpu_where);
    print_memory(plan, out);
    print_loads(plan, out);
    if (plan->cmdline != NULL) {
        (void)fprintf(out, "cmdline \"%s\"    # %s\n", plan->cmdline, plan->cmdline_where);
    }
    print_vdevs(plan, out);
    plan_print_settings(&plan->settings, out);
    print_needs(plan, out);
}
