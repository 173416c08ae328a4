/* Devices that a guest asks for: what they are, whether it may have them, how they are taken. */
#include "daemon/guest/device.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/crash_point.h"
#include "daemon/device_pool.h"
#include "daemon/host/pci_group.h"
#include "proto/base/cleanup.h"

#define TAKE_MS      30000
#define ROOT         ""
#define MEMLOCK_MORE (64ll << 20) /* what a qvm may lock besides: firmware, and what it shares */

/* ---- what is meant ---- */

int guests_device_is_well(const struct guests *guests, const char *bdf, struct err *err)
{
    struct store_device row;
    int r = store_device_get(guests->env.store, bdf, &row, err);

    if (r == -ENOENT) {
        return 0;
    }
    if (r == 0 && row.trouble[0] != '\0' && strcmp(row.boot_id, guests->boot_id) == 0) {
        return err_set(err, -EBUSY, "device '%s' is set aside: %s", bdf, row.trouble);
    }
    return r;
}

static struct hand_device *find_taken(struct taking *taking, const char *bdf)
{
    for (size_t i = 0; i < taking->count; i++) {
        if (strcmp(taking->devices[i].bdf, bdf) == 0) {
            return &taking->devices[i];
        }
    }
    return NULL;
}

/* One function of the group of what was asked for; `row`: what the pool says of it. */
static int add(const struct guest *guest, struct taking *taking, size_t item,
               const struct pool_device *row, const struct pci_member *member, int group,
               struct err *err)
{
    struct hand_device *device = &taking->devices[taking->count];
    int r = guests_device_is_well(guest->all, member->bdf, err);

    if (r != 0) {
        return r;
    }
    if (taking->count == HAND_DEVICES_MAX) {
        return err_set(err, -E2BIG, "more than %d devices, with what goes along with them",
                       HAND_DEVICES_MAX);
    }
    *device = (struct hand_device){.home = member->home,
                                   .vendor = row->vendor,
                                   .device = row->device,
                                   .serial = row->serial,
                                   .group = group};
    memcpy(device->bdf, member->bdf, sizeof(device->bdf));
    taking->origin[taking->count++] = item;
    return 0;
}

static int check_owner(const struct guest *guest, const struct pool_device *row, struct err *err)
{
    return pool_device_takes(row, guest->owner, geteuid())
               ? 0
               : err_set(err, -EPERM, "device '%s' (qvmd.conf:%u) is not for guests of %s",
                         row->name, row->line, guest->owner_name);
}

static int add_group(const struct guest *guest, struct taking *taking, size_t item,
                     const struct pool_device *asked, struct err *err)
{
    const struct device_pool *pool = guest->all->env.devices;
    struct pci_member members[PCI_GROUP_MAX];
    size_t count = 0;
    int group;
    int r = pci_group_read(ROOT, asked->bdf, members, &count, &group, err);

    if (r != 0) {
        return err_prefix(err, "device '%s' (qvmd.conf:%u): ", asked->name, asked->line);
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(members[i].bdf, asked->bdf) == 0) { /* first: it is what a refusal names */
            struct pci_member first = members[i];

            members[i] = members[0];
            members[0] = first;
        }
    }
    for (size_t i = 0; r == 0 && i < count; i++) {
        const struct pool_device *row = device_pool_at(pool, members[i].bdf);

        if (row == NULL) {
            return err_set(err, -EBUSY,
                           "device '%s' shares IOMMU group %d with '%s', which is not in the "
                           "host's pool: all of a group goes to one guest",
                           asked->bdf, group, members[i].bdf);
        }
        r = check_owner(guest, row, err); /* who has the group can open each function of it */
        if (r != 0) {
            return r;
        }
        if (find_taken(taking, members[i].bdf) == NULL) {
            r = add(guest, taking, item, row, &members[i], group, err);
        }
    }
    return r;
}

