/* Guest RAM: one sealed memfd, mapped once, and the one gate to it. */
#include "qvm-worker/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define HUGE_PAGE_SIZE (2ull << 20)
#define POPULATE_STEP  (64ull << 20)

/* A range may be split by the device area, and the first MiB is cut at three places. */
#define PIECES_MAX  (2 * MEMORY_RANGES_MAX)
#define REGIONS_MAX (PIECES_MAX + 4)

struct memory {
    int fd;
    uint8_t *reserved; /* address space with inaccessible pages before and behind the RAM */
    uint64_t reserved_size;
    uint8_t *base; /* of the memfd's mapping */
    uint64_t file_size;
    uint64_t size_below_4g, size_above_4g;
    uint32_t region_count;
    struct memory_region regions[REGIONS_MAX];
};

/* A piece of RAM as configured, before the first MiB is cut. */
struct piece {
    uint64_t start, end;
    const char *where;
};

struct layout {
    uint32_t count;
    struct piece pieces[PIECES_MAX];
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static int layout_add(struct layout *layout, uint64_t start, uint64_t size, const char *where,
                      struct err *err)
{
    struct piece new = {.start = start, .end = start + size, .where = where};

    if (size > MEMORY_ADDRESS_MAX || start > MEMORY_ADDRESS_MAX - size) {
        return err_set(err, -EINVAL, "%s: RAM at 0x%" PRIx64 " ends above 0x%llx", where, start,
                       MEMORY_ADDRESS_MAX);
    }
    if (start<MEMORY_DEVICES_END &&new.end> MEMORY_DEVICES_START) {
        return err_set(err, -EINVAL,
                       "%s: RAM 0x%" PRIx64 "-0x%" PRIx64 " overlaps the device area 0x%llx-0x%llx",
                       where, start, new.end - 1, MEMORY_DEVICES_START, MEMORY_DEVICES_END - 1);
    }
    for (uint32_t i = 0; i < layout->count; i++) {
        const struct piece *old = &layout->pieces[i];

        if (start<old->end &&new.end> old->start) {
            return err_set(err, -EINVAL,
                           "%s: RAM 0x%" PRIx64 "-0x%" PRIx64 " overlaps the RAM of %s", where,
                           start, new.end - 1, old->where);
        }
    }
    layout->pieces[layout->count++] = new;
    return 0;
}

static uint64_t layout_end(const struct layout *layout)
{
    uint64_t end = 0;

    for (uint32_t i = 0; i < layout->count; i++) {
        end = max_u64(end, layout->pieces[i].end);
    }
    return end;
}

static int layout_add_range(struct layout *layout, const struct memory_range *range,
                            struct err *err)
{
    uint64_t start = range->has_start ? range->start : layout_end(layout);
    uint64_t low = 0;
    int r = 0;

