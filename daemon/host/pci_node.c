/* Device nodes of PCI functions: the links of /sys/dev name them by number, and the function on the
 * way to each. */
#include "daemon/host/pci_node.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "daemon/host/sysfs.h"
#include "proto/base/cleanup.h"

#define NVME_HEADS "virtual/nvme-subsystem/" /* of disks that several controllers may reach */

struct search {
    const char *root;
    pci_node_fn *fn;
    void *data;
};

/* The links nvmeN of a disk's subsystem lead to its controllers. */
static void tell_heads(const struct search *search, const char *target, struct pci_node *node)
{
    const char *at = strstr(target, NVME_HEADS);
    char path[PATH_MAX], controller[PATH_MAX];
    auto_close int fd = -1;
    const char *entry;

    if (at == NULL) {
        return;
    }
    at += strlen(NVME_HEADS);
    (void)snprintf(path, sizeof(path), "/sys/devices/" NVME_HEADS "%.*s", (int)strcspn(at, "/"),
                   at);
    fd = sysfs_open(search->root, path);
    auto_dir DIR *dir = sysfs_list(search->root, path);
    while (fd >= 0 && (entry = sysfs_next(dir)) != NULL) {
        if (strncmp(entry, "nvme", 4) == 0 &&
            sysfs_link(fd, entry, controller, sizeof(controller)) == 0 &&
            pci_of_path(controller, node->bdf)) {
            search->fn(search->data, node);
        }
    }
}

static void tell_kind(const struct search *search, const char *kind)
{
    char path[32], target[PATH_MAX];
    auto_close int fd = -1;
    const char *number;

    (void)snprintf(path, sizeof(path), "/sys/dev/%s", kind);
    fd = sysfs_open(search->root, path);
    auto_dir DIR *dir = sysfs_list(search->root, path);
    while (fd >= 0 && (number = sysfs_next(dir)) != NULL) {
        struct pci_node node;
        const char *last;
        bool is_its;

        last = sysfs_link(fd, number, target, sizeof(target)) == 0 ? strrchr(target, '/') : NULL;
        is_its = last != NULL && pci_of_path(target, node.bdf);
        if (last == NULL || (!is_its && strstr(target, NVME_HEADS) == NULL)) {
            continue; /* most of a host's are no PCI function's */
        }
        (void)snprintf(node.id, sizeof(node.id), "%s:%.20s", kind, number);
        (void)snprintf(node.name, sizeof(node.name), "%.63s", last + 1);
        if (is_its) {
            search->fn(search->data, &node);
        } else {
            tell_heads(search, target, &node);
        }
    }
}

void pci_each_node(const char *root, pci_node_fn *fn, void *data)
{
    const struct search search = {.root = root, .fn = fn, .data = data};

    tell_kind(&search, "char");
    tell_kind(&search, "block");
}
