#include "daemon/device_pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"

#define ID_LENGTH    9 /* of "VVVV:DDDD" */
#define ORDINAL_MOST 3 /* digits of N */

const struct pool_device *device_pool_find(const struct device_pool *pool, const char *name)
{
    for (size_t i = 0; i < pool->count; i++) {
        if (strcmp(pool->list[i].name, name) == 0) {
            return &pool->list[i];
        }
    }
    return NULL;
}

const struct pool_device *device_pool_at(const struct device_pool *pool, const char *bdf)
{
    for (size_t i = 0; i < pool->count; i++) {
        if (strcmp(pool->list[i].bdf, bdf) == 0) {
            return &pool->list[i];
        }
    }
    return NULL;
}

bool device_id_parse(const char *text, uint16_t *vendor, uint16_t *device)
{
    static const char digits[] = "0123456789abcdefABCDEF";

    if (strlen(text) != ID_LENGTH || text[4] != ':' || strspn(text, digits) != 4 ||
        strspn(text + 5, digits) != 4) {
        return false;
    }
    *vendor = (uint16_t)strtoul(text, NULL, 16);
    *device = (uint16_t)strtoul(text + 5, NULL, 16);
    return true;
}

/* VVVV:DDDD or VVVV:DDDD/N */
static bool parse_kind(const char *id, uint16_t *vendor, uint16_t *device, unsigned *ordinal)
{
    size_t length = strcspn(id, "/");
    size_t digits = id[length] == '/' ? strspn(id + length + 1, "0123456789") : 0;
    char kind[ID_LENGTH + 1];

    *ordinal = 0;
    if (length != ID_LENGTH) {
        return false;
    }
    memcpy(kind, id, ID_LENGTH);
    kind[ID_LENGTH] = '\0';
    if (id[length] == '/') {
        if (digits == 0 || digits > ORDINAL_MOST || id[length + 1 + digits] != '\0') {
            return false;
        }
        *ordinal = (unsigned)strtoul(id + length + 1, NULL, 10);
    }
    return device_id_parse(kind, vendor, device);
}

/* Addresses of equal length are in the order of their texts. */
static bool is_before(const char *left, const char *right)
{
    size_t left_length = strlen(left), right_length = strlen(right);

    return left_length != right_length ? left_length < right_length : strcmp(left, right) < 0;
}

static const struct pool_device *nth(const struct device_pool *pool, uint16_t vendor,
                                     uint16_t device, unsigned ordinal)
{
    for (size_t i = 0; i < pool->count; i++) {
        const struct pool_device *row = &pool->list[i];
        unsigned before = 0;

        if (row->vendor != vendor || row->device != device) {
            continue;
        }
        for (size_t k = 0; k < pool->count; k++) {
            before += pool->list[k].vendor == vendor && pool->list[k].device == device &&
                      is_before(pool->list[k].bdf, row->bdf);
        }
        if (before == ordinal) {
            return row;
        }
    }
    return NULL;
}

int device_pool_resolve(const struct device_pool *pool, const char *id,
                        const struct pool_device **found, struct err *err)
{
    const struct pool_device *row;
    uint16_t vendor, device;
    unsigned ordinal;

    if (pci_is_bdf(id)) {
        row = device_pool_at(pool, id);
    } else if (parse_kind(id, &vendor, &device, &ordinal)) {
        row = nth(pool, vendor, device, ordinal);
    } else {
        row = device_pool_find(pool, id);
    }
    if (row == NULL) {
        return err_set(
            err, -ENODEV,
            "device '%s' is not in the host's pool ('device' of qvmd.conf, which has %zu)", id,
            pool->count);
    }
    *found = row;
    return 0;
}

bool pool_device_takes(const struct pool_device *device, uid_t owner, uid_t daemon_uid)
{
    if (device->user_count == 0 || owner == 0 || owner == daemon_uid) {
        return true;
    }
    for (size_t i = 0; i < device->user_count; i++) {
        if (device->users[i] == owner) {
            return true;
        }
    }
    return false;
}
