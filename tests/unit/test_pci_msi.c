/* MSI of a PCI function, and event descriptors that raise its messages. Sections are of the PCI
 * Local Bus Specification 3.0. */
#include <unistd.h>

#include "qvm-worker/pci/msi.h"
#include "qvm-worker/pci/msix.h"
#include "tests/unit/pci_unit.h"

#define DEV      DEVFN(3, 0)
#define MSI_AT   0x40u
#define MSIX_AT  0x40u
#define ADDRESS  0xfee02000u
#define DATA     0x4140u
#define TABLE(v) (PCI_MEMORY_START + 16 * (v))
#define PENDING  (PCI_MEMORY_START + PCI_MSIX_PENDING)

enum { ALLOW_1 = 0x00, ALLOW_2 = 0x10, ALLOW_8 = 0x30, ALLOW_RESERVED = 0x70 };

static struct pci_function_config config;
static struct pci_function *function;

static void start(uint32_t msi_count, bool has_masks, uint32_t vector_count)
{
    config = (struct pci_function_config){.name = "vdev a",
                                          .where = "g:3",
                                          .has_intx = true,
                                          .msi_count = msi_count,
                                          .has_msi_masks = has_masks,
                                          .vector_count = vector_count,
                                          .vector_bar = 0,
                                          .ops = &bar_ops};
    make(false);
    function = add(3, 0, &config);
    ck_assert_msg(pci_seal(pci, &err) == 0, "%s", err.msg);
    be_master(DEV);
}

/* As a driver does it: where messages go, how many there are, and on. */
static void enable(uint32_t at, uint32_t allowed)
{
    config_out(DEV, at + PCI_MSI_ADDRESS, 4, ADDRESS);
    config_out(DEV, at + PCI_MSI_ADDRESS_HIGH, 4, 0x12);
    config_out(DEV, at + PCI_MSI_DATA, 2, DATA);
    config_out(DEV, at + PCI_MSI_CONTROL, 2, allowed | PCI_MSI_CONTROL_ENABLE);
}

static void raise(int fd)
{
    const uint64_t one = 1;

    ck_assert_int_eq(write(fd, &one, sizeof(one)), sizeof(one));
}

static bool is_raised(int fd)
{
    uint64_t count;

    return read(fd, &count, sizeof(count)) == (ssize_t)sizeof(count);
}

START_TEST(msi_capability_tells_its_shape_6_8_1_3)
{
    start(8, true, 0);
    ck_assert_uint_eq(config_in(DEV, PCI_CAPABILITIES, 1), MSI_AT);
    ck_assert_uint_eq(config_in(DEV, MSI_AT, 4), 0x01860005); /* 8 messages, 64 bits, masks */
    done();
    start(1, false, 0);
    ck_assert_uint_eq(config_in(DEV, MSI_AT, 4), 0x00800005);
    done();
    start(32, true, 0);
    ck_assert_uint_eq(config_in(DEV, MSI_AT, 4), 0x018a0005);
    done();
}
END_TEST

START_TEST(only_what_6_8_1_lets_a_guest_write_is_written)
{
    start(4, true, 0);
    for (uint32_t at = MSI_AT; at < MSI_AT + PCI_MSI_END; at += 4) {
        config_out(DEV, at, 4, 0xffffffff);
    }
    ck_assert_uint_eq(config_in(DEV, MSI_AT, 4), 0x01f50005);
    ck_assert_uint_eq(config_in(DEV, MSI_AT + PCI_MSI_ADDRESS, 4), 0xfffffffc); /* 6.8.1.4 */
    ck_assert_uint_eq(config_in(DEV, MSI_AT + PCI_MSI_ADDRESS_HIGH, 4), 0xffffffff);
    ck_assert_uint_eq(config_in(DEV, MSI_AT + PCI_MSI_DATA, 4), 0xffff);
    ck_assert_uint_eq(config_in(DEV, MSI_AT + PCI_MSI_MASK, 4),
                      0xf); /* 6.8.1.7: of those there are */
    ck_assert_uint_eq(config_in(DEV, MSI_AT + PCI_MSI_PENDING, 4), 0);
    done();
}
END_TEST

