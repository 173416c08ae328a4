/* Which functions of the host's PCI buses guests may have: `device` of qvmd.conf.
 *
 * A row names one by where it is, and may say what it must be: a card that was moved or exchanged
 * is not given to a guest unawares. What is not in the pool nobody gets. Any thread, but one at a
 * time. */
#ifndef QVM_DAEMON_DEVICE_POOL_H
#define QVM_DAEMON_DEVICE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/host/pci.h"

struct err;

#define DEVICE_POOL_MAX       256u
#define DEVICE_POOL_USERS_MAX 16u

struct pool_device {
    const char *name;
    char bdf[PCI_BDF_SIZE];
    unsigned line;                      /* of qvmd.conf */
    uint16_t vendor, device;            /* that it must have; both 0: not said */
    uint64_t serial;                    /* Device Serial Number that it must have; 0: not said */
    bool is_kept;                       /* stays VFIO's between guests */
    bool is_pausing;                    /* who has it when it vanishes is paused */
    uid_t users[DEVICE_POOL_USERS_MAX]; /* whose guests may have it; none: everybody's */
    size_t user_count;
};

struct device_pool {
    struct pool_device list[DEVICE_POOL_MAX];
    size_t count;
};

/* The row of that name or that address; NULL: there is none. */
const struct pool_device *device_pool_find(const struct device_pool *pool, const char *name);
const struct pool_device *device_pool_at(const struct device_pool *pool, const char *bdf);

/* What `id` of an ask means: a name, an address DDDD:BB:DD.F, or VVVV:DDDD/N, the N-th (from 0, by
 * address) of the rows that say they are of that vendor and device. -ENODEV: there is no such row.
 */
int device_pool_resolve(const struct device_pool *pool, const char *id,
                        const struct pool_device **device, struct err *err);

/* Whether guests of `owner` may have it; root's and qvmd's own user's always may. */
bool pool_device_takes(const struct pool_device *device, uid_t owner, uid_t daemon_uid);

/* "VVVV:DDDD" in hexadecimal. */
bool device_id_parse(const char *text, uint16_t *vendor, uint16_t *device);

#endif
