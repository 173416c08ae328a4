/* Put together what can be without KVM and without rights. */
#include "qvm-worker/dryrun.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus/bus.h"
#include "qvm-worker/dryrun_images.h"
#include "qvm-worker/machine/places.h"
#include "qvm-worker/machine/power.h"
#include "qvm-worker/memory/memory.h"
#include "qvm-worker/pci/pci.h"
#include "qvm-worker/plan/json_out.h"
#include "qvm-worker/plan/plan.h"
#include "qvm-worker/vdev/host.h"

static const char *kind_of(const struct memory_region *region)
{
    return region->is_ram ? "RAM" : region->is_read_only ? "firmware area, ROM" : "firmware area";
}

static void print_memory(const struct memory *memory, FILE *out)
{
    uint32_t count = 0;
    const struct memory_region *regions = memory_regions(memory, &count);

    (void)fprintf(out, "memory map:\n");
    for (uint32_t i = 0; i < count; i++) {
        (void)fprintf(out, "  0x%012" PRIx64 "-0x%012" PRIx64 " %s\n", regions[i].start,
                      regions[i].start + regions[i].size - 1, kind_of(&regions[i]));
    }
    regions = memory_roms(memory, &count);
    for (uint32_t i = 0; i < count; i++) {
        (void)fprintf(out, "  0x%012" PRIx64 "-0x%012" PRIx64 " ROM\n", regions[i].start,
                      regions[i].start + regions[i].size - 1);
    }
}

static void json_memory(const struct memory *memory, struct json_out *out)
{
    uint32_t count = 0;
    const struct memory_region *regions = memory_regions(memory, &count);

    json_out_open_array(out, "memory_map");
    for (uint32_t i = 0; i < count; i++) {
        json_out_open_object(out, NULL);
        json_out_number(out, "start", regions[i].start);
        json_out_number(out, "size", regions[i].size);
        json_out_string(out, "kind", kind_of(&regions[i]));
        json_out_close_object(out);
    }
    json_out_close_array(out);
}

static void print_all(const struct plan *plan, const struct memory *memory, FILE *out)
{
    struct json_out json = {.out = out};

    if (plan->settings.summary == PLAN_SUMMARY_TEXT) {
        plan_print(plan, out);
        print_memory(memory, out);
        return;
    }
    json_out_open_object(&json, NULL);
    plan_json(plan, &json);
    json_memory(memory, &json);
    json_out_close_object(&json);
}

/* Files that vdevs ask for are looked at; the ends of serial lines are not opened, since that can
 * have effects. */
static int check_files(const struct plan *plan, struct err *err)
{
    for (uint32_t i = 0; i < plan->need_count; i++) {
        const struct plan_need *need = &plan->needs[i];
        auto_close int fd = -1;
        struct stat stat;

        if (need->kind != RESOURCE_file || need->load != UINT32_MAX) {
            continue;
        }
        fd = open(need->id, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0 || fstat(fd, &stat) != 0) {
            return err_sys(err, -errno, "%s: cannot open '%s'", need->where, need->id);
        }
        if (!S_ISREG(stat.st_mode) && !S_ISBLK(stat.st_mode)) {
            return err_set(err, -EINVAL, "%s: '%s' is no regular file or block device", need->where,
                           need->id);
        }
    }
    return 0;
}

static void on_intr(void *context, uint32_t gsi, bool is_high)
{
    (void)context;
    (void)gsi;
    (void)is_high;
}

static void on_request(void *context, enum vdev_request request, uint32_t value)
{
    (void)context;
    (void)request;
    (void)value;
}

static int make_vdevs(const struct plan *plan, struct vdev_host *vdevs, struct uv_loop_s *loop,
                      struct bus *bus, struct pci *pci, struct err *err)
{
    struct vdev_host_env env = {.loop = loop,
                                .bus = bus,
                                .pci = pci,
                                .system = plan->name,
                                .cpu_count = plan->cpu_count,
                                .is_dry = true,
                                .intr = on_intr,
                                .request = on_request};

    return vdev_host_build(vdevs, &env, err);
}

static void on_power(void *context)
{
    (void)context;
}

static void on_pulse(void *context, uint32_t gsi)
{
    on_intr(context, gsi, false);
}

static void on_message(void *context, uint64_t address, uint32_t data)
{
    (void)context;
    (void)address;
    (void)data;
}

static void on_pm_base(void *context, uint16_t base)
{
    power_place(context, base);
}

