/* Devices of the host that a guest asks for: for grant.c, claim.c, release.c and device*.c alone.
 */
#ifndef QVM_DAEMON_GUEST_DEVICE_H
#define QVM_DAEMON_GUEST_DEVICE_H

#include "daemon/guest/ask.h"
#include "daemon/hand/hand.h"

struct device_pool;
struct store_device;

/* What an ask for devices comes to: all functions of their IOMMU groups. */
struct taking {
    struct hand_device devices[HAND_DEVICES_MAX];
    size_t origin[HAND_DEVICES_MAX]; /* the item of the ask that it is taken for */
    size_t count;
};

/* Find out what of the host the items of kind `device` mean. `*taking` is NULL when there are none;
 * free(). `*bad` is the item that cannot be had: -ENODEV no such device or not in the pool; -EBUSY
 * asked for twice, set aside, or its group has others; -EPERM not for this owner; -EOPNOTSUPP no
 * IOMMU. Nothing here waits. */
int guest_devices_find(const struct guest *guest, struct taking **taking, size_t *bad,
                       struct err *err);

/* Write down where they belong, in the transaction that claims them. */
int guest_devices_write(const struct guest *guest, const struct taking *taking, struct err *err);

/* Let a hand take them and open those that were asked for; `done` is called with the item that
 * failed, or with the hand, which keeps all descriptors. */
int guest_devices_take(struct guest *guest, const struct taking *taking,
                       void (*done)(struct guest *guest, size_t bad, struct hand *keeper,
                                    const struct err *err),
                       struct err *err);

/* The qvm may lock as much memory as its devices are to reach. */
int guest_devices_allow(const struct guest *guest, struct err *err);

/* Bring back what a dead instance has of `held`: a hand is made, and `done` is called when the
 * store says that they are free, or with why not. 0 and no hand: it has none. */
int guest_devices_give(struct guests *guests, int64_t instance, const struct reserve_held *held,
                       size_t count, void (*done)(void *data, const struct err *err), void *data,
                       struct giving **giving, struct err *err);
void guest_devices_give_cancel(struct giving *giving);

/* Bring home what is VFIO's still, nobody's, and to be kept no more. */
void guests_devices_sweep(struct guests *guests);
void guests_devices_sweep_end(struct guests *guests);

/* Try once more what was set aside: `done` with 0 and it is home, or with why it is not. */
int guest_device_retry(struct guests *guests, const struct store_device *row,
                       void (*done)(void *data, const struct err *err), void *data,
                       struct giving **giving, struct err *err);

/* Who waits for a device to be cleared is answered. */
void guests_device_clear_end(struct guests *guests);

/* As soon as guests may have devices, follow what the IOMMU refuses these. */
void guests_devices_watch(struct guests *guests);

#endif
