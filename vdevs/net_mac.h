/* The address of a network card. */
#ifndef QVM_VDEVS_NET_MAC_H
#define QVM_VDEVS_NET_MAC_H

#include <stdbool.h>
#include <stdint.h>

#define NET_MAC_SIZE 6u

/* Whether it is for several: multicast, or broadcast. */
static inline bool net_mac_is_group(const uint8_t mac[NET_MAC_SIZE])
{
    return (mac[0] & 1u) != 0;
}

/* One that is administered locally, and is the same whenever it is made of these names. */
void net_mac_make(uint8_t mac[NET_MAC_SIZE], const char *system, const char *device);

/* Read XX:XX:XX:XX:XX:XX. NULL, or what is wrong with it: the rest of a sentence. */
const char *net_mac_read(const char *text, uint8_t mac[NET_MAC_SIZE]);

#endif
