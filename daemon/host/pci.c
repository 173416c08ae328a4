/* The PCI functions of this machine. */
#include "daemon/host/pci.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/host/sysfs.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define DEVICES "/sys/bus/pci/devices"

#define CONFIG_SIZE     4096
#define CONFIG_HEADER   0x0e
#define HEADER_TYPE     0x7f
#define NOBODY          0xffu /* is read where no function answers */
#define CONFIG_PIN      0x3d
#define EXTENDED_FIRST  0x100
#define EXTENDED_MOST   ((CONFIG_SIZE - EXTENDED_FIRST) / 8) /* capabilities that fit */
#define EXTENDED_SERIAL 0x0003

bool pci_is_bdf(const char *text)
{
    static const char digits[] = "0123456789abcdef";
    size_t domain = strspn(text, digits);
    const char *rest = text + domain;

    return domain >= 4 && domain <= 8 && rest[0] == ':' && strspn(rest + 1, digits) == 2 &&
           rest[3] == ':' && strspn(rest + 4, digits) == 2 && rest[6] == '.' && rest[7] >= '0' &&
           rest[7] <= '7' && rest[8] == '\0';
}

static int open_function(const char *root, const char *bdf)
{
    char path[sizeof(DEVICES) + 1 + PCI_BDF_SIZE];

    (void)snprintf(path, sizeof(path), DEVICES "/%s", bdf);
    return sysfs_open(root, path);
}

/* ---- configuration space ----
 *
 * Each access reaches the device, so no more is read than is wanted. Who may not read more than the
 * first 64 bytes gets those. */

static bool read_word(int fd, size_t offset, uint32_t *word)
{
    uint8_t bytes[4];

    if (pread(fd, bytes, sizeof(bytes), (off_t)offset) != (ssize_t)sizeof(bytes)) {
        return false;
    }
    *word = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
            (uint32_t)bytes[3] << 24;
    return true;
}

/* Each capability begins with its id, version and the offset of the next. */
static uint64_t find_serial(int fd)
{
    size_t at = EXTENDED_FIRST;
    uint32_t header, low, high;

    for (int i = 0; i < EXTENDED_MOST && at >= EXTENDED_FIRST && read_word(fd, at, &header); i++) {
        if ((header & 0xffff) == EXTENDED_SERIAL) {
            return read_word(fd, at + 4, &low) && read_word(fd, at + 8, &high)
                       ? (uint64_t)high << 32 | low
                       : 0;
        }
        at = header >> 20 & 0xffc;
    }
    return 0;
}

void pci_read_config(const char *root, const char *bdf, bool may_wake, struct pci_config *config)
{
    auto_close int dir_fd = open_function(root, bdf);
    auto_close int fd = -1;
    struct stat status;
    char power[16];
    uint8_t byte;

    *config = (struct pci_config){0};
    if (dir_fd < 0 || (!may_wake && sysfs_text(dir_fd, "power_state", power, sizeof(power)) == 0 &&
                       strcmp(power, "D3cold") == 0)) {
        return; /* it would be woken up for that, and we would wait */
    }
    fd = openat(dir_fd, "config", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || pread(fd, &byte, 1, CONFIG_HEADER) != 1 || byte == NOBODY) {
        return; /* and the next time it is asked again */
    }
    config->is_known = true;
    byte &= HEADER_TYPE;
    config->is_bridge = byte == 1 || byte == 2;
    if (pread(fd, &byte, 1, CONFIG_PIN) == 1 && byte <= 4) {
        config->interrupt_pin = byte;
    }
    if (fstat(fd, &status) == 0 && status.st_size > EXTENDED_FIRST) {
        config->serial = find_serial(fd);
    }
}

/* ---- attributes ---- */

