/* Frames of a network: the header's rules, checksums, and cutting large segments. */
#include "vdevs/net_frame.h"

#include <string.h>

/* Ethernet, IP and TCP: offsets in bytes. */
#define TYPE_AT        12u
#define TAG_SIZE       4u
#define TAGS_MAX       2u
#define TYPE_TAG       0x8100u
#define TYPE_TAG_OUTER 0x88a8u
#define TYPE_V4        0x0800u
#define TYPE_V6        0x86ddu
#define V4_SIZE        20u
#define V4_LENGTH      2u
#define V4_ID          4u
#define V4_PROTOCOL    9u
#define V4_CHECKSUM    10u
#define V4_ADDRESSES   12u
#define V6_SIZE        40u
#define V6_MORE_MAX    256u /* bytes of extensions that are cut along */
#define V6_LENGTH      4u
#define V6_ADDRESSES   8u
#define TCP            6u
#define TCP_SIZE       20u
#define TCP_SEQUENCE   4u
#define TCP_OFFSET     12u
#define TCP_FLAGS      13u
#define TCP_CHECKSUM   16u
#define TCP_FIN        0x01u
#define TCP_PSH        0x08u
#define TCP_CWR        0x80u

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static void put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

bool net_header_is_sound(const struct net_header *header, size_t size,
                         const struct net_offloads *allowed)
{
    size_t sum_end = (size_t)header->csum_start + header->csum_offset + sizeof(uint16_t);
    bool needs_csum = (header->flags & NET_NEEDS_CSUM) != 0;

    if (size < NET_FRAME_MIN ||
        (needs_csum &&
         (!allowed->has_csum || header->csum_start < NET_FRAME_MIN || sum_end > size))) {
        return false;
    }
    switch (header->gso_type & ~NET_GSO_ECN) {
    case NET_GSO_NONE:
        return header->gso_type == NET_GSO_NONE;
    case NET_GSO_TCPV4:
        if (!allowed->has_tso4) {
            return false;
        }
        break;
    case NET_GSO_TCPV6:
        if (!allowed->has_tso6) {
            return false;
        }
        break;
    default:
        return false;
    }
    return needs_csum && header->gso_size > 0 && header->csum_offset == TCP_CHECKSUM &&
           (allowed->has_ecn || (header->gso_type & NET_GSO_ECN) == 0);
}

/* RFC 1071: the sum of 16-bit words, not folded yet. */
static uint64_t add_words(const uint8_t *bytes, size_t size)
{
    uint64_t sum = 0;

    for (; size >= sizeof(uint32_t); bytes += sizeof(uint32_t), size -= sizeof(uint32_t)) {
        uint32_t word;

        memcpy(&word, bytes, sizeof(word));
        sum += word; /* in our order of bytes: the fold turns it */
    }
    for (unsigned shift = 0; size > 0; bytes++, size--, shift += 8) {
        sum += (uint64_t)*bytes << shift;
    }
    return sum;
}

/* Of sums of add_words: the checksum as it stands in the header, read as big-endian. */
static uint16_t fold(uint64_t sum)
{
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum = ~sum & 0xffff;
    return (uint16_t)(sum << 8 | sum >> 8);
}

void net_fill_checksum(const struct net_header *header, uint8_t *frame, size_t size)
{
    size_t start = header->csum_start, at = start + header->csum_offset;
    uint16_t sum = fold(add_words(frame + start, size - start));

    put16(frame + at, sum != 0 ? sum : UINT16_MAX); /* of UDP 0 would mean: there is none */
}

/* Where IP begins, and of which kind it is: 0 if it is another protocol. */
static size_t find_ip(const uint8_t *frame, size_t size, bool *is_v6)
{
    size_t at = TYPE_AT;

    for (unsigned i = 0; i <= TAGS_MAX && at + sizeof(uint16_t) <= size; i++, at += TAG_SIZE) {
        uint16_t type = get16(frame + at);

        if (type == TYPE_V4 || type == TYPE_V6) {
            *is_v6 = type == TYPE_V6;
            return at + sizeof(uint16_t);
        }
        if (type != TYPE_TAG && type != TYPE_TAG_OUTER) {
            break;
        }
    }
    return 0;
}

