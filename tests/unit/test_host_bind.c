/* Functions go to VFIO's driver and back, and groups of them: on a prepared machine, whose kernel
 * does nothing. What a real one does is tried in the lab. */
#include "daemon/host/pci_bind.h"

#include <errno.h>
#include <sys/file.h>

#include "daemon/host/pci_group.h"
#include "proto/base/err.h"
#include "tests/unit/tree_unit.h"
#include "tests/unit/unit.h"

#define DEVICES "/sys/bus/pci/devices"
#define NIC     DEVICES "/0000:00:19.0"
#define OTHER   DEVICES "/0000:00:19.1"
#define BRIDGE  DEVICES "/0000:00:1c.0"
#define LONELY  DEVICES "/0000:00:1d.0"

static const struct tree_entry machine[] = {
    {NIC "/class", "0x020000\n", NULL},
    {NIC "/vendor", "0x8086\n", NULL},
    {NIC "/device", "0x10d3\n", NULL},
    {NIC "/driver_override", "(null)\n", NULL},
    {NIC "/driver", NULL, "../../drivers/e1000e"},
    {NIC "/iommu_group", NULL, "../../../../kernel/iommu_groups/7"},
    {OTHER "/class", "0x0c0300\n", NULL},
    {OTHER "/driver_override", "vfio-pci\n", NULL},
    {OTHER "/iommu_group", NULL, "../../../../kernel/iommu_groups/7"},
    {BRIDGE "/class", "0x060400\n", NULL},
    {BRIDGE "/iommu_group", NULL, "../../../../kernel/iommu_groups/7"},
    {LONELY "/class", "0x0c0300\n", NULL},
    {"/sys/kernel/iommu_groups/7/devices/0000:00:19.1", NULL, "x"},
    {"/sys/kernel/iommu_groups/7/devices/0000:00:1c.0", NULL, "x"},
    {"/sys/kernel/iommu_groups/7/devices/0000:00:19.0", NULL, "x"},
    {"/sys/bus/pci/drivers_probe", "", NULL},
    {"/sys/bus/pci/drivers/e1000e/unbind", "", NULL},
};

static void set_up(void)
{
    tree_make();
    tree_add(machine, ARRAY_LEN(machine));
}

static void tear_down(void)
{
    tree_remove();
}

static const char *text_of(const char *path, char text[64])
{
    char whole[PATH_MAX];
    auto_close int fd = -1;
    ssize_t n;

    tree_path(whole, path);
    fd = open(whole, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    n = read(fd, text, 63);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

START_TEST(a_group_is_its_functions_without_bridges_by_name)
{
    struct pci_member members[PCI_GROUP_MAX];
    size_t count = 0;
    int group = -1;

    set_up();
    ck_assert_int_eq(pci_group_read(tree_root, "0000:00:19.1", members, &count, &group, NULL), 0);
    ck_assert_int_eq(group, 7);
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(members[0].bdf, "0000:00:19.0");
    ck_assert_uint_eq(members[0].device, 0x10d3);
    ck_assert_str_eq(members[0].home.driver, "e1000e");
    ck_assert_str_eq(members[1].bdf, "0000:00:19.1");
    ck_assert_str_eq(members[1].home.driver, "");
    ck_assert_int_eq(pci_group_number(tree_root, "0000:00:1d.0"), -1);
    tear_down();
}
END_TEST

START_TEST(what_can_be_no_guests_is_told_why)
{
    static const struct {
        const char *bdf;
        int code;
        const char *sentence;
    } cases[] = {
        {"0000:00:02.0", -ENODEV, "the host has no PCI function '0000:00:02.0'"},
        {"../../etc", -ENODEV, "the host has no PCI function '../../etc'"},
        {"0000:00:1c.0", -EINVAL, "'0000:00:1c.0' is a bridge: what is behind it can be given"},
        {"0000:00:1d.0", -EOPNOTSUPP,
         "'0000:00:1d.0' is in no IOMMU group, and could reach all memory: switch the IOMMU on in "
         "the firmware, and on the kernel's command line (intel_iommu=on)"},
    };
    struct pci_member members[PCI_GROUP_MAX];
    size_t count;
    int group;

    set_up();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};

        ck_assert_int_eq(pci_group_read(tree_root, cases[i].bdf, members, &count, &group, &err),
                         cases[i].code);
        ck_assert_str_eq(err.msg, cases[i].sentence);
    }
    tear_down();
}
END_TEST

