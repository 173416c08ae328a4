/* Inside the image: between image.c and the two who make transfers. */
#ifndef QVM_WORKER_IMAGE_PRIVATE_H
#define QVM_WORKER_IMAGE_PRIVATE_H

#include <fcntl.h>
#include <pthread.h>
#include <sys/uio.h>

#include "qvm-worker/image/image.h"

/* What makes room in an image, and leaves its size: all of that of fallocate that is allowed. */
#define IMAGE_PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

struct image_request {
    enum vdev_io_kind kind;
    uint64_t token;
    uint64_t offset; /* in the file, of what is left */
    uint64_t left;   /* bytes */
    struct iovec pieces[VDEV_IO_PIECES];
    uint32_t first, count; /* pieces that are left */
    uint32_t all_count;    /* of them; a step may have fewer, and less of the last */
    size_t cut;            /* bytes of the step's last piece that are not part of it */
    uint64_t step;         /* bytes of the step that an engine has */
    bool is_dropped;       /* nobody wants to hear of its end */
    int result;            /* 0 or -errno, once it has ended */
};

/* A way to make transfers. Requests are known by their index. All is called with the image's lock
 * held; `wait` and `close` may give it away meanwhile. */
struct image_engine_ops {
    const char *name;
    int (*open)(struct image *image, const struct image_spec *spec, struct err *err);
    void (*close)(struct image *image);
    void (*start)(struct image *image, uint16_t request); /* perhaps not before `submit` */
    void (*submit)(struct image *image);
    bool (*has_ended)(const struct image *image); /* there is something to reap, as far as seen */
    void (*reap)(struct image *image);            /* image_ended for all that have ended */
    /* until one has, perhaps not that long; `deadline_ns` (CLOCK_MONOTONIC), 0: none */
    void (*wait)(struct image *image, uint64_t deadline_ns);
};

extern const struct image_engine_ops image_ring_ops, image_pool_ops, image_helper_ops;

/* Indices, first in first out. */
struct image_list {
    uint16_t at[VDEV_IO_MAX];
    uint32_t first, count;
};

struct image {
    int fd;
    struct vdev_image facts;
    bool is_raw; /* the disk is the whole file */
    const struct image_engine_ops *ops;
    pthread_mutex_t lock;
    struct image_request *requests; /* VDEV_IO_MAX; those that never flew take no memory */
    struct image_list unused;       /* used as a stack */
    struct image_list waiting;      /* until the host has done enough of the others */
    struct image_list ended;        /* that nobody took */
    struct image_list kept;         /* that failed, and are tried again */
    enum image_keep keep;
    bool is_dropping;            /* nothing that waits is begun */
    bool is_parked;              /* nor ends: between two helpers */
    bool is_flying[VDEV_IO_MAX]; /* an engine has it */
    uint32_t flying;             /* so many */
    uint32_t dropped;            /* of them, nobody wants so many */
    uint64_t flying_bytes;       /* of their steps */
    int event_fd;                /* readable when `ended` may not be empty */
    void *engine;
};

void image_list_push(struct image_list *list, uint16_t request);
uint16_t image_list_pop(struct image_list *list); /* the first; there is one */

/* Whether it is fallocate that does it, and moves no memory. */
bool image_is_punch(const struct image_request *request);

/* A step of a transfer ended with `n` bytes, or -errno: done, or more is left (true). */
bool image_advance(struct image_request *request, int64_t n);

/* The same of one that an engine has. True: there is a next step, for the same engine to start. */
bool image_stepped(struct image *image, uint16_t request, int64_t n);

/* What is in the file: size of the disk, whether it is the whole file; refusals in words. */
int image_probe(const struct image_spec *spec, struct vdev_image *facts, bool *is_raw,
                struct err *err);

#endif
