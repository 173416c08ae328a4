/* What firmware of a PC wants besides its ROM: devices that the configuration has by its `rom`. */
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/plan/private.h"
#include "qvm-worker/vdev/host.h"

#define ROM_END ((uint64_t)1 << 32) /* the reset vector is 16 bytes below */

/* The clock, whose memory has the sizes of RAM; the keyboard controller, which resets; the tick;
 * where it learns of the rest; the line that people read. */
static const char *const devices[] = {"mc146818", "pckeyboard", "timer8254", "fw-cfg", "ser8250"};

/* The ROM that a processor starts from, if a bootimage is loaded to it. */
static const struct memory_range *find_firmware(const struct plan *plan)
{
    for (uint32_t i = 0; i < plan->load_count; i++) {
        const struct machine_load *load = &plan->loads[i];
        bool may_boot = load->kind == MACHINE_LOAD_DETECT || load->kind == MACHINE_LOAD_GUEST;

        for (uint32_t j = 0; may_boot && load->has_address && j < plan->ram_count; j++) {
            const struct memory_range *rom = &plan->ram[j];

            if (rom->is_rom && rom->has_start && rom->start + rom->size == ROM_END &&
                load->address >= rom->start && load->address < ROM_END) {
                return rom;
            }
        }
    }
    return NULL;
}

static bool overlap(uint64_t start, uint64_t size, const struct vdev_region *region)
{
    return start < region->start + region->size && region->start < start + size;
}

/* `reserve` keeps it free, or `pass` gives it to the host's. */
static bool is_region_taken(void *context, const struct vdev_region *region)
{
    const struct plan *plan = context;
    bool is_io = region->space == VDEV_SPACE_IO;

    for (uint32_t i = 0; i < plan->reserve_count; i++) {
        const struct plan_reserve *reserve = &plan->reserves[i];

        if (!reserve->is_intr && reserve->loc.kind == (is_io ? LOC_IO : LOC_MEMORY) &&
            overlap(reserve->loc.start, reserve->loc.size, region)) {
            return true;
        }
    }
    for (uint32_t i = 0; is_io && i < plan->ports_count; i++) {
        if (overlap(plan->ports[i].start, plan->ports[i].size, region)) {
            return true;
        }
    }
    for (uint32_t i = 0; !is_io && i < plan->memory_count; i++) {
        if (overlap(plan->memories[i].guest, plan->memories[i].size, region)) {
            return true;
        }
    }
    return false;
}

static bool is_line_taken(void *context, uint32_t line)
{
    const struct plan *plan = context;

    for (uint32_t i = 0; i < plan->reserve_count; i++) {
        if (plan->reserves[i].is_intr && plan->reserves[i].intr == line) {
            return true;
        }
    }
    return false;
}

int plan_add_board(struct plan *plan, struct err *err)
{
    const struct vdev_host_taken taken = {is_region_taken, is_line_taken, plan};
    const struct memory_range *rom = find_firmware(plan);
    int r = 0;

    for (size_t i = 0; rom != NULL && r == 0 && i < ARRAY_LEN(devices); i++) {
        r = vdev_host_imply(plan->vdevs, devices[i], rom->where, &taken, err);
    }
    return r;
}
