/* Which frames a driver wants to have: virtio 1.2, 5.1.6.5.1 and 5.1.6.5.2. */
#ifndef QVM_VDEVS_NET_FILTER_H
#define QVM_VDEVS_NET_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "vdevs/net_mac.h"

#define NET_ADDRESSES_MAX 64u /* of one kind that are kept */

/* Addresses that a driver names. More than are kept: it gets what it would with all of them. */
struct net_addresses {
    bool is_any;
    uint32_t count; /* up to NET_ADDRESSES_MAX */
    uint8_t macs[NET_ADDRESSES_MAX][NET_MAC_SIZE];
};

struct net_filter {
    bool is_promiscuous;               /* everything */
    bool takes_groups;                 /* all that is for several */
    struct net_addresses ones, groups; /* beside the card's own, and broadcasts */
};

/* As after a reset: everything goes through until the driver says what it wants. */
void net_filter_reset(struct net_filter *filter);

/* Whether the driver wants a frame to `to`; `own` is the address of its card. */
bool net_filter_takes(const struct net_filter *filter, const uint8_t own[NET_MAC_SIZE],
                      const uint8_t to[NET_MAC_SIZE]);

#endif
