/* A function of the guest's with a function of the host behind it, on a device that is none. */
#include <unistd.h>

#include "qvm-worker/pci/msi.h"
#include "qvm-worker/pci/msix.h"
#include "qvm-worker/vfio/function.h"
#include "tests/fake/fake_vfio.h"
#include "tests/unit/pci_unit.h"

#define DEV     DEVFN(5, 1)
#define MSI_AT  0x50u
#define MSIX_AT 0xa0u
#define TABLE   0x2000u
#define PENDING 0x3000u
#define SLOTS   8u

static struct fake_vfio fake;
static struct vfio_function *function;
static struct {
    uint64_t address, size;
    void *host;
} slots[SLOTS];
static uint32_t slot_changes, vectors_most = VFIO_VECTORS_MAX;

static int on_slot(void *context, uint32_t slot, uint64_t address, void *host, uint64_t size)
{
    (void)context;
    ck_assert_uint_lt(slot, SLOTS);
    ck_assert(size != slots[slot].size); /* it comes or goes */
    slots[slot].address = address;
    slots[slot].host = host;
    slots[slot].size = size;
    slot_changes++;
    return 0;
}

static int add_card(void)
{
    const struct loc_pci loc = {.has_device = true, .device = 5, .function = 1};
    const struct vfio_function_config config = {.pci = pci,
                                                .loc = &loc,
                                                .name = "card",
                                                .where = "g:3",
                                                .device = {&fake_vfio_ops, &fake},
                                                .first_slot = 2,
                                                .vectors_most = vectors_most,
                                                .slot = on_slot};

    memset(slots, 0, sizeof(slots));
    return vfio_function_create(&config, &function, &err);
}

static void start(void)
{
    static const struct pci_function_config first = {.name = "first", .ops = &bar_ops};

    fake_vfio_card(&fake);
    make(false);
    (void)add(5, 0, &first);
    ck_assert_msg(add_card() == 0, "%s", err.msg);
    ck_assert_msg(pci_seal(pci, &err) == 0, "%s", err.msg);
}

static void end(void)
{
    vfio_function_destroy(function);
    done();
}

/* Without it no message goes either. */
static void allow_dma(void)
{
    config_out(DEV, PCI_COMMAND, 2, config_in(DEV, PCI_COMMAND, 2) | PCI_COMMAND_MASTER);
}

static uint64_t bar(uint32_t i)
{
    return config_in(DEV, PCI_BAR(i), 4) & ~0xfu;
}

START_TEST(a_guest_finds_it_where_it_was_put_as_one_of_several_functions)
{
    start();
    ck_assert_uint_eq(config_in(DEV, 0, 4), 0x10d38086);
    ck_assert_uint_eq(config_in(DEVFN(5, 0), PCI_HEADER_TYPE, 1), PCI_HEADER_MULTI);
    ck_assert_uint_eq(config_in(DEV, 0x100, 4), 0); /* no extended capabilities */
    end();
}
END_TEST

START_TEST(pages_of_bars_are_memory_slots_but_those_of_vectors)
{
    start();
    ck_assert_uint_eq(vfio_function_slots(function), 3);
    ck_assert_uint_eq(slots[2].size, 0x4000); /* BAR 0 */
    ck_assert_uint_eq(slots[2].address, bar(0));
    ck_assert_ptr_eq(slots[2].host, fake.bars[0]);
    ck_assert_uint_eq(slots[3].size, TABLE); /* BAR 3, before the table */
    ck_assert_uint_eq(slots[3].address, bar(3));
    ck_assert_uint_eq(slots[4].size, 0x4000); /* behind the pending bits */
    ck_assert_uint_eq(slots[4].address, bar(3) + PENDING + 0x1000);
    ck_assert_ptr_eq(slots[4].host, fake.bars[3] + PENDING + 0x1000);
    end();
}
END_TEST

START_TEST(slots_go_and_come_with_decoding_and_move_with_the_bar)
{
    uint32_t command, before;

    start();
    command = config_in(DEV, PCI_COMMAND, 2);
    before = slot_changes;
    config_out(DEV, PCI_COMMAND, 2, command & ~PCI_COMMAND_MEMORY);
    ck_assert_uint_eq(slots[2].size, 0);
    ck_assert_uint_eq(slots[4].size, 0);
    config_out(DEV, PCI_BAR(0), 4, 0xd0000000);
    config_out(DEV, PCI_COMMAND, 2, command);
    ck_assert_uint_eq(slots[2].address, 0xd0000000);
    ck_assert_uint_eq(slots[2].size, 0x4000);
    ck_assert_uint_eq(slot_changes, before + 6);
    end();
}
END_TEST

