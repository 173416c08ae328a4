#include "daemon/host/pci_bind.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "daemon/host/sysfs.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define BUS     "/sys/bus/pci"
#define DEVICES BUS "/devices"

static int open_function(const char *root, const char *bdf, struct err *err)
{
    char path[sizeof(DEVICES) + 1 + PCI_BDF_SIZE];
    int fd;

    (void)snprintf(path, sizeof(path), DEVICES "/%s", bdf);
    fd = sysfs_open(root, path);
    return fd >= 0 ? fd : err_set(err, -ENODEV, "there is no PCI function '%s'", bdf);
}

/* One write(2): that is how the kernel takes a value. */
static int put(int dir_fd, const char *path, const char *value)
{
    auto_close int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0) {
        return -errno;
    }
    n = write(fd, value, strlen(value));
    return n < 0 ? -errno : 0;
}

static int put_bus(const char *root, const char *name, const char *value)
{
    auto_close int dir_fd = sysfs_open(root, BUS);

    return dir_fd >= 0 ? put(dir_fd, name, value) : -errno;
}

static void read_driver(int dir_fd, char driver[PCI_DRIVER_SIZE])
{
    (void)sysfs_link_base(dir_fd, "driver", driver, PCI_DRIVER_SIZE); /* none: empty */
}

int pci_lock(const char *root, const char *bdf, int *fd, struct err *err)
{
    auto_close int dir_fd = open_function(root, bdf, err);

    if (dir_fd < 0) {
        return dir_fd;
    }
    while (flock(dir_fd, LOCK_EX) < 0) {
        if (errno != EINTR) {
            return err_sys(err, -errno, "cannot lock '%s'", bdf);
        }
    }
    *fd = take_fd(&dir_fd);
    return 0;
}

/* Say which driver alone may have it. A newline takes the word back. */
static int offer(int dir_fd, const char *bdf, const char *driver, struct err *err)
{
    int r = put(dir_fd, "driver_override", driver[0] != '\0' ? driver : "\n");

    return r < 0 ? err_sys(err, r, "cannot set the driver of '%s'", bdf) : 0;
}

static int unbind(int dir_fd, const char *bdf, struct err *err)
{
    int r = put(dir_fd, "driver/unbind", bdf);

    return r == 0 || r == -ENOENT ? 0 : err_sys(err, r, "cannot take '%s' from its driver", bdf);
}

int pci_bind_vfio(const char *root, const char *bdf, struct err *err)
{
    auto_close int dir_fd = open_function(root, bdf, err);
    auto_close int driver_fd = sysfs_open(root, BUS "/drivers/" PCI_VFIO_DRIVER);
    char driver[PCI_DRIVER_SIZE];
    int r;

    if (dir_fd < 0) {
        return dir_fd;
    }
    if (driver_fd < 0) {
        return err_set(err, -ENOENT,
                       "the kernel has no driver '" PCI_VFIO_DRIVER
                       "': load it ('modprobe " PCI_VFIO_DRIVER "')");
    }
    read_driver(dir_fd, driver);
    if (strcmp(driver, PCI_VFIO_DRIVER) == 0) {
        return 0;
    }
    r = offer(dir_fd, bdf, PCI_VFIO_DRIVER, err);
    if (r == 0 && driver[0] != '\0') {
        r = unbind(dir_fd, bdf, err);
    }
    if (r == 0) {
        (void)put_bus(root, "drivers_probe", bdf); /* read back below */
        read_driver(dir_fd, driver);
        if (strcmp(driver, PCI_VFIO_DRIVER) != 0) {
            r = err_set(err, -EIO, "the driver '" PCI_VFIO_DRIVER "' does not take '%s'", bdf);
        }
    }
    return r;
}

