/* Frames of a network: what a header may ask for, checksums, and cutting large segments. */
#include "vdevs/net_frame.h"

#include <string.h>

#include "tests/unit/unit.h"

enum { L3 = 14, L4_V4 = 34, L4_V6 = 54, TCP_SIZE = 20, DATA = 1000 };

static const struct net_offloads all = {true, true, true, true}, none;
static uint8_t frame[2048], out[2048];

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

/* RFC 1071 as it stands there: 0 over what has a right checksum. */
static uint16_t sum(const uint8_t *bytes, size_t size, uint32_t start)
{
    for (size_t i = 0; i < size; i++) {
        start += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
    }
    while (start >> 16 != 0) {
        start = (start & 0xffff) + (start >> 16);
    }
    return (uint16_t)~start;
}

/* Sum of TCP with its pseudo-header. */
static uint16_t sum_tcp(const uint8_t *of, size_t size, bool is_v6)
{
    size_t l4 = is_v6 ? L4_V6 : L4_V4;
    uint32_t start = 6 + (uint32_t)(size - l4);
    const uint8_t *addresses = of + L3 + (is_v6 ? 8 : 12);

    for (size_t i = 0; i < (is_v6 ? 32 : 8); i++) {
        start += i % 2 == 0 ? (uint32_t)addresses[i] << 8 : addresses[i];
    }
    return sum(of + l4, size - l4, start);
}

/* A large segment with `DATA` bytes; returns the frame's size. */
static size_t make(struct net_header *header, bool is_v6, uint16_t step)
{
    static const uint8_t v4[] = {0x45, 0, 0, 0, 0xff, 0xff, 0x40, 0, 0x40, 6, 0, 0};
    static const uint8_t v6[] = {0x60, 0, 0, 0, 0, 0, 6, 0x40};
    static const uint8_t sequence[] = {0xff, 0xff, 0xff, 0xf0}; /* wraps around */
    size_t l4 = is_v6 ? L4_V6 : L4_V4, size = l4 + TCP_SIZE + DATA;

    memset(frame, 0x11, sizeof(frame));
    frame[12] = is_v6 ? 0x86 : 0x08;
    frame[13] = is_v6 ? 0xdd : 0x00;
    if (is_v6) {
        memcpy(frame + L3, v6, sizeof(v6));
    } else {
        memcpy(frame + L3, v4, sizeof(v4));
    }
    memcpy(frame + l4 + 4, sequence, sizeof(sequence));
    frame[l4 + 12] = 0x50;
    frame[l4 + 13] = 0x99; /* CWR, ACK, PSH, FIN */
    for (size_t i = 0; i < DATA; i++) {
        frame[l4 + TCP_SIZE + i] = (uint8_t)(i * 7);
    }
    *header = (struct net_header){.flags = NET_NEEDS_CSUM,
                                  .gso_type = is_v6 ? NET_GSO_TCPV6 : NET_GSO_TCPV4,
                                  .gso_size = step,
                                  .csum_start = (uint16_t)l4,
                                  .csum_offset = 16};
    return size;
}

START_TEST(a_header_without_wishes_fits_every_frame_from_14_bytes_on)
{
    struct net_header header = {.csum_start = 9999, .csum_offset = 9999, .gso_size = 1};

    ck_assert(net_header_is_sound(&header, 14, &none));
    ck_assert(!net_header_is_sound(&header, 13, &none));
}
END_TEST

START_TEST(a_checksum_lies_in_the_frame_and_behind_the_addresses)
{
    struct net_header header = {.flags = NET_NEEDS_CSUM, .csum_start = 14, .csum_offset = 4};

    ck_assert(net_header_is_sound(&header, 20, &all));
    ck_assert(!net_header_is_sound(&header, 19, &all));
    ck_assert(!net_header_is_sound(&header, 20, &none));
    header.csum_start = 13;
    ck_assert(!net_header_is_sound(&header, 20, &all));
    header.csum_start = header.csum_offset = UINT16_MAX; /* their sum has no 16 bits */
    ck_assert(!net_header_is_sound(&header, 20, &all));
}
END_TEST