START_TEST(what_is_no_page_is_trapped_and_reaches_the_device)
{
    start();
    out(BUS_MEMORY, bar(1) + 0x10, 4, 0x12345678); /* a BAR of 2 KiB */
    ck_assert_uint_eq(in(BUS_MEMORY, bar(1) + 0x12, 2), 0x1234);
    ck_assert_uint_eq(fake.bars[1][0x10], 0x78);
    out(BUS_IO, bar(2) + 4, 1, 0x5a);
    ck_assert_uint_eq(fake.bars[2][4], 0x5a);
    fake.is_gone = true;
    ck_assert_uint_eq(in(BUS_MEMORY, bar(1), 4), 0xffffffff);
    end();
}
END_TEST

START_TEST(the_table_of_vectors_is_ours_and_the_devices_own_is_never_touched)
{
    uint64_t table, written;

    start();
    table = bar(3) + TABLE;
    written = fake.write_count;
    memset(fake.bars[3] + TABLE, 0xee, 0x1000);
    out(BUS_MEMORY, table, 4, 0xfee01000);
    out(BUS_MEMORY, table + 8, 4, 0x41);
    ck_assert_uint_eq(in(BUS_MEMORY, table, 4), 0xfee01000);
    ck_assert_uint_eq(in(BUS_MEMORY, table + 12, 4), 1); /* masked at power-on */
    ck_assert_uint_eq(in(BUS_MEMORY, bar(3) + PENDING, 8), 0);
    ck_assert_uint_eq(fake.write_count, written);
    out(BUS_MEMORY, table + 5 * 16, 4, 7); /* behind the last vector: the device's page */
    ck_assert_uint_eq(fake.bars[3][TABLE + 5 * 16], 7);
    end();
}
END_TEST

START_TEST(vectors_go_by_event_descriptors_that_kvm_hears_once_they_are_unmasked)
{
    uint64_t table;

    start();
    allow_dma();
    table = bar(3) + TABLE;
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, PCI_MSIX_CONTROL_ENABLE);
    ck_assert_uint_eq(fake.on[VFIO_MSIX], 5);
    ck_assert_uint_eq(fake.on[VFIO_INTX], 0);
    ck_assert_int_eq(seen.routes[1].fd, 0);
    out(BUS_MEMORY, table + 16, 4, 0xfee02000);
    out(BUS_MEMORY, table + 24, 4, 0x42);
    out(BUS_MEMORY, table + 28, 4, 0);
    ck_assert_int_eq(seen.routes[1].fd, fake.fds[1]);
    ck_assert_uint_eq(seen.routes[1].address, 0xfee02000);
    ck_assert_uint_eq(seen.routes[1].data, 0x42);
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, 0);
    ck_assert_uint_eq(fake.on[VFIO_MSIX], 0);
    ck_assert_uint_eq(fake.on[VFIO_INTX], 1);
    end();
}
END_TEST

START_TEST(one_kind_of_interrupt_ends_before_another_begins)
{
    start();
    ck_assert_uint_eq(fake.on[VFIO_INTX], 1); /* the device may raise it from power-on */
    ck_assert_int_ge(fake.resample_fd, 0);
    allow_dma();
    config_out(DEV, MSI_AT + PCI_MSI_ADDRESS, 4, 0xfee03000);
    config_out(DEV, MSI_AT + PCI_MSI_DATA, 2, 0x51);
    config_out(DEV, MSI_AT + PCI_MSI_CONTROL, 2, PCI_MSI_CONTROL_ENABLE);
    ck_assert_uint_eq(fake.on[VFIO_MSI], 4);
    ck_assert_int_eq(seen.routes[0].fd, fake.fds[0]);
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, PCI_MSIX_CONTROL_ENABLE);
    ck_assert_uint_eq(fake.on[VFIO_MSI], 0);
    ck_assert_uint_eq(fake.on[VFIO_MSIX], 5);
    end();
}
END_TEST

