/* A tap: a network device of the host whose other end is a descriptor, a frame a read or write.
 *
 * Source: Documentation/networking/tuntap.rst of Linux, linux/if_tun.h. */
#ifndef QVM_PROTO_BASE_TAP_H
#define QVM_PROTO_BASE_TAP_H

#include <stdbool.h>
#include <stddef.h>

struct err;

/* Whether `size` bytes of `text` may be the name of a network device. */
bool tap_is_name(const char *text, size_t size);

#define TAP_NAME_SIZE  16 /* of a network device's name with its NUL */
#define TAP_QUEUES_MAX 8

/* The names in NAME or NAME,BRIDGE; `bridge` is empty without one. -EINVAL: it is neither. */
int tap_split(const char *words, char name[TAP_NAME_SIZE], char bridge[TAP_NAME_SIZE],
              struct err *err);

/* Open `queues` queues (1 to TAP_QUEUES_MAX) of the tap NAME of `words` (NAME or NAME,BRIDGE), a
 * descriptor each, and switch it on. If there is none, one is
 * made that goes with the last copy of the descriptors, and is a port of the bridge, which does not
 * take its address. One that is there already is the host's own: its place is not changed. Frames
 * begin with a header of virtio 1.2, 5.1.6, of 12 bytes, and may be large segments without a
 * checksum. Reading and writing never wait. On failure nothing has changed that was there before.
 * -EBUSY: it is in use; -ENOENT: there is no such bridge; -EPERM: no right to it; -EINVAL: another
 * kind of device has that name, or one that has several queues where one is wanted, or the other
 * way round. One of the host's own with several queues may be in use by others, too. */
int tap_open(const char *words, size_t queues, int *fds, struct err *err);

#endif
