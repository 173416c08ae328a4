/* Buses behind bridges. Sections are of the PCI-to-PCI Bridge Architecture Specification 1.2. */
#include <errno.h>
#include <stdio.h>

#include "tests/unit/pci_unit.h"

#define BRIDGE     DEVFN(30, 0)
#define ON(n, d)   ((uint32_t)(n) << 8 | DEVFN(d, 0)) /* as a guest numbers it */
#define MSI_AT     0x40u
#define MIB        0x100000ull
#define PORTS      0x1cu
#define MEMORY     0x20u
#define PREFETCH   0x24u
#define SECONDARY  0x19u
#define COMMAND_ON (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)

static const struct pci_function_config plain = {
    .name = "vdev a", .where = "g:3", .vendor = 0x1234, .has_intx = true, .ops = &bar_ops};

static struct pci_function *add_on(uint32_t number, uint32_t device,
                                   const struct pci_function_config *config)
{
    const struct loc_pci loc = {.has_device = true, .bus = number, .device = device};
    struct pci_function *new = NULL;

    ck_assert_msg(pci_add(pci, &loc, config, &new, &err) == 0, "%s", err.msg);
    return new;
}

static void seal(void)
{
    ck_assert_msg(pci_seal(pci, &err) == 0, "%s", err.msg);
}

/* A function with BARs of all kinds and MSI. */
static struct pci_function_config full(void)
{
    struct pci_function_config config = plain;

    config.bars[0] = (struct pci_bar){.size = 0x1000, .space = BUS_MEMORY, .region = 7};
    config.bars[1] = (struct pci_bar){.size = 64, .space = BUS_IO, .region = 8};
    config.bars[2] = (struct pci_bar){.size = 64 * MIB,
                                      .space = BUS_MEMORY,
                                      .is_64bit = true,
                                      .is_prefetchable = true,
                                      .region = 9};
    config.msi_count = 1;
    return config;
}

START_TEST(bus_that_somebody_names_has_a_bridge_with_a_header_of_type_1_3_2)
{
    make(false);
    (void)add_on(3, 1, &plain);
    (void)add_on(3, 2, &plain); /* no other bridge */
    seal();
    ck_assert_uint_eq(config_in(BRIDGE, 0, 4), 0x00011b36);
    ck_assert_uint_eq(config_in(BRIDGE, 8, 4) >> 8, 0x060400);
    ck_assert_uint_eq(config_in(BRIDGE, PCI_HEADER_TYPE, 1), 1);
    ck_assert_uint_eq(config_in(BRIDGE, 0x18, 4), 0x00030300);
    ck_assert_uint_eq(config_in(DEVFN(29, 0), 0, 4), 0xffffffff);
    done();
}
END_TEST

START_TEST(configuration_accesses_go_where_the_secondary_number_says_3_2_5_4)
{
    make(false);
    (void)add_on(3, 1, &plain);
    seal();
    ck_assert_uint_eq(config_in(ON(3, 1), 0, 2), 0x1234);
    ck_assert_uint_eq(config_in(ON(3, 2), 0, 4), 0xffffffff);
    ck_assert_uint_eq(config_in(ON(0, 1), 0, 4), 0xffffffff);
    out(BUS_IO, 0xcf8, 4, 0x80030800); /* by the ports as well */
    ck_assert_uint_eq(in(BUS_IO, 0xcfc, 2), 0x1234);
    config_out(BRIDGE, SECONDARY, 2, 0x0909);
    ck_assert_uint_eq(config_in(ON(3, 1), 0, 4), 0xffffffff);
    ck_assert_uint_eq(config_in(ON(9, 1), 0, 2), 0x1234);
    config_out(BRIDGE, SECONDARY, 1, 0); /* not numbered: bus 0 is the root */
    ck_assert_uint_eq(config_in(ON(9, 1), 0, 4), 0xffffffff);
    ck_assert_uint_eq(config_in(ON(0, 1), 0, 4), 0xffffffff);
    pci_reset(pci);
    ck_assert_uint_eq(config_in(ON(3, 1), 0, 2), 0x1234);
    done();
}
END_TEST

