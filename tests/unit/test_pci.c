/* The PCI buses: configuration accesses, places, interrupts. Sections without another name are of
 * the PCI Local Bus Specification 3.0. */
#include <errno.h>

#include "tests/unit/pci_unit.h"

static const struct pci_function_config plain = {.name = "vdev a",
                                                 .where = "g:3",
                                                 .vendor = 0x1234,
                                                 .device = 0x5678,
                                                 .class_code = 0x0c0330,
                                                 .revision = 7,
                                                 .subsystem_vendor = 0xaaaa,
                                                 .subsystem = 0xbbbb,
                                                 .has_intx = true,
                                                 .ops = &bar_ops};

static void seal(void)
{
    ck_assert_msg(pci_seal(pci, &err) == 0, "%s", err.msg);
}

START_TEST(header_has_ids_class_and_pin_where_6_1_puts_them)
{
    make(false);
    (void)add(3, 0, &plain);
    seal();
    ck_assert_uint_eq(config_in(DEVFN(3, 0), 0, 4), 0x56781234);
    ck_assert_uint_eq(config_in(DEVFN(3, 0), 8, 4), 0x0c033007);
    ck_assert_uint_eq(config_in(DEVFN(3, 0), 0x2c, 4), 0xbbbbaaaa);
    ck_assert_uint_eq(config_in(DEVFN(3, 0), 0x3d, 1), 1);
    ck_assert_uint_eq(config_in(DEVFN(3, 0), 0x0e, 1), 0);
    done();
}
END_TEST

START_TEST(absent_functions_read_all_ones_3_2_2_3_5)
{
    make(false);
    seal();
    ck_assert_uint_eq(config_in(DEVFN(3, 0), 0, 4), 0xffffffff);
    ck_assert_uint_eq(config_in(DEVFN(0, 1), 0, 2), 0xffff);
    ck_assert_uint_eq(in(BUS_MEMORY, PCI_ECAM_START + (1 << 20), 4), 0xffffffff); /* bus 1 */
    config_out(DEVFN(3, 0), 4, 2, 7);
    done();
}
END_TEST

START_TEST(ids_and_reserved_bits_ignore_writes_6_1)
{
    make(false);
    (void)add(3, 0, &plain);
    seal();
    for (uint32_t at = 0; at < 0x100; at += 4) {
        config_out(DEVFN(3, 0), at, 4, 0xffffffff);
    }
    ck_assert_uint_eq(config_in(DEVFN(3, 0), 0, 4), 0x56781234);
    ck_assert_uint_eq(config_in(DEVFN(3, 0), 4, 2), 0x0544); /* no BARs: no decoding to enable */
    ck_assert_uint_eq(config_in(DEVFN(3, 0), 0x10, 4), 0);
    ck_assert_uint_eq(config_in(DEVFN(3, 0), 0x30, 4), 0); /* no expansion ROM */
    ck_assert_uint_eq(config_in(DEVFN(3, 0), 0x3c, 4), 0x01ff);
    ck_assert_uint_eq(config_in(DEVFN(3, 0), 0x0c, 4), 0xff);
    done();
}
END_TEST

START_TEST(ports_reach_the_same_space_3_2_2_3_2)
{
    make(false);
    (void)add(3, 0, &plain);
    seal();
    out(BUS_IO, 0xcf8, 4, 0x80001800);
    ck_assert_uint_eq(in(BUS_IO, 0xcfc, 4), 0x56781234);
    ck_assert_uint_eq(in(BUS_IO, 0xcfe, 2), 0x5678);
    ck_assert_uint_eq(in(BUS_IO, 0xcfd, 1), 0x12);
    out(BUS_IO, 0xcf8, 4, 0x8000183c);
    out(BUS_IO, 0xcfc, 1, 0x42);
    ck_assert_uint_eq(config_in(DEVFN(3, 0), 0x3c, 2), 0x0142);
    out(BUS_IO, 0xcf8, 4, 0x00001800); /* not enabled */
    ck_assert_uint_eq(in(BUS_IO, 0xcfc, 4), 0xffffffff);
    done();
}
END_TEST