/* Whether IP and TCP begin where the header says, as far as they have to be written anew. */
static bool is_tcp(const struct net_cut *cut)
{
    const uint8_t *ip = cut->frame + cut->l3;

    if (cut->is_v6) { /* each segment has what is before TCP, too: extensions are a few words */
        return cut->l4 >= cut->l3 + V6_SIZE && cut->l4 <= cut->l3 + V6_SIZE + V6_MORE_MAX;
    }
    return cut->l4 >= cut->l3 + V4_SIZE && cut->l4 == cut->l3 + (ip[0] & 0xfu) * 4u &&
           ip[V4_PROTOCOL] == TCP;
}

bool net_cut_begin(struct net_cut *cut, const struct net_header *header, const uint8_t *frame,
                   size_t size)
{
    bool is_v6 = (header->gso_type & ~NET_GSO_ECN) == NET_GSO_TCPV6, is_found_v6 = false;

    *cut = (struct net_cut){.frame = frame,
                            .size = size,
                            .l3 = find_ip(frame, size, &is_found_v6),
                            .l4 = header->csum_start,
                            .step = header->gso_size,
                            .is_v6 = is_v6};
    if (cut->l3 == 0 || is_v6 != is_found_v6 || cut->l4 + TCP_SIZE > size || !is_tcp(cut)) {
        return false;
    }
    cut->payload = cut->l4 + (frame[cut->l4 + TCP_OFFSET] >> 4) * 4u;
    return cut->payload >= cut->l4 + TCP_SIZE && cut->payload < size &&
           (size - cut->payload - 1) / cut->step < NET_SEGMENTS_MAX;
}

/* The checksum of TCP with its pseudo-header. */
static void sum_tcp(const struct net_cut *cut, uint8_t *to, size_t size)
{
    uint8_t *tcp = to + cut->l4;
    size_t length = size - cut->l4;
    uint8_t rest[4] = {0, TCP, (uint8_t)(length >> 8), (uint8_t)length};
    uint64_t sum = add_words(rest, sizeof(rest));

    sum += cut->is_v6 ? add_words(to + cut->l3 + V6_ADDRESSES, 32)
                      : add_words(to + cut->l3 + V4_ADDRESSES, 8);
    put16(tcp + TCP_CHECKSUM, 0);
    put16(tcp + TCP_CHECKSUM, fold(sum + add_words(tcp, length)));
}

/* Lengths, number and checksum of IP. */
static void write_ip(const struct net_cut *cut, uint8_t *to, size_t size)
{
    uint8_t *ip = to + cut->l3;

    if (cut->is_v6) {
        put16(ip + V6_LENGTH, (uint16_t)(size - cut->l3 - V6_SIZE));
        return;
    }
    put16(ip + V4_LENGTH, (uint16_t)(size - cut->l3));
    put16(ip + V4_ID, (uint16_t)(get16(ip + V4_ID) + cut->index));
    put16(ip + V4_CHECKSUM, 0);
    put16(ip + V4_CHECKSUM, fold(add_words(ip, cut->l4 - cut->l3)));
}

size_t net_cut_next(struct net_cut *cut, uint8_t *to)
{
    size_t all = cut->size - cut->payload, data = all - cut->next, size;
    uint8_t *tcp = to + cut->l4;
    uint32_t sequence;

    if (data == 0) {
        return 0;
    }
    data = data < cut->step ? data : cut->step;
    size = cut->payload + data;
    memcpy(to, cut->frame, cut->payload);
    memcpy(to + cut->payload, cut->frame + cut->payload + cut->next, data);
    write_ip(cut, to, size);
    sequence =
        (uint32_t)get16(tcp + TCP_SEQUENCE) << 16 | get16(tcp + TCP_SEQUENCE + sizeof(uint16_t));
    sequence += (uint32_t)cut->next;
    put16(tcp + TCP_SEQUENCE, (uint16_t)(sequence >> 16));
    put16(tcp + TCP_SEQUENCE + sizeof(uint16_t), (uint16_t)sequence);
    if (cut->index > 0) {
        tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR; /* RFC 3168: once */
    }
    cut->next += data;
    cut->index++;
    if (cut->next < all) {
        tcp[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH); /* the last one's */
    }
    sum_tcp(cut, to, size);
    return size;
}
