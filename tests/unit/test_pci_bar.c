/* BARs, capabilities and MSI-X of a PCI function. Sections without another name are of the PCI
 * Local Bus Specification 3.0. */
#include <errno.h>

#include "tests/unit/pci_unit.h"

#define DEV DEVFN(3, 0)

static struct pci_function_config config;
static struct pci_function *function;

static void start(bool has_firmware)
{
    make(has_firmware);
    function = add(3, 0, &config);
    ck_assert_msg(pci_seal(pci, &err) == 0, "%s", err.msg);
}

/* A function with each kind of BAR and three vectors. */
static void setup(void)
{
    config = (struct pci_function_config){
        .name = "vdev a", .where = "g:3", .vendor = 0x1234, .has_intx = true, .ops = &bar_ops};
    config.bars[0] = (struct pci_bar){.size = 32, .space = BUS_IO, .region = 10};
    config.bars[1] = (struct pci_bar){.size = 0x1000, .space = BUS_MEMORY, .region = 11};
    config.bars[2] = (struct pci_bar){.size = 0x10000,
                                      .space = BUS_MEMORY,
                                      .is_64bit = true,
                                      .is_prefetchable = true,
                                      .region = 12};
    config.vector_count = 3;
    config.vector_bar = 4;
}

START_TEST(bar_tells_its_size_when_all_ones_are_written_6_2_5_1)
{
    setup();
    start(false);
    config_out(DEV, 4, 2, 0);
    for (uint32_t i = 0; i < 6; i++) {
        config_out(DEV, 0x10 + 4 * i, 4, 0xffffffff);
    }
    ck_assert_uint_eq(config_in(DEV, 0x10, 4), 0xffffffe1);
    ck_assert_uint_eq(config_in(DEV, 0x14, 4), 0xfffff000);
    ck_assert_uint_eq(config_in(DEV, 0x18, 4), 0xffff000c);
    ck_assert_uint_eq(config_in(DEV, 0x1c, 4), 0xffffffff);
    ck_assert_uint_eq(config_in(DEV, 0x20, 4), 0xfffff000); /* the vectors' */
    ck_assert_uint_eq(config_in(DEV, 0x24, 4), 0);
    done();
}
END_TEST

START_TEST(without_firmware_every_bar_has_a_place_of_its_own)
{
    uint64_t port, low, high;

    setup();
    start(false);
    ck_assert_uint_eq(config_in(DEV, 4, 2), 3);
    port = config_in(DEV, 0x10, 4) & ~3u;
    low = config_in(DEV, 0x14, 4);
    high = config_in(DEV, 0x18, 4) & ~15u;
    ck_assert_uint_eq(port, 0xc000);
    ck_assert_uint_eq(high, 0xc0000000); /* the largest first */
    ck_assert_uint_eq(low, 0xc0010000);
    ck_assert_uint_eq(in(BUS_IO, port + 4, 2), 0xb004);
    ck_assert_uint_eq(seen.region, 10);
    ck_assert_uint_eq(in(BUS_MEMORY, low + 8, 4), 0xb008);
    ck_assert_uint_eq(seen.region, 11);
    out(BUS_MEMORY, high + 0xfff8, 8, 0x1122334455667788);
    ck_assert_uint_eq(seen.region, 12);
    ck_assert_uint_eq(seen.value, 0x1122334455667788);
    done();
}
END_TEST

START_TEST(with_firmware_nothing_is_decoded_at_power_on_6_2_2)
{
    setup();
    start(true);
    out(BUS_IO, 0xcf8, 4, 0x80001804);
    ck_assert_uint_eq(in(BUS_IO, 0xcfc, 2), 0);
    out(BUS_IO, 0xcf8, 4, 0x80001814);
    ck_assert_uint_eq(in(BUS_IO, 0xcfc, 4), 0);
    done();
}
END_TEST

START_TEST(large_bar_of_64_bits_goes_above_4_gib)
{
    setup();
    config.bars[2].size = 1ull << 32;
    start(false);
    ck_assert_uint_eq(config_in(DEV, 0x1c, 4), 1);
    ck_assert_uint_eq(in(BUS_MEMORY, 0x1ffffffff, 1), 0xff);
    ck_assert_uint_eq(seen.offset, 0xffffffff);
    done();
}
END_TEST

