#include "daemon/host/pci_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/host/pci.h"
#include "daemon/host/sysfs.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define CLASS "/sys/class/block"
#define HEADS "/virtual/nvme-subsystem/" /* of disks that more than one controller may reach */

static bool leads_to(const char *target, const char *bdf)
{
    char last[PCI_BDF_SIZE];

    return pci_of_path(target, last) && strcmp(last, bdf) == 0;
}

/* Is the function one of the controllers beside whose links this disk stands? */
static bool is_head_of(const char *root, const char *target, const char *bdf)
{
    const char *at = strstr(target, HEADS);
    char path[PATH_MAX], controller[PATH_MAX];
    const char *name;
    bool is_found = false;

    if (at == NULL) {
        return false;
    }
    at += strlen(HEADS);
    (void)snprintf(path, sizeof(path), "/sys/devices" HEADS "%.*s", (int)strcspn(at, "/"), at);
    auto_dir DIR *dir = sysfs_list(root, path);
    auto_close int fd = sysfs_open(root, path);
    while (!is_found && (name = sysfs_next(dir)) != NULL) {
        is_found =
            sysfs_link(fd, name, controller, sizeof(controller)) == 0 && leads_to(controller, bdf);
    }
    return is_found;
}

/* Of the function, with a node in /dev? `is_part`: of another disk. */
static bool is_disk_of(const char *root, int class_fd, const char *name, const char *bdf,
                       bool *is_part)
{
    char path[PATH_MAX], target[PATH_MAX];
    auto_close int fd = -1;

    if (sysfs_link(class_fd, name, target, sizeof(target)) < 0 ||
        (!leads_to(target, bdf) && !is_head_of(root, target, bdf))) {
        return false;
    }
    (void)snprintf(path, sizeof(path), CLASS "/%s", name);
    fd = sysfs_open(root, path);
    *is_part = fd >= 0 && sysfs_number(fd, "partition", 0) > 0;
    return fd >= 0 && sysfs_number(fd, "hidden", 0) == 0;
}

/* An image is locked as QEMU's tools lock it (proto/base/file_lock.h); it may be a part of a disk.
 */
static int check_locks(int fd, const char *name, struct err *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
        return err_set(err, -EBUSY,
                       "disk '%s' of it is locked: a guest or another program has it as its image; "
                       "end that first ('qvmctl show' tells what a guest has)",
                       name);
    }
    return 0;
}

static int open_disk(const char *root, const char *name, bool is_part, int *opened, struct err *err)
{
    char path[PATH_MAX];
    auto_close int fd = -1;
    int r;

    (void)snprintf(path, sizeof(path), "%s/dev/%s", root, name);
    for (char *at = path; (at = strchr(at, '!')) != NULL;) {
        *at = '/'; /* as the kernel writes it in names of sysfs */
    }
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (is_part ? 0 : O_EXCL));
    if (fd < 0 && errno == EBUSY) {
        return err_set(
            err, -EBUSY,
            "disk '%s' of it is in use: it is mounted in another namespace, or a part of "
            "something; 'grep -l %s /proc/*/mountinfo' or 'lsblk' may tell by whom: end "
            "that first",
            name, name);
    }
    if (fd < 0 && (errno == ENXIO || errno == ENOMEDIUM || errno == ENODEV)) {
        return 0; /* nothing is in it, or it has just gone */
    }
    if (fd < 0) {
        return err_sys(err, -errno, "cannot find out whether the host uses '%s'", path);
    }
    r = check_locks(fd, name, err);
    *opened = r == 0 ? take_fd(&fd) : -1;
    return r;
}

int pci_hold_disks(const char *root, const char *bdf, int *fds, size_t most, size_t *count,
                   struct err *err)
{
    auto_dir DIR *dir = sysfs_list(root, CLASS);
    auto_close int class_fd = sysfs_open(root, CLASS);
    const char *name;

    while ((name = sysfs_next(dir)) != NULL) {
        int fd = -1;
        bool is_part;
        int r;

        if (!is_disk_of(root, class_fd, name, bdf, &is_part)) {
            continue;
        }
        if (*count == most) {
            return err_set(err, -E2BIG, "'%s' has more than %zu disks", bdf, most);
        }
        r = open_disk(root, name, is_part, &fd, err);
        if (r < 0) {
            (void)err_prefix(err, "'%s' is used by the host: ", bdf);
            return r;
        }
        if (fd >= 0) {
            fds[(*count)++] = fd;
        }
    }
    return 0;
}