    if (range->size == 0 || range->size % MEMORY_PAGE_SIZE != 0 || start % MEMORY_PAGE_SIZE != 0) {
        return err_set(err, -EINVAL, "%s: RAM comes in multiples of 4 KiB, and not none",
                       range->where);
    }
    if (range->has_start || start >= MEMORY_DEVICES_END) {
        return layout_add(layout, start, range->size, range->where, err);
    }
    if (start < MEMORY_DEVICES_START) {
        low = min_u64(range->size, MEMORY_DEVICES_START - start);
        r = layout_add(layout, start, low, range->where, err);
    }
    if (r == 0 && low < range->size) {
        r = layout_add(layout, MEMORY_DEVICES_END, range->size - low, range->where, err);
    }
    return r;
}

static void layout_sort(struct layout *layout)
{
    for (uint32_t i = 1; i < layout->count; i++) {
        struct piece piece = layout->pieces[i];
        uint32_t at = i;

        for (; at > 0 && layout->pieces[at - 1].start > piece.start; at--) {
            layout->pieces[at] = layout->pieces[at - 1];
        }
        layout->pieces[at] = piece;
    }
}

static int layout_ranges(struct layout *layout, const struct memory_range *ranges, uint32_t count,
                         struct err *err)
{
    if (count == 0 || count > MEMORY_RANGES_MAX) {
        return err_set(err, -EINVAL, "%s: a guest has 1 to %u `ram` options, not %u",
                       count == 0 ? "configuration" : ranges[count - 1].where, MEMORY_RANGES_MAX,
                       count);
    }
    for (uint32_t i = 0; i < count; i++) {
        int r = layout_add_range(layout, &ranges[i], err);

        if (r != 0) {
            return r;
        }
    }
    layout_sort(layout);
    return 0;
}

static void add_region(struct memory *memory, uint64_t start, uint64_t end, uint64_t offset,
                       bool is_ram)
{
    if (start < end) {
        memory->regions[memory->region_count++] = (struct memory_region){
            .start = start, .size = end - start, .offset = offset, .is_ram = is_ram};
    }
}

/* Reserve room in the memfd at a place with the same offset in its 2 MiB as `start`. */
static uint64_t place_in_file(struct memory *memory, uint64_t start, uint64_t size)
{
    uint64_t offset = (memory->file_size + HUGE_PAGE_SIZE - 1) / HUGE_PAGE_SIZE * HUGE_PAGE_SIZE +
                      start % HUGE_PAGE_SIZE;

    memory->file_size = offset + size;
    return offset;
}

/* The parts of `piece` in [from, to) become a region. */
static void add_cut(struct memory *memory, const struct piece *piece, uint64_t offset,
                    uint64_t from, uint64_t to)
{
    uint64_t start = max_u64(piece->start, from);

    add_region(memory, start, min_u64(piece->end, to), offset + (start - piece->start), true);
}

static void make_regions(struct memory *memory, const struct layout *layout)
{
    uint64_t firmware_size = MEMORY_FIRMWARE_END - MEMORY_FIRMWARE_START;
    uint64_t firmware = place_in_file(memory, MEMORY_FIRMWARE_START, firmware_size);
    bool has_firmware = false;

    for (uint32_t i = 0; i < layout->count; i++) {
        const struct piece *piece = &layout->pieces[i];
        uint64_t size = piece->end - piece->start;
        uint64_t offset = place_in_file(memory, piece->start, size);

        add_cut(memory, piece, offset, 0, MEMORY_HOLE_START);
        add_cut(memory, piece, offset, MEMORY_HOLE_END, MEMORY_FIRMWARE_START);
        if (!has_firmware && piece->end > MEMORY_FIRMWARE_START) {
            add_region(memory, MEMORY_FIRMWARE_START, MEMORY_FIRMWARE_END, firmware, false);
            has_firmware = true;
        }
        add_cut(memory, piece, offset, MEMORY_FIRMWARE_END, UINT64_MAX);
        if (piece->start >= MEMORY_DEVICES_END) {
            memory->size_above_4g += size;
        } else {
            memory->size_below_4g += size;
        }
    }
    if (!has_firmware) {
        add_region(memory, MEMORY_FIRMWARE_START, MEMORY_FIRMWARE_END, firmware, false);
    }
}

static int make_file(struct memory *memory, struct err *err)
{
    memory->fd = memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory->fd < 0 || ftruncate(memory->fd, (off_t)memory->file_size) != 0) {
        return err_sys(err, -errno, "cannot make guest RAM of %" PRIu64 " MiB",
                       memory_size(memory) >> 20);
    }
    if (fcntl(memory->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        return err_sys(err, -errno, "cannot seal guest RAM");
    }
    return 0;
}

/* Map the file at a 2 MiB border, between pages that nobody can touch. */
static int map_file(struct memory *memory, struct err *err)
{
    uint64_t mapped = (memory->file_size + HUGE_PAGE_SIZE - 1) / HUGE_PAGE_SIZE * HUGE_PAGE_SIZE;
    uint64_t size = mapped + 2 * HUGE_PAGE_SIZE;
    void *at = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (at == MAP_FAILED) {
        return err_sys(err, -errno, "no address space for guest RAM");
    }
    memory->reserved = at;
    memory->reserved_size = size;
    memory->base = memory->reserved + HUGE_PAGE_SIZE - (uintptr_t)at % HUGE_PAGE_SIZE;
    at = mmap(memory->base, memory->file_size, PROT_READ | PROT_WRITE,
              MAP_SHARED | MAP_NORESERVE | MAP_FIXED, memory->fd, 0);
    if (at == MAP_FAILED) {
        return err_sys(err, -errno, "cannot map guest RAM");
    }
    (void)madvise(memory->base, memory->file_size, MADV_HUGEPAGE); /* slower without, no worse */
    for (uint32_t i = 0; i < memory->region_count; i++) {
        memory->regions[i].host = memory->base + memory->regions[i].offset;
    }
    return 0;
}

int memory_check(const struct memory_range *ranges, uint32_t count, struct err *err)
{
    struct layout layout = {0};

    return layout_ranges(&layout, ranges, count, err);
}

int memory_create(const struct memory_range *ranges, uint32_t count, struct memory **memory,
                  struct err *err)
{
    struct layout layout = {0};
    struct memory *new;
    int r = layout_ranges(&layout, ranges, count, err);

