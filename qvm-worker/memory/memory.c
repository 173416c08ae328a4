/* Guest RAM: one sealed memfd, mapped once, and the one gate to it. */
#include "qvm-worker/memory/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/memory/layout.h"

#define HUGE_PAGE_SIZE (2ull << 20) /* of ordinary memory that the kernel makes huge by itself */
#define POPULATE_STEP  (64ull << 20)

#define REGIONS_MAX (MEMORY_PIECES_MAX + 4) /* the first MiB is cut at three places */

struct memory {
    int fd;
    uint8_t *reserved; /* address space with inaccessible pages before and behind the RAM */
    uint64_t reserved_size;
    uint8_t *base; /* of the memfd's mapping */
    uint64_t file_size;
    uint64_t page_size; /* of hugetlb; MEMORY_PAGE_SIZE: ordinary memory */
    uint64_t border;    /* parts begin in the file where they do in this many bytes of addresses */
    uint64_t size_below_4g, size_above_4g;
    uint32_t region_count, rom_count;
    struct memory_region regions[REGIONS_MAX];
    struct memory_region roms[MEMORY_PIECES_MAX];
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void add_region(struct memory *memory, uint64_t start, uint64_t end, uint64_t offset,
                       bool is_ram)
{
    if (start < end) {
        memory->regions[memory->region_count++] = (struct memory_region){
            .start = start, .size = end - start, .offset = offset, .is_ram = is_ram};
    }
}

static uint64_t round_up(uint64_t size, uint64_t to)
{
    return (size + to - 1) / to * to;
}

/* Reserve room in the memfd at a place with the same offset in its huge page as `start`. */
static uint64_t place_in_file(struct memory *memory, uint64_t start, uint64_t size)
{
    uint64_t offset = round_up(memory->file_size, memory->border) + start % memory->border;

    memory->file_size = offset + size;
    return offset;
}

/* The parts of `piece` in [from, to) become a region. */
static void add_cut(struct memory *memory, const struct memory_piece *piece, uint64_t offset,
                    uint64_t from, uint64_t to)
{
    uint64_t start = max_u64(piece->start, from);

    add_region(memory, start, min_u64(piece->end, to), offset + (start - piece->start), true);
}

/* Inside the RAM that lies around it, so that one slot holds all of that; else at its own place.
 * `piece`, at `offset` in the file, may be NULL. */
static void add_firmware(struct memory *memory, const struct memory_piece *piece, uint64_t offset)
{
    if (piece != NULL && piece->start <= MEMORY_FIRMWARE_START &&
        piece->end >= MEMORY_FIRMWARE_END) {
        offset += MEMORY_FIRMWARE_START - piece->start;
    } else {
        offset = place_in_file(memory, MEMORY_FIRMWARE_START,
                               MEMORY_FIRMWARE_END - MEMORY_FIRMWARE_START);
    }
    add_region(memory, MEMORY_FIRMWARE_START, MEMORY_FIRMWARE_END, offset, false);
}

static void make_regions(struct memory *memory, const struct memory_layout *layout)
{
    bool has_firmware = false;

    for (uint32_t i = 0; i < layout->count; i++) {
        const struct memory_piece *piece = &layout->pieces[i];
        uint64_t size = piece->end - piece->start;
        uint64_t offset = place_in_file(memory, piece->start, size);

        if (piece->is_rom) {
            memory->roms[memory->rom_count++] = (struct memory_region){
                .start = piece->start, .size = size, .offset = offset, .is_read_only = true};
            continue;
        }
        add_cut(memory, piece, offset, 0, MEMORY_HOLE_START);
        add_cut(memory, piece, offset, MEMORY_HOLE_END, MEMORY_FIRMWARE_START);
        if (!has_firmware && piece->end > MEMORY_FIRMWARE_START) {
            add_firmware(memory, piece, offset);
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
        add_firmware(memory, NULL, 0);
    }
    for (uint32_t i = 0; i < memory->region_count; i++) {
        memory->regions[i].is_read_only = !memory->regions[i].is_ram && layout->is_firmware_rom;
    }
}

static bool is_hugetlb(const struct memory *memory)
{
    return memory->page_size > MEMORY_PAGE_SIZE;
}

static int make_file(struct memory *memory, struct err *err)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;

    if (is_hugetlb(memory)) { /* memfd_create(2): the logarithm of the size */
        flags |= MFD_HUGETLB | (unsigned)__builtin_ctzll(memory->page_size) << MAP_HUGE_SHIFT;
    }
    memory->fd = memfd_create("guest-ram", flags);
    if (memory->fd < 0 || ftruncate(memory->fd, (off_t)memory->file_size) != 0) {
        return err_sys(err, -errno, "cannot make guest RAM of %" PRIu64 " MiB",
                       memory_size(memory) >> 20);
    }
    if (fcntl(memory->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        return err_sys(err, -errno, "cannot seal guest RAM");
    }
    return 0;
}

/* Map the file at the border of a huge page, between pages that nobody can touch. */
static int map_file(struct memory *memory, struct err *err)
{
    uint64_t border = memory->border;
    uint64_t size = round_up(memory->file_size, border) + 2 * border;
    void *at = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (at == MAP_FAILED) {
        return err_sys(err, -errno, "no address space for guest RAM");
    }
    memory->reserved = at;
    memory->reserved_size = size;
    memory->base = memory->reserved + border - (uintptr_t)at % border;
    at = mmap(memory->base, memory->file_size, PROT_READ | PROT_WRITE,
              MAP_SHARED | MAP_NORESERVE | MAP_FIXED, memory->fd, 0);
    if (at == MAP_FAILED) {
        return err_sys(err, -errno, "cannot map guest RAM");
    }
    if (madvise(memory->base, memory->file_size, MADV_DONTDUMP) != 0) {
        return err_sys(err, -errno, "cannot keep guest RAM out of core files");
    }
    (void)madvise(memory->base, memory->file_size, MADV_HUGEPAGE); /* slower without, no worse */
    for (uint32_t i = 0; i < memory->region_count; i++) {
        memory->regions[i].host = memory->base + memory->regions[i].offset;
    }
    for (uint32_t i = 0; i < memory->rom_count; i++) {
        memory->roms[i].host = memory->base + memory->roms[i].offset;
    }
    return 0;
}

int memory_check(const struct memory_range *ranges, uint32_t count, struct err *err)
{
    struct memory_layout layout = {0};

    return memory_layout_make(&layout, ranges, count, err);
}

/* Where everything lies, before anything is made. */
static int plan_regions(struct memory *memory, uint64_t page_size,
                        const struct memory_range *ranges, uint32_t count, struct err *err)
{
    struct memory_layout layout = {0};
    int r = memory_layout_make(&layout, ranges, count, err);

    if (r == 0) {
        memory->fd = -1;
        memory->page_size = page_size;
        memory->border = max_u64(page_size, HUGE_PAGE_SIZE);
        make_regions(memory, &layout);
        memory->file_size = round_up(memory->file_size, page_size);
    }
    return r;
}

uint64_t memory_taken(uint64_t page_size, const struct memory_range *ranges, uint32_t count)
{
    struct memory memory = {0};

    return plan_regions(&memory, page_size, ranges, count, NULL) == 0 ? memory.file_size : 0;
}

int memory_create(const struct memory_range *ranges, uint32_t count, struct memory **memory,
                  struct err *err)
{
    return memory_create_in(MEMORY_PAGE_SIZE, ranges, count, memory, err);
}

int memory_create_in(uint64_t page_size, const struct memory_range *ranges, uint32_t count,
                     struct memory **memory, struct err *err)
{
    struct memory *new = calloc(1, sizeof(*new));
    int r;

    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    r = plan_regions(new, page_size, ranges, count, err);
    if (r != 0) {
        free(new);
        return r;
    }
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

const struct memory_region *memory_roms(const struct memory *memory, uint32_t *count)
{
    *count = memory->rom_count;
    return memory->roms;
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

void *memory_rom_span(const struct memory *memory, gpa_t address, uint64_t length)
{
    for (uint32_t i = 0; i < memory->rom_count; i++) {
        const struct memory_region *rom = &memory->roms[i];

        if (address.value >= rom->start && address.value - rom->start < rom->size &&
            length <= rom->size - (address.value - rom->start)) {
            return rom->host + (address.value - rom->start);
        }
    }
    return NULL;
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

struct populating {
    uint64_t done, all;
    memory_progress_fn progress;
    void *context;
};

static int populate_part(const struct memory *memory, struct populating *populating, uint8_t *from,
                         uint64_t size, struct err *err)
{
    for (uint64_t at = 0; at < size;) {
        uint64_t step = min_u64(size - at, max_u64(POPULATE_STEP, memory->page_size));

        if (madvise(from + at, step, MADV_POPULATE_WRITE) != 0) {
            /* EFAULT: a write there would have been SIGBUS */
            return is_hugetlb(memory) && (errno == EFAULT || errno == ENOMEM)
                       ? err_set(err, -ENOSPC,
                                 "the host has no %" PRIu64 " pages of %" PRIu64
                                 " KiB left for guest RAM: stop guests that have some, or reserve "
                                 "more (/sys/kernel/mm/hugepages/hugepages-%" PRIu64
                                 "kB/nr_hugepages)",
                                 populating->all / memory->page_size, memory->page_size >> 10,
                                 memory->page_size >> 10)
                       : err_sys(err, -errno,
                                 "the host has no %" PRIu64
                                 " MiB for guest RAM; stop guests, or give this one less",
                                 populating->all >> 20);
        }
        at += step;
        populating->done += step;
        if (populating->progress != NULL) {
            populating->progress(populating->context, populating->done, populating->all);
        }
    }
    return 0;
}

int memory_populate(const struct memory *memory, memory_progress_fn progress, void *context,
                    struct err *err)
{
    struct populating populating = {.progress = progress, .context = context};
    int r = 0;

    if (is_hugetlb(memory)) { /* ROM and what lies between parts, too: none is there otherwise */
        populating.all = memory->file_size;
        return populate_part(memory, &populating, memory->base, memory->file_size, err);
    }
    for (uint32_t i = 0; i < memory->region_count; i++) {
        populating.all += memory->regions[i].size;
    }
    for (uint32_t i = 0; r == 0 && i < memory->region_count; i++) {
        r = populate_part(memory, &populating, memory->regions[i].host, memory->regions[i].size,
                          err);
    }
    return r;
}

/* The region that all of it lies in, or NULL. */
static const struct memory_region *region_of(const struct memory *memory, const uint8_t *at,
                                             uint64_t size)
{
    for (uint32_t i = 0; i < memory->region_count; i++) {
        const struct memory_region *region = &memory->regions[i];

        if (at >= region->host && (uint64_t)(at - region->host) < region->size) {
            return size <= region->size - (uint64_t)(at - region->host) ? region : NULL;
        }
    }
    return NULL;
}

int memory_discard(const struct memory *memory, const void *at, uint64_t size)
{
    const struct memory_region *region = region_of(memory, at, size);
    uint64_t offset;

    if (region == NULL || !region->is_ram || size == 0) {
        return -EINVAL;
    }
    offset = region->offset + (uint64_t)((const uint8_t *)at - region->host);
    if (offset % MEMORY_PAGE_SIZE != 0 || size % MEMORY_PAGE_SIZE != 0) {
        return -EINVAL;
    }
    if (is_hugetlb(memory)) {
        return -ENOTSUP;
    }
    return fallocate(memory->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                     (off_t)size) == 0
               ? 0
               : -errno;
}