START_TEST(places_are_given_around_what_is_there)
{
    setup();
    make(false);
    ck_assert_int_eq(bus_add(bus, BUS_MEMORY, 0xc0008000, 0x1000, on_bar, NULL, 1, "vdev b", &err),
                     0);
    (void)add(3, 0, &config);
    ck_assert_int_eq(pci_seal(pci, &err), 0);
    ck_assert_uint_eq(config_in(DEV, 0x18, 4), 0xc001000c);
    ck_assert_str_eq(bus_owner(bus, BUS_MEMORY, 0xc0008000), "vdev b");
    done();
}
END_TEST

START_TEST(nothing_is_put_where_the_configuration_keeps_free)
{
    const struct loc memory = {.kind = LOC_MEMORY, .start = 0xc0000000, .size = 0x18000};
    const struct loc ports = {.kind = LOC_IO, .start = 0xc010, .size = 1};
    const struct loc place = {.kind = LOC_PCI, .pci = {.has_device = true, .device = 1}};

    setup();
    make(false);
    ck_assert_int_eq(pci_avoid(pci, &memory), 0);
    ck_assert_int_eq(pci_avoid(pci, &ports), 0);
    ck_assert_int_eq(pci_avoid(pci, &place), 0);
    ck_assert_int_eq(pci_add(pci, NULL, &config, &function, &err), 0);
    ck_assert_uint_eq(function->devfn, DEVFN(2, 0));
    (void)add(1, 0, &config); /* who names it has it */
    ck_assert_int_eq(pci_seal(pci, &err), 0);
    ck_assert_uint_eq(config_in(DEVFN(1, 0), 0x18, 4), 0xc002000c);
    ck_assert_uint_eq(config_in(DEVFN(1, 0), 0x10, 4), 0xc021);
    for (uint32_t i = 2; i < PCI_AVOIDED_MAX; i++) {
        ck_assert_int_eq(pci_avoid(pci, &ports), 0);
    }
    ck_assert_int_eq(pci_avoid(pci, &ports), -ENOSPC);
    done();
}
END_TEST

START_TEST(bar_that_finds_no_place_is_refused_in_words)
{
    setup();
    config.bars[1].size = 1u << 31;
    make(false);
    (void)add(3, 0, &config);
    ck_assert_int_eq(pci_seal(pci, &err), -ENOSPC);
    ck_assert_str_eq(err.msg, "g:3: vdev a: no room is left for its BAR 1 of 0x80000000 bytes");
    done();
}
END_TEST

START_TEST(guest_moves_a_bar_while_it_is_decoded)
{
    setup();
    start(false);
    for (uint32_t at = 0xc1000000; at < 0xc1100000; at += 0x1000) {
        config_out(DEV, 0x14, 4, at);
        ck_assert_uint_eq(in(BUS_MEMORY, at + 4, 4), 0xb004);
        ck_assert_uint_eq(in(BUS_MEMORY, at - 0x1000, 4), 0xffffffff);
    }
    config_out(DEV, 0x1c, 4, 5); /* the high half alone */
    ck_assert_uint_eq(in(BUS_MEMORY, 0x5c0000010, 4), 0xb010);
    done();
}
END_TEST

START_TEST(decoding_is_switched_by_space_6_2_2)
{
    setup();
    start(false);
    config_out(DEV, 4, 2, 1);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xc0010000, 4), 0xffffffff);
    ck_assert_uint_eq(in(BUS_IO, 0xc000, 2), 0xb000);
    config_out(DEV, 4, 2, 2);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xc0010000, 4), 0xb000);
    ck_assert_uint_eq(in(BUS_IO, 0xc000, 2), 0xffff);
    done();
}
END_TEST

START_TEST(bar_never_displaces_ram_and_comes_when_its_place_is_free)
{
    struct pci_function_config other;

    setup();
    other = (struct pci_function_config){.name = "vdev b", .ops = &bar_ops};
    other.bars[0] = (struct pci_bar){.size = 0x1000, .space = BUS_MEMORY, .region = 77};
    make(false);
    function = add(3, 0, &config);
    (void)add(4, 0, &other);
    ck_assert_int_eq(pci_seal(pci, &err), 0);
    config_out(DEV, 0x14, 4, 0x00800000);
    ck_assert_str_eq(bus_owner(bus, BUS_MEMORY, 0x00800000), "RAM");
    config_out(DEV, 0x14, 4, 0xc2000000);
    config_out(DEVFN(4, 0), 0x10, 4, 0xc2000000);
    (void)in(BUS_MEMORY, 0xc2000000, 4);
    ck_assert_uint_eq(seen.region, 11); /* who came first */
    config_out(DEV, 0x14, 4, 0xc3000000);
    (void)in(BUS_MEMORY, 0xc2000000, 4);
    ck_assert_uint_eq(seen.region, 77);
    done();
}
END_TEST