/* PCI buses as the VM would have them; only their places matter. */
static int make_pci(bool wants_pci, bool is_full, struct bus *bus, struct power *power,
                    struct pci **pci, struct err *err)
{
    static const struct pci_ops ops = {
        .line = on_intr, .message = on_message, .reset = on_power, .pm_base = on_pm_base};
    const struct pci_config config = {.bus = bus,
                                      .ops = &ops,
                                      .context = power,
                                      .has_lpc = is_full,
                                      .high_start = MEMORY_ADDRESS_MAX,
                                      .high_end = 2 * MEMORY_ADDRESS_MAX};

    return wants_pci || is_full ? pci_create(&config, pci, err) : 0;
}

static void on_port(void *device, uint32_t region, uint64_t offset, uint32_t size, uint64_t *value,
                    bool is_write)
{
    (void)device;
    (void)region;
    (void)offset;
    (void)size;
    (void)value;
    (void)is_write;
}

/* Ports of the host have their places like those of vdevs. */
static int claim_ports(const struct plan *plan, struct bus *bus, struct err *err)
{
    for (uint32_t i = 0; i < plan->ports_count; i++) {
        const struct plan_ports *ports = &plan->ports[i];
        int r = bus_add(bus, BUS_IO, ports->start, ports->size, on_port, NULL, 0, ports->name, err);

        if (r != 0) {
            (void)err_prefix(err, "%s: ", ports->where);
            return r;
        }
    }
    return 0;
}

/* And its memory. */
static int claim_memories(const struct plan *plan, struct bus *bus, struct err *err)
{
    for (uint32_t i = 0; i < plan->memory_count; i++) {
        const struct plan_memory *memory = &plan->memories[i];
        int r = bus_add(bus, BUS_MEMORY, memory->guest, memory->size, on_port, NULL, 0,
                        memory->name, err);

        if (r != 0) {
            (void)err_prefix(err, "%s: ", memory->where);
            return r;
        }
    }
    return 0;
}

/* What the machine itself has on the bus, then the vdevs. */
static int fill_bus(const struct plan *plan, struct vdev_host *vdevs, struct uv_loop_s *loop,
                    const struct memory *memory, struct bus *bus, struct err *err)
{
    static const struct power_ops ops = {on_power, on_power, on_pulse, on_intr};
    struct power *power = NULL;
    struct pci *pci = NULL;
    struct vdev_host_chips chips;
    bool wants_pci = vdev_host_wants_pci(vdevs) || plan->pass_count > 0;
    int r;

    vdev_host_get_chips(vdevs, &chips);
    r = machine_places_claim(bus, memory, !chips.are_own, false, err);
    r = r == 0 ? power_create(bus, &ops, NULL, plan_has_full_acpi(plan), &power, err) : r;
    r = r == 0 ? make_pci(wants_pci, plan_has_full_acpi(plan), bus, power, &pci, err) : r;
    plan_avoid(plan, pci);
    r = r == 0 && pci != NULL ? plan_reserve_passes(plan, pci, err) : r;
    r = r == 0 ? claim_ports(plan, bus, err) : r;
    r = r == 0 ? claim_memories(plan, bus, err) : r;
    r = r == 0 ? make_vdevs(plan, vdevs, loop, bus, pci, err) : r;
    r = r == 0 && pci != NULL ? pci_seal(pci, err) : r;
    pci_destroy(pci);
    power_destroy(power);
    return r;
}

static int check_cpus(const struct plan *plan, struct err *err)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < plan->cpu_count; i++) {
        r = placement_check(&plan->cpus[i].placement, err);
    }
    return r;
}

int dryrun(const struct plan *plan, struct vdev_host *vdevs, struct uv_loop_s *loop, FILE *out,
           struct err *err)
{
    struct memory *memory = NULL;
    struct bus *bus = bus_create();
    int r;

    if (bus == NULL) {
        return err_set(err, -ENOMEM, "no memory left");
    }
    r = memory_create(plan->ram, plan->ram_count, &memory, err);
    r = r == 0 ? check_cpus(plan, err) : r;
    r = r == 0 ? dryrun_images(plan, memory, err) : r;
    r = r == 0 ? check_files(plan, err) : r;
    r = r == 0 ? fill_bus(plan, vdevs, loop, memory, bus, err) : r;
    if (r == 0) {
        print_all(plan, memory, out);
    }
    memory_destroy(memory);
    bus_destroy(bus);
    return r;
}