START_TEST(without_masks_the_capability_ends_behind_the_data_6_8_1)
{
    start(2, false, 0);
    config_out(DEV, MSI_AT + PCI_MSI_MASK, 4, 0xffffffff);
    ck_assert_uint_eq(config_in(DEV, MSI_AT + PCI_MSI_MASK, 4), 0);
    enable(MSI_AT, ALLOW_2);
    ck_assert(pci_message(function, 1));
    ck_assert_uint_eq(seen.message_count, 1);
    ck_assert_uint_eq(config_in(DEV, MSI_AT + PCI_MSI_PENDING, 4), 0);
    done();
}
END_TEST

START_TEST(message_has_the_number_in_its_low_bits_6_8_1_6)
{
    start(8, true, 0);
    ck_assert(!pci_message(function, 0)); /* not enabled */
    ck_assert(!pci_has_messages(function));
    enable(MSI_AT, ALLOW_8);
    ck_assert(pci_has_messages(function));
    ck_assert(pci_message(function, 5));
    ck_assert_uint_eq(seen.message_count, 1);
    ck_assert_uint_eq(seen.address, 0x1200000000 | ADDRESS);
    ck_assert_uint_eq(seen.data, DATA | 5);
    ck_assert(pci_message(function, 8)); /* there is none: lost */
    ck_assert_uint_eq(seen.message_count, 1);
    done();
}
END_TEST

START_TEST(fewer_messages_than_there_are_share_numbers_6_8_1_6)
{
    start(8, true, 0);
    enable(MSI_AT, ALLOW_2);
    ck_assert(pci_message(function, 7));
    ck_assert_uint_eq(seen.data, DATA | 1);
    enable(MSI_AT, ALLOW_1);
    ck_assert(pci_message(function, 7));
    ck_assert_uint_eq(seen.data, DATA);
    done();
}
END_TEST

START_TEST(reserved_number_of_messages_is_as_many_as_there_are_6_8_1_3)
{
    start(4, true, 0);
    enable(MSI_AT, ALLOW_RESERVED);
    ck_assert(pci_message(function, 3));
    ck_assert_uint_eq(seen.data, DATA | 3);
    done();
}
END_TEST

START_TEST(masked_message_is_pending_and_goes_when_unmasked_6_8_3_4)
{
    start(8, true, 0);
    enable(MSI_AT, ALLOW_8);
    config_out(DEV, MSI_AT + PCI_MSI_MASK, 4, 0x22);
    ck_assert(pci_message(function, 5));
    ck_assert(pci_message(function, 5));
    ck_assert(pci_message(function, 4)); /* not masked */
    ck_assert_uint_eq(seen.message_count, 1);
    ck_assert_uint_eq(config_in(DEV, MSI_AT + PCI_MSI_PENDING, 4), 0x20);
    ck_assert_uint_eq(config_in(DEV, MSI_AT + PCI_MSI_PENDING, 1), 0x20);
    config_out(DEV, MSI_AT + PCI_MSI_PENDING, 4, 0); /* read only */
    config_out(DEV, MSI_AT + PCI_MSI_MASK, 1, 0x02);
    ck_assert_uint_eq(seen.message_count, 2);
    ck_assert_uint_eq(seen.data, DATA | 5);
    ck_assert_uint_eq(config_in(DEV, MSI_AT + PCI_MSI_PENDING, 4), 0);
    done();
}
END_TEST

START_TEST(mask_of_a_shared_number_holds_for_all_who_share_it_6_8_1_7)
{
    start(8, true, 0);
    enable(MSI_AT, ALLOW_2);
    config_out(DEV, MSI_AT + PCI_MSI_MASK, 4, 0x2);
    ck_assert(pci_message(function, 3));
    ck_assert(pci_message(function, 4));
    ck_assert_uint_eq(seen.message_count, 1);
    ck_assert_uint_eq(seen.data, DATA);
    ck_assert_uint_eq(config_in(DEV, MSI_AT + PCI_MSI_PENDING, 4), 0x2);
    done();
}
END_TEST

START_TEST(enabling_msi_silences_intx_6_8_1_3)
{
    uint32_t gsi = PCI_GSI_BASE + pci_pirq(3, 0);

    start(1, true, 0);
    pci_intx(function, true);
    ck_assert_uint_eq(seen.holders[gsi], 1);
    enable(MSI_AT, ALLOW_1);
    ck_assert_uint_eq(seen.holders[gsi], 0);
    config_out(DEV, MSI_AT + PCI_MSI_CONTROL, 2, 0);
    ck_assert_uint_eq(seen.holders[gsi], 1);
    done();
}
END_TEST

