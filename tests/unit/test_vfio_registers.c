/* Configuration space of a function of the host as a guest may see it, on a device that is none. */
#include "proto/base/err.h"
#include "qvm-worker/vfio/registers.h"
#include "tests/fake/fake_vfio.h"
#include "tests/unit/unit.h"

static struct fake_vfio fake;
static struct vfio_registers registers;
static struct err err;

static int take(void)
{
    const struct vfio_device device = {&fake_vfio_ops, &fake};

    err = (struct err){0};
    return vfio_registers_read(&registers, &device, &err);
}

static void take_card(void)
{
    fake_vfio_card(&fake);
    ck_assert_msg(take() == 0, "%s", err.msg);
}

static uint32_t get(uint32_t at, uint32_t size)
{
    return pci_space_get(&registers.space, at, size);
}

static uint32_t writable(uint32_t at)
{
    uint32_t mask;

    memcpy(&mask, registers.space.writable + at, sizeof(mask));
    return mask;
}

START_TEST(identity_is_the_devices_and_the_hosts_choices_are_not_seen)
{
    take_card();
    ck_assert_uint_eq(get(0x00, 4), 0x10d38086);
    ck_assert_uint_eq(get(0x08, 4), 0x02000003);
    ck_assert_uint_eq(get(0x2c, 4), 0x00018086);
    ck_assert_uint_eq(get(PCI_COMMAND, 2), 0);
    ck_assert_uint_eq(get(PCI_STATUS, 2), PCI_STATUS_CAPABILITIES); /* no old errors */
    for (uint32_t i = 0; i < PCI_BARS; i++) {
        ck_assert_uint_eq(get(PCI_BAR(i), 4), 0);
    }
    ck_assert_uint_eq(get(PCI_HEADER_TYPE, 1), 0); /* how many functions there are: the guest's */
    ck_assert_uint_eq(get(PCI_INTERRUPT_LINE, 2), 0x0100);
    ck_assert(registers.has_intx);
}
END_TEST

START_TEST(bars_have_the_sizes_and_kinds_of_the_devices)
{
    take_card();
    ck_assert_uint_eq(registers.bars[0].size, 0x4000);
    ck_assert_int_eq(registers.bars[0].space, BUS_MEMORY);
    ck_assert_uint_eq(registers.bars[2].size, 0x20);
    ck_assert_int_eq(registers.bars[2].space, BUS_IO);
    ck_assert_uint_eq(registers.bars[4].size, 0);
    fake_vfio_card(&fake);
    fake_vfio_bar(&fake, 4, 0xc, 0x4000, true);
    ck_assert_int_eq(take(), 0);
    ck_assert(registers.bars[4].is_64bit && registers.bars[4].is_prefetchable);
    ck_assert_uint_eq(registers.bars[5].size, 0);
    fake.regions[1].size = 0x900;
    ck_assert_int_eq(take(), -EIO);
    ck_assert_str_eq(err.msg, "its BAR 1 has 0x900 bytes");
}
END_TEST

START_TEST(capabilities_that_a_guest_must_not_have_are_neither_linked_nor_there)
{
    static const uint8_t places[] = {0x40, 0x50, 0x60, 0xa0, 0xc0, 0};
    uint32_t at;

    take_card();
    at = get(PCI_CAPABILITIES, 1);
    for (uint32_t i = 0; places[i] != 0; i++) {
        ck_assert_uint_eq(at, places[i]);
        at = get(at + 1, 1);
    }
    ck_assert_uint_eq(at, 0);
    ck_assert_uint_eq(get(0xb0, 4), 0); /* vital product data */
    ck_assert_uint_eq(registers.space.outside[0xb2], 0);
}
END_TEST

START_TEST(a_device_stays_in_d0_and_wakes_nobody)
{
    take_card();
    ck_assert_uint_eq(get(0x42, 2), 0x0023); /* no PME# from any state */
    ck_assert_uint_eq(get(0x44, 4), 0);
    ck_assert_uint_eq(writable(0x44), 3);
}
END_TEST

START_TEST(msi_is_off_at_power_on_and_has_what_the_kernel_gives)
{
    take_card();
    ck_assert_uint_eq(registers.msi_at, 0x50);
    ck_assert_uint_eq(registers.msi_count, 4);
    ck_assert_uint_eq(get(0x52, 2), 0x0084);
    ck_assert_uint_eq(get(0x54, 4), 0);
    ck_assert_uint_eq(fake.on[VFIO_MSI], 0);
    fake.most_msi = 1; /* a host without remapping of interrupts */
    ck_assert_int_eq(take(), 0);
    ck_assert_uint_eq(registers.msi_count, 1);
    ck_assert_uint_eq(get(0x52, 2), 0x0080);
    fake.counts[VFIO_MSI] = 0;
    ck_assert_int_eq(take(), 0);
    ck_assert_uint_eq(registers.msi_at, 0);
    ck_assert_uint_eq(get(0x50, 4), 0);
}
END_TEST

