/* What the host itself does with its PCI functions.
 *
 * Everything that the host uses has a directory below that of the function which does it: of a
 * block device, an interface, a terminal. The links of /sys/class and /sys/dev name these
 * directories with all the functions on the way, of which the last one is meant. What stands on
 * others, such as a volume on a disk or a bridge on an interface, names them. */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/host/pci_use.h"
#include "daemon/host/sysfs.h"
#include "proto/base/cleanup.h"

#define NVME_HEADS                                                                                 \
    "virtual/nvme-subsystem/" /* of disks that more than one controller may reach                  \
                               */

void pci_use_set(struct pci_function *function, const char *cure, const char *format, ...)
{
    va_list args;

    if (function->use[0] == '\0') {
        va_start(args, format);
        (void)vsnprintf(function->use, sizeof(function->use), format, args);
        va_end(args);
        function->cure = cure;
    }
}

bool pci_of_path(const char *path, char bdf[PCI_BDF_SIZE])
{
    char part[PCI_BDF_SIZE];
    bool is_found = false;

    for (const char *at = path; *at != '\0';) {
        size_t length = strcspn(at, "/");

        if (length < sizeof(part)) {
            memcpy(part, at, length);
            part[length] = '\0';
            if (pci_is_bdf(part)) {
                memcpy(bdf, part, length + 1);
                is_found = true;
            }
        }
        at += length;
        at += *at == '/' ? 1 : 0;
    }
    return is_found;
}

struct pci_function *pci_use_function(const struct pci_search *search, const char *target)
{
    char bdf[PCI_BDF_SIZE];
    const struct pci_function *found =
        pci_of_path(target, bdf) ? pci_find(search->table, bdf) : NULL;

    return found != NULL ? &search->table->list[found - search->table->list] : NULL;
}

void pci_use_link(const struct pci_search *search, const char *directory, const char *name,
                  char *target)
{
    auto_close int fd = sysfs_open(search->root, directory);

    target[0] = '\0';
    if (fd >= 0) {
        (void)sysfs_link(fd, name, target, PATH_MAX); /* empty then */
    }
}

/* ---- disks ---- */

/* A disk with several controllers stands in a directory of its own, with links to them. */
static void use_heads(const struct pci_search *search, const char *target, const char *name,
                      const struct pci_use *use)
{
    const char *at = strstr(target, NVME_HEADS);
    char path[PATH_MAX], controller[PATH_MAX];
    const char *entry;

    if (at == NULL) {
        return;
    }
    (void)snprintf(path, sizeof(path), "/sys/devices/" NVME_HEADS "%.*s",
                   (int)strcspn(at + strlen(NVME_HEADS), "/"), at + strlen(NVME_HEADS));
    auto_dir DIR *dir = sysfs_list(search->root, path);
    while ((entry = sysfs_next(dir)) != NULL) {
        struct pci_function *function;

        pci_use_link(search, path, entry, controller);
        function = pci_use_function(search, controller);
        if (function != NULL && strncmp(entry, "nvme", 4) == 0) {
            pci_use_set(function, use->cure, "disk '%s' %s", name, use->how);
        }
    }
}

/* The block device `name` is used like that, and all that it stands on with it. */
static void use_block(const struct pci_search *search, const char *name, const struct pci_use *use,
                      int depth)
{
    char target[PATH_MAX], path[PATH_MAX], below[PCI_USE_SIZE];
    const struct pci_use lower = {.how = below, .cure = use->cure};
    struct pci_function *function;
    const char *slave;

    pci_use_link(search, "/sys/class/block", name, target);
    function = pci_use_function(search, target);
    if (function != NULL) {
        pci_use_set(function, use->cure, "disk '%s' %s", name, use->how);
    }
    use_heads(search, target, name, use);
    if (depth == PCI_USE_DEPTH) {
        return;
    }
    (void)snprintf(path, sizeof(path), "/sys/class/block/%s/slaves", name);
    (void)snprintf(below, sizeof(below), "is a part of '%s', which %s", name, use->how);
    auto_dir DIR *dir = sysfs_list(search->root, path);
    while ((slave = sysfs_next(dir)) != NULL) {
        use_block(search, slave, depth == 0 ? &lower : use, depth + 1);
    }
}

/* The name of the block device MAJOR:MINOR; false: the kernel has none. */
static bool block_name(const struct pci_search *search, const char *number, char name[NAME_MAX])
{
    auto_close int fd = sysfs_open(search->root, "/sys/dev/block");

    return fd >= 0 && sysfs_link_base(fd, number, name, NAME_MAX) == 0;
}

/* A file system may have a number of its own and name its device: by path, maybe by a link. */
static bool block_of_path(const struct pci_search *search, const char *device, char name[NAME_MAX])
{
    char path[PATH_MAX];
    auto_free char *whole = NULL;
    const char *last;

    if (strncmp(device, "/dev/", 5) != 0 ||
        (size_t)snprintf(path, sizeof(path), "%s%s", search->root, device) >= sizeof(path)) {
        return false;
    }
    whole = realpath(path, NULL);
    last = strrchr(whole != NULL ? whole : path, '/') + 1;
    if (strlen(last) >= NAME_MAX) {
        return false;
    }
    memcpy(name, last, strlen(last) + 1);
    return true;
}

/* Anybody may mount a FUSE file system, and say that any disk is its source; of one that has a disk
 * the kernel knows which (fuseblk). */
static bool is_honest(const char *type)
{
    return strncmp(type, "fuse", strlen("fuse")) != 0;
}