    if (r != 0) {
        return r;
    }
    new = calloc(1, sizeof(*new));
    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    new->fd = -1;
    make_regions(new, &layout);
    r = make_file(new, err);
    if (r == 0) {
        r = map_file(new, err);
    }
    if (r != 0) {
        memory_destroy(new);
        return r;
    }
    *memory = new;
    return 0;
}

void memory_destroy(struct memory *memory)
{
    if (memory == NULL) {
        return;
    }
    if (memory->reserved != NULL) {
        (void)munmap(memory->reserved, memory->reserved_size); /* cannot fail: it is ours */
    }
    cleanup_close(&memory->fd);
    free(memory);
}

const struct memory_region *memory_regions(const struct memory *memory, uint32_t *count)
{
    *count = memory->region_count;
    return memory->regions;
}

int memory_fd(const struct memory *memory)
{
    return memory->fd;
}

uint64_t memory_size(const struct memory *memory)
{
    return memory->size_below_4g + memory->size_above_4g;
}

uint64_t memory_size_below_4g(const struct memory *memory)
{
    return memory->size_below_4g;
}

uint64_t memory_size_above_4g(const struct memory *memory)
{
    return memory->size_above_4g;
}

/* The region that `address` lies in, or NULL. */
static const struct memory_region *find_region(const struct memory *memory, uint64_t address)
{
    uint32_t low = 0, high = memory->region_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct memory_region *region = &memory->regions[middle];

        if (address < region->start) {
            high = middle;
        } else if (address - region->start >= region->size) {
            low = middle + 1;
        } else {
            return region;
        }
    }
    return NULL;
}

uint64_t memory_run(const struct memory *memory, gpa_t address)
{
    const struct memory_region *region = find_region(memory, address.value);

    return region == NULL ? 0 : region->size - (address.value - region->start);
}

void *memory_span(const struct memory *memory, gpa_t address, uint64_t length)
{
    const struct memory_region *region = find_region(memory, address.value);

    if (region == NULL || length > region->size - (address.value - region->start)) {
        return NULL;
    }
    return region->host + (address.value - region->start);
}

/* Whether all of [address, address + length) is RAM. */
static bool is_all_ram(const struct memory *memory, uint64_t address, uint64_t length)
{
    while (length > 0) {
        uint64_t run = memory_run(memory, gpa(address));

        if (run == 0) {
            return false;
        }
        run = min_u64(run, length);
        address += run;
        length -= run;
    }
    return true;
}

int memory_copy_in(const struct memory *memory, gpa_t address, const void *from, uint64_t length)
{
    const uint8_t *next = from;

    if (!is_all_ram(memory, address.value, length)) {
        return -EFAULT;
    }
    while (length > 0) {
        uint64_t run = min_u64(memory_run(memory, address), length);

        memcpy(memory_span(memory, address, run), next, run);
        address.value += run;
        next += run;
        length -= run;
    }
    return 0;
}

int memory_copy_out(const struct memory *memory, gpa_t address, void *to, uint64_t length)
{
    uint8_t *next = to;

    if (!is_all_ram(memory, address.value, length)) {
        return -EFAULT;
    }
    while (length > 0) {
        uint64_t run = min_u64(memory_run(memory, address), length);

        memcpy(next, memory_span(memory, address, run), run);
        address.value += run;
        next += run;
        length -= run;
    }
    return 0;
}

int memory_populate(const struct memory *memory, memory_progress_fn progress, void *context,
                    struct err *err)
{
    uint64_t done = 0, all = 0;

    for (uint32_t i = 0; i < memory->region_count; i++) {
        all += memory->regions[i].size;
    }
    for (uint32_t i = 0; i < memory->region_count; i++) {
        const struct memory_region *region = &memory->regions[i];

        for (uint64_t at = 0; at < region->size;) {
            uint64_t step = min_u64(region->size - at, POPULATE_STEP);

            if (madvise(region->host + at, step, MADV_POPULATE_WRITE) != 0) {
                return err_sys(err, -errno, "the host has no %" PRIu64 " MiB for guest RAM",
                               all >> 20);
            }
            at += step;
            done += step;
            if (progress != NULL) {
                progress(context, done, all);
            }
        }
    }
    return 0;
}
