/* Where memory lies. */
#include "qvm-worker/memory/layout.h"

#include <errno.h>
#include <inttypes.h>

#include "proto/base/err.h"

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static const char *kind_name(bool is_rom)
{
    return is_rom ? "ROM" : "RAM";
}

static bool overlaps(const struct memory_piece *piece, uint64_t start, uint64_t end)
{
    return piece->start < end && piece->end > start;
}

/* RAM keeps off the whole device area, ROM off the interrupt controllers. */
static int check_place(const struct memory_piece *new, uint64_t devices_start, struct err *err)
{
    if (!new->is_rom && overlaps(new, devices_start, MEMORY_DEVICES_END)) {
        return err_set(err, -EINVAL,
                       "%s: RAM 0x%" PRIx64 "-0x%" PRIx64 " overlaps the device area 0x%" PRIx64
                       "-0x%llx",
                       new->where, new->start, new->end - 1, devices_start, MEMORY_DEVICES_END - 1);
    }
    if (new->is_rom && overlaps(new, MEMORY_CHIPS_START, MEMORY_CHIPS_END)) {
        return err_set(err, -EINVAL,
                       "%s: ROM 0x%" PRIx64 "-0x%" PRIx64 " overlaps the interrupt controllers",
                       new->where, new->start, new->end - 1);
    }
    return 0;
}

/* ROM over the firmware area makes all of that one ROM, with what the VM keeps there. */
static int check_firmware_rom(const struct memory_layout *layout, const struct memory_piece *new,
                              struct err *err)
{
    if (new->start > MEMORY_FIRMWARE_START || new->end < MEMORY_FIRMWARE_END) {
        return err_set(err, -EINVAL,
                       "%s: ROM 0x%" PRIx64 "-0x%" PRIx64 " covers a part of the firmware area "
                       "0x%llx-0x%llx, which the VM fills itself: give all of it, or nothing",
                       new->where, new->start, new->end - 1, MEMORY_FIRMWARE_START,
                       MEMORY_FIRMWARE_END - 1);
    }
    if (layout->devices_start == MEMORY_FIRMWARE_ECAM) {
        return err_set(err, -EINVAL,
                       "%s: ROM 0x%" PRIx64 "-0x%" PRIx64 " is where the end of the firmware's ROM "
                       "is seen: leave this 'rom' out",
                       new->where, new->start, new->end - 1);
    }
    return 0;
}

static int layout_add(struct memory_layout *layout, uint64_t start, uint64_t size,
                      const struct memory_range *range, struct err *err)
{
    struct memory_piece new = {
        .start = start, .end = start + size, .where = range->where, .is_rom = range->is_rom};
    int r;

    if (size > MEMORY_ADDRESS_MAX || start > MEMORY_ADDRESS_MAX - size) {
        return err_set(err, -EINVAL, "%s: %s at 0x%" PRIx64 " ends above 0x%llx", range->where,
                       kind_name(range->is_rom), start, MEMORY_ADDRESS_MAX);
    }
    r = check_place(&new, layout->devices_start, err);
    if (r == 0 && new.is_rom && overlaps(&new, MEMORY_FIRMWARE_START, MEMORY_FIRMWARE_END)) {
        r = check_firmware_rom(layout, &new, err);
    }
    for (uint32_t i = 0; r == 0 && i < layout->count; i++) {
        const struct memory_piece *old = &layout->pieces[i];

        if (overlaps(old, new.start, new.end)) {
            return err_set(err, -EINVAL, "%s: %s 0x%" PRIx64 "-0x%" PRIx64 " overlaps the %s of %s",
                           new.where, kind_name(new.is_rom), start, new.end - 1,
                           kind_name(old->is_rom), old->where);
        }
    }
    if (r == 0) {
        layout->pieces[layout->count++] = new;
    }
    return r;
}

