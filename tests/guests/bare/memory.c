#include "tests/guests/bare/memory.h"

#include "tests/guests/bare/bootparams.h"
#include "tests/guests/bare/layout.h"
#include "tests/guests/bare/machine.h"

#include <stdbool.h>

#define GIB             0x40000000ULL
#define PAGE_2M         0x200000ULL
#define ALWAYS_MAPPED   4ULL /* GiB: LAPIC and IOAPIC lie below */
#define DIRECTORIES     5ULL /* that there are */
#define CHIPS_START     0xf8000000ULL
#define CHIPS_DIRECTORY (CHIPS_START / GIB)
#define TABLE_ENTRIES   512
#define TABLE_FLAGS     0x07 /* present, writable, user */
#define LARGE_FLAGS     0x87
#define CPUID_EXTENDED  0x80000001U
#define CPUID_1G_PAGES  (1U << 26)
#define TEST_START      (LOAD_ADDRESS + OWN_SIZE)
#define TEST_PATTERN    0x5aa5c33cf00f9669ULL
#define BOOTS_MAGIC     0x424f4f5453ULL
#define RFLAGS_ON       0x202
#define RFLAGS_OFF      0x002

/* In RAM at BOOTS_RECORD, outside of every section. */
struct boots_record {
    uint64_t magic;
    uint8_t count;
};

/* entry.S */
extern uint64_t page_root[], page_pointers[], page_directories[];
void user_run(void (*function)(void), uint64_t rflags);
void user_return(void);

static struct e820_entry map[E820_TABLE_MAX] __attribute__((section(".noinit")));
static unsigned map_count;
static uint64_t mapped_end;
static bool is_1g;
static volatile uint64_t test_bytes, test_errors, test_first;

static bool has_1g_pages(void)
{
    uint32_t a = 0x80000000U;
    uint32_t b;
    uint32_t c;
    uint32_t d;

    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    if (a < CPUID_EXTENDED) {
        return false;
    }
    a = CPUID_EXTENDED;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    return (d & CPUID_1G_PAGES) != 0;
}

static void map_2m(uint64_t start, uint64_t end)
{
    for (uint64_t at = start & ~(PAGE_2M - 1); at < end; at += PAGE_2M) {
        page_directories[at / PAGE_2M] = at | LARGE_FLAGS;
    }
}

/* Zero whole tables with one instruction: quick even where KVM emulates each. */
static void clear(uint64_t *table, uint64_t entries)
{
    __asm__ volatile("rep stosq" : "+D"(table), "+c"(entries) : "a"(0) : "memory");
}

static void use_directory(uint64_t i)
{
    page_pointers[i] = (uint64_t)(page_directories + i * TABLE_ENTRIES) | TABLE_FLAGS;
}

/* The first GiB's RAM, and where LAPIC and IOAPIC lie. */
static void map_with_2m_pages(uint64_t ram_end)
{
    mapped_end = ram_end < GIB ? ram_end : GIB;
    clear(page_directories, TABLE_ENTRIES);
    map_2m(0, mapped_end);
    use_directory(0);
    clear(page_directories + CHIPS_DIRECTORY * TABLE_ENTRIES, TABLE_ENTRIES);
    map_2m(CHIPS_START, (CHIPS_DIRECTORY + 1) * GIB);
    use_directory(CHIPS_DIRECTORY);
}

static void map_with_1g_pages(uint64_t ram_end)
{
    uint64_t end = ram_end > ALWAYS_MAPPED * GIB ? ram_end : ALWAYS_MAPPED * GIB;

    for (uint64_t i = 0; i < TABLE_ENTRIES && i * GIB < end; i++) {
        page_pointers[i] = i * GIB | LARGE_FLAGS;
        mapped_end = (i + 1) * GIB;
    }
}

static uint64_t copy_map(const struct boot_params *params)
{
    uint64_t ram_end = 0;

    map_count = params->e820_count < E820_TABLE_MAX ? params->e820_count : E820_TABLE_MAX;
    for (unsigned i = 0; i < map_count; i++) {
        uint64_t end = params->e820[i].start + params->e820[i].size;

        map[i] = params->e820[i];
        if (map[i].type == E820_RAM && end > ram_end) {
            ram_end = end;
        }
    }
    return ram_end;
}

void memory_init(const struct boot_params *params)
{
    uint64_t ram_end = copy_map(params);

    is_1g = has_1g_pages();
    clear(page_root, TABLE_ENTRIES);
    clear(page_pointers, TABLE_ENTRIES);
    if (is_1g) {
        map_with_1g_pages(ram_end);
    } else {
        map_with_2m_pages(ram_end);
    }
    page_root[0] = (uint64_t)page_pointers | TABLE_FLAGS;
    __asm__ volatile("mov %0, %%cr3" : : "r"(page_root) : "memory");
}

void memory_map_all(void)
{
    if (!is_1g) {
        map_2m(0, DIRECTORIES * GIB);
        for (uint64_t i = 0; i < DIRECTORIES; i++) {
            use_directory(i);
        }
        mapped_end = DIRECTORIES * GIB;
    }
}

uint64_t memory_ram_kib(void)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < map_count; i++) {
        if (map[i].type == E820_RAM) {
            sum += map[i].size;
        }
    }
    return sum / 1024;
}

unsigned memory_count_boot(void)
{
    struct boots_record *record = (struct boots_record *)BOOTS_RECORD;

    __asm__ volatile("" : "+r"(record)); /* no object of the program's lies there */
    if (record->magic != BOOTS_MAGIC) {
        record->magic = BOOTS_MAGIC;
        record->count = 0;
    }
    record->count++;
    return record->count;
}

/* What of an entry is tested: [*start, return value). */
static uint64_t clip(const struct e820_entry *entry, uint64_t *start)
{
    uint64_t end = entry->start + entry->size;

    *start = entry->start < TEST_START ? TEST_START : (entry->start + 7) & ~7ULL;
    end = end < mapped_end ? end : mapped_end;
    return entry->type == E820_RAM && end > *start ? end & ~7ULL : *start;
}

/* Runs in ring 3. All is written before any of it is read: two addresses for one cell would show.
 */
static void test_in_user(void)
{
    uint64_t at;

    for (unsigned i = 0; i < map_count; i++) {
        for (uint64_t end = clip(&map[i], &at); at < end; at += 8) {
            *(volatile uint64_t *)at = at ^ TEST_PATTERN;
        }
    }
    for (unsigned i = 0; i < map_count; i++) {
        for (uint64_t end = clip(&map[i], &at); at < end; at += 8) {
            test_bytes = test_bytes + 8;
            if (*(volatile uint64_t *)at != (at ^ TEST_PATTERN)) {
                test_first = test_errors == 0 ? at : test_first;
                test_errors = test_errors + 1;
            }
        }
    }
    user_return();
}

uint64_t memory_test(uint64_t *errors, uint64_t *first)
{
    memory_map_all();
    test_bytes = 0;
    test_errors = 0;
    user_run(test_in_user, RFLAGS_ON);
    *errors = test_errors;
    *first = test_first;
    return test_bytes / 1024;
}

static void spin_in_user(void)
{
    for (;;) {
        __asm__ volatile("");
    }
}

void memory_spin_user(void)
{
    user_run(spin_in_user, RFLAGS_OFF);
}