START_TEST(address_latch_takes_double_words_alone_3_2_2_3_2)
{
    make(false);
    seal();
    out(BUS_IO, 0xcf8, 4, 0x8000ffff);
    ck_assert_uint_eq(in(BUS_IO, 0xcf8, 4), 0x8000fffc); /* the two low bits are 0 */
    out(BUS_IO, 0xcf8, 1, 0x12);
    out(BUS_IO, 0xcf8, 2, 0x1234);
    ck_assert_uint_eq(in(BUS_IO, 0xcf8, 4), 0x8000fffc);
    ck_assert_uint_eq(in(BUS_IO, 0xcfa, 2), 0xffff);
    done();
}
END_TEST

START_TEST(reset_control_register_resets_by_its_cpu_bit_ich9_13_7_5)
{
    make(false);
    seal();
    out(BUS_IO, 0xcf9, 1, 0x02);
    ck_assert_uint_eq(seen.reset_count, 0);
    out(BUS_IO, 0xcf9, 1, 0x06);
    ck_assert_uint_eq(seen.reset_count, 1);
    out(BUS_IO, 0xcf8, 4, 0xffffffff); /* the latch */
    ck_assert_uint_eq(seen.reset_count, 1);
    done();
}
END_TEST

START_TEST(ecam_splits_what_crosses_double_words_pcie_7_2_2)
{
    make(false);
    (void)add(3, 0, &plain);
    seal();
    ck_assert_uint_eq(in(BUS_MEMORY, ECAM(DEVFN(3, 0), 0), 8) & 0xffffffff, 0x56781234);
    ck_assert_uint_eq(in(BUS_MEMORY, ECAM(DEVFN(3, 0), 2), 4) & 0xffff, 0x5678);
    ck_assert_uint_eq(in(BUS_MEMORY, ECAM(DEVFN(3, 0), 0x100), 4), 0); /* no extended ones */
    ck_assert_uint_eq(in(BUS_MEMORY, ECAM(DEVFN(3, 0), 0xfff), 2), 0xff00);
    done();
}
END_TEST

START_TEST(device_without_a_place_gets_the_first_free_number)
{
    const struct loc_pci second = {.has_device = true, .device = 2};
    struct pci_function *function = NULL;

    make(false);
    (void)add(1, 0, &plain);
    ck_assert_int_eq(pci_reserve(pci, &second, "vdev later", &err), 0);
    ck_assert_int_eq(pci_add(pci, NULL, &plain, &function, &err), 0);
    ck_assert_uint_eq(function->devfn, DEVFN(3, 0));
    ck_assert_int_eq(pci_reserve(pci, &second, "vdev b", &err), -EEXIST);
    ck_assert_str_eq(err.msg, "pci:0:2.0 belongs to vdev later");
    (void)add(2, 0, &plain);
    for (int i = 4; i < 32; i++) {
        ck_assert_int_eq(pci_add(pci, NULL, &plain, &function, &err), 0);
    }
    ck_assert_int_eq(pci_add(pci, NULL, &plain, &function, &err), -ENOSPC);
    done();
}
END_TEST

START_TEST(place_that_is_taken_is_refused_in_words)
{
    const struct loc_pci host = {.has_device = true};
    struct pci_function *function = NULL;

    make(false);
    ck_assert_int_eq(pci_add(pci, &host, &plain, &function, &err), -EEXIST);
    ck_assert_str_eq(err.msg, "pci:0:0.0 belongs to the PCI host bridge");
    done();
}
END_TEST

START_TEST(functions_of_a_device_are_told_by_function_0_6_2_1)
{
    make(false);
    (void)add(4, 0, &plain);
    (void)add(4, 5, &plain);
    seal();
    ck_assert_uint_eq(config_in(DEVFN(4, 0), 0x0e, 1), 0x80);
    ck_assert_uint_eq(config_in(DEVFN(4, 5), 0x0e, 1), 0);
    ck_assert_uint_eq(config_in(DEVFN(4, 1), 0, 4), 0xffffffff);
    done();
}
END_TEST

START_TEST(device_without_function_0_is_refused_3_2_2_3_4)
{
    make(false);
    (void)add(4, 1, &plain);
    ck_assert_int_eq(pci_seal(pci, &err), -EINVAL);
    ck_assert_str_eq(err.msg,
                     "g:3: vdev a is function 1 of PCI device 0:4, which has no function 0: "
                     "a guest would not find it");
    done();
}
END_TEST