bool pci_is_vfio(const char *root, const char *bdf)
{
    auto_close int dir_fd = open_function(root, bdf, NULL);
    char driver[PCI_DRIVER_SIZE] = "";

    if (dir_fd >= 0) {
        read_driver(dir_fd, driver);
    }
    return strcmp(driver, PCI_VFIO_DRIVER) == 0;
}

static void read_override(int dir_fd, char override[PCI_DRIVER_SIZE])
{
    if (sysfs_text(dir_fd, "driver_override", override, PCI_DRIVER_SIZE) < 0 ||
        strcmp(override, "(null)") == 0) {
        override[0] = '\0';
    }
}

void pci_read_override(const char *root, const char *bdf, char override[PCI_DRIVER_SIZE])
{
    auto_close int dir_fd = open_function(root, bdf, NULL);

    override[0] = '\0';
    if (dir_fd >= 0) {
        read_override(dir_fd, override);
    }
}

/* An operator's override may be of another driver than the one that had the function: that one is
 * brought back first, and then what he has set. */
static bool is_between(const struct pci_home *home)
{
    return home->driver_override[0] != '\0' && home->driver[0] != '\0' &&
           strcmp(home->driver, PCI_ANY_DRIVER) != 0 &&
           strcmp(home->driver, home->driver_override) != 0;
}

/* Is what is set now ours? Who had it with VFIO's driver before was not told anything. */
static bool is_ours(int dir_fd, const struct pci_home *home)
{
    char now[PCI_DRIVER_SIZE];

    if (strcmp(home->driver, PCI_VFIO_DRIVER) == 0) {
        return false;
    }
    read_override(dir_fd, now);
    return strcmp(now, PCI_VFIO_DRIVER) == 0 ||
           (is_between(home) && strcmp(now, home->driver) == 0);
}

static bool is_home(const char *driver, const struct pci_home *home)
{
    return strcmp(home->driver, PCI_ANY_DRIVER) == 0 ? strcmp(driver, PCI_VFIO_DRIVER) != 0
                                                     : strcmp(driver, home->driver) == 0;
}

int pci_bind_home(const char *root, const char *bdf, const struct pci_home *home, struct err *err)
{
    auto_close int dir_fd = open_function(root, bdf, NULL);
    char driver[PCI_DRIVER_SIZE];
    bool was_ours;
    int r = 0;

    if (dir_fd < 0) {
        return 0;
    }
    read_driver(dir_fd, driver);
    if (strcmp(driver, PCI_VFIO_DRIVER) == 0 && !is_home(driver, home)) {
        r = unbind(dir_fd, bdf, err);
        driver[0] = '\0';
    }
    was_ours = is_ours(dir_fd, home);
    if (r == 0 && was_ours) {
        r = offer(dir_fd, bdf, is_between(home) ? home->driver : home->driver_override, err);
    }
    if (r == 0 && driver[0] == '\0' && home->driver[0] != '\0') {
        (void)put_bus(root, "drivers_probe", bdf); /* what came of it is read back */
    }
    if (r == 0) {
        read_driver(dir_fd, driver);
        if (!is_home(driver, home)) { /* what is set brings that driver at the next try */
            r = err_set(err, -EIO, "'%s' has %s%s%s now, and not '%s' as before", bdf,
                        driver[0] != '\0' ? "the driver '" : "no driver", driver,
                        driver[0] != '\0' ? "'" : "", home->driver);
        }
    }
    if (r == 0 && was_ours && is_between(home)) {
        r = offer(dir_fd, bdf, home->driver_override, err);
    }
    return r;
}

int pci_reset(const char *root, const char *bdf, struct err *err)
{
    auto_close int dir_fd = open_function(root, bdf, NULL);
    int r = dir_fd >= 0 ? put(dir_fd, "reset", "1") : -ENOENT;

    if (r == 0 || r == -ENOENT) {
        return 0; /* there is no way to reset it, or nothing to be reset */
    }
    return err_set(err, -EIO, "'%s' could not be reset: %s", bdf, strerrordesc_np(-r));
}
