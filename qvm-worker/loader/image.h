/* A file that goes into guest memory: its bytes are a stranger's, and read once.
 *
 * Everything is read with pread from a granted descriptor: small parts into our memory, big ones
 * straight into the guest's. Each length and offset is checked against the file as it was when it
 * was first seen; a file that changed in place since is refused. */
#ifndef QVM_WORKER_LOADER_IMAGE_H
#define QVM_WORKER_LOADER_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/memory/memory.h"

struct err;

/* What tells one state of a file from another. */
struct image_identity {
    bool is_known;
    uint64_t device, inode, size;
    int64_t modified_ns, changed_ns;
};

struct image {
    int fd; /* borrowed */
    const char *path;
    const char *where; /* FILE:LINE */
    uint64_t size;     /* bytes */
    bool is_dry;       /* what would go to guest memory is only checked */
};

/* Look at the file: fill in image->size. With a known `identity` the file must still be that one
 * (-ESTALE otherwise); an unknown one is filled in. -EINVAL: no regular file, or empty. */
int image_open(struct image *image, struct image_identity *identity, struct err *err);

/* Read exactly `size` bytes at `offset`. -EINVAL: the file ends before that. */
int image_read(const struct image *image, uint64_t offset, void *to, uint64_t size,
               struct err *err);

/* The same, to guest memory at `address`. -EINVAL also when part of that is neither RAM nor ROM.
 * Of a dry image nothing is read. */
int image_read_to_guest(const struct image *image, uint64_t offset, const struct memory *memory,
                        uint64_t address, uint64_t size, struct err *err);

/* Set `err` to "WHERE: 'PATH' FORMAT..." and return -EINVAL. */
int image_refuse(const struct image *image, struct err *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
