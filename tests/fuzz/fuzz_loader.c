/* Any bytes as an image of any kind: loaded inside RAM or refused with a sentence, which a dry load
 * finds as well, and no other; as an ACPI table: taken whole or refused. The first byte says which,
 * and whether an address is given. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/loader/loader.h"
#include "qvm-worker/tables/acpi.h"
#include "tests/fuzz/fuzz.h"

#define RAM_SIZE     (4ull << 20)
#define FIRST_SIZE   9 /* of an input: flags, address */
#define FLAG_ADDRESS 0x80u
#define WHERE        "f:1"

static const char flat[] = "\xf4\xeb\xfd"; /* the bootimage beside data and initrd */

static void rewrite(int fd, const void *bytes, size_t size)
{
    if (ftruncate(fd, 0) != 0 || pwrite(fd, bytes, size, 0) != (ssize_t)size) {
        abort();
    }
}

static struct memory *make_memory(void)
{
    const struct memory_range range = {.size = RAM_SIZE, .where = WHERE};
    struct memory *memory = NULL;

    if (memory_create(&range, 1, &memory, NULL) != 0) {
        abort();
    }
    return memory;
}

static void check_words(const struct err *err)
{
    if (strncmp(err->msg, WHERE, sizeof(WHERE) - 1) != 0) {
        abort(); /* a refusal without its line */
    }
}

static void try_acpi(struct loader_item *item)
{
    static uint8_t area[LOADER_ACPI_SIZE];
    auto_free uint8_t *bytes = NULL;
    struct acpi_extra extra = {.path = "p", .where = WHERE};
    struct acpi_config config = {.cpus = {.cpu_count = 1}, .extras = &extra, .extra_count = 1};
    struct err err = {0};

    if (loader_read_acpi(item, &bytes, &extra.size, &err) == 0) {
        extra.bytes = bytes;
        if (acpi_build(&config, area, LOADER_ACPI_START, sizeof(area), &err) == 0) {
            return;
        }
    }
    check_words(&err);
}

static void try_load(struct loader *loader, const struct memory *memory)
{
    struct err err = {0}, dry_err = {0};
    struct loader_entry entry = {0}, dry_entry = {0};
    int dry;

    loader->is_dry = true;
    dry = loader_load(loader, memory, &dry_entry, &dry_err);
    loader->is_dry = false;
    if (loader_load(loader, memory, &entry, &err) != dry || strcmp(err.msg, dry_err.msg) != 0 ||
        entry.address != dry_entry.address || entry.is_32bit != dry_entry.is_32bit) {
        abort(); /* `dryrun` says one thing, a start another */
    }
    if (dry != 0) {
        check_words(&err);
    } else if (memory_span(memory, gpa(entry.address), 1) == NULL) {
        abort(); /* starts where there is no RAM */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1, flat_fd = -1;
    static struct memory *memory;
    struct loader_item items[2] = {{.path = "p", .where = WHERE}, {.path = "q", .where = WHERE}};
    struct loader loader = {
        .items = items, .item_count = 1, .cmdline = "x", .cmdline_where = WHERE, .where = WHERE};

    if (size <= FIRST_SIZE) {
        return 0;
    }
    if (memory == NULL) {
        memory = make_memory();
        fd = memfd_create("image", MFD_CLOEXEC);
        flat_fd = memfd_create("flat", MFD_CLOEXEC);
        rewrite(flat_fd, flat, sizeof(flat) - 1);
    }
    rewrite(fd, data + FIRST_SIZE, size - FIRST_SIZE);
    items[0].fd = fd;
    items[0].kind = (enum loader_kind)(data[0] % 5);
    items[0].has_address = (data[0] & FLAG_ADDRESS) != 0;
    memcpy(&items[0].address, data + 1, sizeof(items[0].address));
    if (items[0].kind == LOADER_ACPI) {
        try_acpi(&items[0]);
        return 0;
    }
    if (items[0].kind == LOADER_INITRD || items[0].kind == LOADER_DATA) {
        items[1].fd = flat_fd;
        items[1].kind = LOADER_GUEST;
        items[1].has_address = true;
        items[1].address = 2 << 20;
        loader.item_count = 2;
    }
    try_load(&loader, memory);
    return 0;
}
