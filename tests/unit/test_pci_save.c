/* A PCI function is saved, reset and restored: a guest finds what it left. */
#include "qvm-worker/fields.h"
#include "qvm-worker/pci/msi.h"
#include "qvm-worker/pci/msix.h"
#include "tests/unit/pci_unit.h"

#define DEV      DEVFN(3, 0)
#define MSIX_AT  0x40u
#define MSI_AT   0x40u
#define PLACE    (PCI_MEMORY_START + 0x100000)
#define TABLE(v) (PLACE + 16 * (v))

enum { MSI_ALLOW_4 = 0x20 };

static struct pci_function_config config;
static struct pci_function *function;
static struct fields_writer saved;

static void start(void)
{
    config = (struct pci_function_config){.name = "vdev a",
                                          .where = "g:3",
                                          .has_intx = true,
                                          .vector_count = 4,
                                          .vector_bar = 0,
                                          .ops = &bar_ops};
    make(false);
    function = add(3, 0, &config);
    ck_assert_msg(pci_seal(pci, &err) == 0, "%s", err.msg);
    be_master(DEV);
    saved = (struct fields_writer){0};
}

static void memory_out(uint64_t address, uint64_t value)
{
    ck_assert(bus_access(bus, BUS_MEMORY, address, (uint8_t *)&value, 4, true));
}

static uint32_t memory_in(uint64_t address)
{
    uint64_t value = 0;

    ck_assert(bus_access(bus, BUS_MEMORY, address, (uint8_t *)&value, 4, false));
    return (uint32_t)value;
}

/* As a driver leaves it: the table moved, vector 1 open, 2 masked with a message waiting. */
static void set_up(void)
{
    start();
    config_out(DEV, PCI_BAR(0), 4, PLACE);
    config_out(DEV, PCI_INTERRUPT_LINE, 1, 11);
    memory_out(TABLE(1), 0xfee01000);
    memory_out(TABLE(1) + 8, 0x41);
    memory_out(TABLE(1) + 12, 0);
    memory_out(TABLE(2) + 8, 0x42);
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, PCI_MSIX_CONTROL_ENABLE);
    ck_assert(pci_message(function, 2));
    ck_assert_uint_eq(seen.message_count, 0);
    ck_assert_int_eq(pci_function_save(function, &saved), 0);
}

START_TEST(a_guest_finds_what_it_left)
{
    set_up();
    pci_reset(pci);
    ck_assert(!pci_has_messages(function));
    ck_assert_int_eq(pci_function_restore(function, saved.bytes, saved.size, &err), 0);
    ck_assert_uint_eq(config_in(DEV, PCI_BAR(0), 4) & ~15u, PLACE);
    ck_assert_uint_eq(config_in(DEV, PCI_INTERRUPT_LINE, 1), 11);
    ck_assert_uint_eq(memory_in(TABLE(1)), 0xfee01000);
    ck_assert_uint_eq(memory_in(PLACE + PCI_MSIX_PENDING), 1 << 2);
    ck_assert_uint_eq(seen.message_count, 0);
    ck_assert(pci_message(function, 1));
    ck_assert_uint_eq(seen.data, 0x41);
    memory_out(TABLE(2) + 12, 0); /* what waited goes now */
    ck_assert_uint_eq(seen.data, 0x42);
    ck_assert_uint_eq(seen.message_count, 2);
    fields_discard(&saved);
    done();
}
END_TEST

/* MSI has its pending bits in configuration space, where they are nobody's to write. */
START_TEST(a_message_of_msi_that_waits_is_not_forgotten)
{
    config = (struct pci_function_config){
        .name = "vdev a", .where = "g:3", .msi_count = 4, .has_msi_masks = true, .ops = &bar_ops};
    make(false);
    function = add(3, 0, &config);
    ck_assert_int_eq(pci_seal(pci, &err), 0);
    saved = (struct fields_writer){0};
    be_master(DEV);
    config_out(DEV, MSI_AT + PCI_MSI_DATA, 2, 0x40);
    config_out(DEV, MSI_AT + PCI_MSI_MASK, 4, 0x8);
    config_out(DEV, MSI_AT + PCI_MSI_CONTROL, 2, MSI_ALLOW_4 | PCI_MSI_CONTROL_ENABLE);
    ck_assert(pci_message(function, 3));
    ck_assert_int_eq(pci_function_save(function, &saved), 0);
    pci_reset(pci);
    ck_assert_int_eq(pci_function_restore(function, saved.bytes, saved.size, &err), 0);
    ck_assert_uint_eq(seen.message_count, 0);
    ck_assert_uint_eq(config_in(DEV, MSI_AT + PCI_MSI_PENDING, 4), 0x8);
    config_out(DEV, MSI_AT + PCI_MSI_MASK, 4, 0);
    ck_assert_uint_eq(seen.message_count, 1);
    ck_assert_uint_eq(seen.data, 0x43);
    fields_discard(&saved);
    done();
}
END_TEST

START_TEST(without_a_reset_nothing_changes)
{
    set_up();
    ck_assert_int_eq(pci_function_restore(function, saved.bytes, saved.size, &err), 0);
    ck_assert_uint_eq(seen.message_count, 0);
    ck_assert_uint_eq(memory_in(PLACE + PCI_MSIX_PENDING), 1 << 2);
    fields_discard(&saved);
    done();
}
END_TEST

START_TEST(what_is_no_function_is_refused)
{
    uint8_t byte = 1;

    set_up();
    ck_assert_int_eq(pci_function_restore(function, saved.bytes, saved.size - 8, &err), -EINVAL);
    ck_assert_int_eq(pci_function_restore(function, saved.bytes, 0, &err), -EINVAL);
    ck_assert_str_eq(err.msg, "a field of its PCI function is missing");
    ck_assert_int_eq(fields_put(&saved, 9 | VDEV_FIELD_NEEDED, VDEV_FIELD_NUMBER, &byte, 1), 0);
    ck_assert_int_eq(pci_function_restore(function, saved.bytes, saved.size, &err), -ENOTSUP);
    fields_discard(&saved);
    done();
}
END_TEST

UNIT_MAIN("pci_save", a_guest_finds_what_it_left, a_message_of_msi_that_waits_is_not_forgotten,
          without_a_reset_nothing_changes, what_is_no_function_is_refused)
