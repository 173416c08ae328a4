/* PCI functions of a prepared machine, and what its host does with them. */
#include "daemon/host/pci.h"

#include <errno.h>

#include "daemon/host/pci_group.h"
#include "daemon/host/pci_node.h"
#include "proto/base/err.h"
#include "tests/unit/pci_tree.h"
#include "tests/unit/unit.h"

START_TEST(every_function_is_listed_by_its_bdf)
{
    static const char *const names[] = {"0000:00:02.0", "0000:00:19.0", "0000:00:19.1",
                                        "0000:00:1c.0", "0000:00:1e.0", "0000:01:00.0"};

    (void)read_one("0000:00:02.0");
    ck_assert_uint_eq(table.count, ARRAY_LEN(names));
    ck_assert_uint_eq(table.left_out, 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        ck_assert_str_eq(table.list[i].bdf, names[i]);
        ck_assert_str_eq(table.list[i].use, "");
    }
    ck_assert_ptr_null(pci_find(&table, "0000:00:03.0"));
    ck_assert_ptr_null(pci_find(&table, "this is longer than any name of a function"));
}
END_TEST

START_TEST(attributes_are_read_as_the_kernel_writes_them)
{
    const struct pci_function *function = read_one("0000:00:1e.0");

    ck_assert_uint_eq(function->vendor, 0x8086);
    ck_assert_uint_eq(function->device, 0x10d3);
    ck_assert_uint_eq(function->subvendor, 0x1af4);
    ck_assert_uint_eq(function->subdevice, 0x1100);
    ck_assert_uint_eq(function->class, 0x070002);
    ck_assert_uint_eq(function->revision, 3);
    ck_assert_int_eq(function->node, 1);
    ck_assert_int_eq(function->iommu_group, 9);
    ck_assert_str_eq(function->reset, "flr bus");
    ck_assert_str_eq(function->driver, "vfio-pci");
    ck_assert_uint_eq(function->vfs_most, 8);
    ck_assert_uint_eq(function->vfs, 0);
    ck_assert_uint_eq(function->bars[0].start, 0xfe000000);
    ck_assert_uint_eq(function->bars[0].size, 0x20000);
    ck_assert_uint_eq(function->bars[1].size, 0);
    ck_assert_uint_eq(function->bars[2].size, 0x20);
    ck_assert_uint_eq(function->bars[2].flags, 0x40101);
}
END_TEST

START_TEST(what_is_not_there_is_not_known)
{
    const struct pci_function *function;

    tree_bytes(VGA "/revision", "many\n", 5);
    function = read_one("0000:00:02.0");
    ck_assert_str_eq(function->driver, "");
    ck_assert_str_eq(function->reset, "");
    ck_assert_int_eq(function->node, -1);
    ck_assert_uint_eq(function->revision, 0);
    ck_assert_uint_eq(function->config.serial, 0);
    ck_assert_int_eq(read_one("0000:00:1c.0")->iommu_group, -1);
}
END_TEST

/* ---- configuration space ---- */

static void put(uint8_t *config, size_t at, uint32_t word)
{
    for (size_t i = 0; i < 4; i++) {
        config[at + i] = (uint8_t)(word >> 8 * i);
    }
}

START_TEST(the_serial_number_is_found_among_the_capabilities)
{
    uint8_t config[4096] = {[0x0e] = 0x80, [0x3d] = 2};
    const struct pci_function *function;

    put(config, 0x100, 0x14000000 | 0x20000 | 0x0001); /* AER, the next at 140 */
    put(config, 0x140, 0x00000000 | 0x10000 | 0x0003);
    put(config, 0x144, 0x55667788);
    put(config, 0x148, 0x11223344);
    tree_bytes(SERIAL "/config", config, sizeof(config));
    function = read_one("0000:00:1e.0");
    ck_assert_uint_eq(function->config.serial, 0x1122334455667788);
    ck_assert_uint_eq(function->config.interrupt_pin, 2);
    ck_assert(!function->config.is_bridge);
    tree_bytes(SERIAL "/config", config, 64); /* as users get it */
    function = read_one("0000:00:1e.0");
    ck_assert_uint_eq(function->config.serial, 0);
    ck_assert_uint_eq(function->config.interrupt_pin, 2);
}
END_TEST

