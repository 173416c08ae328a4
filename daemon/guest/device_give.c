/* Devices come back: from instances that are over, and from VFIO when nobody wants them there. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/crash_point.h"
#include "daemon/device_pool.h"
#include "daemon/guest/device.h"
#include "daemon/guest/dma_watch.h"
#include "daemon/guest/events.h"
#include "daemon/host/pci_group.h"
#include "proto/base/cleanup.h"
#include "proto/base/lend.h"
#include "proto/base/log.h"

#define GIVE_MS 60000

struct giving {
    struct guests *guests;
    int64_t instance; /* 0: they are nobody's */
    bool is_retry;    /* of one that was set aside */
    struct hand_device devices[HAND_DEVICES_MAX];
    size_t count;
    struct hand *hand;
    void (*done)(void *data, const struct err *err);
    void *data;
};

/* ---- what the store says ---- */

/* `why` NULL: it is back. */
static int write_one(const struct giving *giving, const struct hand_device *device, const char *why,
                     struct err *err)
{
    struct store *store = giving->guests->env.store;
    int r = 0;

    struct reserve_holder holder;

    if (giving->instance == 0 &&
        reserve_find(store, RESOURCE_device, device->bdf, &holder, NULL) != -ENOENT) {
        return 0; /* a guest wants it meanwhile */
    }
    if (why != NULL) {
        r = store_device_trouble(store, device->bdf, why, err);
        return r == -ENOENT ? 0 : r;
    }
    if (device->is_kept) {
        return giving->is_retry ? store_device_trouble(store, device->bdf, "", err) : 0;
    }
    return store_device_home(store, device->bdf, err);
}

/* Where they are now, and that the instance has them no more: at once. */
static int write_back(const struct giving *giving, const struct hand_result *result,
                      struct err *err)
{
    struct store *store = giving->guests->env.store;
    auto_tx struct store_tx tx = {0};
    int r = store_begin(store, &tx, err);

    for (size_t i = 0; r == 0 && i < giving->count; i++) {
        bool is_ill = (result->failed >> i & 1) != 0;

        r = write_one(giving, &giving->devices[i], is_ill ? result->err.msg : NULL, err);
    }
    if (r == 0 && giving->instance != 0) {
        r = reserve_free_kind(store, giving->instance, RESOURCE_device, err);
    }
    return r == 0 ? store_commit(&tx, err) : r;
}

static void tell_trouble(const struct giving *giving, const struct hand_result *result)
{
    for (size_t i = 0; i < giving->count; i++) {
        char message[STORE_MESSAGE_SIZE + 64];
        struct msg_event event = {.what = events_what(WHAT_device_trouble),
                                  .instance = giving->instance};

        if ((result->failed >> i & 1) != 0) {
            (void)snprintf(message, sizeof(message), "device '%s' is set aside: %s",
                           giving->devices[i].bdf, result->err.msg);
            event.message = message;
            log_warn("guest: device set aside device=%s why=\"%s\"", giving->devices[i].bdf,
                     result->err.msg);
            events_tell(giving->guests->env.events, &event);
        }
    }
}

static void on_given(void *data, struct hand_result *result)
{
    struct giving *giving = data;
    struct err err = result->err;

    crash_point("devices given back");
    giving->hand = NULL;
    if (err.code == 0 || result->failed != 0) {
        err = (struct err){0};
        if (write_back(giving, result, &err) == 0) {
            crash_point("devices written back");
            tell_trouble(giving, result);
        }
        if (giving->is_retry && err.code == 0) {
            err = result->err;
        }
    }
    giving->done(giving->data, &err);
    free(giving);
}

/* ---- what is to be given back ---- */

static bool is_kept(const struct guests *guests, const char *bdf)
{
    const struct pool_device *row =
        guests->env.devices != NULL ? device_pool_at(guests->env.devices, bdf) : NULL;

    return row != NULL && row->is_kept;
}

static void add(struct giving *giving, const struct store_device *row)
{
    struct hand_device *device = &giving->devices[giving->count];

    if (giving->count == HAND_DEVICES_MAX) {
        return; /* no instance took more; the rest of a sweep has its turn at the next */
    }
    *device = (struct hand_device){.is_kept = is_kept(giving->guests, row->bdf)};
    (void)snprintf(device->bdf, sizeof(device->bdf), "%s", row->bdf);
    (void)snprintf(device->home.driver, sizeof(device->home.driver), "%s", row->driver);
    (void)snprintf(device->home.driver_override, sizeof(device->home.driver_override), "%s",
                   row->driver_override);
    giving->count++;
}

