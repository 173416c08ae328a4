/* Frames of a network with the header of virtio 1.2, 5.1.6: whether it makes sense, and what a
 * driver needs done that does not take what it says.
 *
 * A frame here lies in memory of our own, all in one piece; whoever wrote it is a stranger. Nothing
 * allocates or logs. Sources: virtio 1.2, 5.1.6; RFC 791, 8200, 9293 and 1071. */
#ifndef QVM_VDEVS_NET_FRAME_H
#define QVM_VDEVS_NET_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_FRAME_MIN    14u  /* bytes: two addresses and a type */
#define NET_SEGMENTS_MAX 512u /* that one frame may be cut into */

/* 5.1.6 */
#define NET_NEEDS_CSUM 1u
#define NET_DATA_VALID 2u
#define NET_GSO_NONE   0u
#define NET_GSO_TCPV4  1u
#define NET_GSO_TCPV6  4u
#define NET_GSO_ECN    0x80u

struct net_header {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};
_Static_assert(sizeof(struct net_header) == 12, "5.1.6");

/* What may be left for others to do. */
struct net_offloads {
    bool has_csum, has_tso4, has_tso6, has_ecn;
};

/* Whether `header` makes sense for a frame of `size` bytes (without it) and asks for nothing but
 * what `allowed` names. */
bool net_header_is_sound(const struct net_header *header, size_t size,
                         const struct net_offloads *allowed);

/* Write the checksum that a sound header with NET_NEEDS_CSUM asks for. */
void net_fill_checksum(const struct net_header *header, uint8_t *frame, size_t size);

/* A large segment of TCP that is to be cut into small ones. */
struct net_cut {
    const uint8_t *frame;
    size_t size;
    size_t l3, l4, payload; /* where IP, TCP and data begin */
    size_t step;            /* bytes of data in each */
    bool is_v6;
    size_t next; /* bytes of data that were handed out */
    uint16_t index;
};

/* Begin to cut a frame whose sound header has a gso_type. False: it is not what it says, or would
 * become more than NET_SEGMENTS_MAX. */
bool net_cut_begin(struct net_cut *cut, const struct net_header *header, const uint8_t *frame,
                   size_t size);

/* The next segment, whole, with its checksums: its size; 0: there is none. `to` has room for
 * cut->payload + cut->step bytes. */
size_t net_cut_next(struct net_cut *cut, uint8_t *to);

#endif