START_TEST(both_enabled_is_msix_6_8_2)
{
    uint32_t msi;

    start(4, true, 2);
    msi = config_in(DEV, MSIX_AT + 1, 1); /* the next capability */
    ck_assert_uint_eq(config_in(DEV, msi, 1), PCI_CAP_MSI);
    enable(msi, ALLOW_1);
    out(BUS_MEMORY, TABLE(0), 8, 0xfee01000);
    out(BUS_MEMORY, TABLE(0) + 8, 8, 0x77);
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, PCI_MSIX_CONTROL_ENABLE);
    ck_assert(pci_message(function, 0));
    ck_assert_uint_eq(seen.data, 0x77);
    ck_assert_uint_eq(seen.message_count, 1);
    enable(msi, ALLOW_1); /* again, with MSI-X on */
    ck_assert(pci_message(function, 0));
    ck_assert_uint_eq(seen.data, 0x77);
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, 0);
    ck_assert(pci_message(function, 0));
    ck_assert_uint_eq(seen.data, DATA);
    ck_assert_uint_eq(seen.message_count, 3);
    done();
}
END_TEST

START_TEST(numbers_of_messages_that_there_are_not_are_refused_in_words)
{
    struct pci_function *new = NULL;

    start(1, true, 0);
    config.msi_count = 3;
    ck_assert_int_eq(pci_add(pci, NULL, &config, &new, &err), -EINVAL);
    ck_assert_str_eq(err.msg, "3 messages of MSI: there are 1, 2, 4, 8, 16 or 32");
    config.msi_count = 2 * PCI_MSI_MESSAGES_MAX;
    ck_assert_int_eq(pci_add(pci, NULL, &config, &new, &err), -EINVAL);
    done();
}
END_TEST

START_TEST(reset_forgets_msi)
{
    start(2, true, 0);
    enable(MSI_AT, ALLOW_2);
    config_out(DEV, MSI_AT + PCI_MSI_MASK, 4, 1);
    ck_assert(pci_message(function, 0));
    pci_reset(pci);
    ck_assert(!pci_has_messages(function));
    ck_assert_uint_eq(config_in(DEV, MSI_AT, 4), 0x01820005);
    enable(MSI_AT, ALLOW_2);
    ck_assert_uint_eq(config_in(DEV, MSI_AT + PCI_MSI_PENDING, 4), 0);
    ck_assert_uint_eq(seen.message_count, 0);
    done();
}
END_TEST

START_TEST(event_is_heard_while_its_message_may_go)
{
    int fd;

    start(0, false, 3);
    fd = pci_event(function, 1);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pci_event(function, 1), fd);
    ck_assert_int_eq(pci_event(function, 3), -EINVAL);
    out(BUS_MEMORY, TABLE(1), 8, 0x12fee01000);
    out(BUS_MEMORY, TABLE(1) + 8, 8, 0x41);
    ck_assert_int_eq(seen.routes[0].fd, 0); /* not enabled */
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, PCI_MSIX_CONTROL_ENABLE);
    ck_assert_int_eq(seen.routes[0].fd, fd);
    ck_assert_uint_eq(seen.routes[0].address, 0x12fee01000);
    ck_assert_uint_eq(seen.routes[0].data, 0x41);
    out(BUS_MEMORY, TABLE(1) + 8, 4, 0x42); /* moved, unmasked */
    ck_assert_uint_eq(seen.routes[0].data, 0x42);
    out(BUS_MEMORY, TABLE(1) + 12, 4, 1);
    ck_assert_int_eq(seen.routes[0].fd, 0);
    out(BUS_MEMORY, TABLE(1) + 12, 4, 0);
    ck_assert_int_eq(seen.routes[0].fd, fd);
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, PCI_MSIX_CONTROL_ENABLE | PCI_MSIX_CONTROL_MASK);
    ck_assert_int_eq(seen.routes[0].fd, 0);
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, PCI_MSIX_CONTROL_ENABLE);
    ck_assert_int_eq(seen.routes[0].fd, fd);
    pci_reset(pci);
    ck_assert_int_eq(seen.routes[0].fd, 0);
    done();
}
END_TEST

