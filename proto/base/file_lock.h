/* Locks on image files at the bytes at which QEMU's tools lock raw images: one writer or many
 * readers, host-wide, for as long as the open file description lives that does the I/O. */
#ifndef QVM_PROTO_BASE_FILE_LOCK_H
#define QVM_PROTO_BASE_FILE_LOCK_H

#include <stdbool.h>

struct err;

/* Lock an image, without waiting: for writing against everybody, for reading against writers.
 * -EBUSY: somebody else has it, `err` names him by his pid where the kernel knows it. A file system
 * that has no locks refuses writers alone. */
int file_lock(int fd, bool is_writable, const char *path, struct err *err);

/* Let go of what file_lock() locked: -1 and errno on failure. */
int file_unlock(int fd);

/* Wait for as long as it takes until no lock for writing is left. `fd` is open for writing. */
int file_lock_wait(int fd, const char *path, struct err *err);

#endif