START_TEST(capabilities_that_run_in_a_ring_or_off_the_end_are_left)
{
    uint8_t config[4096] = {0};

    put(config, 0x100, 0x10000000 | 0x20000 | 0x0001);
    tree_bytes(SERIAL "/config", config, sizeof(config));
    ck_assert_uint_eq(read_one("0000:00:1e.0")->config.serial, 0);
    put(config, 0x100, 0xffc00000 | 0x20000 | 0x0001);
    put(config, 0xffc, 0x00010003);
    tree_bytes(SERIAL "/config", config, sizeof(config));
    ck_assert_uint_eq(read_one("0000:00:1e.0")->config.serial, 0);
}
END_TEST

START_TEST(a_function_that_sleeps_is_not_woken_unless_somebody_is_to_have_it)
{
    struct pci_config sleeper;
    uint8_t config[64] = {[0x3d] = 1};

    tree_bytes(SERIAL "/config", config, sizeof(config));
    tree_bytes(SERIAL "/power_state", "D3cold\n", 7);
    ck_assert_uint_eq(read_one("0000:00:1e.0")->config.interrupt_pin, 0);
    pci_read_config(tree_root, "0000:00:1e.0", true, &sleeper); /* as who is to take it */
    ck_assert_uint_eq(sleeper.interrupt_pin, 1);
    tree_bytes(SERIAL "/power_state", "D3hot\n", 6);
    ck_assert_uint_eq(read_one("0000:00:1e.0")->config.interrupt_pin, 1);
}
END_TEST

/* The kernel tells these only while nobody changes the driver. Who opens such a file here waits
 * for ever. */
START_TEST(nothing_is_read_that_waits_for_a_change_of_drivers)
{
    static const char *const waiting[] = {"driver_override", "sriov_numvfs", "uevent"};
    struct pci_member members[PCI_GROUP_MAX];
    char path[PATH_MAX];
    size_t count;
    int group;

    tree_bytes(SERIAL "/sriov_totalvfs", "8\n", 2);
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++) {
        tree_path(path, SERIAL);
        (void)strcat(strcat(path, "/"), waiting[i]);
        (void)unlink(path);
        ck_assert_int_eq(mkfifo(path, 0600), 0);
    }
    ck_assert_uint_eq(read_one("0000:00:1e.0")->vfs, 0);
    ck_assert_int_eq(pci_group_read(tree_root, "0000:00:1e.0", members, &count, &group, NULL), 0);
}
END_TEST

START_TEST(a_function_that_does_not_answer_is_asked_again)
{
    uint8_t config[64];

    memset(config, 0xff, sizeof(config));
    tree_bytes(SERIAL "/config", config, sizeof(config));
    ck_assert(!read_one("0000:00:1e.0")->config.is_known);
    tree_bytes(SERIAL "/config", config, 4); /* nothing beyond the ids */
    ck_assert(!read_one("0000:00:1e.0")->config.is_known);
    memset(config, 0, sizeof(config));
    tree_bytes(SERIAL "/config", config, sizeof(config));
    ck_assert(read_one("0000:00:1e.0")->config.is_known);
}
END_TEST

START_TEST(a_bridge_is_known_by_its_header)
{
    uint8_t config[64] = {[0x0e] = 0x81};
    struct err err = {0};

    tree_bytes(BRIDGE "/config", config, sizeof(config));
    ck_assert(read_one("0000:00:1c.0")->config.is_bridge);
    ck_assert_int_eq(pci_judge(&table, pci_find(&table, "0000:00:1c.0"), &err), -EINVAL);
    ck_assert_str_eq(err.msg, "'0000:00:1c.0' is a bridge: what is behind it can be given");
}
END_TEST

START_TEST(names_of_functions_are_whole)
{
    static const char *const good[] = {"0000:00:1f.7", "10000:e1:00.0"};
    static const char *const bad[] = {"",
                                      "00:1f.7",
                                      "0000:00:1f.8",
                                      "0000:00:1F.7",
                                      "0000:00:1f.7x",
                                      "0000:000:1f.7",
                                      "0000:00:1f",
                                      "000000000:00:1f.7",
                                      "../0000:00:1f.7"};
    struct pci_function function;
    struct err err = {0};

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ck_assert(pci_is_bdf(good[i]));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(!pci_is_bdf(bad[i]), "'%s'", bad[i]);
        ck_assert_int_eq(pci_read_function(tree_root, bad[i], &function, NULL), -EINVAL);
    }
    ck_assert_int_eq(pci_read_function(tree_root, "0000:00:1f.7", &function, &err), -ENODEV);
    ck_assert_str_eq(err.msg, "there is no PCI function '0000:00:1f.7'");
}
END_TEST