/* "START END FLAGS", a line for each BAR, then the ROM, then those of a bridge. */
static void read_bars(int dir_fd, struct pci_function *function)
{
    char text[2048];
    auto_close int fd = openat(dir_fd, "resource", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    char *line = text;

    text[n > 0 ? n : 0] = '\0';
    for (size_t i = 0; i < PCI_BARS && *line != '\0'; i++) {
        struct pci_bar *bar = &function->bars[i];
        uint64_t start, end, flags;
        char *newline = strchr(line, '\n');

        if (sscanf(line, "%" SCNx64 " %" SCNx64 " %" SCNx64, &start, &end, &flags) == 3 &&
            end > start) {
            *bar = (struct pci_bar){.start = start, .size = end - start + 1, .flags = flags};
        }
        line = newline != NULL ? newline + 1 : line + strlen(line);
    }
}

static int read_group(int dir_fd)
{
    char base[16], *end;
    long group;

    if (sysfs_link_base(dir_fd, "iommu_group", base, sizeof(base)) < 0) {
        return -1;
    }
    errno = 0;
    group = strtol(base, &end, 10);
    return errno == 0 && end != base && *end == '\0' && group >= 0 && group <= INT_MAX ? (int)group
                                                                                       : -1;
}

/* Those that are switched on, by the links to them: their number itself is told only when nobody
 * changes the driver. */
static unsigned count_vfs(int dir_fd, unsigned most)
{
    char name[32], target[PATH_MAX];
    unsigned count = 0;

    while (count < most && snprintf(name, sizeof(name), "virtfn%u", count) > 0 &&
           sysfs_link(dir_fd, name, target, sizeof(target)) == 0) {
        count++;
    }
    return count;
}

static void read_attributes(int dir_fd, struct pci_function *function)
{
    function->vendor = (uint16_t)sysfs_number(dir_fd, "vendor", 0);
    function->device = (uint16_t)sysfs_number(dir_fd, "device", 0);
    function->subvendor = (uint16_t)sysfs_number(dir_fd, "subsystem_vendor", 0);
    function->subdevice = (uint16_t)sysfs_number(dir_fd, "subsystem_device", 0);
    function->class = (uint32_t)sysfs_number(dir_fd, "class", 0);
    function->revision = (uint8_t)sysfs_number(dir_fd, "revision", 0);
    function->node = (int)sysfs_number(dir_fd, "numa_node", -1);
    function->vfs_most = (unsigned)sysfs_number(dir_fd, "sriov_totalvfs", 0);
    function->vfs = count_vfs(dir_fd, function->vfs_most);
    function->iommu_group = read_group(dir_fd);
    /* Those that are not there stay empty. */
    (void)sysfs_link_base(dir_fd, "driver", function->driver, sizeof(function->driver));
    (void)sysfs_link_base(dir_fd, "physfn", function->physical, sizeof(function->physical));
    (void)sysfs_text(dir_fd, "reset_method", function->reset, sizeof(function->reset));
}

int pci_read_function(const char *root, const char *bdf, struct pci_function *function,
                      struct err *err)
{
    struct pci_function found = {.iommu_group = -1, .node = -1};
    auto_close int dir_fd = -1;

    if (!pci_is_bdf(bdf)) {
        return err_set(err, -EINVAL,
                       "'%s' is no PCI function: its name is DOMAIN:BUS:DEVICE.FUNCTION, such as "
                       "0000:03:00.0",
                       bdf);
    }
    dir_fd = open_function(root, bdf);
    if (dir_fd < 0) {
        return err_set(err, -ENODEV, "there is no PCI function '%s'", bdf);
    }
    memcpy(found.bdf, bdf, strlen(bdf) + 1);
    read_attributes(dir_fd, &found);
    read_bars(dir_fd, &found);
    *function = found;
    return 0;
}

/* ---- the table ---- */

static int compare(const void *a, const void *b)
{
    const struct pci_function *left = a, *right = b;
    size_t left_length = strlen(left->bdf), right_length = strlen(right->bdf);

    if (left_length != right_length) {
        return left_length < right_length ? -1 : 1; /* longer domains are larger ones */
    }
    return strcmp(left->bdf, right->bdf);
}

/* At its end. */
static int add(struct pci_table *table, const struct pci_function *function)
{
    if (table->count == PCI_FUNCTIONS_MAX) {
        table->left_out++;
        return -ENOSPC;
    }
    if (table->count == table->room) {
        size_t more = table->room == 0 ? 32 : 2 * table->room;
        struct pci_function *grown = reallocarray(table->list, more, sizeof(*grown));

        if (grown == NULL) {
            return -ENOMEM;
        }
        table->list = grown;
        table->room = more;
    }
    table->list[table->count++] = *function;
    return 0;
}

int pci_insert(struct pci_table *table, const struct pci_function *function)
{
    int r = add(table, function);

    if (r == 0) {
        qsort(table->list, table->count, sizeof(*table->list), compare);
    }
    return r;
}

int pci_read(const char *root, struct pci_table *table, struct err *err)
{
    auto_dir DIR *dir = sysfs_list(root, DEVICES);
    struct pci_table found = {0};
    struct pci_function function;
    const char *name;

    while ((name = sysfs_next(dir)) != NULL) {
        if (pci_read_function(root, name, &function, NULL) == 0 && /* it may just go */
            add(&found, &function) == -ENOMEM) {
            pci_fini(&found);
            return err_set(err, -ENOMEM, "out of memory");
        }
    }
    if (found.count > 0) {
        qsort(found.list, found.count, sizeof(*found.list), compare);
    }
    if (pci_read_use(root, &found) < 0) {
        pci_fini(&found);
        return err_set(err, -ENOMEM, "out of memory");
    }
    *table = found;
    return 0;
}

void pci_fini(struct pci_table *table)
{
    free(table->list);
    *table = (struct pci_table){0};
}

const struct pci_function *pci_find(const struct pci_table *table, const char *bdf)
{
    struct pci_function key;
    size_t length = strlen(bdf);

    if (length >= sizeof(key.bdf) || table->count == 0) {
        return NULL;
    }
    memcpy(key.bdf, bdf, length + 1);
    return bsearch(&key, table->list, table->count, sizeof(*table->list), compare);
}

int pci_judge(const struct pci_table *table, const struct pci_function *function, struct err *err)
{
    const char *bdf = function->bdf;

    if (function->config.is_bridge || function->class >> 16 == PCI_CLASS_BRIDGE) {
        return err_set(err, -EINVAL, "'%s' is a bridge: what is behind it can be given", bdf);
    }
    if (function->use[0] != '\0') {
        return err_set(err, -EBUSY, "'%s' is used by the host: %s; %s", bdf, function->use,
                       function->cure);
    }
    if (function->iommu_group < 0) {
        return err_set(err, -EOPNOTSUPP,
                       "'%s' is in no IOMMU group: switch the IOMMU on in the firmware, and on the "
                       "kernel's command line (intel_iommu=on)",
                       bdf);
    }
    for (size_t i = 0; i < table->count; i++) {
        const struct pci_function *other = &table->list[i];

        if (other->iommu_group == function->iommu_group && other != function &&
            other->use[0] != '\0') {
            return err_set(err, -EBUSY,
                           "'%s' shares IOMMU group %d with '%s', which the host uses: %s; %s", bdf,
                           function->iommu_group, other->bdf, other->use, other->cure);
        }
    }
    return 0;
}
