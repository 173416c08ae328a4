/* BARs of a function of the host as memory slots of the guest. */
#include "qvm-worker/vfio/bars.h"

#include <errno.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define PAGE        4096ull
#define VECTOR_SIZE 16u /* PCI Local Bus Specification 3.0, 6.8.2 */
#define HOLES_MAX   2u

/* Pages of a BAR in which the qvm answers. */
struct hole {
    uint64_t start, end;
};

static uint32_t find_holes(const struct vfio_registers *registers, uint32_t bar,
                           struct hole holes[HOLES_MAX])
{
    const struct vfio_vectors *vectors = &registers->vectors;
    uint64_t count = vectors->hardware_count;
    uint32_t found = 0;

    if (registers->vector_count == 0) {
        return 0;
    }
    if (vectors->table_bar == bar) {
        holes[found++] = (struct hole){vectors->table, vectors->table + count * VECTOR_SIZE};
    }
    if (vectors->pending_bar == bar) {
        holes[found++] = (struct hole){vectors->pending, vectors->pending + (count + 63) / 64 * 8};
    }
    for (uint32_t i = 0; i < found; i++) {
        holes[i].start &= ~(PAGE - 1);
        holes[i].end = (holes[i].end + PAGE - 1) & ~(PAGE - 1);
    }
    return found;
}

static int add_piece(struct vfio_bars *bars, uint32_t bar, uint64_t start, uint64_t end,
                     struct err *err)
{
    const struct vfio_device *device = bars->config.device;
    struct vfio_piece *piece = &bars->pieces[bars->piece_count];

    if (bars->piece_count == VFIO_PIECES_MAX) {
        return err_set(err, -ENOSPC, "its BARs have more than %u areas that can be mapped",
                       VFIO_PIECES_MAX);
    }
    *piece = (struct vfio_piece){.bar = bar, .area = {start, end - start}};
    piece->host = device->ops->map(device->context, bar, &piece->area);
    bars->piece_count += piece->host != NULL ? 1 : 0;
    return 0;
}

/* The pages of [start, end) that are in no hole. */
static int add_range(struct vfio_bars *bars, uint32_t bar, uint64_t start, uint64_t end,
                     struct err *err)
{
    struct hole holes[HOLES_MAX];
    uint32_t count = find_holes(bars->config.registers, bar, holes);
    int r = 0;

    start = (start + PAGE - 1) & ~(PAGE - 1);
    end &= ~(PAGE - 1);
    while (r == 0 && start < end) {
        uint64_t stop = end, next = end;

        for (uint32_t i = 0; i < count; i++) {
            if (holes[i].start <= start && holes[i].end > start) {
                stop = start; /* inside a hole */
                next = holes[i].end;
                break;
            }
            if (holes[i].start > start && holes[i].start < stop) {
                stop = holes[i].start;
                next = holes[i].end;
            }
        }
        r = stop > start ? add_piece(bars, bar, start, stop, err) : 0;
        start = stop > start && stop < end ? stop : next;
    }
    return r;
}

int vfio_bars_init(struct vfio_bars *bars, const struct vfio_bars_config *config, struct err *err)
{
    const struct vfio_device *device = config->device;
    int r = 0;

    *bars = (struct vfio_bars){.config = *config};
    for (uint32_t bar = 0; r == 0 && bar < PCI_BARS; bar++) {
        const struct pci_bar *is = &config->registers->bars[bar];
        struct vfio_region region = {0};

        if (is->size == 0 || is->space != BUS_MEMORY) {
            continue;
        }
        r = device->ops->region(device->context, bar, &region, err);
        if (r != 0 || !region.can_read || !region.can_write) {
            continue;
        }
        for (uint32_t i = 0; r == 0 && i < region.area_count; i++) {
            const struct vfio_area *area = &region.areas[i];

            if (area->offset <= is->size && area->size <= is->size - area->offset) {
                r = add_range(bars, bar, area->offset, area->offset + area->size, err);
            }
        }
    }
    return r;
}

static int place(const struct vfio_bars *bars, uint32_t i, uint64_t address, bool is_there)
{
    const struct vfio_bars_config *config = &bars->config;
    const struct vfio_piece *piece = &bars->pieces[i];

    return config->slot(config->context, config->first_slot + i, address, piece->host,
                        is_there ? piece->area.size : 0);
}

int vfio_bars_place(struct vfio_bars *bars, uint32_t bar, uint64_t address, bool is_there)
{
    int first = 0;

    for (uint32_t i = 0; i < bars->piece_count; i++) {
        struct vfio_piece *piece = &bars->pieces[i];
        int r;

        if (piece->bar != bar || piece->is_there == is_there) {
            continue;
        }
        r = place(bars, i, address + piece->area.offset, is_there);
        if (r == 0) {
            piece->is_there = is_there;
            piece->address = address + piece->area.offset;
        }
        first = first == 0 ? r : first;
    }
    return first;
}

void vfio_bars_forget(struct vfio_bars *bars)
{
    for (uint32_t i = 0; i < bars->piece_count; i++) {
        if (bars->pieces[i].is_there) {
            (void)place(bars, i, bars->pieces[i].address, false); /* it is there: it can go */
        }
    }
    bars->piece_count = 0;
}
