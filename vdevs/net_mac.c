/* The address of a network card. */
#include "vdevs/net_mac.h"

#include <stdlib.h>
#include <string.h>

/* IEEE 802: bits of the first byte */
#define IS_GROUP 1u
#define IS_LOCAL 2u

/* FNV-1a, 64 bits: spreads names well, and is not meant to keep anything secret. */
static uint64_t add_name(uint64_t hash, const char *name)
{
    do {
        hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
    } while (*name++ != '\0'); /* with its end: "a", "bc" is not "ab", "c" */
    return hash;
}

void net_mac_make(uint8_t mac[NET_MAC_SIZE], const char *system, const char *device)
{
    uint64_t hash = add_name(add_name(UINT64_C(0xcbf29ce484222325), system), device);

    for (unsigned i = 0; i < NET_MAC_SIZE; i++) {
        mac[i] = (uint8_t)(hash >> (8 * i + 8));
    }
    mac[0] = (uint8_t)((mac[0] & ~(IS_GROUP | IS_LOCAL)) | IS_LOCAL);
}

const char *net_mac_read(const char *text, uint8_t mac[NET_MAC_SIZE])
{
    static const uint8_t nobody[NET_MAC_SIZE];

    for (unsigned i = 0; i < NET_MAC_SIZE; i++) {
        char end = i + 1 < NET_MAC_SIZE ? ':' : '\0';

        if (strspn(text, "0123456789abcdefABCDEF") != 2 || text[2] != end) {
            return "is not six bytes as in 02:00:00:00:00:01";
        }
        mac[i] = (uint8_t)strtoul(text, NULL, 16);
        text += 3;
    }
    if (net_mac_is_group(mac)) {
        return "is a group's: its first byte is to be even";
    }
    return memcmp(mac, nobody, sizeof(nobody)) != 0 ? NULL : "is nobody's";
}
