/* In the hand: functions of the host go to a guest, and come back. */
#include "daemon/hand/inside.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/host/pci_disk.h"
#include "daemon/host/pci_group.h"
#include "daemon/host/vfio.h"
#include "proto/base/cleanup.h"

#define ROOT       ""
#define LOOK_AGAIN (5 * 1000 * 1000) /* ns, at a group that is still held */
#define DISKS_MAX  64                /* of all functions that one guest takes, with their parts */

/* Whoever works on one of them, of ours or of a qvmd that was killed, is waited for. The locks go
 * with the hand. They are taken in the order of names, so that nobody waits for each other. */
static int lock_all(const struct hand_order *order, bool may_be_gone, struct hand_packet *end)
{
    const char *last = "";

    for (size_t done = 0; done < order->device_count; done++) {
        const struct hand_device *next = NULL;
        int fd; /* stays open until the end */
        int r;

        for (size_t i = 0; i < order->device_count; i++) {
            const struct hand_device *device = &order->devices[i];

            if (strcmp(device->bdf, last) > 0 &&
                (next == NULL || strcmp(device->bdf, next->bdf) < 0)) {
                next = device;
            }
        }
        if (next == NULL) {
            return 0; /* one is named twice */
        }
        last = next->bdf;
        end->bad = (size_t)(next - order->devices);
        r = pci_lock(ROOT, next->bdf, &fd, &end->err);
        if (r == -ENODEV && may_be_gone) {
            end->err = (struct err){0};
        } else if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* ---- taking ---- */

static int check_identity(const struct hand_device *wanted, const struct pci_function *found,
                          struct err *err)
{
    if ((wanted->vendor != 0 || wanted->device != 0) &&
        (wanted->vendor != found->vendor || wanted->device != found->device)) {
        return err_set(err, -ENODEV, "'%s' is another device now: %04x:%04x instead of %04x:%04x",
                       wanted->bdf, found->vendor, found->device, wanted->vendor, wanted->device);
    }
    if (wanted->serial != 0 && wanted->serial != found->config.serial) {
        return err_set(err, -ENODEV,
                       "'%s' is another device now: its serial number is %016" PRIx64
                       " instead of %016" PRIx64,
                       wanted->bdf, found->config.serial, wanted->serial);
    }
    return 0;
}

/* As late as can be: what was free when the guest asked may be mounted by now. */
static int check_all(const struct hand_order *order, struct hand_packet *end)
{
    struct pci_table table = {0};
    int r = pci_read(ROOT, &table, &end->err);

    for (size_t i = 0; r == 0 && i < order->device_count; i++) {
        const struct pci_function *there = pci_find(&table, order->devices[i].bdf);
        struct pci_function *found = there != NULL ? &table.list[there - table.list] : NULL;

        end->bad = i;
        if (found == NULL) {
            r = err_set(&end->err, -ENODEV, "the host has no PCI function '%s'",
                        order->devices[i].bdf);
        } else {
            pci_read_config(ROOT, found->bdf, true,
                            &found->config); /* a guest would wake it up as well */
            r = check_identity(&order->devices[i], found, &end->err);
        }
        r = r == 0 ? pci_judge(&table, found, &end->err) : r;
    }
    pci_fini(&table);
    return r;
}

/* What they are to get back has to be written down before it is lost. The kernel tells it only
 * while nobody changes the driver, so qvmd does not ask. */
static int check_homes(const struct hand_order *order, struct hand_packet *end)
{
    for (size_t i = 0; i < order->device_count; i++) {
        const struct hand_device *device = &order->devices[i];

        if (pci_is_vfio(ROOT, device->bdf)) {
            continue; /* nothing will be changed */
        }
        end->bad = i;
        pci_read_override(ROOT, device->bdf, end->override);
        if (end->override[0] != '\0' && strcmp(end->override, device->home.driver_override) != 0) {
            return err_set(&end->err, -ESTALE, "the driver_override of '%s' is '%s' now; try again",
                           device->bdf, end->override);
        }
        end->override[0] = '\0';
    }
    return 0;
}

/* What was opened so far. */
struct opened {
    int *fds;
    size_t count;
};

/* It stays here, and is told of: qvmd never has it. */
static int keep(struct opened *opened, int fd)
{
    const struct hand_packet packet = {.is_kept = true};

    opened->fds[opened->count++] = fd;
    return hand_tell(&packet, -1);
}

/* The group of the device, opened now or for one before it. */
static int group_of(const struct hand_order *order, size_t index, int container, int *groups,
                    bool *is_first, struct err *err)
{
    int r;

    for (size_t i = 0; i < index; i++) {
        if (order->devices[i].group == order->devices[index].group && groups[i] >= 0) {
            groups[index] = groups[i];
            return 0;
        }
    }
    r = vfio_open_group(order->devices[index].group, &groups[index], err);
    r = r == 0 ? vfio_join(container, groups[index], *is_first, err) : r;
    *is_first = false;
    return r;
}

/* Descriptors stay open until the hand ends. Who closes the last of a device's waits until that is
 * reset, and so it must never be qvmd. */
static int open_all(const struct hand_order *order, struct opened *opened, struct hand_packet *end)
{
    int groups[HAND_DEVICES_MAX];
    bool is_first = true;
    int container;
    int r = vfio_open_container(&container, &end->err);

    memset(groups, -1, sizeof(groups));
    r = r == 0 ? keep(opened, container) : r;
    for (size_t i = 0; r == 0 && i < order->device_count; i++) {
        int device;

        end->bad = i;
        if (!order->devices[i].is_wanted) {
            continue;
        }
        r = group_of(order, i, container, groups, &is_first, &end->err);
        if (r == 0) {
            end->is_untouched = false; /* it will be reset */
            r = vfio_open_device(groups[i], order->devices[i].bdf, &device, &end->err);
        }
        r = r == 0 ? keep(opened, groups[i]) : r;
        r = r == 0 ? keep(opened, device) : r;
    }
    return r;
}

/* Nobody mounts a disk between the look at it and the end of its driver. */
static int bind_all(const struct hand_order *order, struct hand_packet *end)
{
    int disks[DISKS_MAX];
    size_t count = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < order->device_count; i++) {
        end->bad = i;
        r = pci_hold_disks(ROOT, order->devices[i].bdf, disks, ARRAY_LEN(disks), &count, &end->err);
    }
    for (size_t i = 0; r == 0 && i < order->device_count; i++) {
        end->bad = i;
        end->is_untouched = end->is_untouched && pci_is_vfio(ROOT, order->devices[i].bdf);
        r = pci_bind_vfio(ROOT, order->devices[i].bdf, &end->err);
    }
    while (count > 0) {
        (void)close(disks[--count]); /* only read from */
    }
    return r;
}

int hand_take(const struct hand_order *order, int kept[HAND_TAKEN_MAX], struct hand_packet *end)
{
    struct opened opened = {.fds = kept};
    int r;

    end->is_untouched = true;
    r = lock_all(order, false, end);
    r = r == 0 ? check_all(order, end) : r;
    r = r == 0 ? check_homes(order, end) : r;
    r = r == 0 ? bind_all(order, end) : r;
    r = r == 0 ? open_all(order, &opened, end) : r;
    if (r != 0 && end->err.code == 0) {
        (void)err_sys(&end->err, r, "a hand cannot tell what it opened");
    }
    return r;
}

/* ---- looking ---- */

int hand_look(const struct hand_order *order, struct hand_packet *end)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < order->device_count; i++) {
        struct hand_packet packet = {.is_kept = true}; /* no descriptor comes with it */

        pci_read_config(order->root, order->devices[i].bdf, false, &packet.config);
        r = hand_tell(&packet, -1);
    }
    return r == 0 ? 0 : err_sys(&end->err, r, "a hand cannot tell what it saw");
}