/* ---- what the host does with them ---- */

static const struct tree_entry disk[] = {
    {DISK "/nvme/nvme0/nvme0n1/nvme0n1p1/partition", "1\n", NULL},
    {"/sys/class/block/nvme0n1", NULL,
     "../../devices/pci0000:00/0000:00:1c.0/0000:01:00.0/nvme/nvme0/nvme0n1"},
    {"/sys/class/block/nvme0n1p1", NULL,
     "../../devices/pci0000:00/0000:00:1c.0/0000:01:00.0/nvme/nvme0/nvme0n1/nvme0n1p1"},
    {"/sys/dev/block/259:1", NULL,
     "../../devices/pci0000:00/0000:00:1c.0/0000:01:00.0/nvme/nvme0/nvme0n1/nvme0n1p1"},
};

/* A volume on encryption on the partition. */
static const struct tree_entry volumes[] = {
    {"/sys/class/block/dm-0", NULL, "../../devices/virtual/block/dm-0"},
    {"/sys/class/block/dm-1", NULL, "../../devices/virtual/block/dm-1"},
    {"/sys/dev/block/253:1", NULL, "../../devices/virtual/block/dm-1"},
    {"/sys/devices/virtual/block/dm-1/slaves/dm-0", NULL, "../../dm-0"},
    {"/sys/devices/virtual/block/dm-0/slaves/nvme0n1p1", NULL,
     "../../../../pci0000:00/0000:00:1c.0/0000:01:00.0/nvme/nvme0/nvme0n1/nvme0n1p1"},
    {"/dev/dm-1", "", NULL},
    {"/dev/mapper/root", NULL, "../dm-1"},
};

static void mounts(const char *line)
{
    tree_bytes("/proc/self/mountinfo", line, strlen(line));
}

START_TEST(a_mounted_disk_is_the_hosts)
{
    struct err err = {0};

    tree_add(disk, ARRAY_LEN(disk));
    ck_assert_str_eq(read_one("0000:01:00.0")->use, "");
    ck_assert_int_eq(pci_judge(&table, pci_find(&table, "0000:01:00.0"), NULL), 0);
    mounts("20 1 0:21 / /proc rw shared:1 - proc proc rw\n"
           "30 1 259:1 / /srv/a\\040b rw,relatime - ext4 /dev/nvme0n1p1 rw\n");
    ck_assert_str_eq(read_one("0000:01:00.0")->use,
                     "disk 'nvme0n1p1' is mounted on '/srv/a\\040b'");
    ck_assert_int_eq(pci_judge(&table, pci_find(&table, "0000:01:00.0"), &err), -EBUSY);
    ck_assert_str_eq(err.msg, "'0000:01:00.0' is used by the host: disk 'nvme0n1p1' is mounted on "
                              "'/srv/a\\040b'; unmount it first");
    ck_assert_str_eq(pci_find(&table, "0000:00:1c.0")->use, "");  /* it is only on the way */
    mounts("31 1 0:50 / /mnt rw - fuse.any /dev/nvme0n1p1 rw\n"); /* anybody may say so */
    ck_assert_int_eq(pci_read_use(tree_root, &table), 0);
    ck_assert_str_eq(pci_find(&table, "0000:01:00.0")->use, "");
}
END_TEST

START_TEST(a_disk_below_volumes_is_the_hosts)
{
    tree_add(disk, ARRAY_LEN(disk));
    tree_add(volumes, ARRAY_LEN(volumes));
    mounts("30 1 253:1 / / rw - ext4 /dev/mapper/root rw\n");
    ck_assert_str_eq(read_one("0000:01:00.0")->use,
                     "disk 'nvme0n1p1' is a part of 'dm-1', which is mounted on '/'");
}
END_TEST

