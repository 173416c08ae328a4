/* What the kernel tells of devices that come and go: netlink(7), NETLINK_KOBJECT_UEVENT. */
#ifndef QVM_DAEMON_HOST_UEVENT_H
#define QVM_DAEMON_HOST_UEVENT_H

#include <stdbool.h>
#include <stddef.h>

struct err;

#define UEVENT_SIZE 8192 /* of a message; the kernel's are below 4 KiB */

/* All point into the message; "" for what is not in it. */
struct uevent {
    const char *action;    /* add remove bind unbind change online offline ... */
    const char *subsystem; /* pci cpu net ... */
    const char *slot;      /* of a PCI function: its name */
};

/* Read a message of `size` bytes; `text[size]` must be writable. false: it is none of the kernel's.
 */
bool uevent_parse(char *text, size_t size, struct uevent *event);

/* A socket on which they arrive, nonblocking, but for those about VMs. */
int uevent_open(int *fd, struct err *err);

/* KVM tells of each VM that is made and that is gone, and each start of a guest would wake up who
 * listens: let the kernel drop these messages before the socket. A negative errno: it does not. */
int uevent_ignore_vms(int fd);

/* The next message, into `text` (UEVENT_SIZE + 1 bytes): its length; 0: none is there; -ENOBUFS:
 * some were lost; other errors end the conversation. Those that are not the kernel's are left. */
int uevent_next(int fd, char *text);

#endif
