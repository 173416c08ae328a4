/* What a network card is commanded by its driver: virtio 1.2, 5.1.6.5. */
#include "proto/base/cleanup.h"
#include "tests/unit/virtio_net_unit.h"

enum { CONTROL = 2 };
enum { KNOWN_MAX = 64 }; /* addresses of a kind that the card keeps */

#define CTRL_VQ       FEATURE(17)
#define CTRL_RX       FEATURE(18)
#define CTRL_MAC_ADDR FEATURE(23)
#define ALL           (CTRL_VQ | CTRL_RX | CTRL_MAC_ADDR)

static const uint8_t own[] = {2, 0, 0, 0, 0, 1}, other[] = {2, 0, 0, 0, 0, 2};
static const uint8_t group[] = {1, 0, 0x5e, 0, 0, 1}, all[] = {255, 255, 255, 255, 255, 255};

static void set_up_own(uint64_t features)
{
    static const struct vdev_value value = {.option = OPTION_MAC, .text = "02:00:00:00:00:01"};

    create_net(&value, 1);
    drive(VERSION_1 | features);
}

#define COMMAND(...)                                                                               \
    command(CONTROL, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static uint8_t set_mac(const uint8_t mac[6])
{
    return COMMAND(1, 1, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

/* The two tables, of so many addresses each, all alike. */
static uint8_t set_tables(const uint8_t one[6], uint32_t ones, const uint8_t many[6],
                          uint32_t groups)
{
    uint8_t words[1024] = {1, 0};
    uint32_t at = 2;

    memcpy(words + at, &ones, sizeof(ones));
    for (at += 4; ones > 0; ones--, at += 6) {
        memcpy(words + at, one, 6);
    }
    memcpy(words + at, &groups, sizeof(groups));
    for (at += 4; groups > 0; groups--, at += 6) {
        memcpy(words + at, many, 6);
    }
    return command(CONTROL, words, at);
}

/* Whether a frame to that address arrives. */
static bool arrives(const uint8_t to[6])
{
    uint32_t id, size;

    memcpy(bytes + HEADER, to, 6);
    ring_describe(&rings[RECEIVE], 0, DATA + 0x1000, 1000, RING_WRITE, 0);
    ring_offer(&rings[RECEIVE], 0);
    kick(RECEIVE);
    fake_slot_frame(&slot, bytes, HEADER + SIZE);
    if (ring_take(&rings[RECEIVE], &id, &size)) {
        return true;
    }
    ring_set_available_index(&rings[RECEIVE], --rings[RECEIVE].next_available);
    return false;
}

START_TEST(until_it_is_told_everything_arrives)
{
    set_up_own(ALL);
    ck_assert(arrives(own) && arrives(other) && arrives(group) && arrives(all));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(promiscuous_mode_is_switched_on_and_off_5_1_6_5_1_1)
{
    set_up_own(ALL);
    ck_assert_uint_eq(COMMAND(0, 0, 0), OK);
    ck_assert(arrives(own) && arrives(all));
    ck_assert(!arrives(other));
    ck_assert(!arrives(group));
    expect_state("received-lost=0\nreceived-unwanted=2\n");
    ck_assert_uint_eq(COMMAND(0, 0, 1), OK);
    ck_assert(arrives(other) && arrives(group));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(all_multicast_is_switched_on_and_off_5_1_6_5_1_1)
{
    set_up_own(ALL);
    ck_assert_uint_eq(COMMAND(0, 0, 0), OK);
    ck_assert_uint_eq(COMMAND(0, 1, 1), OK);
    ck_assert(arrives(group));
    ck_assert(!arrives(other));
    ck_assert_uint_eq(COMMAND(0, 1, 0), OK);
    ck_assert(!arrives(group));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(the_table_of_addresses_counts_from_its_answer_on_5_1_6_5_2_1)
{
    static const uint8_t third[] = {2, 0, 0, 0, 0, 3};

    set_up_own(ALL);
    ck_assert_uint_eq(COMMAND(0, 0, 0), OK);
    ck_assert_uint_eq(set_tables(other, 2, group, 1), OK);
    ck_assert(arrives(own) && arrives(other) && arrives(group) && arrives(all));
    ck_assert(!arrives(third));
    ck_assert_uint_eq(set_tables(third, 1, group, 0), OK); /* what was there is there no more */
    ck_assert(arrives(third));
    ck_assert(!arrives(other));
    ck_assert(!arrives(group));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(more_addresses_than_are_kept_are_all_addresses)
{
    static const uint8_t second[] = {1, 0, 0x5e, 0, 0, 2};

    set_up_own(ALL);
    ck_assert_uint_eq(COMMAND(0, 0, 0), OK);
    ck_assert_uint_eq(set_tables(other, KNOWN_MAX, group, KNOWN_MAX), OK);
    ck_assert(!arrives(second));
    ck_assert_uint_eq(set_tables(other, 1, group, KNOWN_MAX + 1), OK);
    ck_assert(arrives(second));
    ck_assert_uint_eq(set_tables(own, KNOWN_MAX + 1, group, 0), OK);
    ck_assert(arrives(other));
    ck_assert(!arrives(group));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(its_address_is_in_the_configuration_before_the_answer_5_1_6_5_2_1)
{
    static const uint8_t nobodys[] = {3, 0, 0, 0, 0, 3};

    set_up_own(ALL);
    ck_assert_uint_eq(COMMAND(0, 0, 0), OK);
    ck_assert_uint_eq(set_mac(other), OK);
    ck_assert_uint_eq(get(CONFIG + 4) & 0xffff, 0x0200);
    ck_assert(arrives(other));
    ck_assert(!arrives(own));
    expect_state("mac=02:00:00:00:00:02\n");
    ck_assert_uint_eq(set_mac(nobodys), ERR); /* a group's */
    ck_assert_uint_eq(get(CONFIG + 4) & 0xffff, 0x0200);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_reset_forgets_what_was_commanded_5_1_6_5_2_1)
{
    set_up_own(ALL);
    ck_assert_uint_eq(COMMAND(0, 0, 0), OK);
    ck_assert_uint_eq(set_mac(other), OK);
    ck_assert_uint_eq(set_tables(other, 1, group, 1), OK);
    set(0x70, 0);
    ck_assert_uint_eq(get(CONFIG + 4) & 0xffff, 0x0100);
    drive(VERSION_1 | ALL);
    ck_assert(arrives(own) && arrives(other) && arrives(group));
    ck_assert_uint_eq(COMMAND(0, 0, 0), OK);
    ck_assert(!arrives(other));
    ck_assert(!arrives(group));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_command_that_makes_no_sense_is_refused_and_changes_nothing_5_1_6_5)
{
    set_up_own(ALL);
    ck_assert_uint_eq(COMMAND(0, 0), ERR);       /* on, or off? */
    ck_assert_uint_eq(COMMAND(0, 0, 2), ERR);    /* neither */
    ck_assert_uint_eq(COMMAND(0, 0, 0, 0), ERR); /* and what else? */
    ck_assert_uint_eq(COMMAND(0, 2, 0), ERR);    /* VIRTIO_NET_F_CTRL_RX_EXTRA is not offered */
    ck_assert_uint_eq(COMMAND(1, 0, 0, 0, 0, 0), ERR);                     /* one table */
    ck_assert_uint_eq(COMMAND(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), ERR);      /* and a byte */
    ck_assert_uint_eq(COMMAND(1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0), ERR);      /* cut off */
    ck_assert_uint_eq(COMMAND(1, 0, 255, 255, 255, 255, 0, 0, 0, 0), ERR); /* 24 GiB */
    ck_assert_uint_eq(COMMAND(1, 0, 171, 170, 170, 170, 1, 2, 3, 4), ERR); /* 2 modulo 2^32 */
    ck_assert_uint_eq(COMMAND(1, 1, 2, 0, 0, 0, 0), ERR);                  /* five bytes */
    ck_assert_uint_eq(COMMAND(1, 2, 0), ERR);
    ck_assert_uint_eq(COMMAND(2, 0, 1, 0), ERR); /* VLANs */
    ck_assert_uint_eq(COMMAND(4, 0, 1, 0), ERR); /* there is one pair of queues */
    ck_assert_uint_eq(COMMAND(255, 255), ERR);
    ck_assert(arrives(other) && arrives(group));
    ck_assert_uint_eq(get(CONFIG + 4) & 0xffff, 0x0100);
    ck_assert(!needs_reset());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_was_not_agreed_on_cannot_be_commanded_5_1_6_5)
{
    set_up_own(CTRL_VQ);
    ck_assert_uint_eq(COMMAND(0, 0, 0), ERR);
    ck_assert_uint_eq(set_tables(other, 1, group, 1), ERR);
    ck_assert_uint_eq(set_mac(other), ERR);
    ck_assert(arrives(other));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_command_may_lie_in_pieces_2_7_4)
{
    struct ring *ring = &rings[CONTROL];

    set_up_own(ALL);
    *memory(DATA) = 0;
    *memory(DATA + 0x10) = 0;
    *memory(DATA + 0x20) = 0;
    for (uint16_t i = 0; i < 3; i++) {
        ring_describe(ring, i, DATA + i * 0x10u, 1, RING_NEXT, i + 1u);
    }
    *memory(DATA + ANSWER) = NONE;
    ring_describe(ring, 3, DATA + ANSWER, 8, RING_WRITE, 0);
    ring_offer(ring, 0);
    kick(CONTROL);
    expect_used(CONTROL, 0, 1);
    ck_assert_uint_eq(*memory(DATA + ANSWER), OK);
    ck_assert(!arrives(other));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_command_that_cannot_be_answered_breaks_the_rules)
{
    for (unsigned i = 0; i < 2; i++) {
        set_up_own(ALL);
        ring_describe(&rings[CONTROL], 0, DATA, i == 0 ? 3 : 1, i == 0 ? 0 : RING_NEXT, 1);
        ring_describe(&rings[CONTROL], 1, DATA + ANSWER, 1, RING_WRITE, 0);
        ring_offer(&rings[CONTROL], 0);
        kick(CONTROL);
        ck_assert(needs_reset());
        ck_assert(!is_used(CONTROL));
        fake_slot_destroy(&slot);
    }
}
END_TEST

START_TEST(no_feature_is_offered_without_what_it_needs_2_2_1)
{
    static const uint64_t alone[] = {FEATURE(7),  FEATURE(8), FEATURE(11),
                                     FEATURE(12), CTRL_RX,    CTRL_MAC_ADDR};
    struct vdev_value value = {.option = OPTION_PEERFEATS};

    for (size_t i = 0; i < ARRAY_LEN(alone); i++) {
        value.number[0] = alone[i];
        create_net(&value, 1);
        ck_assert_uint_eq(offered() & 0xffffff, FEATURE(5));
        set(0x30, CONTROL);
        ck_assert_uint_eq(get(0x34), 0); /* there is no such queue */
        fake_slot_destroy(&slot);
    }
}
END_TEST

START_TEST(packed_rings_are_offered_on_request)
{
    struct vdev_value value = {.option = OPTION_PACKED, .boolean = true};

    create_net(NULL, 0);
    ck_assert_uint_eq(offered() & FEATURE(34), 0);
    fake_slot_destroy(&slot);
    create_net(&value, 1);
    ck_assert_uint_eq(offered() & FEATURE(34), FEATURE(34));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_restored_card_wants_what_it_wanted)
{
    struct fields_writer saved = {0};

    set_up_own(ALL);
    ck_assert_uint_eq(COMMAND(0, 0, 0), OK);
    ck_assert_uint_eq(set_mac(other), OK);
    ck_assert_uint_eq(set_tables(own, 1, group, 1), OK);
    ck_assert_int_eq(fake_slot_save(&slot, &saved), 0);
    fake_slot_reset(&slot);
    ck_assert_uint_eq(get(CONFIG + 4) & 0xffff, 0x0100);
    ck_assert_int_eq(fake_slot_restore(&slot, saved.bytes, saved.size), 0);
    ck_assert_uint_eq(get(CONFIG + 4) & 0xffff, 0x0200);
    ck_assert(arrives(own) && arrives(other) && arrives(group));
    ck_assert(!arrives((const uint8_t[]){2, 0, 0, 0, 0, 3}));
    fields_discard(&saved);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("virtio_net_control", until_it_is_told_everything_arrives,
          promiscuous_mode_is_switched_on_and_off_5_1_6_5_1_1,
          all_multicast_is_switched_on_and_off_5_1_6_5_1_1,
          the_table_of_addresses_counts_from_its_answer_on_5_1_6_5_2_1,
          more_addresses_than_are_kept_are_all_addresses,
          its_address_is_in_the_configuration_before_the_answer_5_1_6_5_2_1,
          a_reset_forgets_what_was_commanded_5_1_6_5_2_1,
          a_command_that_makes_no_sense_is_refused_and_changes_nothing_5_1_6_5,
          what_was_not_agreed_on_cannot_be_commanded_5_1_6_5, a_command_may_lie_in_pieces_2_7_4,
          a_command_that_cannot_be_answered_breaks_the_rules,
          no_feature_is_offered_without_what_it_needs_2_2_1, packed_rings_are_offered_on_request,
          a_restored_card_wants_what_it_wanted)