START_TEST(a_file_system_with_a_number_of_its_own_is_found_by_its_device)
{
    tree_add(disk, ARRAY_LEN(disk));
    tree_add(volumes, ARRAY_LEN(volumes));
    mounts("30 1 0:35 /sub / rw shared:1 master:2 - btrfs /dev/mapper/root rw\n");
    ck_assert_str_eq(read_one("0000:01:00.0")->use,
                     "disk 'nvme0n1p1' is a part of 'dm-1', which is mounted on '/'");
}
END_TEST

START_TEST(a_mounted_folder_of_another_machine_is_the_hosts)
{
    static const struct tree_entry share[] = {
        {"/sys/bus/virtio/devices/virtio0", NULL,
         "../../../devices/pci0000:00/0000:00:19.1/virtio0"},
        {"/sys/devices/pci0000:00/0000:00:19.1/virtio0/driver", NULL,
         "../../../../bus/virtio/drivers/9pnet_virtio"},
        {"/sys/devices/pci0000:00/0000:00:19.1/virtio0/mount_tag", "root", NULL},
    };

    tree_add(share, ARRAY_LEN(share));
    mounts("30 1 0:35 / / rw - 9p other rw\n"
           "31 1 0:36 / /srv rw - virtiofs root rw\n");
    ck_assert_str_eq(read_one("0000:00:19.1")->use, "");
    mounts("30 1 0:35 / / rw - 9p root rw,trans=virtio\n");
    ck_assert_str_eq(read_one("0000:00:19.1")->use, "shared folder 'root' is mounted on '/'");
    ck_assert_str_eq(pci_find(&table, "0000:00:19.0")->use, "");
}
END_TEST

START_TEST(lines_that_are_no_mounts_are_left)
{
    static const char *const lines[] = {"\n",
                                        "30\n",
                                        "30 1 259:1\n",
                                        "30 1 259:1 / /srv rw\n",
                                        "30 1 259:1 / /srv rw -\n",
                                        "30 1 259:1 / /srv rw - ext4\n",
                                        "30 1 ../../x / /srv rw - ext4 /dev/\n"};

    tree_add(disk, ARRAY_LEN(disk));
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        mounts(lines[i]);
        ck_assert_msg(read_one("0000:01:00.0")->use[0] == '\0', "%s", lines[i]);
    }
}
END_TEST

START_TEST(swap_and_what_stands_on_a_disk_are_the_hosts)
{
    static const char swaps[] = "Filename\tType\t\tSize\n"
                                "/swapfile                   file\t\t1\t0\t-2\n"
                                "/dev/nvme0n1p1              partition\t1\t0\t-2\n";

    tree_add(disk, ARRAY_LEN(disk));
    mounts("");
    tree_bytes("/proc/swaps", swaps, strlen(swaps));
    ck_assert_str_eq(read_one("0000:01:00.0")->use, "disk 'nvme0n1p1' is swap");
    tree_bytes("/proc/swaps", "", 0);
    tree_link(DISK "/nvme/nvme0/nvme0n1/holders/md0", "../../md0");
    ck_assert_str_eq(read_one("0000:01:00.0")->use, "disk 'nvme0n1' is a part of 'md0'");
}
END_TEST

START_TEST(a_disk_of_several_controllers_is_that_of_each)
{
    static const struct tree_entry entries[] = {
        {"/sys/class/block/nvme0n1", NULL,
         "../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1"},
        {"/sys/dev/block/259:0", NULL, "../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1"},
        {"/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0", NULL,
         "../../../pci0000:00/0000:00:1c.0/0000:01:00.0/nvme/nvme0"},
        {"/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme1", NULL,
         "../../../pci0000:00/0000:00:1e.0/nvme/nvme1"},
    };

    tree_add(entries, ARRAY_LEN(entries));
    mounts("30 1 259:0 / / rw - ext4 /dev/nvme0n1 rw\n");
    ck_assert_str_eq(read_one("0000:01:00.0")->use, "disk 'nvme0n1' is mounted on '/'");
    ck_assert_str_eq(pci_find(&table, "0000:00:1e.0")->use, "disk 'nvme0n1' is mounted on '/'");
}
END_TEST