START_TEST(intx_is_level_shared_and_shown_in_status_6_2_3)
{
    struct pci_function *a, *b;
    uint32_t gsi = PCI_GSI_BASE + pci_pirq(3, 0);

    make(false);
    a = add(3, 0, &plain);
    b = add(7, 0, &plain); /* four numbers on: the same line */
    seal();
    ck_assert_uint_eq(config_in(DEVFN(3, 0), 0x3c, 1), gsi);
    pci_intx(a, true);
    pci_intx(a, true);
    pci_intx(b, true);
    ck_assert_uint_eq(seen.holders[gsi], 1);
    ck_assert_uint_eq(config_in(DEVFN(3, 0), 6, 2), 0x0008);
    pci_intx(a, false);
    ck_assert_uint_eq(seen.holders[gsi], 1);
    pci_intx(b, false);
    ck_assert_uint_eq(seen.holders[gsi], 0);
    ck_assert_uint_eq(config_in(DEVFN(3, 0), 6, 2), 0);
    done();
}
END_TEST

START_TEST(interrupt_disable_holds_the_line_back_6_2_2)
{
    struct pci_function *a;
    uint32_t gsi = PCI_GSI_BASE + pci_pirq(3, 0);

    make(false);
    a = add(3, 0, &plain);
    seal();
    config_out(DEVFN(3, 0), 4, 2, 0x400);
    pci_intx(a, true);
    ck_assert_uint_eq(seen.holders[gsi], 0);
    ck_assert_uint_eq(config_in(DEVFN(3, 0), 6, 2), 0x0008); /* shown all the same: 6.2.3 */
    config_out(DEVFN(3, 0), 4, 2, 0);
    ck_assert_uint_eq(seen.holders[gsi], 1);
    config_out(DEVFN(3, 0), 5, 1, 4);
    ck_assert_uint_eq(seen.holders[gsi], 0);
    done();
}
END_TEST

START_TEST(pins_rotate_over_device_numbers)
{
    for (uint32_t device = 0; device < 25; device++) {
        for (uint32_t pin = 0; pin < 4; pin++) {
            ck_assert_uint_eq(pci_pirq(device, pin), 4 + (device + pin) % 4);
        }
    }
    ck_assert_uint_eq(pci_pirq(31, 0), 0);
    ck_assert_uint_eq(pci_pirq(25, 3), 3);
}
END_TEST

START_TEST(host_bridge_is_one_that_firmware_knows_and_moves_ecam_316966_5_1_15)
{
    uint64_t start, size;

    make(true);
    seal();
    ck_assert(!pci_ecam(pci, &start, &size)); /* firmware says where */
    out(BUS_IO, 0xcf8, 4, 0x80000000);
    ck_assert_uint_eq(in(BUS_IO, 0xcfc, 4), 0x29c08086);
    out(BUS_IO, 0xcf8, 4, 0x80000060);
    out(BUS_IO, 0xcfc, 4, 0xb0000001);
    ck_assert(pci_ecam(pci, &start, &size));
    ck_assert_uint_eq(start, 0xb0000000);
    ck_assert_uint_eq(size, 256 << 20);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xb0000000, 4), 0x29c08086);
    out(BUS_MEMORY, 0xb0000060, 4, 0xc8000003); /* 128 MiB, elsewhere */
    ck_assert_uint_eq(in(BUS_MEMORY, 0xb0000000, 4), 0xffffffff);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xc8000000, 4), 0x29c08086);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xd0000000, 4), 0xffffffff);
    out(BUS_MEMORY, 0xc8000060, 4, 0xb0000000); /* off */
    ck_assert_uint_eq(in(BUS_MEMORY, 0xb0000000, 4), 0xffffffff);
    done();
}
END_TEST

START_TEST(shadow_ram_registers_are_told_316966_5_1_20)
{
    make(true);
    seal();
    out(BUS_IO, 0xcf8, 4, 0x80000090);
    out(BUS_IO, 0xcfc, 4, 0xffffffff);
    ck_assert_uint_eq(in(BUS_IO, 0xcfc, 4), 0x33333330);
    ck_assert_mem_eq(seen.pam, "\x30\x33\x33\x33\0\0\0", 7);
    pci_reset(pci);
    ck_assert_mem_eq(seen.pam, "\0\0\0\0\0\0\0", 7);
    done();
}
END_TEST

static void lpc_out(uint32_t at, uint32_t size, uint32_t value)
{
    out(BUS_IO, 0xcf8, 4, 0x8000f800 | (at & ~3u));
    out(BUS_IO, 0xcfc + (at & 3), size, value);
}