START_TEST(event_of_a_masked_message_is_its_pending_bit_6_8_3_4)
{
    int fd;

    start(0, false, 3);
    fd = pci_event(function, 2);
    raise(fd); /* nobody listens: lost, as pci_message is */
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, PCI_MSIX_CONTROL_ENABLE);
    ck_assert_uint_eq(in(BUS_MEMORY, PENDING, 8), 0);
    out(BUS_MEMORY, TABLE(2), 8, 0xfee00000);
    out(BUS_MEMORY, TABLE(2) + 8, 4, 0x55);
    raise(fd);
    ck_assert_uint_eq(in(BUS_MEMORY, PENDING, 8), 4);
    ck_assert_uint_eq(in(BUS_MEMORY, PENDING, 4), 4);
    out(BUS_MEMORY, TABLE(2) + 12, 4, 0);
    ck_assert_uint_eq(seen.message_count, 1);
    ck_assert_uint_eq(seen.data, 0x55);
    ck_assert_uint_eq(in(BUS_MEMORY, PENDING, 8), 0);
    done();
}
END_TEST

/* 6.2.2: who is no bus master begins no access, and a message is a write to memory. */
START_TEST(function_that_is_no_bus_master_sends_nothing_and_is_heard_by_nobody_6_2_2)
{
    int fd;

    start(4, true, 0);
    fd = pci_event(function, 1);
    enable(MSI_AT, ALLOW_8);
    ck_assert_int_eq(seen.routes[0].fd, fd);
    config_out(DEV, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    ck_assert_int_eq(seen.routes[0].fd, 0);
    ck_assert(pci_message(function, 2)); /* not by its line instead */
    raise(fd);
    ck_assert_uint_eq(seen.message_count, 0);
    ck_assert_uint_eq(config_in(DEV, MSI_AT + PCI_MSI_PENDING, 4), 0x6);
    be_master(DEV);
    ck_assert_uint_eq(seen.message_count, 2); /* what waited */
    ck_assert_uint_eq(seen.data, DATA | 2);
    ck_assert_int_eq(seen.routes[0].fd, fd);
    ck_assert_uint_eq(config_in(DEV, MSI_AT + PCI_MSI_PENDING, 4), 0);
    pci_reset(pci);
    enable(MSI_AT, ALLOW_8);
    ck_assert(pci_message(function, 0));
    ck_assert_uint_eq(seen.message_count, 2);
    done();
}
END_TEST

/* What nobody read as a pending bit is in the descriptor; KVM sends it when it begins to hear, and
 * it must not be sent once more. */
START_TEST(event_that_waits_goes_to_kvm_once)
{
    int fd;

    start(0, false, 1);
    fd = pci_event(function, 0);
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, PCI_MSIX_CONTROL_ENABLE);
    raise(fd);
    out(BUS_MEMORY, TABLE(0) + 12, 4, 0);
    ck_assert_int_eq(seen.routes[0].fd, fd);
    ck_assert(!is_raised(fd));
    ck_assert_uint_eq(seen.message_count, 0);
    out(BUS_MEMORY, TABLE(0) + 12, 4, 1);
    ck_assert_uint_eq(in(BUS_MEMORY, PENDING, 8), 0);
    done();
}
END_TEST

START_TEST(events_of_a_function_that_is_enabled_are_routed_at_once)
{
    start(0, false, 3);
    for (uint32_t v = 0; v < 3; v++) {
        ck_assert_int_ge(pci_event(function, v), 0);
        out(BUS_MEMORY, TABLE(v) + 12, 4, 0);
    }
    ck_assert_uint_eq(seen.commit_count, 0);
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, PCI_MSIX_CONTROL_ENABLE);
    ck_assert_uint_eq(seen.commit_count, 1);
    ck_assert_uint_eq(seen.route_set_count, 3);
    done();
}
END_TEST

START_TEST(event_of_msi_goes_where_the_capability_says)
{
    int fd;

    start(4, true, 0);
    fd = pci_event(function, 3);
    enable(MSI_AT, ALLOW_2);
    ck_assert_int_eq(seen.routes[0].fd, fd);
    ck_assert_uint_eq(seen.routes[0].address, 0x1200000000 | ADDRESS);
    ck_assert_uint_eq(seen.routes[0].data, DATA | 1);
    config_out(DEV, MSI_AT + PCI_MSI_MASK, 4, 2);
    ck_assert_int_eq(seen.routes[0].fd, 0);
    raise(fd);
    ck_assert_uint_eq(config_in(DEV, MSI_AT + PCI_MSI_PENDING, 4), 2);
    done();
}
END_TEST