START_TEST(msix_has_at_most_the_vectors_that_we_can_count)
{
    take_card();
    ck_assert_uint_eq(registers.msix_at, 0xa0);
    ck_assert_uint_eq(registers.vector_count, 5);
    ck_assert_uint_eq(get(0xa2, 2), 4);
    ck_assert_uint_eq(registers.vectors.table_bar, 3);
    ck_assert_uint_eq(registers.vectors.table, 0x2000);
    ck_assert_uint_eq(registers.vectors.pending, 0x3000);
    for (uint32_t count = VFIO_VECTORS_MAX; count <= VFIO_VECTORS_MAX + 1; count++) {
        fake.counts[VFIO_MSIX] = count;
        fake_vfio_put(&fake, 0xa2, count - 1, 2);
        ck_assert_int_eq(take(), 0);
        ck_assert_uint_eq(registers.vector_count, VFIO_VECTORS_MAX);
        ck_assert_uint_eq(registers.vectors.hardware_count, count);
    }
    fake_vfio_put(&fake, 0xa4, 0x2007, 4); /* there is no BAR 7 */
    ck_assert_int_eq(take(), 0);
    ck_assert_uint_eq(registers.vector_count, 0);
}
END_TEST

START_TEST(an_endpoint_is_one_of_the_root_complex_without_link_and_reset)
{
    take_card();
    ck_assert_uint_eq(get(0x62, 2), 0x0092);
    ck_assert_uint_eq(get(0x64, 4), 0x00008fc1);
    ck_assert_uint_eq(get(0x68, 4), 0x00002810);
    ck_assert_uint_eq(writable(0x68), 0x7fff); /* and not the bit that resets */
    ck_assert_uint_eq(get(0x6c, 4), 0);
    ck_assert_uint_eq(writable(0x6c), 0);
}
END_TEST

START_TEST(what_is_in_no_list_is_the_devices_own)
{
    take_card();
    ck_assert_uint_eq(registers.space.outside[0xc1], 0); /* a link is not */
    ck_assert_uint_ne(registers.space.outside[0xc2], 0);
    ck_assert_uint_ne(registers.space.outside[0xc7], 0);
    ck_assert_uint_ne(registers.space.outside[0xe0], 0);
    for (uint32_t at = 0; at < PCI_FIRST_FREE; at++) {
        ck_assert_uint_eq(registers.space.outside[at], 0);
    }
    for (uint32_t at = 0xa0; at < 0xac; at++) {
        ck_assert_uint_eq(registers.space.outside[at], 0);
    }
}
END_TEST

START_TEST(a_list_that_leads_back_ends)
{
    fake_vfio_card(&fake);
    fake_vfio_put(&fake, 0xc1, 0x40, 1);
    ck_assert_int_eq(take(), 0);
    ck_assert_uint_eq(get(0xc1, 1), 0);
    fake_vfio_put(&fake, PCI_CAPABILITIES, 0x10, 1); /* into the header */
    ck_assert_int_eq(take(), 0);
    ck_assert_uint_eq(get(PCI_CAPABILITIES, 1), 0);
    ck_assert_uint_eq(get(PCI_STATUS, 2), 0);
}
END_TEST

START_TEST(a_capability_that_has_no_room_is_not_shown)
{
    fake_vfio_card(&fake);
    fake_vfio_put(&fake, 0xc0, 0xfc09, 2);
    fake_vfio_put(&fake, 0xfc, 0x0010, 2); /* PCI Express in the last four bytes */
    fake_vfio_put(&fake, 0x61, 0xc0, 1);
    fake_vfio_put(&fake, 0x60, 0xff, 1);
    ck_assert_int_eq(take(), 0);
    ck_assert_uint_eq(get(0xc1, 1), 0);
    ck_assert_uint_eq(get(0xfc, 4), 0);
}
END_TEST

START_TEST(a_bridge_and_a_device_that_is_gone_are_refused_in_words)
{
    fake_vfio_card(&fake);
    fake_vfio_put(&fake, PCI_HEADER_TYPE, 0x81, 1);
    ck_assert_int_eq(take(), -ENODEV);
    ck_assert_str_eq(err.msg, "it is a bridge, which no VM can be given");
    fake_vfio_put(&fake, 0, 0xffffffff, 4);
    ck_assert_int_eq(take(), -ENODEV);
    ck_assert_str_eq(err.msg, "it does not answer: it is gone, or switched off");
    fake.is_gone = true;
    ck_assert_int_eq(take(), -EIO);
}
END_TEST

UNIT_MAIN("vfio_registers", identity_is_the_devices_and_the_hosts_choices_are_not_seen,
          bars_have_the_sizes_and_kinds_of_the_devices,
          capabilities_that_a_guest_must_not_have_are_neither_linked_nor_there,
          a_device_stays_in_d0_and_wakes_nobody,
          msi_is_off_at_power_on_and_has_what_the_kernel_gives,
          msix_has_at_most_the_vectors_that_we_can_count,
          an_endpoint_is_one_of_the_root_complex_without_link_and_reset,
          what_is_in_no_list_is_the_devices_own, a_list_that_leads_back_ends,
          a_capability_that_has_no_room_is_not_shown,
          a_bridge_and_a_device_that_is_gone_are_refused_in_words)
