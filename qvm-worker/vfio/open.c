/* A qvm without qvmd opens functions of the host itself. */
#include "qvm-worker/vfio/open.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define DEVICES      "/sys/bus/pci/devices"
#define CONTAINER    "/dev/vfio/vfio"
#define DRIVER       "vfio-pci"
#define BDF_SIZE     13  /* of "DDDD:BB:DD.F" */
#define PATH_MAX_LEN 256 /* of what is built here */
#define NAME_SIZE    64  /* of a driver or group */
#define CLASS_BRIDGE 0x06u

/* The last part of where that link of the function leads; -errno. */
static int read_link(const char *bdf, const char *name, char target[NAME_SIZE])
{
    char path[PATH_MAX_LEN], whole[PATH_MAX_LEN];
    const char *slash;
    ssize_t length;

    (void)snprintf(path, sizeof(path), DEVICES "/%s/%s", bdf, name);
    length = readlink(path, whole, sizeof(whole) - 1);
    if (length < 0) {
        return -errno;
    }
    whole[length] = '\0';
    slash = strrchr(whole, '/');
    slash = slash != NULL ? slash + 1 : whole;
    if (strlen(slash) >= NAME_SIZE) {
        return -ENAMETOOLONG;
    }
    memcpy(target, slash, strlen(slash) + 1);
    return 0;
}

/* A number that a file of the function holds; UINT32_MAX: it cannot be read. */
static uint32_t read_number(const char *bdf, const char *name)
{
    char path[PATH_MAX_LEN], text[32] = {0};
    auto_close int fd = -1;

    (void)snprintf(path, sizeof(path), DEVICES "/%s/%s", bdf, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0) {
        return UINT32_MAX;
    }
    return (uint32_t)strtoul(text, NULL, 16);
}

static int is_name(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* The N-th function with those ids, in the order of addresses. */
static int find_by_ids(const char *id, char bdf[BDF_SIZE], struct err *err)
{
    unsigned vendor = 0, device = 0, number = 0, seen = 0;
    struct dirent **entries = NULL;
    int count, r = -ENODEV;

    if (sscanf(id, "%x:%x/%u", &vendor, &device, &number) != 3) {
        return err_set(err, -EINVAL, "'%s' is no device", id);
    }
    count = scandir(DEVICES, &entries, is_name, alphasort);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;

        if (r != 0 && strlen(name) < BDF_SIZE && read_number(name, "vendor") == vendor &&
            read_number(name, "device") == device && seen++ == number) {
            memcpy(bdf, name, strlen(name) + 1);
            r = 0;
        }
        free(entries[i]);
    }
    free(entries);
    return r == 0 ? 0
                  : err_set(err, r,
                            "the host has %u PCI functions %04x:%04x, and none with number "
                            "%u ('lspci -Dnn' lists them)",
                            seen, vendor, device, number);
}

static int find(const char *id, char bdf[BDF_SIZE], struct err *err)
{
    int r = 0;

    if (strchr(id, '/') != NULL) {
        r = find_by_ids(id, bdf, err);
    } else {
        (void)snprintf(bdf, BDF_SIZE, "%s", id);
    }
    if (r == 0 && read_number(bdf, "vendor") == UINT32_MAX) {
        r = err_set(err, -ENODEV, "the host has no PCI function %s ('lspci -D' lists them)", bdf);
    }
    if (r == 0 && read_number(bdf, "class") >> 16 == CLASS_BRIDGE) {
        r = err_set(err, -ENODEV, "%s is a bridge, which no VM can be given", bdf);
    }
    return r;
}

static int find_group(const char *bdf, unsigned *group, struct err *err)
{
    char text[NAME_SIZE], driver[NAME_SIZE];
    int r = read_link(bdf, "iommu_group", text);

    if (r != 0) {
        return err_set(err, -ENODEV,
                       "%s is behind no IOMMU, so it could reach all memory of the host: switch "
                       "the IOMMU on in the machine's firmware, and in the kernel "
                       "(CONFIG_INTEL_IOMMU and 'intel_iommu=on', or CONFIG_AMD_IOMMU)",
                       bdf);
    }
    *group = (unsigned)strtoul(text, NULL, 10);
    r = read_link(bdf, "driver", driver);
    if (r != 0 || strcmp(driver, DRIVER) != 0) {
        return err_set(err, -EBUSY,
                       "%s is %s%s: bind it to " DRIVER " first (CONFIG_VFIO_PCI; write '" DRIVER
                       "' to " DEVICES "/%s/driver_override, %s to its driver's 'unbind', and to "
                       "/sys/bus/pci/drivers_probe), or let qvmd run the guest",
                       bdf, r == 0 ? "in use by the host's driver " : "bound to no driver",
                       r == 0 ? driver : "", bdf, bdf);
    }
    return 0;
}