START_TEST(ecam_and_bars_wait_for_each_other_and_a_reset_finds_room_for_all)
{
    uint64_t ecam, size;

    setup();
    start(false);
    config_out(DEV, 0x14, 4, 0xe0000000); /* where ECAM is: it waits */
    ck_assert_uint_eq(in(BUS_MEMORY, 0xe0000000, 4), 0x29c08086);
    out(BUS_MEMORY, ECAM(0, 0x60), 4, 0xd0000001); /* ECAM goes */
    ck_assert_uint_eq(in(BUS_MEMORY, 0xe0000000, 4), 0xb000);
    out(BUS_MEMORY, 0xd0000060, 4, 0xe0000001); /* it comes back, and waits now */
    ck_assert(!pci_ecam(pci, &ecam, &size));
    out(BUS_IO, 0xcf8, 4, 0x80001804);
    out(BUS_IO, 0xcfc, 2, 0);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xe0000000, 4), 0x29c08086);
    config_out(DEV, 0x20, 4, 0xc0000000); /* the place of BAR 2 at power-on */
    config_out(DEV, 0x18, 4, 0xfa000000);
    config_out(DEV, 4, 2, 3);
    pci_reset(pci);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xc0000000, 4), 0xb000);
    ck_assert_uint_eq(seen.region, 12);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xe0000000, 4), 0x29c08086);
    done();
}
END_TEST

START_TEST(reset_brings_back_a_bar_whose_place_another_function_took)
{
    make(false);
    setup();
    function = add(3, 0, &config);
    (void)add(5, 0, &config);
    ck_assert_int_eq(pci_seal(pci, &err), 0);
    config_out(DEVFN(5, 0), 0x20, 4, 0xc0000000); /* waits */
    config_out(DEV, 0x18, 4, 0xfa000000);         /* goes */
    ck_assert_ptr_nonnull(bus_owner(bus, BUS_MEMORY, 0xc0000000));
    ck_assert_ptr_null(bus_owner(bus, BUS_MEMORY, 0xc0001000));
    pci_reset(pci);
    ck_assert_ptr_nonnull(bus_owner(bus, BUS_MEMORY, 0xc0001000));
    done();
}
END_TEST

START_TEST(all_ones_with_decoding_on_is_no_place)
{
    setup();
    start(false);
    config_out(DEV, 0x14, 4, 0xffffffff);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xfffff000, 4), 0xffffffff);
    config_out(DEV, 0x10, 4, 0xffffffff);
    config_out(DEV, 0x18, 4, 0xffffffff);
    config_out(DEV, 0x1c, 4, 0xffffffff);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xffffffffffff0000, 4), 0xb000); /* 64 bits: it is one */
    done();
}
END_TEST

START_TEST(capabilities_are_linked_and_masked_6_7)
{
    static const uint8_t data[6] = {1, 2, 3, 4, 5, 6}, mask[6] = {0, 0xff, 0, 0x0f, 0, 0};
    const struct pci_cap cap = {.id = 9, .size = 6, .data = data, .mask = mask};

    setup();
    config.caps = &cap;
    config.cap_count = 1;
    start(false);
    ck_assert_uint_eq(config_in(DEV, 6, 2), 0x10);
    ck_assert_uint_eq(config_in(DEV, 0x34, 1), 0x40);
    ck_assert_uint_eq(config_in(DEV, 0x40, 4), 0x02014809);
    ck_assert_uint_eq(config_in(DEV, 0x48, 2), 0x0011); /* MSI-X, the last */
    config_out(DEV, 0x40, 4, 0xaaaaaaaa);
    config_out(DEV, 0x44, 4, 0x55555555);
    ck_assert_uint_eq(config_in(DEV, 0x40, 4), 0xaa014809);
    ck_assert_uint_eq(config_in(DEV, 0x44, 4), 0x06050503);
    done();
}
END_TEST

static uint32_t live_offset, live_size, live_value;

static uint32_t on_config_read(void *context, uint32_t cap, uint32_t offset, uint32_t size)
{
    (void)context;
    (void)size;
    return 0xc0 + (cap << 8) + offset;
}

static void on_config_write(void *context, uint32_t cap, uint32_t offset, uint32_t size,
                            uint32_t value)
{
    (void)context;
    (void)cap;
    live_offset = offset;
    live_size = size;
    live_value = value;
}