START_TEST(a_large_segment_needs_a_size_a_checksum_and_the_feature)
{
    struct net_header header, wrong;
    struct net_offloads but = all;

    size_t size = make(&header, false, 100);
    ck_assert(net_header_is_sound(&header, size, &all));
    wrong = header, wrong.gso_size = 0;
    ck_assert(!net_header_is_sound(&wrong, size, &all));
    wrong = header, wrong.flags = 0;
    ck_assert(!net_header_is_sound(&wrong, size, &all));
    wrong = header, wrong.csum_offset = 6;
    ck_assert(!net_header_is_sound(&wrong, size, &all));
    wrong = header, wrong.gso_type = 3; /* UFO: nobody offers it */
    ck_assert(!net_header_is_sound(&wrong, size, &all));
    wrong = header, wrong.gso_type |= NET_GSO_ECN;
    ck_assert(net_header_is_sound(&wrong, size, &all));
    but.has_ecn = false;
    ck_assert(!net_header_is_sound(&wrong, size, &but));
    but.has_tso4 = false;
    ck_assert(!net_header_is_sound(&header, size, &but));
    wrong = (struct net_header){.gso_type = NET_GSO_ECN};
    ck_assert(!net_header_is_sound(&wrong, size, &all));
    size = make(&header, true, 100);
    ck_assert(net_header_is_sound(&header, size, &all));
    but = all, but.has_tso6 = false;
    ck_assert(!net_header_is_sound(&header, size, &but));
}
END_TEST

START_TEST(a_checksum_is_filled_in_over_odd_sizes_too)
{
    for (size_t size = 40; size < 48; size++) {
        struct net_header header = {.flags = NET_NEEDS_CSUM, .csum_start = 15, .csum_offset = 6};

        for (size_t i = 0; i < size; i++) {
            frame[i] = (uint8_t)(i * 37 + 200);
        }
        frame[21] = frame[22] = 0;
        net_fill_checksum(&header, frame, size);
        ck_assert_uint_eq(sum(frame + 15, size - 15, 0), 0);
    }
}
END_TEST

START_TEST(a_checksum_of_zero_is_written_as_all_ones)
{
    struct net_header header = {.flags = NET_NEEDS_CSUM, .csum_start = 14, .csum_offset = 2};

    memset(frame, 0, 20);
    frame[14] = frame[15] = 0xff;
    net_fill_checksum(&header, frame, 20);
    ck_assert_uint_eq(get16(frame + 16), 0xffff);
}
END_TEST

/* Cut, and look at each part. */
static void expect_parts(bool is_v6, uint16_t step)
{
    size_t l4 = is_v6 ? L4_V6 : L4_V4, done = 0, part;
    unsigned index = 0;
    struct net_header header;
    struct net_cut cut;
    size_t size = make(&header, is_v6, step);

    ck_assert(net_cut_begin(&cut, &header, frame, size));
    while ((part = net_cut_next(&cut, out)) != 0) {
        size_t data = part - l4 - TCP_SIZE;
        bool is_last = done + data == DATA;

        ck_assert_uint_eq(data, is_last ? (DATA - 1u) % step + 1u : step);
        ck_assert_mem_eq(out + l4 + TCP_SIZE, frame + l4 + TCP_SIZE + done, data);
        ck_assert_uint_eq((uint32_t)get16(out + l4 + 4) << 16 | get16(out + l4 + 6),
                          (uint32_t)(0xfffffff0 + done));
        ck_assert_int_eq(out[l4 + 13], 0x10 | (index == 0 ? 0x80 : 0) | (is_last ? 0x09 : 0));
        ck_assert_uint_eq(sum_tcp(out, part, is_v6), 0);
        if (is_v6) {
            ck_assert_uint_eq(get16(out + L3 + 4), part - L3 - 40);
        } else {
            ck_assert_uint_eq(get16(out + L3 + 2), part - L3);
            ck_assert_uint_eq(get16(out + L3 + 4), (0xffff + index) & 0xffff);
            ck_assert_uint_eq(sum(out + L3, 20, 0), 0);
        }
        done += data;
        index++;
    }
    ck_assert_uint_eq(done, DATA);
    ck_assert_uint_eq(net_cut_next(&cut, out), 0);
}

START_TEST(a_large_segment_becomes_small_ones_that_are_whole)
{
    static const uint16_t steps[] = {2, 3, 100, 333, 500, 999, 1000, 1001, UINT16_MAX};

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        expect_parts(false, steps[i]);
        expect_parts(true, steps[i]);
    }
}
END_TEST

