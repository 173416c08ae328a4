/* Disks of a function that goes to a guest: nobody else has them, or it stays where it is. What the
 * kernel says of mounts is tried in the lab; here nodes are files, of which locks are told. */
#include "daemon/host/pci_disk.h"

#include <errno.h>

#include "proto/base/err.h"
#include "proto/base/file_lock.h"
#include "tests/unit/tree_unit.h"
#include "tests/unit/unit.h"

#define NVME  "0000:01:00.0"
#define OTHER "0000:02:00.0"
#define WAY   "../../devices/pci0000:00/0000:00:1c.0/" NVME "/nvme/nvme0/nvme0n1"
#define MOST  4

static const struct tree_entry machine[] = {
    {"/sys/class/block/nvme0n1", NULL, WAY},
    {"/sys/class/block/nvme0n1p1", NULL, WAY "/nvme0n1p1"},
    {"/sys/class/block/nvme0c0n1", NULL, WAY "/nvme0c0n1"},
    {"/sys/class/block/sda", NULL, "../../devices/pci0000:00/" OTHER "/host0/block/sda"},
    {"/sys/devices/pci0000:00/0000:00:1c.0/" NVME "/nvme/nvme0/nvme0n1/nvme0n1p1/partition", "1\n",
     NULL},
    {"/sys/devices/pci0000:00/0000:00:1c.0/" NVME "/nvme/nvme0/nvme0n1/nvme0c0n1/hidden", "1\n",
     NULL},
    {"/sys/devices/pci0000:00/" OTHER "/host0/block/sda/hidden", "0\n", NULL},
    {"/dev/nvme0n1", "disk", NULL},
    {"/dev/nvme0n1p1", "part", NULL},
    {"/dev/sda", "disk", NULL},
};

static int fds[MOST];
static size_t count;

static void setup(void)
{
    tree_make();
    tree_add(machine, ARRAY_LEN(machine));
}

static void let_go(void)
{
    while (count > 0) {
        ck_assert_int_eq(close(fds[--count]), 0);
    }
}

static void teardown(void)
{
    let_go();
    tree_remove();
}

static int hold(const char *bdf, struct err *err)
{
    let_go();
    return pci_hold_disks(tree_root, bdf, fds, MOST, &count, err);
}

static int open_node(const char *path)
{
    char whole[PATH_MAX];
    int fd;

    tree_path(whole, path);
    fd = open(whole, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

START_TEST(disks_and_their_parts_are_held_and_those_without_a_node_are_not)
{
    ck_assert_int_eq(hold(NVME, NULL), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert_int_eq(hold(OTHER, NULL), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(hold("0000:03:00.0", NULL), 0);
    ck_assert_int_eq(hold("0000:00:1c.0", NULL), 0); /* it is only on the way */
    ck_assert_uint_eq(count, 0);
}
END_TEST

START_TEST(what_somebody_has_as_an_image_is_told)
{
    auto_close int fd = open_node("/dev/nvme0n1p1");
    struct err err = {0};

    ck_assert_int_eq(file_lock(fd, true, "x", NULL), 0);
    ck_assert_int_eq(hold(NVME, &err), -EBUSY);
    ck_assert_str_eq(err.msg, "'" NVME "' is used by the host: disk 'nvme0n1p1' of it is locked: a "
                              "guest or another program has it as its image; end that first "
                              "('qvmctl show' tells what a guest has)");
    ck_assert_int_eq(hold(NVME, NULL), -EBUSY);
    ck_assert_int_eq(hold(OTHER, NULL), 0);
    cleanup_close(&fd);
    fd = -1;
    ck_assert_int_eq(hold(NVME, NULL), 0);
    fd = open_node("/dev/nvme0n1");
    ck_assert_int_eq(file_lock(fd, false, "x", NULL), 0); /* who reads does not want it changed */
    ck_assert_int_eq(hold(NVME, NULL), -EBUSY);
}
END_TEST

START_TEST(what_cannot_be_looked_at_is_not_taken)
{
    char whole[PATH_MAX];
    struct err err = {0};

    tree_path(whole, "/dev/nvme0n1");
    ck_assert_int_eq(unlink(whole), 0);
    ck_assert_int_eq(hold(NVME, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.msg, "cannot find out whether the host uses '"));
}
END_TEST

START_TEST(names_of_disks_may_be_paths)
{
    tree_link("/sys/class/block/cciss!c0d0", "../../devices/pci0000:00/" OTHER "/cciss!c0d0");
    tree_bytes("/sys/devices/pci0000:00/" OTHER "/cciss!c0d0/hidden", "0\n", 2);
    ck_assert_int_eq(hold(OTHER, NULL), -ENOENT);
    tree_bytes("/dev/cciss/c0d0", "disk", 4);
    ck_assert_int_eq(hold(OTHER, NULL), 0);
    ck_assert_uint_eq(count, 2);
}
END_TEST

START_TEST(a_disk_that_several_controllers_reach_is_that_of_each)
{
    static const struct tree_entry entries[] = {
        {"/sys/class/block/nvme1n1", NULL,
         "../../devices/virtual/nvme-subsystem/nvme-subsys1/nvme1n1"},
        {"/sys/devices/virtual/nvme-subsystem/nvme-subsys1/nvme1n1/hidden", "0\n", NULL},
        {"/sys/devices/virtual/nvme-subsystem/nvme-subsys1/nvme1", NULL,
         "../../../pci0000:00/0000:03:00.0/nvme/nvme1"},
        {"/dev/nvme1n1", "disk", NULL},
    };

    tree_add(entries, ARRAY_LEN(entries));
    ck_assert_int_eq(hold("0000:03:00.0", NULL), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(hold("0000:04:00.0", NULL), 0);
    ck_assert_uint_eq(count, 0);
}
END_TEST

START_TEST(disks_have_a_bound)
{
    char path[64];
    struct err err = {0};

    for (int i = 0; i < MOST - 1; i++) {
        (void)snprintf(path, sizeof(path), "/sys/class/block/sd%c", 'b' + i);
        tree_link(path, "../../devices/pci0000:00/" OTHER "/host0/block/sda");
        (void)snprintf(path, sizeof(path), "/dev/sd%c", 'b' + i);
        tree_bytes(path, "disk", 4);
    }
    ck_assert_int_eq(hold(OTHER, NULL), 0);
    ck_assert_uint_eq(count, MOST);
    tree_link("/sys/class/block/sdz", "../../devices/pci0000:00/" OTHER "/host0/block/sda");
    tree_bytes("/dev/sdz", "disk", 4);
    ck_assert_int_eq(hold(OTHER, &err), -E2BIG);
    ck_assert_str_eq(err.msg, "'" OTHER "' has more than 4 disks");
}
END_TEST

UNIT_MAIN_WITH("host_disk", setup, teardown,
               disks_and_their_parts_are_held_and_those_without_a_node_are_not,
               what_somebody_has_as_an_image_is_told, what_cannot_be_looked_at_is_not_taken,
               names_of_disks_may_be_paths, a_disk_that_several_controllers_reach_is_that_of_each,
               disks_have_a_bound)