START_TEST(live_capability_is_answered_by_its_device)
{
    static const struct pci_function_ops ops = {
        .access = on_bar, .config_read = on_config_read, .config_write = on_config_write};
    static const uint8_t data[6] = {1, 2};
    const struct pci_cap caps[2] = {{.id = 9, .size = 6, .data = data},
                                    {.id = 9, .size = 6, .data = data, .is_live = true}};

    setup();
    config.caps = caps;
    config.cap_count = 2;
    config.ops = &ops;
    start(false);
    ck_assert_uint_eq(config_in(DEV, 0x44, 4), 0);
    ck_assert_uint_eq(config_in(DEV, 0x48, 2), 0x5009); /* the header is ours */
    ck_assert_uint_eq(config_in(DEV, 0x4c, 4), 0x1c4);
    config_out(DEV, 0x4e, 2, 0x1234);
    ck_assert_uint_eq(live_offset, 6);
    ck_assert_uint_eq(live_size, 2);
    ck_assert_uint_eq(live_value, 0x1234);
    done();
}
END_TEST

START_TEST(wrong_functions_are_refused_in_words)
{
    struct pci_function *new = NULL;

    make(false);
    setup();
    config.bars[1].size = 0x1800;
    ck_assert_int_eq(pci_add(pci, NULL, &config, &new, &err), -EINVAL);
    ck_assert_str_eq(err.msg, "BAR 1 has a size of 0x1800, which is no power of two from 0x10 to "
                              "0x80000000");
    setup();
    config.bars[3].size = 16;
    ck_assert_int_eq(pci_add(pci, NULL, &config, &new, &err), -EINVAL);
    setup();
    config.vector_bar = 3;
    ck_assert_int_eq(pci_add(pci, NULL, &config, &new, &err), -EINVAL);
    setup();
    config.vector_count = PCI_MESSAGES_OF_VDEVS + 1;
    ck_assert_int_eq(pci_add(pci, NULL, &config, &new, &err), -EINVAL);
    setup();
    config.bars[0].size = 512;
    ck_assert_int_eq(pci_add(pci, NULL, &config, &new, &err), -EINVAL);
    setup();
    config.cap_count = PCI_CAPS_MAX + 1;
    ck_assert_int_eq(pci_add(pci, NULL, &config, &new, &err), -EINVAL);
    ck_assert_ptr_null(new);
    done();
}
END_TEST

#define MSIX_AT    0x40u
#define TABLE(v)   (0xc0011000ull + 16 * (v))
#define PENDING    (0xc0011000ull + 0x800)
#define CONTROL(v) config_out(DEV, MSIX_AT + 2, 2, v)

static void start_with_vectors(void)
{
    setup();
    start(false);
    be_master(DEV);
    ck_assert_uint_eq(config_in(DEV, 0x20, 4), TABLE(0));
    for (uint32_t v = 0; v < 3; v++) {
        out(BUS_MEMORY, TABLE(v), 8, 0xfee00000 + 0x1000 * v);
        out(BUS_MEMORY, TABLE(v) + 8, 4, 0x40 + v);
    }
}

START_TEST(msix_capability_says_where_table_and_pending_bits_are_6_8_2)
{
    start_with_vectors();
    ck_assert_uint_eq(config_in(DEV, MSIX_AT, 4), 0x00020011); /* three vectors */
    ck_assert_uint_eq(config_in(DEV, MSIX_AT + 4, 4), 4);
    ck_assert_uint_eq(config_in(DEV, MSIX_AT + 8, 4), 0x804);
    CONTROL(0xffff);
    ck_assert_uint_eq(config_in(DEV, MSIX_AT + 2, 2), 0xc002);
    done();
}
END_TEST

START_TEST(vectors_are_masked_at_power_on_6_8_2_9)
{
    start_with_vectors();
    ck_assert_uint_eq(in(BUS_MEMORY, TABLE(2) + 12, 4), 1);
    ck_assert_uint_eq(in(BUS_MEMORY, TABLE(3), 8), 0);     /* behind the table */
    ck_assert_uint_eq(in(BUS_MEMORY, TABLE(1) + 1, 1), 0); /* no access that 6.8.2 knows */
    ck_assert(!pci_message(function, 0));                  /* not enabled */
    ck_assert_uint_eq(in(BUS_MEMORY, PENDING, 8), 0);
    done();
}
END_TEST

START_TEST(unmasked_vector_is_sent_as_its_entry_says_6_8_3_3)
{
    start_with_vectors();
    CONTROL(0x8000);
    out(BUS_MEMORY, TABLE(1) + 12, 4, 0);
    out(BUS_MEMORY, TABLE(1) + 4, 4, 0x12);
    ck_assert(pci_message(function, 1));
    ck_assert_uint_eq(seen.message_count, 1);
    ck_assert_uint_eq(seen.address, 0x12fee01000);
    ck_assert_uint_eq(seen.data, 0x41);
    ck_assert(pci_message(function, 3)); /* there is none: lost */
    ck_assert_uint_eq(seen.message_count, 1);
    done();
}
END_TEST

