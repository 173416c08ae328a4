/* The disks of a function, held while it goes from the host to a guest.
 *
 * Who mounts a disk, swaps to it, or makes it a part of something, has opened it exclusively, and
 * the kernel knows of that wherever it was done: in a mount namespace that nobody else sees, by a
 * file system of several disks of which proc names one. */
#ifndef QVM_DAEMON_HOST_PCI_DISK_H
#define QVM_DAEMON_HOST_PCI_DISK_H

#include <stddef.h>

struct err;

/* Open the disks of the function `bdf` exclusively: until `fds` are closed nobody else can take
 * them for such a thing. `root` as of pci.h. May wait for a device: for hands alone. On failure
 * `fds` has `*count` descriptors, too.
 * -EBUSY: one is used, or locked by who has it or a part of it as an image; -E2BIG: there are more
 * than `most`; or what open(2) says. */
int pci_hold_disks(const char *root, const char *bdf, int *fds, size_t most, size_t *count,
                   struct err *err);

#endif