START_TEST(tags_of_vlans_may_stand_before_ip)
{
    static const uint8_t tags[] = {0x88, 0xa8, 0, 1, 0x81, 0, 0, 2};
    struct net_header header;
    struct net_cut cut;
    size_t size = make(&header, false, 400), part;

    memmove(frame + 12 + 8, frame + 12, size - 12);
    memcpy(frame + 12, tags, sizeof(tags));
    header.csum_start += 8;
    ck_assert(net_cut_begin(&cut, &header, frame, size + 8));
    part = net_cut_next(&cut, out);
    ck_assert_uint_eq(part, L4_V4 + 8 + TCP_SIZE + 400);
    ck_assert_uint_eq(sum(out + L3 + 8, 20, 0), 0);
}
END_TEST

/* It is refused with byte `at` of the frame changed. */
static void expect_refused(bool is_v6, size_t at, uint8_t value)
{
    struct net_header header;
    struct net_cut cut;
    size_t size = make(&header, is_v6, 100);

    ck_assert(net_cut_begin(&cut, &header, frame, size));
    frame[at] = value;
    ck_assert_msg(!net_cut_begin(&cut, &header, frame, size), "byte %zu", at);
}

START_TEST(what_is_not_what_its_header_says_is_not_cut)
{
    struct net_header header;
    struct net_cut cut;
    size_t size = make(&header, false, 100);

    expect_refused(false, 12, 0x86);         /* another protocol */
    expect_refused(false, 13, 0xdd);         /* version 6 is something else */
    expect_refused(true, 13, 0x06);          /* ARP's second half */
    expect_refused(false, L3, 0x46);         /* IP is longer than said */
    expect_refused(false, L3, 0x40);         /* IP without a header */
    expect_refused(false, L3 + 9, 17);       /* UDP */
    expect_refused(false, L4_V4 + 12, 0x40); /* TCP's header too short */
    size = make(&header, false, 100);
    ck_assert(!net_cut_begin(&cut, &header, frame, L4_V4 + TCP_SIZE)); /* no data */
    ck_assert(!net_cut_begin(&cut, &header, frame, L4_V4 + TCP_SIZE - 1));
    frame[L4_V4 + 12] = 0xf0; /* 60 bytes */
    ck_assert(!net_cut_begin(&cut, &header, frame, L4_V4 + 60));
    ck_assert(net_cut_begin(&cut, &header, frame, L4_V4 + 61));
    size = make(&header, true, 100);
    header.csum_start--; /* in the addresses */
    ck_assert(!net_cut_begin(&cut, &header, frame, size));
}
END_TEST

/* Whether a segment of version 6 with `more` bytes of extensions is cut. */
static bool is_cut(size_t more)
{
    struct net_header header;
    struct net_cut cut;
    size_t size = make(&header, true, 100);

    memmove(frame + L4_V6 + more, frame + L4_V6, size - L4_V6);
    header.csum_start = (uint16_t)(header.csum_start + more);
    return net_cut_begin(&cut, &header, frame, size + more);
}

START_TEST(extensions_that_each_part_repeats_are_few)
{
    ck_assert(is_cut(0));
    ck_assert(is_cut(256));
    ck_assert(!is_cut(257));
}
END_TEST

START_TEST(no_frame_becomes_more_than_512)
{
    struct net_header header;
    struct net_cut cut;
    size_t size = make(&header, false, 1), head = size - DATA;

    ck_assert(net_cut_begin(&cut, &header, frame, head + NET_SEGMENTS_MAX));
    ck_assert(!net_cut_begin(&cut, &header, frame, head + NET_SEGMENTS_MAX + 1));
}
END_TEST

UNIT_MAIN("net_frame", a_header_without_wishes_fits_every_frame_from_14_bytes_on,
          a_checksum_lies_in_the_frame_and_behind_the_addresses,
          a_large_segment_needs_a_size_a_checksum_and_the_feature,
          a_checksum_is_filled_in_over_odd_sizes_too, a_checksum_of_zero_is_written_as_all_ones,
          a_large_segment_becomes_small_ones_that_are_whole, tags_of_vlans_may_stand_before_ip,
          what_is_not_what_its_header_says_is_not_cut, extensions_that_each_part_repeats_are_few,
          no_frame_becomes_more_than_512)
