/* Table `device`: functions of the host that were taken from their drivers. */
#include "daemon/store/inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/cleanup.h"

#define COLUMNS "bdf, boot_id, instance, driver, driver_override, trouble"

/* Who takes one that was taken before, in this boot, and finds VFIO's driver there, or none, as on
 * its way back: where it belongs was written the first time. One that has its own driver is where
 * it belongs: an operator may have brought it there, and what was written is of the past. */
#define IS_STILL_TAKEN                                                                             \
    "boot_id = ?2 AND ?4 IN ('" STORE_DRIVER_TAKEN "', '" STORE_DRIVER_ANY "', '')"
static const char SQL_TAKE[] =
    "INSERT INTO device(" COLUMNS ") VALUES(?1, ?2, ?3, ?4, ?5, '') ON CONFLICT(bdf) DO UPDATE SET"
    " driver = iif(" IS_STILL_TAKEN ", driver, ?4),"
    " driver_override = iif(" IS_STILL_TAKEN ", driver_override, ?5),"
    " boot_id = ?2, instance = ?3, trouble = ''";

int store_device_take(struct store *store, const struct store_device *device, struct err *err)
{
    return store_write_one(store, SQL_TAKE,
                           BIND(SQL_TEXT(device->bdf), SQL_TEXT(device->boot_id),
                                SQL_INT(device->instance), SQL_TEXT(device->driver),
                                SQL_TEXT(device->driver_override)),
                           err);
}

int store_device_override(struct store *store, const char *bdf, const char *override,
                          struct err *err)
{
    return store_write_one(store, "UPDATE device SET driver_override = ?2 WHERE bdf = ?1",
                           BIND(SQL_TEXT(bdf), SQL_TEXT(override)), err);
}

int store_device_trouble(struct store *store, const char *bdf, const char *why, struct err *err)
{
    int r = store_write_one(store, "UPDATE device SET trouble = ?2 WHERE bdf = ?1",
                            BIND(SQL_TEXT(bdf), SQL_TEXT(why)), err);

    return r == -ENOENT ? err_set(err, -ENOENT, "device '%s' was not taken", bdf) : r;
}

int store_device_home(struct store *store, const char *bdf, struct err *err)
{
    int r = store_write_one(store, "DELETE FROM device WHERE bdf = ?1", BIND(SQL_TEXT(bdf)), err);

    return r == -ENOENT ? 0 : r;
}

int store_devices_forget(struct store *store, const char *boot_id, struct err *err)
{
    int r = store_write_one(store, "DELETE FROM device WHERE boot_id <> ?1",
                            BIND(SQL_TEXT(boot_id)), err);

    return r == -ENOENT ? 0 : r;
}

struct device_list {
    struct store_device *devices;
    size_t count, room;
};

#define COPY(member, row, column)                                                                  \
    (void)snprintf((member), sizeof(member), "%s", store_row_text((row), (column)))

static int on_device(void *data, const struct store_row *row)
{
    struct device_list *list = data;
    struct store_device *device;

    if (list->count == list->room) {
        size_t room = list->room == 0 ? 16 : 2 * list->room;
        struct store_device *grown = reallocarray(list->devices, room, sizeof(*grown));

        if (grown == NULL) {
            return -ENOMEM;
        }
        list->devices = grown;
        list->room = room;
    }
    device = &list->devices[list->count++];
    COPY(device->bdf, row, 0);
    COPY(device->boot_id, row, 1);
    device->instance = store_row_int(row, 2);
    COPY(device->driver, row, 3);
    COPY(device->driver_override, row, 4);
    COPY(device->trouble, row, 5);
    return 0;
}

int store_devices_list(struct store *store, struct store_device **devices, size_t *count,
                       struct err *err)
{
    struct device_list list = {0};
    int r = store_run(store, "SELECT " COLUMNS " FROM device ORDER BY bdf", BIND_NONE, on_device,
                      &list, err);

    if (r != 0) {
        free(list.devices);
        return r;
    }
    *devices = list.devices;
    *count = list.count;
    return 0;
}

int store_device_get(struct store *store, const char *bdf, struct store_device *device,
                     struct err *err)
{
    struct device_list list = {0};
    int r = store_run_one(store, "SELECT " COLUMNS " FROM device WHERE bdf = ?1",
                          BIND(SQL_TEXT(bdf)), on_device, &list, err);

    if (r == 0) {
        *device = list.devices[0];
    }
    free(list.devices);
    return r;
}