static int begin(struct giving *giving, struct giving **result, struct err *err)
{
    int r = hand_give_devices(giving->guests->env.hands, giving->devices, giving->count, GIVE_MS,
                              on_given, giving, &giving->hand, err);

    if (r < 0) {
        free(giving);
        return r;
    }
    crash_point("hand made");
    *result = giving;
    return 0;
}

static struct giving *make(struct guests *guests, int64_t instance,
                           void (*done)(void *data, const struct err *err), void *data)
{
    struct giving *giving = calloc(1, sizeof(*giving));

    if (giving != NULL) {
        giving->guests = guests;
        giving->instance = instance;
        giving->done = done;
        giving->data = data;
    }
    return giving;
}

int guest_devices_give(struct guests *guests, int64_t instance, const struct reserve_held *held,
                       size_t count, void (*done)(void *data, const struct err *err), void *data,
                       struct giving **result, struct err *err)
{
    struct giving *giving = make(guests, instance, done, data);

    *result = NULL;
    if (giving == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        struct store_device row;
        int r;

        if (held[i].kind != RESOURCE_device) {
            continue;
        }
        r = store_device_get(guests->env.store, held[i].id, &row, err);
        if (r < 0 && r != -ENOENT) {
            free(giving);
            return r;
        }
        /* after another boot the kernel has given all devices to whom they belong */
        if (r == 0 && strcmp(row.boot_id, guests->boot_id) == 0) {
            add(giving, &row);
        }
    }
    if (giving->count > 0) {
        return begin(giving, result, err);
    }
    free(giving);
    return 0;
}

void guest_devices_give_cancel(struct giving *giving)
{
    if (giving->hand != NULL) {
        hand_cancel(giving->hand);
    }
    free(giving);
}

int guest_device_retry(struct guests *guests, const struct store_device *row,
                       void (*done)(void *data, const struct err *err), void *data,
                       struct giving **result, struct err *err)
{
    struct giving *giving = make(guests, 0, done, data);

    if (giving == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    giving->is_retry = true;
    add(giving, row);
    return begin(giving, result, err);
}

/* ---- nobody's ---- */

static void on_swept(void *data, const struct err *err)
{
    struct guests *guests = data;

    guests->sweep = NULL;
    if (err->code != 0) {
        log_warn("guest: devices are not brought home why=\"%s\"", err->msg);
    }
}

void guests_devices_sweep(struct guests *guests)
{
    struct store_device *rows = NULL;
    struct giving *giving;
    struct err err = {0};
    size_t count = 0;

    if (guests->sweep != NULL ||
        store_devices_forget(guests->env.store, guests->boot_id, &err) < 0 ||
        store_devices_list(guests->env.store, &rows, &count, &err) < 0) {
        return; /* it has its turn again */
    }
    giving = make(guests, 0, on_swept, guests);
    for (size_t i = 0; giving != NULL && i < count; i++) {
        struct reserve_holder holder;

        if (rows[i].trouble[0] == '\0' && !is_kept(guests, rows[i].bdf) &&
            reserve_find(guests->env.store, RESOURCE_device, rows[i].bdf, &holder, NULL) ==
                -ENOENT) {
            add(giving, &rows[i]);
        }
    }
    free(rows);
    if (giving != NULL && giving->count > 0) {
        if (begin(giving, &guests->sweep, &err) < 0) {
            log_warn("guest: devices are not brought home why=\"%s\"", err.msg);
        }
    } else {
        free(giving);
    }
}

void guests_devices_sweep_end(struct guests *guests)
{
    if (guests->sweep != NULL) {
        guest_devices_give_cancel(take_ptr(guests->sweep));
    }
}

void guests_devices_watch(struct guests *guests)
{
    struct err err = {0};

    if (guests->dma_watch == NULL && guests->env.devices != NULL &&
        guests->env.devices->count > 0 &&
        dma_watch_create(guests->env.loop, guests->env.store, guests->env.events,
                         &guests->dma_watch, &err) < 0) {
        log_warn("guest: what the IOMMU refuses devices is not told why=\"%s\"", err.msg);
    }
}