START_TEST(display_console_and_virtual_functions_are_the_hosts)
{
    tree_bytes(VGA "/boot_vga", "1\n", 2);
    tree_bytes(OTHER "/sriov_totalvfs", "8\n", 2);
    for (char name[] = OTHER "/virtfn0"; name[sizeof(name) - 2] < '4'; name[sizeof(name) - 2]++) {
        tree_link(name, "../0000:00:1a.0");
    }
    tree_bytes("/sys/class/tty/console/active", "tty0 ttyS4\n", 11);
    tree_link("/sys/class/tty/ttyS4", "../../devices/pci0000:00/0000:00:1e.0/tty/ttyS4");
    ck_assert_str_eq(read_one("0000:00:02.0")->use, "it is the display that it was booted with");
    ck_assert_str_eq(pci_find(&table, "0000:00:19.1")->use,
                     "4 virtual functions of it are switched on");
    ck_assert_str_eq(pci_find(&table, "0000:00:1e.0")->use, "'ttyS4' is a console of its kernel");
}
END_TEST

static char nodes[1024];

static void on_node(void *data, const struct pci_node *node)
{
    size_t used = strlen(nodes);

    (void)data;
    (void)snprintf(nodes + used, sizeof(nodes) - used, "%s %s %s\n", node->bdf, node->id,
                   node->name);
}

START_TEST(nodes_are_told_with_the_function_that_they_lead_to)
{
    nodes[0] = '\0';
    tree_link("/sys/dev/char/1:3", "../../devices/virtual/mem/null");
    tree_link("/sys/dev/char/4:68", "../../devices/pci0000:00/0000:00:1e.0/tty/ttyS4");
    pci_each_node(tree_root, on_node, NULL);
    ck_assert_str_eq(nodes, "0000:00:1e.0 char:4:68 ttyS4\n");
}
END_TEST

START_TEST(node_of_a_disk_that_several_controllers_reach_is_of_each)
{
    const char *first, *second;

    nodes[0] = '\0';
    tree_link("/sys/dev/block/259:0", "../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1");
    tree_link("/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0",
              "../../../pci0000:00/0000:00:1c.0/0000:01:00.0/nvme/nvme0");
    tree_link("/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme1",
              "../../../pci0000:00/0000:00:1e.0/nvme/nvme1");
    pci_each_node(tree_root, on_node, NULL);
    first = strstr(nodes, "0000:01:00.0 block:259:0 nvme0n1\n");
    second = strstr(nodes, "0000:00:1e.0 block:259:0 nvme0n1\n");
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_nonnull(second);
}
END_TEST

START_TEST(without_an_iommu_nothing_is_given)
{
    struct err err = {0};

    tree_link(SERIAL "/iommu_group", "no number");
    (void)read_one("0000:00:1e.0");
    ck_assert_int_eq(pci_judge(&table, pci_find(&table, "0000:00:1e.0"), &err), -EOPNOTSUPP);
    ck_assert_ptr_nonnull(strstr(err.msg, "'0000:00:1e.0' is in no IOMMU group"));
}
END_TEST

START_TEST(a_machine_without_pci_has_no_functions)
{
    ck_assert_int_eq(pci_read("/nowhere", &table, NULL), 0);
    ck_assert_uint_eq(table.count, 0);
    ck_assert_ptr_null(pci_find(&table, "0000:00:02.0"));
}
END_TEST

UNIT_MAIN_WITH("host_pci", pci_tree_setup, pci_tree_teardown, every_function_is_listed_by_its_bdf,
               attributes_are_read_as_the_kernel_writes_them, what_is_not_there_is_not_known,
               the_serial_number_is_found_among_the_capabilities,
               capabilities_that_run_in_a_ring_or_off_the_end_are_left,
               a_function_that_sleeps_is_not_woken_unless_somebody_is_to_have_it,
               nothing_is_read_that_waits_for_a_change_of_drivers,
               a_function_that_does_not_answer_is_asked_again, a_bridge_is_known_by_its_header,
               names_of_functions_are_whole, a_mounted_disk_is_the_hosts,
               a_disk_below_volumes_is_the_hosts,
               a_file_system_with_a_number_of_its_own_is_found_by_its_device,
               a_mounted_folder_of_another_machine_is_the_hosts, lines_that_are_no_mounts_are_left,
               swap_and_what_stands_on_a_disk_are_the_hosts,
               a_disk_of_several_controllers_is_that_of_each,

               display_console_and_virtual_functions_are_the_hosts,
               nodes_are_told_with_the_function_that_they_lead_to,
               node_of_a_disk_that_several_controllers_reach_is_of_each,
               without_an_iommu_nothing_is_given, a_machine_without_pci_has_no_functions)