START_TEST(masked_vector_is_pending_and_sent_once_when_unmasked_6_8_3_4)
{
    start_with_vectors();
    CONTROL(0x8000);
    ck_assert(pci_message(function, 1));
    ck_assert(pci_message(function, 1));
    ck_assert_uint_eq(seen.message_count, 0);
    ck_assert_uint_eq(in(BUS_MEMORY, PENDING, 8), 2);
    out(BUS_MEMORY, PENDING, 8, 0); /* read only */
    ck_assert_uint_eq(in(BUS_MEMORY, PENDING, 4), 2);
    out(BUS_MEMORY, TABLE(1) + 12, 4, 0);
    ck_assert_uint_eq(seen.message_count, 1);
    ck_assert_uint_eq(in(BUS_MEMORY, PENDING, 8), 0);
    out(BUS_MEMORY, TABLE(1) + 12, 4, 0xfffffffe); /* the other bits are reserved */
    ck_assert_uint_eq(in(BUS_MEMORY, TABLE(1) + 12, 4), 0);
    done();
}
END_TEST

START_TEST(function_mask_masks_all_6_8_2_3)
{
    start_with_vectors();
    CONTROL(0xc000);
    for (uint32_t v = 0; v < 3; v++) {
        out(BUS_MEMORY, TABLE(v) + 12, 4, 0);
        ck_assert(pci_message(function, v));
    }
    ck_assert_uint_eq(seen.message_count, 0);
    ck_assert_uint_eq(in(BUS_MEMORY, PENDING, 8), 7);
    CONTROL(0x8000);
    ck_assert_uint_eq(seen.message_count, 3);
    ck_assert_uint_eq(seen.data, 0x42);
    done();
}
END_TEST

START_TEST(enabling_msix_silences_intx_6_8_2_3)
{
    uint32_t gsi = PCI_GSI_BASE + pci_pirq(3, 0);

    start_with_vectors();
    pci_intx(function, true);
    ck_assert_uint_eq(seen.holders[gsi], 1);
    CONTROL(0x8000);
    ck_assert_uint_eq(seen.holders[gsi], 0);
    CONTROL(0);
    ck_assert_uint_eq(seen.holders[gsi], 1);
    done();
}
END_TEST

START_TEST(reset_forgets_vectors_and_brings_bars_back)
{
    start_with_vectors();
    CONTROL(0x8000);
    ck_assert(pci_message(function, 0));
    config_out(DEV, 0x14, 4, 0xc8000000);
    pci_reset(pci);
    ck_assert(!pci_has_messages(function));
    ck_assert_uint_eq(in(BUS_MEMORY, PENDING, 8), 0);
    ck_assert_uint_eq(in(BUS_MEMORY, TABLE(0), 8), 0);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xc8000000, 4), 0xffffffff);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xc0010000, 4), 0xb000);
    done();
}
END_TEST

UNIT_MAIN("pci_bar", bar_tells_its_size_when_all_ones_are_written_6_2_5_1,
          without_firmware_every_bar_has_a_place_of_its_own,
          with_firmware_nothing_is_decoded_at_power_on_6_2_2, large_bar_of_64_bits_goes_above_4_gib,
          places_are_given_around_what_is_there, nothing_is_put_where_the_configuration_keeps_free,
          bar_that_finds_no_place_is_refused_in_words, guest_moves_a_bar_while_it_is_decoded,
          decoding_is_switched_by_space_6_2_2,
          bar_never_displaces_ram_and_comes_when_its_place_is_free,
          ecam_and_bars_wait_for_each_other_and_a_reset_finds_room_for_all,
          reset_brings_back_a_bar_whose_place_another_function_took,
          all_ones_with_decoding_on_is_no_place, capabilities_are_linked_and_masked_6_7,
          live_capability_is_answered_by_its_device, wrong_functions_are_refused_in_words,
          msix_capability_says_where_table_and_pending_bits_are_6_8_2,
          vectors_are_masked_at_power_on_6_8_2_9, unmasked_vector_is_sent_as_its_entry_says_6_8_3_3,
          masked_vector_is_pending_and_sent_once_when_unmasked_6_8_3_4,
          function_mask_masks_all_6_8_2_3, enabling_msix_silences_intx_6_8_2_3,
          reset_forgets_vectors_and_brings_bars_back)
