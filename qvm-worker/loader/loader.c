/* Images into guest memory. */
#include "qvm-worker/loader/loader.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/loader/boot.h"
#include "qvm-worker/loader/guest.h"
#include "qvm-worker/loader/place.h"

#define INITRD_ALIGN 4096u

static int open_item(struct loader_item *item, struct image *image, struct err *err)
{
    *image = (struct image){.fd = item->fd, .path = item->path, .where = item->where};
    return image_open(image, &item->identity, err);
}

static bool is_guest(const struct loader *loader, const struct loader_item *item)
{
    return item->kind == LOADER_GUEST || (item->kind == LOADER_DETECT && item == &loader->items[0]);
}

/* The bootimage, or NULL: there is none, or more than one. */
static struct loader_item *find_guest(const struct loader *loader, struct err *err)
{
    struct loader_item *guest = NULL;

    for (uint32_t i = 0; i < loader->item_count; i++) {
        struct loader_item *item = &loader->items[i];

        if (!is_guest(loader, item)) {
            continue;
        }
        if (guest != NULL) {
            (void)err_set(err, -EINVAL, "%s: '%s' is a second bootimage; the first is at %s",
                          item->where, item->path, guest->where);
            return NULL;
        }
        guest = item;
    }
    if (guest == NULL) {
        (void)err_set(err, -EINVAL, "%s: nothing to boot: `load` a bootimage first", loader->where);
    }
    return guest;
}

static int load_guest(struct loader_item *item, struct places *places, struct guest_boot *boot,
                      struct err *err)
{
    struct guest_request request = {.has_address = item->has_address,
                                    .address = item->address,
                                    .is_named = item->kind == LOADER_GUEST};
    struct image image;
    int r = open_item(item, &image, err);

    return r != 0 ? r : guest_load(&image, &request, places, boot, err);
}

static int load_data(struct loader_item *item, struct places *places, struct err *err)
{
    struct image image;
    int r = open_item(item, &image, err);

    if (r == 0 && !item->has_address) {
        r = image_refuse(&image, err, "needs an address: `load ADDRESS,PATH`");
    }
    if (r == 0) {
        r = places_take(places, &image, item->address, image.size, err);
    }
    if (r == 0) {
        r = image_read_to_guest(&image, 0, places->memory, item->address, image.size, err);
    }
    return r;
}

static int load_initrd(struct loader_item *item, struct places *places,
                       const struct guest_boot *guest, struct boot_initrd *initrd, struct err *err)
{
    struct image image;
    int r = open_item(item, &image, err);
    uint64_t address = item->address;

    if (r == 0 && initrd->size != 0) {
        r = image_refuse(&image, err, "is a second initrd");
    }
    if (r == 0 && !item->has_address) {
        address = places_find_high(places, image.size, INITRD_ALIGN, guest->initrd_limit);
        if (address == 0) {
            r = image_refuse(&image, err,
                             "needs %" PRIu64 " MiB below 0x%" PRIx64
                             ", guest RAM ends at 0x%" PRIx64 ": raise `ram`",
                             (image.size >> 20) + 1, guest->initrd_limit,
                             places_ram_end(places, UINT64_MAX));
        }
    }
    if (r == 0 && (address > guest->initrd_limit || image.size > guest->initrd_limit - address)) {
        r = image_refuse(&image, err, "ends above 0x%" PRIx64 ", where this kernel does not look",
                         guest->initrd_limit);
    }
    if (r == 0) {
        r = places_take(places, &image, address, image.size, err);
    }
    if (r == 0) {
        r = image_read_to_guest(&image, 0, places->memory, address, image.size, err);
    }
    if (r == 0) {
        *initrd = (struct boot_initrd){address, image.size};
    }
    return r;
}

static int check_cmdline(const struct loader *loader, const struct guest_boot *guest,
                         struct err *err)
{
    size_t length = loader->cmdline == NULL ? 0 : strlen(loader->cmdline);

    if (length > guest->cmdline_max) {
        return err_set(err, -EINVAL,
                       "%s: the command line has %zu bytes, this bootimage takes %" PRIu64,
                       loader->cmdline_where, length, guest->cmdline_max);
    }
    return 0;
}

/* What has an address of its own goes first, then what may lie anywhere. */
static int load_items(struct loader *loader, const struct loader_item *guest_item,
                      struct places *places, const struct guest_boot *guest,
                      struct boot_initrd *initrd, struct err *err)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < loader->item_count; i++) {
        struct loader_item *item = &loader->items[i];

        if (item != guest_item && (item->kind == LOADER_DATA || item->kind == LOADER_DETECT)) {
            r = load_data(item, places, err);
        }
    }
    for (uint32_t i = 0; r == 0 && i < loader->item_count; i++) {
        if (loader->items[i].kind == LOADER_INITRD) {
            r = load_initrd(&loader->items[i], places, guest, initrd, err);
        }
    }
    return r;
}

int loader_load(struct loader *loader, const struct memory *memory, uint64_t *entry,
                struct err *err)
{
    struct loader_item *guest_item = find_guest(loader, err);
    struct boot_initrd initrd = {0};
    struct places places;
    struct guest_boot guest;
    int r;

    if (guest_item == NULL) {
        return -EINVAL;
    }
    places_init(&places, memory);
    r = load_guest(guest_item, &places, &guest, err);
    if (r == 0) {
        r = check_cmdline(loader, &guest, err);
    }
    if (r == 0) {
        r = load_items(loader, guest_item, &places, &guest, &initrd, err);
    }
    if (r == 0) {
        boot_write(memory, &guest, &initrd, loader->cmdline == NULL ? "" : loader->cmdline,
                   loader->reserved_start, loader->reserved_size);
        *entry = guest.entry;
    }
    return r;
}

int loader_read_acpi(struct loader_item *item, uint8_t **bytes, uint32_t *size, struct err *err)
{
    auto_free uint8_t *new = NULL;
    struct image image;
    int r = open_item(item, &image, err);

    if (r != 0) {
        return r;
    }
    if (image.size > LOADER_ACPI_FILE_MAX) {
        return image_refuse(&image, err, "is larger than an ACPI table may be here: %u bytes",
                            LOADER_ACPI_FILE_MAX);
    }
    new = malloc(image.size);
    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    r = image_read(&image, 0, new, image.size, err);
    if (r == 0) {
        *size = (uint32_t)image.size;
        *bytes = take_ptr(new);
    }
    return r;
}