START_TEST(with_firmware_it_is_numbered_and_opened_by_that_3_2_5_4)
{
    make(true);
    (void)add_on(3, 1, &plain);
    seal();
    config_out(0, 0x60, 4, PCI_ECAM_START | 1);
    out(BUS_IO, 0xcf8, 4, 0x80000000 | BRIDGE << 8 | 0x18);
    ck_assert_uint_eq(in(BUS_IO, 0xcfc, 4), 0);
    out(BUS_IO, 0xcfc, 4, 0x40010100);
    out(BUS_IO, 0xcf8, 4, 0x80010800);
    ck_assert_uint_eq(in(BUS_IO, 0xcfc, 2), 0x1234);
    done();
}
END_TEST

START_TEST(windows_hold_what_is_behind_and_nothing_else_3_2_5)
{
    const struct pci_function_config config = full();
    uint32_t ports, memory, prefetch;
    uint64_t high;

    make(false);
    (void)add(2, 0, &config);
    (void)add_on(3, 1, &config);
    (void)add_on(3, 2, &config);
    seal();
    ports = config_in(BRIDGE, PORTS, 2);
    ck_assert_uint_eq(ports, 0xd0d0); /* one unit, behind that of bus 0 */
    ck_assert_uint_eq(config_in(ON(3, 1), PCI_BAR(1), 4), 0xd001);
    ck_assert_uint_eq(config_in(ON(3, 2), PCI_BAR(1), 4), 0xd041);
    memory = config_in(BRIDGE, MEMORY, 4);
    ck_assert_uint_eq(memory, 0xc010c010);
    ck_assert_uint_eq(config_in(ON(3, 1), PCI_BAR(0), 4), 0xc0100000);
    ck_assert_uint_eq(config_in(ON(3, 2), PCI_BAR(0), 4), 0xc0101000);
    high = (uint64_t)config_in(ON(3, 1), PCI_BAR(3), 4) << 32 | config_in(ON(3, 1), PCI_BAR(2), 4);
    ck_assert_uint_eq(high, 0x10400000c);
    prefetch = config_in(BRIDGE, PREFETCH, 4);
    ck_assert_uint_eq(prefetch, 0x0bf10401);
    ck_assert_uint_eq(config_in(BRIDGE, 0x28, 4), 1);
    ck_assert_uint_eq(config_in(BRIDGE, 0x2c, 4), 1);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xc0101008, 4), 0xb008); /* they answer */
    ck_assert_uint_eq(in(BUS_IO, 0xd044, 1), 0x04);
    ck_assert_uint_eq(in(BUS_MEMORY, 0x104000010, 4), 0xb010);
    done();
}
END_TEST

START_TEST(large_bar_that_is_not_prefetchable_stays_below_4_gib_3_2_5_9)
{
    struct pci_function_config config = full();

    config.bars[2].is_prefetchable = false;
    make(false);
    (void)add_on(3, 1, &config);
    seal();
    ck_assert_uint_eq(config_in(ON(3, 1), PCI_BAR(3), 4), 0);
    ck_assert_uint_eq(config_in(BRIDGE, MEMORY, 4), 0xc400c000); /* 64 MiB, and the page: 65 */
    ck_assert_uint_gt(config_in(BRIDGE, PREFETCH, 2) >> 4, config_in(BRIDGE, PREFETCH + 2, 2) >> 4);
    done();
}
END_TEST