START_TEST(the_extended_space_has_what_a_guest_may_have_and_the_rest_is_zeroes)
{
    static const struct pci_function_config first = {.name = "first", .ops = &bar_ops};
    uint32_t written;

    fake_vfio_card(&fake);
    fake_vfio_extend(&fake);
    make(false);
    (void)add(5, 0, &first);
    ck_assert_msg(add_card() == 0, "%s", err.msg);
    ck_assert_int_eq(pci_seal(pci, &err), 0);
    written = fake.write_count;
    ck_assert_uint_eq(config_in(DEV, 0x144, 4), 0x11223344);
    ck_assert_uint_eq(config_in(DEV, 0x1ca, 2), 0xcafe);
    config_out(DEV, 0x104, 4, 0xffffffff);
    config_out(DEV, 0x144, 4, 0xffffffff);
    config_out(DEV, 0xffc, 4, 0xffffffff);
    ck_assert_uint_eq(fake.write_count, written);
    config_out(DEV, 0x1c8, 4, 0x12345678);
    ck_assert_uint_eq(fake_vfio_get(&fake, 0x1c8, 4), 0x12345678);
    ck_assert_uint_eq(config_in(DEVFN(5, 0), 0x100, 4), 0); /* a vdev's has none */
    vfio_function_forget(function);
    ck_assert_uint_eq(config_in(DEV, 0x1c8, 4), 0xffffffff);
    end();
}
END_TEST

/* With table and pending bits larger than a page, of which we use a part. */
static void start_large(uint32_t count)
{
    fake_vfio_card(&fake);
    fake.counts[VFIO_MSIX] = 2048;
    fake_vfio_put(&fake, MSIX_AT + 2, 2047, 2);
    fake_vfio_put(&fake, MSIX_AT + 4, 0x00000000 | 3, 4);
    fake_vfio_put(&fake, MSIX_AT + 8, 0x00000000 | 0, 4);
    vectors_most = count;
    make(false);
    {
        static const struct pci_function_config first = {.name = "first", .ops = &bar_ops};

        (void)add(5, 0, &first);
    }
    seen.has_many_routes = true;
    ck_assert_msg(add_card() == 0, "%s", err.msg);
    ck_assert_int_eq(pci_seal(pci, &err), 0);
    vectors_most = VFIO_VECTORS_MAX;
}

START_TEST(a_table_of_many_pages_is_ours_as_a_whole)
{
    uint64_t table;

    start_large(VFIO_VECTORS_MAX);
    ck_assert_uint_eq(config_in(DEV, MSIX_AT + 2, 2), VFIO_VECTORS_MAX - 1);
    ck_assert_uint_eq(vfio_function_vectors(function), VFIO_VECTORS_MAX);
    for (uint32_t i = 0; i < SLOTS; i++) {
        ck_assert(slots[i].size == 0 || slots[i].host != fake.bars[3]); /* 32 KiB of table */
    }
    table = bar(3);
    out(BUS_MEMORY, table + 255 * 16 + 8, 4, 0x77);
    ck_assert_uint_eq(in(BUS_MEMORY, table + 255 * 16 + 8, 4), 0x77);
    out(BUS_MEMORY, table + 256 * 16 + 8, 4, 0x77); /* the guest does not have it */
    ck_assert_uint_eq(in(BUS_MEMORY, table + 256 * 16 + 8, 4), 0);
    ck_assert_uint_eq(fake.bars[3][256 * 16 + 8], 0);
    end();
}
END_TEST

START_TEST(pending_bits_are_those_of_all_vectors)
{
    static const uint64_t one = 1;

    start_large(VFIO_VECTORS_MAX);
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, PCI_MSIX_CONTROL_ENABLE);
    ck_assert_uint_eq(fake.on[VFIO_MSIX], VFIO_VECTORS_MAX);
    ck_assert_int_eq(write(fake.fds[200], &one, sizeof(one)), sizeof(one)); /* masked: it waits */
    ck_assert_uint_eq(in(BUS_MEMORY, bar(0), 8), 0);
    ck_assert_uint_eq(in(BUS_MEMORY, bar(0) + 200 / 64 * 8, 8), 1ull << 200 % 64);
    ck_assert_uint_eq(in(BUS_MEMORY, bar(0) + 200 / 8 / 4 * 4, 4), 1u << 200 % 32);
    ck_assert_uint_eq(in(BUS_MEMORY, bar(0) + VFIO_VECTORS_MAX / 8, 8), 0);
    ck_assert_uint_eq(in(BUS_MEMORY, bar(0) + 248, 8), 0);
    end();
}
END_TEST

START_TEST(a_vm_that_has_few_vectors_left_gives_fewer)
{
    start_large(8);
    ck_assert_uint_eq(config_in(DEV, MSIX_AT + 2, 2), 7);
    ck_assert_uint_eq(vfio_function_vectors(function), 8);
    out(BUS_MEMORY, bar(3) + 8 * 16 + 8, 4, 0x77);
    ck_assert_uint_eq(in(BUS_MEMORY, bar(3) + 8 * 16 + 8, 4), 0);
    end();
}
END_TEST

