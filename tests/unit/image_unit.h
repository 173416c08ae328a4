/* An image in memory, and transfers of a test's. */
#ifndef QVM_TESTS_IMAGE_UNIT_H
#define QVM_TESTS_IMAGE_UNIT_H

#include "qvm-worker/image/image.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/image/private.h"
#include "tests/unit/unit.h"

enum { SIZE = 1 << 20, WAIT_MS = 30000 };

static struct err err;
static int file; /* the test's own descriptor */

/* An image of `size` bytes in memory, named `path`. */
static inline int create(const char *path, off_t size, bool may_ring, bool is_read_only,
                         struct image **image)
{
    struct image_spec spec = {.path = path, .is_read_only = is_read_only, .may_ring = may_ring};

    file = memfd_create("image", MFD_CLOEXEC);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(ftruncate(file, size), 0);
    spec.fd = dup(file);
    memset(&err, 0, sizeof(err));
    return image_create(&spec, image, &err);
}

static inline struct image *make(bool may_ring)
{
    struct image *image = NULL;

    ck_assert_int_eq(create("disk.img", SIZE, may_ring, false, &image), 0);
    return image;
}

static inline int begin(struct image *image, enum vdev_io_kind kind, uint64_t offset, void *base,
                        uint64_t size, uint64_t token)
{
    struct vdev_piece piece = {base, size};
    struct vdev_io io = {.kind = kind,
                         .offset = offset,
                         .pieces = &piece,
                         .piece_count = kind != VDEV_IO_FLUSH,
                         .token = token};

    return image_begin(image, &io);
}

/* Wait for the next end. */
static inline uint64_t take(struct image *image, int *result)
{
    uint64_t token = 0;

    while (!image_take(image, &token, result)) {
        struct pollfd poll_of = {.fd = image_fd(image), .events = POLLIN};

        ck_assert_int_eq(poll(&poll_of, 1, WAIT_MS), 1);
    }
    return token;
}

#endif
