/* A device that was set aside is tried again when an operator has mended what was wrong with it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/device_pool.h"
#include "daemon/guest/device.h"
#include "daemon/guest/events.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/lend.h"

struct clearing {
    struct guests *guests;
    char bdf[PCI_BDF_SIZE];
    uid_t uid; /* who wants it */
    struct giving *giving;
    guests_cleared_fn done;
    void *data;
};

static void on_tried(void *data, const struct err *err)
{
    struct clearing *clearing = data;
    char message[64 + PCI_BDF_SIZE];
    struct msg_event event = {
        .what = events_what(WHAT_device_cleared), .uid = clearing->uid, .message = message};

    clearing->guests->clearing = NULL;
    if (err->code == 0) {
        (void)snprintf(message, sizeof(message), "device '%s' is set aside no more", clearing->bdf);
        events_tell(clearing->guests->env.events, &event);
    }
    clearing->done(clearing->data, clearing->bdf, NULL, err->code != 0 ? err : NULL);
    free(clearing);
}

static int begin(struct guests *guests, const struct store_device *row,
                 const struct guest_caller *caller, guests_cleared_fn done, void *data,
                 struct err *err)
{
    struct clearing *clearing = calloc(1, sizeof(*clearing));
    int r;

    if (clearing == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    clearing->guests = guests;
    clearing->uid = caller->uid;
    clearing->done = done;
    clearing->data = data;
    (void)snprintf(clearing->bdf, sizeof(clearing->bdf), "%s", row->bdf);
    r = guest_device_retry(guests, row, on_tried, clearing, &clearing->giving, err);
    if (r < 0) {
        free(clearing);
        return r;
    }
    guests->clearing = clearing;
    return 0;
}

/* Its address, whichever way it is called. */
static const char *bdf_of(const struct guests *guests, const char *device)
{
    const struct pool_device *row =
        guests->env.devices != NULL ? device_pool_find(guests->env.devices, device) : NULL;

    return row != NULL ? row->bdf : pci_is_bdf(device) ? device : NULL;
}

void guests_device_clear(struct guests *guests, const char *device,
                         const struct guest_caller *caller, guests_cleared_fn done, void *data)
{
    const char *bdf = bdf_of(guests, device);
    struct store_device row;
    struct err err = {0};
    int r;

    if (bdf == NULL) {
        (void)err_set(&err, -ENXIO, "'%s' is no device of the host's pool, and no BDF", device);
        done(data, NULL, NULL, &err);
        return;
    }
    if (guests_device_is_well(guests, bdf, &err) == 0) {
        done(data, bdf, "it was not set aside", NULL);
        return;
    }
    err = (struct err){0};
    r = guests->clearing != NULL
            ? err_set(&err, -EAGAIN,
                      "device '%s' is being cleared already; try again when that is over",
                      guests->clearing->bdf)
            : store_device_get(guests->env.store, bdf, &row, &err);
    r = r == 0 ? begin(guests, &row, caller, done, data, &err) : r;
    if (r < 0) {
        done(data, NULL, NULL, &err);
    }
}

void guests_device_clear_end(struct guests *guests)
{
    struct clearing *clearing = take_ptr(guests->clearing);
    struct err err = {0};

    if (clearing != NULL) {
        guest_devices_give_cancel(clearing->giving);
        (void)err_set(&err, -ECANCELED, "qvmd is ending; the device is still set aside");
        clearing->done(clearing->data, NULL, NULL, &err);
        free(clearing);
    }
}