START_TEST(a_line_that_nobody_would_hear_is_not_shown_beside_messages)
{
    has_own_chips = true;
    start();
    has_own_chips = false;
    ck_assert_uint_eq(config_in(DEV, PCI_INTERRUPT_PIN, 1), 0);
    ck_assert_uint_eq(fake.on[VFIO_INTX], 0);
    allow_dma();
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, PCI_MSIX_CONTROL_ENABLE);
    ck_assert_uint_eq(fake.on[VFIO_MSIX], 5);
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, 0);
    ck_assert_uint_eq(fake.on[VFIO_INTX], 0);
    end();
}
END_TEST

START_TEST(a_device_that_has_a_line_alone_is_refused_where_nobody_hears_it)
{
    fake_vfio_card(&fake);
    fake.counts[VFIO_MSI] = fake.counts[VFIO_MSIX] = 0;
    has_own_chips = true;
    make(false);
    has_own_chips = false;
    ck_assert_int_eq(add_card(), -EOPNOTSUPP);
    ck_assert_ptr_nonnull(strstr(err.msg, "interrupts by INTx alone"));
    ck_assert_uint_eq(fake.write_count, 0);
    done();
}
END_TEST

START_TEST(msi_of_32_bits_has_its_data_behind_the_address)
{
    fake_vfio_card(&fake);
    fake_vfio_put(&fake, MSI_AT + 2, 0x0004, 2);
    make(false);
    fake_vfio_put(&fake, PCI_CAPABILITIES, MSI_AT, 1);
    fake_vfio_put(&fake, 0x61, 0, 1);
    {
        static const struct pci_function_config first = {.name = "first", .ops = &bar_ops};

        (void)add(5, 0, &first);
    }
    ck_assert_msg(add_card() == 0, "%s", err.msg);
    ck_assert_int_eq(pci_seal(pci, &err), 0);
    allow_dma();
    config_out(DEV, MSI_AT + 4, 4, 0xfee04000);
    config_out(DEV, MSI_AT + 8, 2, 0x61);
    config_out(DEV, MSI_AT + 2, 2, PCI_MSI_CONTROL_ENABLE);
    ck_assert_uint_eq(seen.routes[0].address, 0xfee04000);
    ck_assert_uint_eq(seen.routes[0].data, 0x61);
    ck_assert_uint_eq(config_in(DEV, MSI_AT + 8, 4), 0x61);
    end();
}
END_TEST

START_TEST(dma_is_the_guests_wish_and_decoding_the_hosts)
{
    uint32_t both = PCI_COMMAND_IO | PCI_COMMAND_MEMORY;

    start();
    ck_assert_uint_eq(fake_vfio_get(&fake, PCI_COMMAND, 2), both);
    config_out(DEV, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
    ck_assert_uint_eq(fake_vfio_get(&fake, PCI_COMMAND, 2), both | PCI_COMMAND_MASTER);
    config_out(DEV, PCI_COMMAND, 2, both);
    ck_assert_uint_eq(fake_vfio_get(&fake, PCI_COMMAND, 2), both);
    end();
}
END_TEST

START_TEST(registers_of_the_devices_own_go_through_byte_by_byte)
{
    start();
    ck_assert_uint_eq(config_in(DEV, 0xe0, 4), 0x55aa55aa);
    ck_assert_uint_eq(config_in(DEV, 0xc4, 4), 0xdeadbeef);
    ck_assert_uint_eq(config_in(DEV, 0xc0, 4), 0x00080009); /* half ours, half the device's */
    config_out(DEV, 0xc0, 4, 0xabcd1234);
    ck_assert_uint_eq(fake_vfio_get(&fake, 0xc0, 4), 0xabcd0009);
    config_out(DEV, 0xe1, 1, 0x11);
    ck_assert_uint_eq(fake_vfio_get(&fake, 0xe0, 4), 0x55aa11aa);
    config_out(DEV, MSI_AT + PCI_MSI_ADDRESS, 4, 0x77777777);
    ck_assert_uint_eq(fake_vfio_get(&fake, MSI_AT + PCI_MSI_ADDRESS, 4), 0xfee01000);
    end();
}
END_TEST

START_TEST(a_rom_is_seen_where_the_guest_puts_it_while_it_is_enabled)
{
    uint32_t place;

    start();
    place = config_in(DEV, PCI_ROM_ADDRESS, 4);
    ck_assert_uint_ne(place, 0); /* it has one, and is off: 6.2.5.2 */
    ck_assert_uint_eq(place & 0x7ff, 0);
    ck_assert_uint_eq(in(BUS_MEMORY, place, 2), 0xffff);
    config_out(DEV, PCI_ROM_ADDRESS, 4, 0xffffffff);
    ck_assert_uint_eq(config_in(DEV, PCI_ROM_ADDRESS, 4), 0xfffff001);
    config_out(DEV, PCI_ROM_ADDRESS, 4, 0xd0010001);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xd0010000, 2), 0xaa55);
    out(BUS_MEMORY, 0xd0010000, 2, 0);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xd0010000, 2), 0xaa55);
    config_out(DEV, PCI_ROM_ADDRESS, 4, 0xd0010000);
    ck_assert_uint_eq(in(BUS_MEMORY, 0xd0010000, 2), 0xffff);
    end();
}
END_TEST

