/* qvmctl: what PCI functions are called, and whose they are. */
#include "cli/devices.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/pci_words.h"
#include "tests/unit/unit.h"

START_TEST(a_class_is_a_word)
{
    ck_assert_str_eq(pci_class_word(0x010802), "nvme");
    ck_assert_str_eq(pci_class_word(0x01ff00), "storage");
    ck_assert_str_eq(pci_class_word(0x020000), "ethernet");
    ck_assert_str_eq(pci_class_word(0x028000), "network");
    ck_assert_str_eq(pci_class_word(0x060400), "pci-bridge");
    ck_assert_str_eq(pci_class_word(0xff0000), "other");
}
END_TEST

START_TEST(whose_a_device_is_is_a_word)
{
    struct msg_device device = {.class = 0x020000, .iommu_group = 7};
    char text[] = "some sentence";

    ck_assert_str_eq(device_state(&device), "free");
    device.refusal = text;
    ck_assert_str_eq(device_state(&device), "group");
    device.iommu_group = -1;
    ck_assert_str_eq(device_state(&device), "no-iommu");
    device.use = text;
    ck_assert_str_eq(device_state(&device), "host");
    device.bridge = true;
    ck_assert_str_eq(device_state(&device), "bridge");
    device.guest = text;
    ck_assert_str_eq(device_state(&device), "guest");
    device = (struct msg_device){.class = 0x060100, .iommu_group = 7};
    ck_assert_str_eq(device_state(&device), "bridge");
}
END_TEST

#define LIST                                                                                       \
    "# a list\n8086  Some Maker\n\t100e  Some Card\n\t\t8086 100e  Some Board\n# more\n"           \
    "\t10d3  Other Card\r\n10d3  Not A Card\n\t1234  Its Card"

/* The name that the list has for the two numbers. */
static void expect_name(const char *list, int64_t vendor, int64_t device, const char *wanted)
{
    char path[] = "/tmp/test_cli_devices-XXXXXX", name[PCI_NAME_SIZE];
    const char *const paths[] = {"/nowhere/pci.ids", path, NULL};
    struct pci_names names;
    int fd = mkstemp(path);

    ck_assert_int_eq(write(fd, list, strlen(list)), (ssize_t)strlen(list));
    ck_assert_int_eq(close(fd), 0);
    pci_names_load(&names, paths);
    ck_assert_int_eq(unlink(path), 0);
    pci_names_find(&names, vendor, device, name);
    ck_assert_str_eq(name, wanted);
    pci_names_fini(&names);
}

START_TEST(a_name_is_found_in_the_list)
{
    expect_name(LIST, 0x8086, 0x100e, "Some Maker Some Card");
    expect_name(LIST, 0x8086, 0x10d3, "Some Maker Other Card");
    expect_name(LIST, 0x8086, 0x1234, "Some Maker");
    expect_name(LIST, 0x10d3, 0x1234, "Not A Card Its Card");
    expect_name(LIST, 0x1234, 0x8086, "");
    expect_name("8086  First", 0x8086, 0x100e, "First");
    expect_name("", 0x8086, 0x100e, "");
}
END_TEST

START_TEST(a_name_that_is_too_long_is_cut)
{
    char list[2 * PCI_NAME_SIZE], wanted[PCI_NAME_SIZE];

    memset(list, 'x', sizeof(list));
    memcpy(list, "8086  ", 6);
    list[PCI_NAME_SIZE + 6] = '\n';
    memcpy(list + PCI_NAME_SIZE + 7, "\t100e  ", 7);
    list[sizeof(list) - 1] = '\0';
    memset(wanted, 'x', sizeof(wanted) - 1);
    wanted[sizeof(wanted) - 1] = '\0';
    expect_name(list, 0x8086, 0x100e, wanted);
}
END_TEST

START_TEST(without_a_list_there_are_no_names)
{
    const char *const paths[] = {"/nowhere/pci.ids", NULL};
    struct pci_names names;
    char name[PCI_NAME_SIZE] = "x";

    pci_names_load(&names, paths);
    pci_names_find(&names, 0x8086, 0x100e, name);
    ck_assert_str_eq(name, "");
    pci_names_fini(&names);
}
END_TEST

UNIT_MAIN("cli_devices", a_class_is_a_word, whose_a_device_is_is_a_word,
          a_name_is_found_in_the_list, a_name_that_is_too_long_is_cut,
          without_a_list_there_are_no_names)