START_TEST(bridge_to_isa_says_where_power_management_is_316972_13_1_13)
{
    make_with(false, true);
    ck_assert_uint_eq(seen.pm_base, 0x600); /* before devices come, so that none gets there */
    seal();
    ck_assert_uint_eq(seen.pm_base, 0x600); /* without firmware */
    ck_assert_uint_eq(config_in(DEVFN(31, 0), 0, 4), 0x29188086);
    done();
    make_with(true, true);
    ck_assert_uint_eq(seen.pm_base, 0x600);
    seal();
    ck_assert_uint_eq(seen.pm_base, 0);
    lpc_out(0x40, 4, 0x0000b07f);
    ck_assert_uint_eq(seen.pm_base, 0);
    lpc_out(0x44, 1, 0x80);
    ck_assert_uint_eq(seen.pm_base, 0xb000);
    ck_assert_uint_eq(in(BUS_IO, 0xcfc, 1), 0x80);
    lpc_out(0x41, 1, 0x06);
    ck_assert_uint_eq(seen.pm_base, 0x0600);
    pci_reset(pci);
    ck_assert_uint_eq(seen.pm_base, 0);
    done();
}
END_TEST

START_TEST(pirq_drives_the_line_of_the_8259_that_its_route_says_316972_13_1_17)
{
    struct pci_function *a;

    make_with(true, true);
    a = add(3, 0, &plain); /* PIRQH */
    seal();
    pci_intx(a, true);
    ck_assert_uint_eq(seen.holders[23], 1);
    lpc_out(0x6b, 1, 0x0a);
    ck_assert_uint_eq(seen.holders[10], 1);
    lpc_out(0x6b, 1, 0x0b);
    ck_assert_uint_eq(seen.holders[10], 0);
    ck_assert_uint_eq(seen.holders[11], 1);
    pci_intx(a, false);
    ck_assert_uint_eq(seen.holders[11], 0);
    pci_intx(a, true);
    lpc_out(0x6b, 1, 0x8b);
    ck_assert_uint_eq(seen.holders[11], 0);
    lpc_out(0x6b, 1, 0x08); /* the clock's: not possible */
    ck_assert_uint_eq(seen.holders[8], 0);
    ck_assert_uint_eq(seen.holders[23], 1);
    done();
}
END_TEST

START_TEST(reset_brings_all_of_config_space_back)
{
    uint8_t before[256], after[256];

    make(false);
    (void)add(3, 0, &plain);
    seal();
    for (uint32_t i = 0; i < 256; i++) {
        before[i] = (uint8_t)config_in(DEVFN(3, 0), i, 1);
    }
    for (uint32_t i = 0; i < 256; i += 4) {
        config_out(DEVFN(3, 0), i, 4, 0xa5a5a5a5);
    }
    pci_reset(pci);
    for (uint32_t i = 0; i < 256; i++) {
        after[i] = (uint8_t)config_in(DEVFN(3, 0), i, 1);
    }
    ck_assert_mem_eq(before, after, 256);
    done();
}
END_TEST

UNIT_MAIN("pci", header_has_ids_class_and_pin_where_6_1_puts_them,
          absent_functions_read_all_ones_3_2_2_3_5, ids_and_reserved_bits_ignore_writes_6_1,
          ports_reach_the_same_space_3_2_2_3_2, address_latch_takes_double_words_alone_3_2_2_3_2,
          reset_control_register_resets_by_its_cpu_bit_ich9_13_7_5,
          ecam_splits_what_crosses_double_words_pcie_7_2_2,
          device_without_a_place_gets_the_first_free_number,
          place_that_is_taken_is_refused_in_words,
          functions_of_a_device_are_told_by_function_0_6_2_1,
          device_without_function_0_is_refused_3_2_2_3_4,
          intx_is_level_shared_and_shown_in_status_6_2_3,
          interrupt_disable_holds_the_line_back_6_2_2, pins_rotate_over_device_numbers,
          host_bridge_is_one_that_firmware_knows_and_moves_ecam_316966_5_1_15,
          shadow_ram_registers_are_told_316966_5_1_20,
          bridge_to_isa_says_where_power_management_is_316972_13_1_13,
          pirq_drives_the_line_of_the_8259_that_its_route_says_316972_13_1_17,
          reset_brings_all_of_config_space_back)