START_TEST(a_reset_ends_dma_and_interrupts_before_the_device_is_reset)
{
    start();
    config_out(DEV, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, PCI_MSIX_CONTROL_ENABLE);
    ck_assert_int_eq(vfio_function_reset(function, &err), 0);
    ck_assert_uint_eq(fake.reset_count, 1);
    ck_assert_uint_eq(fake.on[VFIO_MSIX], 0);
    ck_assert_uint_eq(fake_vfio_get(&fake, PCI_COMMAND, 2) & PCI_COMMAND_MASTER, 0);
    pci_reset(pci);
    ck_assert_uint_eq(fake.on[VFIO_INTX], 1);
    ck_assert_uint_eq(slots[2].size, 0x4000);
    ck_assert_uint_eq(config_in(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2), 4);
    end();
}
END_TEST

START_TEST(a_device_that_is_gone_leaves_ones_and_no_slot)
{
    uint32_t read_count;

    start();
    config_out(DEV, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
    vfio_function_forget(function);
    ck_assert_uint_eq(fake_vfio_get(&fake, PCI_COMMAND, 2) & PCI_COMMAND_MASTER, 0);
    ck_assert_uint_eq(fake.on[VFIO_INTX], 0);
    for (uint32_t i = 0; i < SLOTS; i++) {
        ck_assert_uint_eq(slots[i].size, 0);
    }
    read_count = fake.read_count;
    ck_assert_uint_eq(in(BUS_MEMORY, bar(0), 4), 0xffffffff);
    ck_assert_uint_eq(config_in(DEV, 0xe0, 4), 0xffffffff);
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, PCI_MSIX_CONTROL_ENABLE);
    config_out(DEV, PCI_COMMAND, 2, 0);
    config_out(DEV, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    ck_assert_int_eq(vfio_function_reset(function, &err), 0);
    pci_reset(pci);
    ck_assert_uint_eq(fake.read_count, read_count);
    ck_assert_uint_eq(fake.on[VFIO_MSIX], 0);
    end();
}
END_TEST

START_TEST(at_the_end_nothing_is_on)
{
    start();
    config_out(DEV, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
    vfio_function_destroy(function);
    ck_assert_uint_eq(fake.on[VFIO_INTX], 0);
    ck_assert_uint_eq(fake_vfio_get(&fake, PCI_COMMAND, 2) & PCI_COMMAND_MASTER, 0);
    vfio_function_destroy(NULL);
    done();
}
END_TEST

UNIT_MAIN("vfio_function", a_guest_finds_it_where_it_was_put_as_one_of_several_functions,
          pages_of_bars_are_memory_slots_but_those_of_vectors,
          slots_go_and_come_with_decoding_and_move_with_the_bar,
          what_is_no_page_is_trapped_and_reaches_the_device,
          the_table_of_vectors_is_ours_and_the_devices_own_is_never_touched,
          vectors_go_by_event_descriptors_that_kvm_hears_once_they_are_unmasked,
          one_kind_of_interrupt_ends_before_another_begins,
          the_extended_space_has_what_a_guest_may_have_and_the_rest_is_zeroes,
          a_table_of_many_pages_is_ours_as_a_whole, pending_bits_are_those_of_all_vectors,
          a_vm_that_has_few_vectors_left_gives_fewer,
          a_line_that_nobody_would_hear_is_not_shown_beside_messages,
          a_device_that_has_a_line_alone_is_refused_where_nobody_hears_it,
          msi_of_32_bits_has_its_data_behind_the_address,
          dma_is_the_guests_wish_and_decoding_the_hosts,
          registers_of_the_devices_own_go_through_byte_by_byte,
          a_rom_is_seen_where_the_guest_puts_it_while_it_is_enabled,
          a_reset_ends_dma_and_interrupts_before_the_device_is_reset,
          a_device_that_is_gone_leaves_ones_and_no_slot, at_the_end_nothing_is_on)