START_TEST(without_its_driver_nothing_is_taken_from_another)
{
    struct err err = {0};
    char text[64];

    set_up();
    ck_assert_int_eq(pci_bind_vfio(tree_root, "0000:00:19.0", &err), -ENOENT);
    ck_assert_str_eq(err.msg, "the kernel has no driver 'vfio-pci': load it ('modprobe vfio-pci')");
    ck_assert_str_eq(text_of(NIC "/driver_override", text), "(null)\n");
    ck_assert_int_eq(pci_bind_vfio(tree_root, "0000:00:02.0", &err), -ENODEV);
    tear_down();
}
END_TEST

START_TEST(what_a_driver_did_not_take_is_noticed)
{
    static const struct tree_entry more[] = {{"/sys/bus/pci/drivers/vfio-pci/x", "", NULL}};
    struct err err = {0};
    char text[64];

    set_up();
    tree_add(more, ARRAY_LEN(more));
    ck_assert_int_eq(pci_bind_vfio(tree_root, "0000:00:19.1", &err), -EIO);
    ck_assert_str_eq(err.msg, "the driver 'vfio-pci' does not take '0000:00:19.1'");
    ck_assert_str_eq(text_of("/sys/bus/pci/drivers_probe", text), "0000:00:19.1");
    tear_down();
}
END_TEST

START_TEST(what_is_home_stays_there_and_what_does_not_come_home_is_noticed)
{
    const struct pci_home home = {.driver = "e1000e"}, nowhere = {.driver = ""},
                          other = {.driver = "igb"}, any = {.driver = PCI_ANY_DRIVER};
    struct err err = {0};
    char text[64];

    set_up();
    ck_assert_int_eq(pci_bind_home(tree_root, "0000:00:19.0", &home, &err), 0);
    ck_assert_int_eq(pci_bind_home(tree_root, "0000:00:19.0", &any, &err), 0);
    ck_assert_int_eq(pci_bind_home(tree_root, "0000:00:02.0", &home, &err), 0); /* it is gone */
    ck_assert_int_eq(pci_bind_home(tree_root, "0000:00:19.1", &nowhere, &err), 0);
    ck_assert_str_eq(text_of("/sys/bus/pci/drivers_probe", text), ""); /* nobody is to have it */
    ck_assert_int_eq(pci_bind_home(tree_root, "0000:00:19.1", &home, &err), -EIO);
    ck_assert_str_eq(err.msg, "'0000:00:19.1' has no driver now, and not 'e1000e' as before");
    ck_assert_int_eq(pci_bind_home(tree_root, "0000:00:19.0", &other, &err), -EIO);
    ck_assert_str_eq(err.msg,
                     "'0000:00:19.0' has the driver 'e1000e' now, and not 'igb' as before");
    tear_down();
}
END_TEST

START_TEST(an_override_is_taken_back_by_who_has_set_it)
{
    const struct pci_home home = {.driver = ""}, asked = {.driver_override = "igb"},
                          vfio = {.driver = PCI_VFIO_DRIVER}, nic = {.driver = "e1000e"};
    char text[64];

    set_up();
    pci_read_override(tree_root, "0000:00:19.0", text);
    ck_assert_str_eq(text, "");
    pci_read_override(tree_root, "0000:00:19.1", text); /* nobody took it: it is an operator's */
    ck_assert_str_eq(text, "vfio-pci");
    ck_assert_int_eq(pci_bind_home(tree_root, "0000:00:19.1", &vfio, NULL), -EIO);
    ck_assert_str_eq(text_of(OTHER "/driver_override", text), "vfio-pci\n");
    ck_assert_int_eq(pci_bind_home(tree_root, "0000:00:19.1", &asked, NULL), 0);
    ck_assert_str_eq(text_of(OTHER "/driver_override", text), "igbo-pci\n"); /* no kernel's file */
    pci_read_override(tree_root, "0000:00:19.1", text);
    ck_assert_str_eq(text, "igbo-pci");
    ck_assert_int_eq(pci_bind_home(tree_root, "0000:00:19.1", &home, NULL), 0);
    ck_assert_str_eq(text_of(OTHER "/driver_override", text), "igbo-pci\n");
    ck_assert_int_eq(pci_bind_home(tree_root, "0000:00:19.0", &nic, NULL), 0);
    ck_assert_str_eq(text_of(NIC "/driver_override", text), "(null)\n");
    tear_down();
}
END_TEST