static int find_one(const struct guest *guest, struct taking *taking, size_t item, struct err *err)
{
    struct wanted *wanted = &guest->ask->items[item];
    const struct pool_device *row;
    struct hand_device *device;
    int r;

    if (guest->all->env.devices == NULL) {
        return err_set(err, -ENODEV, "device '%s' is not in the host's pool", wanted->id);
    }
    r = device_pool_resolve(guest->all->env.devices, wanted->id, &row, err);
    if (r != 0) {
        return r;
    }
    r = check_owner(guest, row, err);
    if (r == 0) {
        r = add_group(guest, taking, item, row, err);
    }
    if (r != 0) {
        return r;
    }
    device = find_taken(taking, row->bdf);
    if (device == NULL) {
        return err_set(err, -ENODEV, "device '%s' is not in its own IOMMU group", row->bdf);
    }
    if (device->is_wanted) {
        return err_set(err, -EBUSY, "device '%s' is asked for twice", row->bdf);
    }
    device->is_wanted = true;
    memcpy(wanted->bdf, device->bdf, sizeof(wanted->bdf));
    wanted->group = device->group;
    return 0;
}

/* What no hand may ask: the host's addresses. All else it looks for itself, right before it takes.
 */
static int check_addresses(const struct taking *taking, size_t *bad, struct err *err)
{
    struct pci_table table = {0};
    int r = 0;

    for (size_t i = 0; r == 0 && i < taking->count; i++) {
        struct pci_function function = {0};

        memcpy(function.bdf, taking->devices[i].bdf, sizeof(function.bdf));
        if (pci_insert(&table, &function) < 0) {
            r = err_set(err, -ENOMEM, "out of memory");
        }
    }
    if (r == 0) {
        pci_read_addresses(ROOT, &table);
    }
    for (size_t i = 0; r == 0 && i < taking->count; i++) {
        const struct pci_function *function = pci_find(&table, taking->devices[i].bdf);

        if (function != NULL && function->use[0] != '\0') {
            *bad = taking->origin[i];
            r = err_set(err, -EBUSY, "'%s' is used by the host: %s; %s", function->bdf,
                        function->use, function->cure);
        }
    }
    pci_fini(&table);
    return r;
}

int guest_devices_find(const struct guest *guest, struct taking **result, size_t *bad,
                       struct err *err)
{
    auto_free struct taking *taking = NULL;

    *result = NULL;
    for (size_t i = 0; i < guest->ask->count; i++) {
        int r;

        if (guest->ask->items[i].kind != RESOURCE_device) {
            continue;
        }
        if (taking == NULL) {
            taking = calloc(1, sizeof(*taking));
        }
        *bad = i;
        r = taking != NULL ? find_one(guest, taking, i, err)
                           : err_set(err, -ENOMEM, "out of memory");
        if (r != 0) {
            return r;
        }
    }
    if (taking != NULL) {
        int r = check_addresses(taking, bad, err);

        if (r != 0) {
            return r;
        }
    }
    *result = take_ptr(taking);
    return 0;
}

int guest_devices_write(const struct guest *guest, const struct taking *taking, struct err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && taking != NULL && i < taking->count; i++) {
        const struct hand_device *device = &taking->devices[i];
        struct store_device row = {.instance = guest->instance.id};

        (void)snprintf(row.bdf, sizeof(row.bdf), "%s", device->bdf);
        (void)snprintf(row.boot_id, sizeof(row.boot_id), "%s", guest->all->boot_id);
        (void)snprintf(row.driver, sizeof(row.driver), "%s", device->home.driver);
        (void)snprintf(row.driver_override, sizeof(row.driver_override), "%s",
                       device->home.driver_override);
        r = store_device_take(guest->all->env.store, &row, err);
    }
    return r;
}

/* ---- taking ---- */

/* The item for which the function was taken that the hand was at. */
static size_t blamed(const struct guest_ask *ask, size_t bad)
{
    return bad < ask->taking->count ? ask->taking->origin[bad] : ask->count;
}