/* proc_pid_mountinfo(5): ID PARENT MAJOR:MINOR ROOT PLACE OPTIONS [TAGS] - TYPE SOURCE ... */
static void use_mount(const struct pci_search *search, char *line)
{
    char *words[5], *rest = line, *dash = strstr(line, " - "), *source, *type;
    char name[NAME_MAX], how[PCI_USE_SIZE];
    const struct pci_use use = {.how = how, .cure = "unmount it first"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        words[i] = strsep(&rest, " ");
        if (words[i] == NULL) {
            return;
        }
    }
    source = dash != NULL ? dash + strlen(" - ") : NULL;
    type = source != NULL ? strsep(&source, " ") : NULL;
    if (type == NULL || source == NULL) {
        return;
    }
    source[strcspn(source, " \n")] = '\0';
    sysfs_harmless(words[4]);
    (void)snprintf(how, sizeof(how), "is mounted on '%.100s'", words[4]);
    if (block_name(search, words[2], name) ||
        (is_honest(type) && block_of_path(search, source, name))) {
        use_block(search, name, &use, 0);
    }
    pci_use_share(search, type, source, &use);
}

FILE *pci_use_text(const char *root, const char *name)
{
    static const char *const of[] = {"/proc/1/", "/proc/self/"};
    FILE *text = NULL;
    char whole[PATH_MAX];

    for (size_t i = 0; text == NULL && i < ARRAY_LEN(of); i++) {
        (void)snprintf(whole, sizeof(whole), "%s%s%s", root, of[i], name);
        text = fopen(whole, "re");
    }
    return text;
}

void pci_use_text_end(FILE **text)
{
    if (*text != NULL) {
        (void)fclose(*text); /* only read from */
    }
}

static void use_mounts(const struct pci_search *search)
{
    auto_use_text FILE *text = pci_use_text(search->root, "mountinfo");
    auto_free char *line = NULL;
    size_t size = 0;

    while (text != NULL && getline(&line, &size, text) > 0) {
        use_mount(search, line);
    }
}

/* proc_swaps(5): a heading, then PATH TYPE ...; files lie on what is mounted. */
static void use_swaps(const struct pci_search *search)
{
    static const struct pci_use use = {.how = "is swap", .cure = "switch that off first (swapoff)"};
    auto_use_text FILE *text = pci_use_text(search->root, "../swaps");
    auto_free char *line = NULL;
    char name[NAME_MAX];
    size_t size = 0;

    while (text != NULL && getline(&line, &size, text) > 0) {
        char *rest = line, *path = strsep(&rest, " \t");

        if (rest != NULL && strncmp(rest + strspn(rest, " \t"), "partition", 9) == 0 &&
            block_of_path(search, path, name)) {
            use_block(search, name, &use, 0);
        }
    }
}

/* A disk on which another block device stands is the kernel's, mounted or not. */
static void use_holders(const struct pci_search *search)
{
    auto_dir DIR *dir = sysfs_list(search->root, "/sys/class/block");
    char path[PATH_MAX], how[PCI_USE_SIZE];
    const struct pci_use use = {
        .how = how, .cure = "stop that first (mdadm --stop, vgchange -a n, cryptsetup close)"};
    const char *name;

    while ((name = sysfs_next(dir)) != NULL) {
        (void)snprintf(path, sizeof(path), "/sys/class/block/%s/holders", name);
        auto_dir DIR *holders = sysfs_list(search->root, path);
        const char *holder = sysfs_next(holders);

        if (holder != NULL) {
            (void)snprintf(how, sizeof(how), "is a part of '%.64s'", holder);
            use_block(search, name, &use, 0);
        }
    }
}

/* ---- terminals, displays, virtual functions ---- */

static void use_consoles(const struct pci_search *search)
{
    auto_close int fd = sysfs_open(search->root, "/sys/class/tty/console");
    char names[256], *rest = names, *name, target[PATH_MAX];

    if (fd < 0 || sysfs_text(fd, "active", names, sizeof(names)) < 0) {
        return;
    }
    while ((name = strsep(&rest, " ")) != NULL) {
        struct pci_function *function;

        pci_use_link(search, "/sys/class/tty", name, target);
        function = pci_use_function(search, target);
        if (function != NULL) {
            pci_use_set(function, "take that from the kernel's command line (console=)",
                        "'%s' is a console of its kernel", name);
        }
    }
}

static void use_itself(const struct pci_search *search, struct pci_function *function)
{
    char path[64 + PCI_BDF_SIZE];
    auto_close int fd = -1;

    if (function->vfs > 0) {
        pci_use_set(function, "give one of these, or switch them off first (sriov_numvfs)",
                    "%u virtual functions of it are switched on", function->vfs);
    }
    if (function->class >> 16 == PCI_CLASS_DISPLAY) {
        (void)snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", function->bdf);
        fd = sysfs_open(search->root, path);
        if (fd >= 0 && sysfs_number(fd, "boot_vga", 0) == 1) {
            pci_use_set(function, "let its firmware use another",
                        "it is the display that it was booted with");
        }
    }
}

int pci_read_use(const char *root, struct pci_table *table)
{
    auto_free bool *has_interface = calloc(table->count + 1, sizeof(*has_interface));
    const struct pci_search search = {.root = root, .table = table, .has_interface = has_interface};

    for (size_t i = 0; i < table->count; i++) {
        table->list[i].use[0] = '\0';
        table->list[i].cure = NULL;
        use_itself(&search, &table->list[i]);
    }
    if (has_interface == NULL) {
        return -ENOMEM;
    }
    if (table->count > 0) {
        use_mounts(&search);
        use_swaps(&search);
        use_holders(&search);
        pci_use_networks(&search);
        use_consoles(&search);
    }
    return 0;
}