START_TEST(bar_outside_its_bridges_window_does_not_answer_3_2_5_8)
{
    const struct pci_function_config config = full();

    make(false);
    (void)add_on(3, 1, &config);
    seal();
    ck_assert_uint_eq(in(BUS_MEMORY, 0xc0000008, 4), 0xb008);
    config_out(ON(3, 1), PCI_BAR(0), 4, 0xd0000000);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xd0000008, 4), 0xffffffff);
    config_out(BRIDGE, MEMORY, 4, 0xd000c000); /* wider */
    ck_assert_uint_eq(in(BUS_MEMORY, 0xd0000008, 4), 0xb008);
    config_out(BRIDGE, PCI_COMMAND, 2, PCI_COMMAND_IO);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xd0000008, 4), 0xffffffff);
    ck_assert_uint_eq(in(BUS_IO, 0xc004, 1), 0x04);
    config_out(BRIDGE, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xd0000008, 4), 0xb008);
    ck_assert_uint_eq(in(BUS_IO, 0xc004, 1), 0xff);
    config_out(BRIDGE, MEMORY, 4, 0xd000d010); /* base above limit: closed */
    ck_assert_uint_eq(in(BUS_MEMORY, 0xd0000008, 4), 0xffffffff);
    pci_reset(pci);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xc0000008, 4), 0xb008);
    done();
}
END_TEST

