#include "daemon/host/pci_group.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/host/sysfs.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define DEVICES "/sys/bus/pci/devices"

#define PATH_SIZE (sizeof(DEVICES) + PCI_BDF_SIZE + 32)

static bool is_bridge(int dir_fd)
{
    return sysfs_number(dir_fd, "class", 0) >> 16 == PCI_CLASS_BRIDGE;
}

static void read_member(int dir_fd, const char *bdf, struct pci_member *member)
{
    *member = (struct pci_member){.vendor = (uint16_t)sysfs_number(dir_fd, "vendor", 0),
                                  .device = (uint16_t)sysfs_number(dir_fd, "device", 0)};
    (void)snprintf(member->bdf, sizeof(member->bdf), "%s", bdf);
    /* none: empty; what is set as driver_override, the kernel tells only who can wait */
    (void)sysfs_link_base(dir_fd, "driver", member->home.driver, sizeof(member->home.driver));
}

static int by_name(const void *a, const void *b)
{
    const struct pci_member *left = a, *right = b;

    return strcmp(left->bdf, right->bdf);
}

static int read_members(const char *root, const char *bdf, struct pci_member *members,
                        size_t *count, struct err *err)
{
    char path[PATH_SIZE];
    const char *name;

    (void)snprintf(path, sizeof(path), DEVICES "/%s/iommu_group/devices", bdf);
    auto_dir DIR *dir = sysfs_list(root, path);
    *count = 0;
    while ((name = sysfs_next(dir)) != NULL) {
        auto_close int dir_fd = -1;

        (void)snprintf(path, sizeof(path), DEVICES "/%.*s", PCI_BDF_SIZE - 1, name);
        dir_fd = sysfs_open(root, path);
        if (dir_fd < 0 || is_bridge(dir_fd)) {
            continue;
        }
        if (*count == PCI_GROUP_MAX) {
            return err_set(err, -E2BIG, "'%s' shares its IOMMU group with more than %d others", bdf,
                           PCI_GROUP_MAX - 1);
        }
        read_member(dir_fd, name, &members[(*count)++]);
    }
    qsort(members, *count, sizeof(*members), by_name);
    return 0;
}

static int open_function(const char *root, const char *bdf)
{
    char path[PATH_SIZE];

    (void)snprintf(path, sizeof(path), DEVICES "/%.*s", PCI_BDF_SIZE - 1, bdf);
    return pci_is_bdf(bdf) ? sysfs_open(root, path) : -1;
}

int pci_group_number(const char *root, const char *bdf)
{
    auto_close int dir_fd = open_function(root, bdf);
    char number[16];

    return dir_fd >= 0 && sysfs_link_base(dir_fd, "iommu_group", number, sizeof(number)) == 0
               ? (int)strtol(number, NULL, 10)
               : -1;
}

int pci_group_read(const char *root, const char *bdf, struct pci_member members[PCI_GROUP_MAX],
                   size_t *count, int *group, struct err *err)
{
    auto_close int dir_fd = open_function(root, bdf);

    if (dir_fd < 0) {
        return err_set(err, -ENODEV, "the host has no PCI function '%s'", bdf);
    }
    if (is_bridge(dir_fd)) {
        return err_set(err, -EINVAL, "'%s' is a bridge: what is behind it can be given", bdf);
    }
    *group = pci_group_number(root, bdf);
    if (*group < 0) {
        return err_set(err, -EOPNOTSUPP,
                       "'%s' is in no IOMMU group, and could reach all memory: switch the IOMMU on "
                       "in the firmware, and on the kernel's command line (intel_iommu=on)",
                       bdf);
    }
    return read_members(root, bdf, members, count, err);
}