/* ---- giving back ---- */

/* Held by who holds it until the last of his descriptors is closed. */
static void await_group(int group)
{
    const struct timespec pause = {.tv_nsec = LOOK_AGAIN};
    auto_close int fd = -1;

    while (vfio_open_group(group, &fd, NULL) == -EBUSY) {
        (void)nanosleep(&pause, NULL);
    }
}

/* One that is kept and is not VFIO's was being taken by somebody who did not come to the end. */
static int give_one(const struct hand_device *device, struct err *err)
{
    bool is_vfio = pci_is_vfio(ROOT, device->bdf), goes_home = !device->is_kept || !is_vfio;
    int r = is_vfio ? pci_reset(ROOT, device->bdf, err) : 0;

    return r == 0 && goes_home ? pci_bind_home(ROOT, device->bdf, &device->home, err) : r;
}

int hand_give(const struct hand_order *order, struct hand_packet *end)
{
    int r = lock_all(order, true, end);

    for (size_t i = 0; r == 0 && i < order->device_count; i++) {
        if (pci_is_vfio(ROOT, order->devices[i].bdf)) {
            await_group(pci_group_number(ROOT, order->devices[i].bdf));
        }
    }
    for (size_t i = 0; r == 0 && i < order->device_count; i++) {
        bool is_first = end->failed == 0;

        if (give_one(&order->devices[i], is_first ? &end->err : NULL) < 0) {
            end->failed |= UINT64_C(1) << i;
            end->bad = is_first ? i : end->bad;
        }
    }
    return r;
}