/* Who keeps a group from being given: a member that is somebody else's. */
static int blame_group(unsigned group, struct err *err)
{
    char path[PATH_MAX_LEN], driver[NAME_SIZE];
    struct dirent **entries = NULL;
    int count, r = 0;

    (void)snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%u/devices", group);
    count = scandir(path, &entries, is_name, alphasort);
    for (int i = 0; i < count; i++) {
        if (r == 0 && read_link(entries[i]->d_name, "driver", driver) == 0 &&
            strcmp(driver, DRIVER) != 0 && strcmp(driver, "pcieport") != 0) {
            r = err_set(err, -EBUSY,
                        "it shares IOMMU group %u with %.20s, which the host's driver %s has: the "
                        "group is given as a whole",
                        group, entries[i]->d_name, driver);
        }
        free(entries[i]);
    }
    free(entries);
    return r != 0 ? r : err_set(err, -EBUSY, "IOMMU group %u cannot be given as a whole", group);
}

static int open_container(int *fd, struct err *err)
{
    *fd = open(CONTAINER, O_RDWR | O_CLOEXEC);
    if (*fd < 0) {
        return err_set(err, -errno,
                       "cannot open " CONTAINER ": %s: load VFIO ('modprobe vfio-pci', "
                       "CONFIG_VFIO_PCI)",
                       strerror(errno));
    }
    if (ioctl(*fd, VFIO_GET_API_VERSION) != VFIO_API_VERSION ||
        ioctl(*fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) != 1) {
        return err_set(err, -EOPNOTSUPP,
                       "the kernel's VFIO has no type 1 IOMMU "
                       "(CONFIG_VFIO_IOMMU_TYPE1)");
    }
    return 0;
}

static int open_group(unsigned group, int *fd, struct err *err)
{
    struct vfio_group_status status = {.argsz = sizeof(status)};
    char path[PATH_MAX_LEN];

    (void)snprintf(path, sizeof(path), "/dev/vfio/%u", group);
    *fd = open(path, O_RDWR | O_CLOEXEC);
    if (*fd < 0 && errno == EBUSY) {
        return err_set(err, -EBUSY, "somebody else has IOMMU group %u ('fuser -v %s' says who)",
                       group, path);
    }
    if (*fd < 0) {
        return err_sys(err, -errno, "cannot open %s", path);
    }
    if (ioctl(*fd, VFIO_GROUP_GET_STATUS, &status) != 0) {
        return err_sys(err, -errno, "%s is no group of VFIO", path);
    }
    return (status.flags & VFIO_GROUP_FLAGS_VIABLE) != 0 ? 0 : blame_group(group, err);
}

static int copy_fd(int from, int *fd, struct err *err)
{
    *fd = fcntl(from, F_DUPFD_CLOEXEC, 0);
    return *fd >= 0 ? 0 : err_sys(err, -errno, "no descriptor is left");
}

/* The container of all; its IOMMU can be chosen when it has a group. */
static int join(struct vfio_open *open, unsigned group, int *container_fd, int *group_fd,
                struct err *err)
{
    int r;

    for (uint32_t i = 0; i < open->count; i++) {
        if (open->opened[i].group == group) {
            r = copy_fd(open->opened[i].container_fd, container_fd, err);
            return r == 0 ? copy_fd(open->opened[i].group_fd, group_fd, err) : r;
        }
    }
    r = open->count != 0 ? copy_fd(open->opened[0].container_fd, container_fd, err)
                         : open_container(container_fd, err);
    r = r == 0 ? open_group(group, group_fd, err) : r;
    if (r == 0 && ioctl(*group_fd, VFIO_GROUP_SET_CONTAINER, container_fd) != 0) {
        r = err_sys(err, -errno, "IOMMU group %u does not get into the container", group);
    }
    if (r == 0 && open->count == 0 &&
        ioctl(*container_fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) != 0) {
        r = err_sys(err, -errno,
                    "the IOMMU cannot be used (one that remaps no interrupts needs the module "
                    "option allow_unsafe_interrupts of vfio_iommu_type1)");
    }
    return r;
}

int vfio_open_device(struct vfio_open *open, const char *id, int *container_fd, int *group_fd,
                     int *device_fd, struct err *err)
{
    auto_close int container = -1, group = -1;
    unsigned number = 0;
    char bdf[BDF_SIZE];
    int r = find(id, bdf, err);

    if (r == 0 && open->count == VFIO_OPEN_MAX) {
        r = err_set(err, -ENOSPC, "more than %u functions", VFIO_OPEN_MAX);
    }
    r = r == 0 ? find_group(bdf, &number, err) : r;
    r = r == 0 ? join(open, number, &container, &group, err) : r;
    if (r != 0) {
        return r;
    }
    *device_fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
    if (*device_fd < 0) {
        return err_sys(err, -errno, "VFIO does not give out %s", bdf);
    }
    open->opened[open->count].container_fd = *container_fd = take_fd(&container);
    open->opened[open->count].group_fd = *group_fd = take_fd(&group);
    open->opened[open->count++].group = number;
    return 0;
}