START_TEST(an_override_for_another_driver_is_set_when_the_one_before_is_back)
{
    const struct pci_home home = {.driver = "e1000e", .driver_override = "igb"};
    char text[64];

    set_up();
    /* bound already, and what a hand had set that was killed in between: no kernel's files */
    ck_assert_int_eq(pci_bind_home(tree_root, "0000:00:19.0", &home, NULL), 0);
    ck_assert_str_eq(text_of(NIC "/driver_override", text), "(null)\n");
    tree_bytes(NIC "/driver_override", "e1000e\n", 7);
    ck_assert_int_eq(pci_bind_home(tree_root, "0000:00:19.0", &home, NULL), 0);
    ck_assert_str_eq(text_of(NIC "/driver_override", text), "igb00e\n");
    ck_assert_int_eq(pci_bind_home(tree_root, "0000:00:19.1", &home, NULL), -EIO);
    ck_assert_str_eq(text_of(OTHER "/driver_override", text), "e1000eci\n");
    ck_assert_str_eq(text_of("/sys/bus/pci/drivers_probe", text), "0000:00:19.1");
    tear_down();
}
END_TEST

START_TEST(a_reset_is_done_where_there_is_one_and_its_failure_is_told)
{
    static const struct tree_entry works[] = {{NIC "/reset", "", NULL}};
    static const struct tree_entry fails[] = {{OTHER "/reset/x", "", NULL}};
    struct err err = {0};
    char text[64];

    set_up();
    ck_assert_int_eq(pci_reset(tree_root, "0000:00:19.0", &err), 0); /* it has none */
    tree_add(works, ARRAY_LEN(works));
    tree_add(fails, ARRAY_LEN(fails));
    ck_assert_int_eq(pci_reset(tree_root, "0000:00:19.0", &err), 0);
    ck_assert_str_eq(text_of(NIC "/reset", text), "1");
    ck_assert_int_eq(pci_reset(tree_root, "0000:00:19.1", &err), -EIO);
    ck_assert_str_eq(err.msg, "'0000:00:19.1' could not be reset: Is a directory");
    tear_down();
}
END_TEST

START_TEST(one_works_on_a_function_at_a_time)
{
    int first = -1, second;
    char whole[PATH_MAX];

    set_up();
    ck_assert_int_eq(pci_lock(tree_root, "0000:00:19.0", &first, NULL), 0);
    tree_path(whole, NIC);
    second = open(whole, O_RDONLY | O_DIRECTORY);
    ck_assert_int_ge(second, 0);
    ck_assert_int_eq(flock(second, LOCK_EX | LOCK_NB), -1);
    (void)close(first);
    ck_assert_int_eq(flock(second, LOCK_EX | LOCK_NB), 0);
    (void)close(second);
    ck_assert_int_eq(pci_lock(tree_root, "0000:00:02.0", &first, NULL), -ENODEV);
    tear_down();
}
END_TEST

UNIT_MAIN("host_bind", a_group_is_its_functions_without_bridges_by_name,
          what_can_be_no_guests_is_told_why, without_its_driver_nothing_is_taken_from_another,
          what_a_driver_did_not_take_is_noticed,
          what_is_home_stays_there_and_what_does_not_come_home_is_noticed,
          an_override_is_taken_back_by_who_has_set_it,
          an_override_for_another_driver_is_set_when_the_one_before_is_back,
          a_reset_is_done_where_there_is_one_and_its_failure_is_told,
          one_works_on_a_function_at_a_time)
