/* What the tests of the image loaders share: one memory, one list of files, images made byte by
 * byte. Included once a test program. */
#ifndef QVM_TESTS_LOADER_UNIT_H
#define QVM_TESTS_LOADER_UNIT_H

#include "qvm-worker/loader/loader.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/base/err.h"
#include "tests/unit/unit.h"

#define MIB(n)      ((uint64_t)(n) << 20)
#define IMAGE_SIZE  4096u
#define RAM_SIZE    MIB(32)
#define PREFERRED   0x1000000ull
#define KERNEL_SIZE (IMAGE_SIZE - 1024) /* one setup sector besides the boot sector */

static struct err err;
static struct memory *memory;
static struct loader_item items[LOADER_ITEMS_MAX];
static struct loader loader;
static uint8_t image[IMAGE_SIZE];
static struct loader_entry entry;

static int make_file(const void *bytes, size_t size)
{
    int fd = memfd_create("image", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    return fd;
}

static struct loader_item *add_item(enum loader_kind kind, const char *path, const void *bytes,
                                    size_t size)
{
    struct loader_item *item = &items[loader.item_count++];

    *item = (struct loader_item){
        .kind = kind, .path = path, .where = "g:7", .fd = make_file(bytes, size)};
    return item;
}

static void put(uint32_t at, uint64_t value, uint32_t size)
{
    memcpy(image + at, &value, size);
}

/* A bzImage of protocol 2.12 with nothing in it but 0xcc. */
static inline void make_linux(void)
{
    memset(image, 0xcc, sizeof(image));
    memset(image, 0, 1024);
    put(0x1f1, 1, 1);      /* setup sectors */
    put(0x1fe, 0xaa55, 2); /* boot flag */
    put(0x200, 0x6aeb, 2); /* jump over the header: it ends at 0x26c */
    memcpy(image + 0x202, "HdrS", 4);
    put(0x206, 0x20f, 2);      /* protocol */
    put(0x211, 1, 1);          /* loaded high */
    put(0x22c, 0x7fffffff, 4); /* the initrd's highest address */
    put(0x230, 0x200000, 4);   /* alignment */
    put(0x234, 1, 1);          /* relocatable */
    put(0x236, 1, 2);          /* 64-bit entry */
    put(0x238, 2047, 4);       /* command line */
    put(0x258, PREFERRED, 8);
    put(0x260, MIB(1), 4); /* init size */
}

static void set_up_with(uint64_t ram_size)
{
    const struct memory_range range = {.size = ram_size, .where = "g:2"};

    memory_destroy(memory);
    ck_assert_int_eq(memory_create(&range, 1, &memory, &err), 0);
    loader = (struct loader){.items = items,
                             .cmdline = "console=ttyS0",
                             .cmdline_where = "g:9",
                             .where = "g:1",
                             .reserved = {{0xfeffc000, 0x4000}},
                             .reserved_count = 1};
}

static void set_up(void)
{
    set_up_with(RAM_SIZE);
}

static int load(void)
{
    return loader_load(&loader, memory, &entry, &err);
}

static void check_loads(void)
{
    ck_assert_msg(load() == 0, "%s", err.msg);
}

static void check_refused(const char *words)
{
    ck_assert_int_eq(load(), -EINVAL);
    ck_assert_str_eq(err.msg, words);
}

static const uint8_t *at(uint64_t address)
{
    const uint8_t *p = memory_span(memory, gpa(address), 1);

    ck_assert_ptr_nonnull(p);
    return p;
}

static inline uint64_t field(uint64_t address, uint32_t size)
{
    uint64_t value = 0;

    ck_assert_int_eq(memory_copy_out(memory, gpa(address), &value, size), 0);
    return value;
}

#endif
