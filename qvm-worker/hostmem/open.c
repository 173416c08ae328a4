/* Which BAR of the host's has a range of physical addresses. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/hostmem/hostmem.h"

#define BARS           6u
#define RESOURCE_MEM   0x200u /* Linux, include/linux/ioport.h */
#define COMMAND        4      /* PCI Local Bus Specification 3.0, 6.2.2 */
#define COMMAND_MEMORY 2u
#define COMMAND_MASTER 4u
#define NAME_SIZE      256
#define RAM            "System RAM"

/* A range inside one BAR. */
struct found {
    char function[NAME_SIZE]; /* its directory's name */
    uint32_t bar;
    uint64_t offset;
};

static bool touches(uint64_t start, uint64_t end, uint64_t from, uint64_t to)
{
    return start <= to && end >= from;
}

/* Lines "  START-END : NAME", both inclusive. */
static bool is_ram(const char *iomem, uint64_t start, uint64_t end)
{
    while (iomem != NULL && *iomem != '\0') {
        uint64_t from, to;
        int at = 0;

        if (sscanf(iomem, " %" SCNx64 "-%" SCNx64 " : %n", &from, &to, &at) == 2 && at != 0 &&
            strncmp(iomem + at, RAM, sizeof(RAM) - 1) == 0 && touches(start, end, from, to)) {
            return true;
        }
        iomem = strchrnul(iomem, '\n');
        iomem += *iomem == '\n' ? 1 : 0;
    }
    return false;
}

/* `directory` is a function's: whether one of its BARs has all of the range. */
static bool has_range(int directory, uint64_t start, uint64_t end, struct found *found)
{
    auto_close int fd = openat(directory, "resource", O_RDONLY | O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "re");
    bool has = false;

    if (file == NULL) {
        return false;
    }
    (void)take_fd(&fd);
    for (uint32_t bar = 0; !has && bar < BARS; bar++) {
        uint64_t from, to, flags;

        if (fscanf(file, "%" SCNx64 " %" SCNx64 " %" SCNx64, &from, &to, &flags) != 3) {
            break;
        }
        if ((flags & RESOURCE_MEM) != 0 && from <= start && end <= to) {
            found->bar = bar;
            found->offset = start - from;
            has = true;
        }
    }
    (void)fclose(file); /* it was only read */
    return has;
}

static int open_function(int devices, const char *name)
{
    return openat(devices, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* The directory of the function that has it; -ENOENT: there is none, or another negative errno. */
static int find(int devices, uint64_t start, uint64_t end, struct found *found)
{
    auto_close int copy = fcntl(devices, F_DUPFD_CLOEXEC, 0);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *entry;
    int directory = -ENOENT;

    if (list == NULL) {
        return -errno;
    }
    (void)take_fd(&copy);
    errno = 0;
    while (directory == -ENOENT && (entry = readdir(list)) != NULL) {
        auto_close int one = entry->d_name[0] == '.' ? -1 : open_function(devices, entry->d_name);

        if (one >= 0 && has_range(one, start, end, found)) {
            (void)snprintf(found->function, sizeof(found->function), "%s", entry->d_name);
            directory = take_fd(&one);
        } else if (one < 0 && entry->d_name[0] != '.' && errno != ENOENT) {
            directory = -errno; /* it may be the one */
        }
        errno = 0;
    }
    directory = directory == -ENOENT && errno != 0 ? -errno : directory;
    (void)closedir(list); /* it was only read */
    return directory;
}

/* What has no driver must answer all the same: somebody enabled it. */
static int check(int directory, const struct found *found, struct err *err)
{
    auto_close int config = openat(directory, "config", O_RDONLY | O_CLOEXEC);
    char driver[NAME_SIZE] = "";
    uint8_t command = 0;

    if (readlinkat(directory, "driver", driver, sizeof(driver) - 1) > 0) {
        const char *name = strrchr(driver, '/');

        return err_set(err, -EBUSY, "it belongs to '%s', which driver '%s' has", found->function,
                       name != NULL ? name + 1 : driver);
    }
    if (config < 0 || pread(config, &command, 1, COMMAND) != 1 || (command & COMMAND_MEMORY) == 0) {
        return err_set(err, -ENODEV,
                       "'%s', to which it belongs, is not enabled: write 1 to its file 'enable' in "
                       "/sys/bus/pci/devices",
                       found->function);
    }
    if ((command & COMMAND_MASTER) != 0) { /* no IOMMU knows of the guest */
        return err_set(err, -EPERM,
                       "'%s', to which it belongs, may write to any memory of the host: switch its "
                       "bus mastering off ('setpci -s %s COMMAND=0:4')",
                       found->function, found->function);
    }
    return 0;
}

static int open_bar(int directory, const struct found *found, int *fd, struct err *err)
{
    char name[NAME_SIZE];
    auto_close int opened = -1;

    (void)snprintf(name, sizeof(name), "resource%u", found->bar);
    opened = openat(directory, name, O_RDWR | O_CLOEXEC);
    if (opened < 0) {
        return err_sys(err, -errno, "cannot open '%s' of '%s'", name, found->function);
    }
    if (flock(opened, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK
                   ? err_set(err, -EBUSY, "another VM has memory of '%s'", found->function)
                   : err_sys(err, -errno, "cannot lock '%s' of '%s'", name, found->function);
    }
    if (lseek(opened, (off_t)found->offset, SEEK_SET) < 0) {
        return err_sys(err, -errno, "'%s' of '%s' has no such place", name, found->function);
    }
    *fd = take_fd(&opened);
    return 0;
}

int hostmem_open(const char *sys, const char *iomem, uint64_t start, uint64_t size, int *fd,
                 struct err *err)
{
    struct found found = {.bar = 0};
    char path[512];
    auto_close int devices = -1, directory = -1;
    uint64_t end = start + size - 1;
    int r;

    if (is_ram(iomem, start, end)) {
        return err_set(err, -EINVAL, "0x%" PRIx64 "-0x%" PRIx64 " is RAM of the host", start, end);
    }
    (void)snprintf(path, sizeof(path), "%s/bus/pci/devices", sys);
    devices = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (devices < 0) {
        return err_sys(err, -errno, "cannot look at the host's PCI functions");
    }
    directory = find(devices, start, end, &found);
    if (directory < 0 && directory != -ENOENT) {
        return err_sys(err, directory, "cannot look at the host's PCI functions");
    }
    if (directory < 0) {
        return err_set(err, -ENOENT,
                       "no BAR of the host's PCI functions has all of 0x%" PRIx64 "-0x%" PRIx64
                       ": the kernel limits nothing else to a range, and /dev/mem would give "
                       "everything",
                       start, end);
    }
    r = check(directory, &found, err);
    return r == 0 ? open_bar(directory, &found, fd, err) : r;
}

int hostmem_open_here(uint64_t start, uint64_t size, int *fd, struct err *err)
{
    auto_free char *text = NULL;
    size_t room = 0;
    FILE *file = fopen("/proc/iomem", "re");

    if (file == NULL) {
        return err_sys(err, -errno, "cannot read /proc/iomem");
    }
    if (getdelim(&text, &room, '\0', file) <= 0) {
        (void)fclose(file); /* it was only read */
        return err_set(err, -EIO, "/proc/iomem is empty");
    }
    (void)fclose(file); /* it was only read */
    return hostmem_open("/sys", text, start, size, fd, err);
}
