/* Images into guest memory. */
#include "qvm-worker/loader/loader.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/loader/boot.h"
#include "qvm-worker/loader/firmware.h"
#include "qvm-worker/loader/guest.h"
#include "qvm-worker/loader/place.h"

#define INITRD_ALIGN 4096u

static int open_item(struct loader_item *item, bool is_dry, struct image *image, struct err *err)
{
    *image =
        (struct image){.fd = item->fd, .path = item->path, .where = item->where, .is_dry = is_dry};
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
    int r = open_item(item, places->is_dry, &image, err);

    if (r == 0 && item->has_address && firmware_is_at(places->memory, item->address)) {
        return firmware_load(&image, item->address, places, boot, err);
    }
    return r != 0 ? r : guest_load(&image, &request, places, boot, err);
}

static int load_data(struct loader_item *item, struct places *places, struct err *err)
{
    struct image image;
    int r = open_item(item, places->is_dry, &image, err);

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

/* Where an initrd goes: the address given, or as high as this bootimage looks. */
static int place_initrd(const struct loader_item *item, const struct image *image,
                        struct places *places, const struct guest_boot *guest, uint64_t *address,
                        struct err *err)
{
    *address = item->address;
    if (!item->has_address) {
        *address = places_find_high(places, image->size, INITRD_ALIGN, guest->initrd_limit);
        if (*address == 0) {
            return image_refuse(image, err,
                                "needs %" PRIu64 " MiB below 0x%" PRIx64
                                ", guest RAM ends at 0x%" PRIx64 ": raise `ram`",
                                (image->size >> 20) + 1, guest->initrd_limit,
                                places_ram_end(places, UINT64_MAX));
        }
    }
    if (*address > guest->initrd_limit || image->size > guest->initrd_limit - *address) {
        return image_refuse(image, err, "ends above 0x%" PRIx64 ", where this kernel does not look",
                            guest->initrd_limit);
    }
    return places_take(places, image, *address, image->size, err);
}

static int refuse_initrd(const struct image *image, uint32_t max, struct err *err)
{
    switch (max) {
    case 0:
        return image_refuse(image, err, "is an initrd, for which firmware does not look");
    case 1:
        return image_refuse(image, err, "is a second initrd");
    default:
        return image_refuse(image, err, "is one module more than the %u that can be", max);
    }
}

static int load_initrd(struct loader_item *item, struct places *places,
                       struct boot_parameters *parameters, struct err *err)
{
    const struct guest_boot *guest = parameters->guest;
    struct image image;
    uint64_t address = 0;
    int r = open_item(item, places->is_dry, &image, err);

    if (r == 0 && parameters->module_count == guest->module_max) {
        r = refuse_initrd(&image, guest->module_max, err);
    }
    r = r == 0 ? place_initrd(item, &image, places, guest, &address, err) : r;
    if (r == 0) {
        r = image_read_to_guest(&image, 0, places->memory, address, image.size, err);
    }
    if (r == 0) {
        parameters->modules[parameters->module_count++] =
            (struct boot_module){address, image.size, image.path};
    }
    return r;
}

static int check_cmdline(const struct loader *loader, const struct guest_boot *guest,
                         struct err *err)
{
    size_t length = loader->cmdline == NULL ? 0 : strlen(loader->cmdline);

    if (length > guest->cmdline_max && guest->protocol == GUEST_FIRMWARE) {
        return err_set(err, -EINVAL, "%s: firmware takes no command line", loader->cmdline_where);
    }
    if (length > guest->cmdline_max) {
        return err_set(err, -EINVAL,
                       "%s: the command line has %zu bytes, this bootimage takes %" PRIu64,
                       loader->cmdline_where, length, guest->cmdline_max);
    }
    return 0;
}

/* What has an address of its own goes first, then what may lie anywhere. */
static int load_items(struct loader *loader, const struct loader_item *guest_item,
                      struct places *places, struct boot_parameters *parameters, struct err *err)
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
            r = load_initrd(&loader->items[i], places, parameters, err);
        }
    }
    return r;
}

int loader_load(struct loader *loader, const struct memory *memory, struct loader_entry *entry,
                struct err *err)
{
    struct loader_item *guest_item = find_guest(loader, err);
    struct guest_boot guest = {0};
    struct boot_parameters parameters = {.guest = &guest,
                                         .cmdline = loader->cmdline == NULL ? "" : loader->cmdline};
    struct places places;
    int r;

    if (guest_item == NULL) {
        return -EINVAL;
    }
    places_init(&places, memory);
    places.has_shadow = loader->has_shadow;
    places.is_dry = loader->is_dry;
    r = load_guest(guest_item, &places, &guest, err);
    if (r == 0) {
        r = check_cmdline(loader, &guest, err);
    }
    if (r == 0) {
        r = load_items(loader, guest_item, &places, &parameters, err);
    }
    if (r == 0) {
        boot_make_map(memory, loader->reserved, loader->reserved_count, &parameters.map);
        boot_write(memory, &parameters, entry);
    }
    return r;
}

int loader_read_acpi(struct loader_item *item, uint8_t **bytes, uint32_t *size, struct err *err)
{
    auto_free uint8_t *new = NULL;
    struct image image;
    int r = open_item(item, false, &image, err);

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