/* What of a ROM lies below and above the firmware area becomes a piece. */
static void cut_firmware_rom(struct memory_layout *layout)
{
    uint32_t i = 0;
    struct memory_piece rom;

    while (i < layout->count &&
           !(layout->pieces[i].is_rom &&
             overlaps(&layout->pieces[i], MEMORY_FIRMWARE_START, MEMORY_FIRMWARE_END))) {
        i++;
    }
    if (i == layout->count) {
        return;
    }
    layout->is_firmware_rom = true;
    rom = layout->pieces[i];
    layout->pieces[i] = layout->pieces[--layout->count];
    if (rom.start < MEMORY_FIRMWARE_START) {
        layout->pieces[layout->count] = rom;
        layout->pieces[layout->count++].end = MEMORY_FIRMWARE_START;
    }
    if (rom.end > MEMORY_FIRMWARE_END) {
        layout->pieces[layout->count] = rom;
        layout->pieces[layout->count++].start = MEMORY_FIRMWARE_END;
    }
}

/* Where a range without a start begins. ROM among the devices is no end of RAM. */
static uint64_t layout_end(const struct memory_layout *layout)
{
    uint64_t end = 0;

    for (uint32_t i = 0; i < layout->count; i++) {
        const struct memory_piece *piece = &layout->pieces[i];

        if (!piece->is_rom || !overlaps(piece, layout->devices_start, MEMORY_DEVICES_END)) {
            end = max_u64(end, piece->end);
        }
    }
    return end;
}

static int layout_add_range(struct memory_layout *layout, const struct memory_range *range,
                            struct err *err)
{
    uint64_t start = range->has_start ? range->start : layout_end(layout);
    uint64_t low = 0;
    int r = 0;

    if (range->size == 0 || range->size % MEMORY_PAGE_SIZE != 0) {
        return err_set(err, -EINVAL,
                       "%s: %s comes in multiples of 4 KiB, and not none: not %" PRIu64,
                       range->where, kind_name(range->is_rom), range->size);
    }
    if (start % MEMORY_PAGE_SIZE != 0) {
        return err_set(err, -EINVAL,
                       "%s: %s starts at a multiple of 4 KiB (0x1000): not at 0x%" PRIx64
                       ", but at 0x%" PRIx64 " for example",
                       range->where, kind_name(range->is_rom), start,
                       start - start % MEMORY_PAGE_SIZE);
    }
    if (range->has_start || range->is_rom || start >= MEMORY_DEVICES_END) {
        return layout_add(layout, start, range->size, range, err);
    }
    if (start < layout->devices_start) {
        low = min_u64(range->size, layout->devices_start - start);
        r = layout_add(layout, start, low, range, err);
    }
    if (r == 0 && low < range->size) {
        r = layout_add(layout, MEMORY_DEVICES_END, range->size - low, range, err);
    }
    return r;
}

static void layout_sort(struct memory_layout *layout)
{
    for (uint32_t i = 1; i < layout->count; i++) {
        struct memory_piece piece = layout->pieces[i];
        uint32_t at = i;

        for (; at > 0 && layout->pieces[at - 1].start > piece.start; at--) {
            layout->pieces[at] = layout->pieces[at - 1];
        }
        layout->pieces[at] = piece;
    }
}

/* Firmware is ROM that ends at 4 GiB. */
static uint64_t find_devices_start(const struct memory_range *ranges, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ranges[i].is_rom && ranges[i].has_start &&
            ranges[i].start + ranges[i].size == MEMORY_DEVICES_END) {
            return MEMORY_FIRMWARE_ECAM;
        }
    }
    return MEMORY_DEVICES_START;
}

int memory_layout_make(struct memory_layout *layout, const struct memory_range *ranges,
                       uint32_t count, struct err *err)
{
    if (count == 0 || count > MEMORY_RANGES_MAX) {
        return err_set(err, -EINVAL, "%s: a guest has 1 to %u `ram` options, not %u",
                       count == 0 ? "configuration" : ranges[count - 1].where, MEMORY_RANGES_MAX,
                       count);
    }
    layout->devices_start = find_devices_start(ranges, count);
    for (uint32_t i = 0; i < count; i++) {
        int r = layout_add_range(layout, &ranges[i], err);

        if (r != 0) {
            return r;
        }
    }
    cut_firmware_rom(layout);
    layout_sort(layout);
    return 0;
}
