/* Folders of another machine that are mounted through a virtio function: 9p names the share by the
 * tag that the device shows; of virtiofs the kernels of Debian 12 do not tell which device has
 * which tag, so all of them are in use. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "daemon/host/pci_use.h"
#include "daemon/host/sysfs.h"
#include "proto/base/cleanup.h"

#define DEVICES "/sys/bus/virtio/devices"

/* File systems whose devices have that driver, and whether they show their tag. */
static const struct {
    const char *type;
    const char *driver;
    bool has_tag;
} shares[] = {
    {"9p", "9pnet_virtio", true},
    {"virtiofs", "virtiofs", false},
};

static bool is_share(const struct pci_search *search, const char *device, size_t share,
                     const char *tag)
{
    char path[sizeof(DEVICES) + 1 + NAME_MAX], driver[NAME_MAX], shown[PATH_MAX];
    auto_close int fd = -1;

    (void)snprintf(path, sizeof(path), DEVICES "/%s", device);
    fd = sysfs_open(search->root, path);
    return fd >= 0 && sysfs_link_base(fd, "driver", driver, sizeof(driver)) == 0 &&
           strcmp(driver, shares[share].driver) == 0 &&
           (!shares[share].has_tag ||
            (sysfs_text(fd, "mount_tag", shown, sizeof(shown)) == 0 && strcmp(shown, tag) == 0));
}

void pci_use_share(const struct pci_search *search, const char *type, const char *tag,
                   const struct pci_use *use)
{
    auto_dir DIR *dir = NULL;
    size_t share = 0;
    const char *device;

    while (share < ARRAY_LEN(shares) && strcmp(shares[share].type, type) != 0) {
        share++;
    }
    if (share == ARRAY_LEN(shares)) {
        return;
    }
    dir = sysfs_list(search->root, DEVICES);
    while ((device = sysfs_next(dir)) != NULL) {
        char target[PATH_MAX];
        struct pci_function *function;

        if (!is_share(search, device, share, tag)) {
            continue;
        }
        pci_use_link(search, DEVICES, device, target);
        function = pci_use_function(search, target);
        if (function != NULL) {
            pci_use_set(function, use->cure, "shared folder '%.64s' %s", tag, use->how);
        }
    }
}