START_TEST(event_is_heard_by_one_kind_at_a_time)
{
    uint32_t msi;
    int fd;

    start(1, true, 1);
    fd = pci_event(function, 0);
    msi = config_in(DEV, MSIX_AT + 1, 1);
    out(BUS_MEMORY, TABLE(0) + 8, 8, 0x77);
    enable(msi, ALLOW_1);
    ck_assert_uint_eq(seen.routes[0].data, DATA);
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, PCI_MSIX_CONTROL_ENABLE); /* on_hear looks */
    ck_assert_int_eq(seen.routes[0].fd, fd);
    ck_assert_uint_eq(seen.routes[0].data, 0x77);
    config_out(DEV, MSIX_AT + PCI_MSIX_CONTROL, 2, 0);
    ck_assert_int_eq(seen.routes[0].fd, fd);
    ck_assert_uint_eq(seen.routes[0].data, DATA);
    done();
}
END_TEST

START_TEST(more_events_than_routes_are_refused)
{
    start(0, false, ROUTES_MAX + 1);
    for (uint32_t v = 0; v < ROUTES_MAX; v++) {
        ck_assert_int_ge(pci_event(function, v), 0);
    }
    ck_assert_int_eq(pci_event(function, ROUTES_MAX), -ENOSPC);
    done();
}
END_TEST

START_TEST(event_of_intx_drives_the_line_while_intx_is_allowed_6_2_2)
{
    int resample = -1;
    int fd;

    start(1, true, 0);
    fd = pci_intx_event(function, &resample);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pci_intx_event(function, &resample), fd);
    pci_reset(pci);
    ck_assert_uint_eq(seen.line_heard, PCI_GSI_BASE + pci_pirq(3, 0));
    ck_assert(is_raised(resample)); /* who wants service says so now */
    config_out(DEV, PCI_COMMAND, 2, PCI_COMMAND_INTX_OFF);
    ck_assert_uint_eq(seen.line_heard, 0);
    config_out(DEV, PCI_COMMAND, 2, 0);
    ck_assert_uint_ne(seen.line_heard, 0);
    ck_assert(is_raised(resample));
    config_out(DEV, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    enable(MSI_AT, ALLOW_1);
    ck_assert_uint_eq(seen.line_heard, 0);
    pci_reset(pci);
    ck_assert_uint_ne(seen.line_heard, 0);
    done();
}
END_TEST

START_TEST(function_without_intx_has_no_event_for_it)
{
    struct pci_function_config without = {.name = "vdev b", .ops = &bar_ops};
    int resample;

    start(1, true, 0);
    ck_assert_int_eq(pci_intx_event(add(4, 0, &without), &resample), -EINVAL);
    done();
}
END_TEST

UNIT_MAIN("pci_msi", msi_capability_tells_its_shape_6_8_1_3,
          only_what_6_8_1_lets_a_guest_write_is_written,
          without_masks_the_capability_ends_behind_the_data_6_8_1,
          message_has_the_number_in_its_low_bits_6_8_1_6,
          fewer_messages_than_there_are_share_numbers_6_8_1_6,
          reserved_number_of_messages_is_as_many_as_there_are_6_8_1_3,
          masked_message_is_pending_and_goes_when_unmasked_6_8_3_4,
          mask_of_a_shared_number_holds_for_all_who_share_it_6_8_1_7,
          enabling_msi_silences_intx_6_8_1_3, both_enabled_is_msix_6_8_2,
          numbers_of_messages_that_there_are_not_are_refused_in_words, reset_forgets_msi,
          event_is_heard_while_its_message_may_go,
          function_that_is_no_bus_master_sends_nothing_and_is_heard_by_nobody_6_2_2,
          event_of_a_masked_message_is_its_pending_bit_6_8_3_4, event_that_waits_goes_to_kvm_once,
          events_of_a_function_that_is_enabled_are_routed_at_once,
          event_of_msi_goes_where_the_capability_says, event_is_heard_by_one_kind_at_a_time,
          more_events_than_routes_are_refused,
          event_of_intx_drives_the_line_while_intx_is_allowed_6_2_2,
          function_without_intx_has_no_event_for_it)
