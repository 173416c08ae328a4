/* Guest RAM: one sealed memfd, mapped once, and the one gate to it.
 *
 * A stranger's address becomes a pointer here and nowhere else. The gate knows RAM alone: it never
 * reaches a device, so a device that is told to write to its own registers cannot.
 *
 * Layout: what the configuration asks for, without the PC's hole at 0xA0000-0xBFFFF, and never in
 * the device area 0xC0000000-0xFFFFFFFF. The firmware area 0xE0000-0xFFFFF is always there (tables,
 * boot parameters, the reset vector), whether or not a `ram` covers it; a `rom` over it takes the
 * guest's right to write there. Each part lies in the memfd
 * at an offset with the same place in its 2 MiB as its guest address, so that huge pages fit.
 *
 * ROM (`rom`) lies in the same memfd, may lie in the device area, and is no RAM for anybody: only
 * the loader writes to it, through a gate of its own.
 *
 * Threads: immutable after creation; spans may be taken on any thread. */
#ifndef QVM_WORKER_MEMORY_H
#define QVM_WORKER_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

/* A guest-physical address. */
typedef struct {
    uint64_t value;
} gpa_t;

static inline gpa_t gpa(uint64_t value)
{
    return (gpa_t){value};
}

#define MEMORY_PAGE_SIZE      4096u
#define MEMORY_RANGES_MAX     32u           /* `ram` options of one configuration */
#define MEMORY_HOLE_START     0xa0000ull    /* video memory of a PC: never RAM */
#define MEMORY_HOLE_END       0xc0000ull    /* 0xC0000-0xDFFFF is RAM, but not told to the guest */
#define MEMORY_FIRMWARE_START 0xe0000ull    /* 128 KiB that the loader and acpi write */
#define MEMORY_FIRMWARE_END   0x100000ull   /* ends with the reset vector at 0xFFFF0 */
#define MEMORY_DEVICES_START  0xc0000000ull /* interrupt controllers, PCI */
#define MEMORY_FIRMWARE_ECAM                                                                       \
    0xb0000000ull /* where they begin with firmware, which puts ECAM here */
#define MEMORY_DEVICES_END 0x100000000ull
#define MEMORY_CHIPS_START 0xfec00000ull /* IOAPIC, timers, local APICs, KVM's own pages */
#define MEMORY_CHIPS_END   0xff000000ull
#define MEMORY_ADDRESS_MAX (1ull << 40) /* 1 TiB: more than a host has for one guest */

/* One `ram [START,]LENGTH`, or `rom`. Without a start it follows the highest address so far, and
 * what does not fit below the device area goes above 4 GiB. */
struct memory_range {
    bool has_start;
    uint64_t start;    /* guest-physical */
    uint64_t size;     /* bytes */
    const char *where; /* FILE:LINE */
    bool is_rom;       /* the guest cannot write it, and is not told that it is memory */
};

/* A piece of guest-physical address space with memory behind it: one KVM memslot each. */
struct memory_region {
    uint64_t start;  /* guest-physical */
    uint64_t size;   /* bytes */
    uint64_t offset; /* in the memfd */
    uint8_t *host;   /* its address here */
    bool is_ram;     /* of a `ram` option; false: the firmware area, added by us, or ROM */
    bool
        is_read_only; /* the guest cannot write it: ROM, and the firmware area if a `rom` says so */
};

struct memory;

/* Whether these ranges make a layout: what memory_create refuses about them, and nothing else. */
int memory_check(const struct memory_range *ranges, uint32_t count, struct err *err);

/* Lay out, allocate (nothing is touched yet), seal and map. -EINVAL: a range is no multiple of
 * 4 KiB, overlaps another or the device area (ROM: the interrupt controllers or a part of the
 * firmware area), or ends too high; `err` names its FILE:LINE.
 * -ENOMEM: the host refuses. */
int memory_create(const struct memory_range *ranges, uint32_t count, struct memory **memory,
                  struct err *err);

/* The same in pages of that many bytes, a size that the kernel has huge pages of (hugetlb), or
 * MEMORY_PAGE_SIZE. The host gives huge pages in memory_populate() and not before: who touches one
 * that it does not have would end. */
int memory_create_in(uint64_t page_size, const struct memory_range *ranges, uint32_t count,
                     struct memory **memory, struct err *err);

/* The bytes of the host's memory that these ranges take in such pages; 0: they make no layout. */
uint64_t memory_taken(uint64_t page_size, const struct memory_range *ranges, uint32_t count);
void memory_destroy(struct memory *memory);

/* Regions of RAM (and the firmware area) in ascending order of their start, none overlapping. */
const struct memory_region *memory_regions(const struct memory *memory, uint32_t *count);

/* Regions of ROM, likewise. */
const struct memory_region *memory_roms(const struct memory *memory, uint32_t *count);

/* The memfd, for back ends that map it; owned by `memory`. */
int memory_fd(const struct memory *memory);

/* Bytes of RAM that the configuration asked for; those below and above 4 GiB. */
uint64_t memory_size(const struct memory *memory);
uint64_t memory_size_below_4g(const struct memory *memory);
uint64_t memory_size_above_4g(const struct memory *memory);

/* The gate: a pointer to `length` bytes at `address`, all in one region, or NULL. Length 0 gives a
 * pointer when the address is RAM. What lies there may change at any time: copy once, then check.
 */
void *memory_span(const struct memory *memory, gpa_t address, uint64_t length);

/* The loader's gate to ROM: `length` bytes in one region of ROM, or NULL. Nobody else writes there.
 */
void *memory_rom_span(const struct memory *memory, gpa_t address, uint64_t length);

/* How many bytes from `address` on lie in one region; 0: it is no RAM. */
uint64_t memory_run(const struct memory *memory, gpa_t address);

/* Copy to and from guest memory, also across regions that touch. -EFAULT: part of it is no RAM;
 * nothing was copied. */
int memory_copy_in(const struct memory *memory, gpa_t address, const void *from, uint64_t length);
int memory_copy_out(const struct memory *memory, gpa_t address, void *to, uint64_t length);

/* Have the kernel allocate every page now. -ENOSPC: it has no more of them; then the guest cannot
 * run, and destroying the memory gives the others back. `progress` (may be NULL) hears bytes done
 * and all bytes after each step of at most 64 MiB. */
typedef void (*memory_progress_fn)(void *context, uint64_t done, uint64_t all);
int memory_populate(const struct memory *memory, memory_progress_fn progress, void *context,
                    struct err *err);

/* Give the pages of `size` bytes at `at` (of memory_span) back to the host: they read as zero, and
 * are allocated anew when they are touched. -EINVAL: these are no whole pages of RAM that a `ram`
 * asked for, in one region; -ENOTSUP: they are huge pages (hugetlb). Any thread. */
int memory_discard(const struct memory *memory, const void *at, uint64_t size);

#endif