/* Which descriptors of the hand's each item is granted: container, group, device. */
static void note_files(struct guest_ask *ask)
{
    size_t next = 1;

    for (size_t i = 0; i < ask->taking->count; i++) {
        const struct hand_device *device = &ask->taking->devices[i];

        if (!device->is_wanted) {
            continue;
        }
        for (size_t k = 0; k < ask->count; k++) {
            struct wanted *item = &ask->items[k];

            if (item->kind == RESOURCE_device && strcmp(item->bdf, device->bdf) == 0) {
                item->is_kept = true;
                item->file = next;
            }
        }
        next += 2;
    }
}

/* Nothing was done to them, so there is nothing to undo: another program may have them. */
static void leave_alone(const struct guest *guest)
{
    struct store *store = guest->all->env.store;
    const struct taking *taking = guest->ask->taking;
    auto_tx struct store_tx tx = {0};
    int r = store_begin(store, &tx, NULL);

    for (size_t i = 0; r == 0 && i < taking->count; i++) {
        const struct hand_device *device = &taking->devices[i];
        struct store_device row;

        /* one that was VFIO's already because an earlier guest had it belongs elsewhere still */
        r = store_device_get(store, device->bdf, &row, NULL);
        if (r == 0 && strcmp(row.driver, device->home.driver) == 0) {
            r = store_device_home(store, device->bdf, NULL);
        }
    }
    r = r == 0 ? reserve_free_kind(store, guest->instance.id, RESOURCE_device, NULL) : r;
    if (r == 0) {
        (void)store_commit(&tx, NULL); /* else they are given back like others */
    }
}

/* An operator has set a driver_override of his own: it is written down, and then they are taken. */
static int take_again(struct guest *guest, const struct hand_result *result, struct err *err)
{
    struct guest_ask *ask = guest->ask;
    struct hand_device *device = &ask->taking->devices[result->bad];
    int r = store_device_override(guest->all->env.store, device->bdf, result->override, err);

    if (r < 0) {
        return r;
    }
    crash_point("override written");
    (void)snprintf(device->home.driver_override, sizeof(device->home.driver_override), "%s",
                   result->override);
    return guest_devices_take(guest, ask->taking, ask->on_taken, err);
}

static void on_taken(void *data, struct hand_result *result)
{
    struct guest *guest = data;
    struct guest_ask *ask = guest->ask;
    size_t bad = ask->count;

    crash_point("devices taken");
    ask->hand = NULL;
    if (result->override[0] != '\0' && result->bad < ask->taking->count) {
        struct err err = {0};

        if (take_again(guest, result, &err) == 0) {
            return;
        }
        result->err = err;
    }
    if (result->err.code != 0) {
        bad = blamed(ask, result->bad);
        if (result->is_untouched) {
            leave_alone(guest);
        }
    } else {
        note_files(ask);
    }
    ask->on_taken(guest, bad, result->keeper, &result->err);
}

int guest_devices_take(struct guest *guest, const struct taking *taking,
                       void (*done)(struct guest *guest, size_t bad, struct hand *keeper,
                                    const struct err *err),
                       struct err *err)
{
    guest->ask->on_taken = done;
    return hand_take_devices(guest->all->env.hands, taking->devices, taking->count, TAKE_MS,
                             on_taken, guest, &guest->ask->hand, err);
}

/* DMA mappings are charged to who makes them, and pinned; without that right no mapping is made. */
int guest_devices_allow(const struct guest *guest, struct err *err)
{
    const struct guest_ask *ask = guest->ask;
    struct rlimit limit = {.rlim_cur = MEMLOCK_MORE, .rlim_max = MEMLOCK_MORE};

    for (size_t i = 0; i < ask->count; i++) {
        if (ask->items[i].kind == RESOURCE_memory) {
            limit.rlim_cur += (rlim_t)ask->items[i].amount;
        }
    }
    limit.rlim_max = limit.rlim_cur;
    if (prlimit(guest->instance.pid, RLIMIT_MEMLOCK, &limit, NULL) < 0) {
        return err_sys(err, -errno, "cannot let the qvm lock the memory that its devices reach");
    }
    return 0;
}