START_TEST(messages_pass_a_bridge_that_is_bus_master_3_2_5_3)
{
    const struct pci_function_config config = full();
    struct pci_function *function;

    make(false);
    function = add_on(3, 1, &config);
    seal();
    be_master(ON(3, 1));
    config_out(ON(3, 1), MSI_AT + 4, 4, 0xfee01000);
    config_out(ON(3, 1), MSI_AT + 2, 2, 1);
    ck_assert(pci_message(function, 0));
    ck_assert_uint_eq(seen.message_count, 1);
    config_out(BRIDGE, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    ck_assert(pci_message(function, 0));
    ck_assert_uint_eq(seen.message_count, 1);
    config_out(BRIDGE, PCI_COMMAND, 2, COMMAND_ON);
    ck_assert_uint_eq(seen.message_count, 2);
    done();
}
END_TEST

START_TEST(pins_behind_a_bridge_are_turned_by_the_device_number_9_1)
{
    struct pci_function *functions[5];

    make(false);
    for (uint32_t device = 0; device < 5; device++) {
        functions[device] = add_on(3, device, &plain);
    }
    seal();
    for (uint32_t device = 0; device < 5; device++) {
        uint32_t gsi = PCI_GSI_BASE + pci_pirq(30, device % 4), at = 99, pin = 99;

        pci_root_pin(functions[device], &at, &pin);
        ck_assert_uint_eq(at, 30);
        ck_assert_uint_eq(pin, device % 4);
        ck_assert_uint_eq(config_in(ON(3, device), PCI_INTERRUPT_LINE, 1), gsi);
        pci_intx(functions[device], true);
        ck_assert_uint_eq(seen.holders[gsi], 1);
        pci_intx(functions[device], false);
        ck_assert_uint_eq(seen.holders[gsi], 0);
    }
    done();
}
END_TEST

START_TEST(only_what_3_2_lets_a_guest_write_is_written)
{
    make(false);
    (void)add_on(3, 1, &plain);
    seal();
    for (uint32_t at = 0; at < 0x40; at += 4) {
        config_out(BRIDGE, at, 4, 0xffffffff);
    }
    ck_assert_uint_eq(config_in(BRIDGE, 0, 4), 0x00011b36);
    ck_assert_uint_eq(config_in(BRIDGE, PCI_COMMAND, 4), 0x147);
    ck_assert_uint_eq(config_in(BRIDGE, PCI_HEADER_TYPE, 1), 1);
    ck_assert_uint_eq(config_in(BRIDGE, 0x10, 4), 0);
    ck_assert_uint_eq(config_in(BRIDGE, 0x18, 4), 0xf8ffffff);
    ck_assert_uint_eq(config_in(BRIDGE, PORTS, 4), 0x0000f0f0);
    ck_assert_uint_eq(config_in(BRIDGE, MEMORY, 4), 0xfff0fff0);
    ck_assert_uint_eq(config_in(BRIDGE, PREFETCH, 4), 0xfff1fff1);
    ck_assert_uint_eq(config_in(BRIDGE, 0x38, 4), 0); /* no ROM */
    ck_assert_uint_eq(config_in(BRIDGE, 0x3e, 2), 0x23);
    done();
}
END_TEST

START_TEST(bridges_take_places_that_nobody_named)
{
    const struct loc_pci named = {.has_device = true, .device = 30};
    const struct pci_function *bridge;

    make(false);
    ck_assert_int_eq(pci_reserve(pci, &named, "vdev z", &err), 0);
    (void)add_on(200, 0, &plain);
    (void)add_on(5, 0, &plain);
    seal();
    ck_assert_uint_eq(config_in(DEVFN(29, 0), 0x18, 4), 0x00c8c800);
    ck_assert_uint_eq(config_in(DEVFN(28, 0), 0x18, 4), 0x00050500);
    bridge = pci_function_at(pci, 1);
    ck_assert_str_eq(bridge->name, "the bridge to PCI bus 5");
    ck_assert_uint_eq(pci_function_at(pci, 3)->bus, 5); /* in the order of buses */
    ck_assert_uint_eq(pci_function_at(pci, 4)->bus, 200);
    ck_assert_ptr_null(pci_function_at(pci, 5));
    done();
}
END_TEST

START_TEST(what_does_not_fit_is_refused_in_words)
{
    struct pci_function_config config = full();
    struct loc_pci loc = {.has_device = true, .bus = 17};
    struct pci_function *function = NULL;

    make(false);
    for (uint32_t number = 1; number <= 16; number++) {
        (void)add_on(number, 0, &plain);
    }
    ck_assert_int_eq(pci_add(pci, &loc, &plain, &function, &err), -ENOSPC);
    ck_assert_str_eq(err.msg, "more than 16 PCI buses beside bus 0");
    ck_assert_int_eq(pci_reserve(pci, &loc, "vdev z", &err), -ENOSPC);
    loc.bus = 4;
    ck_assert_int_eq(pci_add(pci, &loc, &plain, &function, &err), -EEXIST);
    ck_assert_str_eq(err.msg, "pci:4:0.0 belongs to vdev a");
    done();
    make(false);
    for (uint32_t number = 1; number <= 5; number++) { /* ports: there are four units */
        (void)add_on(number, 0, &config);
    }
    ck_assert_int_eq(pci_seal(pci, &err), -ENOSPC);
    ck_assert_str_eq(err.msg, "g:3: vdev a: no room is left for 0x1000 bytes behind the bridge to "
                              "PCI bus 5");
    done();
    make(false);
    loc.function = 2;
    ck_assert_int_eq(pci_add(pci, &loc, &plain, &function, &err), 0);
    ck_assert_int_eq(pci_seal(pci, &err), -EINVAL);
    ck_assert_str_eq(err.msg, "g:3: vdev a is function 2 of PCI device 4:0, which has no function "
                              "0: a guest would not find it");
    done();
}
END_TEST

UNIT_MAIN("pci_bridge", bus_that_somebody_names_has_a_bridge_with_a_header_of_type_1_3_2,
          configuration_accesses_go_where_the_secondary_number_says_3_2_5_4,
          with_firmware_it_is_numbered_and_opened_by_that_3_2_5_4,
          windows_hold_what_is_behind_and_nothing_else_3_2_5,
          large_bar_that_is_not_prefetchable_stays_below_4_gib_3_2_5_9,
          bar_outside_its_bridges_window_does_not_answer_3_2_5_8,
          messages_pass_a_bridge_that_is_bus_master_3_2_5_3,
          pins_behind_a_bridge_are_turned_by_the_device_number_9_1,
          only_what_3_2_lets_a_guest_write_is_written, bridges_take_places_that_nobody_named,
          what_does_not_fit_is_refused_in_words)
