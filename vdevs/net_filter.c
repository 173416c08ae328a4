/* Which frames a driver wants to have. */
#include "vdevs/net_filter.h"

#include <string.h>

void net_filter_reset(struct net_filter *filter)
{
    *filter = (struct net_filter){.is_promiscuous = true};
}

static bool has(const struct net_addresses *addresses, const uint8_t mac[NET_MAC_SIZE])
{
    bool is_found = addresses->is_any;

    for (uint32_t i = 0; !is_found && i < addresses->count; i++) {
        is_found = memcmp(addresses->macs[i], mac, NET_MAC_SIZE) == 0;
    }
    return is_found;
}

bool net_filter_takes(const struct net_filter *filter, const uint8_t own[NET_MAC_SIZE],
                      const uint8_t to[NET_MAC_SIZE])
{
    static const uint8_t all[NET_MAC_SIZE] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    if (filter->is_promiscuous || memcmp(to, all, NET_MAC_SIZE) == 0) {
        return true;
    }
    if (net_mac_is_group(to)) {
        return filter->takes_groups || has(&filter->groups, to);
    }
    return memcmp(to, own, NET_MAC_SIZE) == 0 || has(&filter->ones, to);
}
