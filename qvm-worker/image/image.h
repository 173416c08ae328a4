/* A disk image: what is in the file, and transfers between it and memory.
 *
 * Transfers are the kernel's (io_uring) where a ring can be had; its ring is made before the door
 * closes, knows this one file and may read, write and flush it. Elsewhere a few threads make them
 * (pool.c). Nobody waits for a transfer but image_stop.
 *
 * Formats: raw and fixed VHD, as the configuration says; where it does not, fixed VHD when the
 * file's name ends in .vhd, else raw. Other formats are a helper's (helper.c). What the guest
 * writes never decides what the image is taken for.
 *
 * Threads: any, several at once. No callback; nothing is allocated after image_create. */
#ifndef QVM_WORKER_IMAGE_H
#define QVM_WORKER_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "vdevs/include/qvm/vdev.h"

struct err;
struct image;

#define IMAGE_THREADS    4u          /* of an image without a ring */
#define IMAGE_STEP_MAX   (4u << 20)  /* bytes of one step of a transfer: more are several */
#define IMAGE_FLYING_MAX (64u << 20) /* bytes that the host is asked for at once */

/* Transfers that fail and are kept, to be tried again; the others are told. */
enum image_keep {
    IMAGE_KEEP_NONE,
    IMAGE_KEEP_FULL, /* those for which the host has no room: ENOSPC, EDQUOT */
    IMAGE_KEEP_ALL,
};

enum image_format {
    IMAGE_FORMAT_BY_NAME,
    IMAGE_FORMAT_RAW,
    IMAGE_FORMAT_VHD,    /* fixed */
    IMAGE_FORMAT_HELPER, /* `fd` is a connection to who knows it */
};

struct image_spec {
    int fd; /* becomes the image's, also when it cannot be made */
    const char *path;
    enum image_format format;
    bool is_read_only;
    bool may_ring; /* false: threads, whatever the kernel can */
    enum image_keep keep;

    /* The first act of each thread: its door. NULL: none. */
    int (*on_thread)(void *context, struct err *err);
    /* Its helper is gone: image_follow() is to follow. Any thread; it may not call the image. NULL:
     * no helper follows another. */
    void (*on_lost)(void *context);
    void *context;
};

/* -EINVAL, -ENOTSUP: that is no image of the format that its name tells, in words without place. */
int image_create(const struct image_spec *spec, struct image **image, struct err *err);

/* Nothing is in flight (image_stop). NULL is fine. */
void image_destroy(struct image *image);

const struct vdev_image *image_facts(const struct image *image);

/* Take the size that the file has now, `*size`. -EOPNOTSUPP: there is more in it than the disk;
 * -EINVAL: it is smaller than before, or no multiple of a sector: nothing changed. `path` is for
 * the words. No transfer is begun meanwhile. */
int image_grow(struct image *image, const char *path, uint64_t *size, struct err *err);

/* Go on with another helper, which `fd` (taken) is a connection to; -1: there will be none, and all
 * transfers fail from now on. What was on its way is asked again, and what the last helper may not
 * have brought to the disk is written again, before anything else. On failure it waits for yet
 * another one. After -1, or when the last one could not be followed, one may come all the same:
 * then the guest's next flush fails if something that was acknowledged may be lost. Nothing happens
 * to an image that has not lost its helper. One thread at a time. */
int image_follow(struct image *image, int fd, struct err *err);

/* Its helper is gone, and none is waited for: all transfers fail. */
bool image_is_over(struct image *image);

/* Between two helpers no transfer ends, and the functions below that wait do not wait for that.
 * Nothing goes on as long as the image is held, whoever comes meanwhile; or fail what waits: false
 * if nothing did, and nothing is in flight. */
void image_hold(struct image *image, bool is_held);
bool image_fail_parked(struct image *image);

/* "io_uring", "threads", or "helper". */
const char *image_engine(const struct image *image);

/* Readable while a transfer has ended that nobody took; borrowed. */
int image_fd(const struct image *image);

/* As the service image_io (qvm/vdev.h). What was begun may wait for image_submit, which says
 * whether some have ended at once: they can be taken without waiting for image_fd. */
int image_begin(struct image *image, const struct vdev_io *io);
bool image_submit(struct image *image);

/* The next transfer that ended: its token and result. False: none has. */
bool image_take(struct image *image, uint64_t *token, int *result);

/* Wait until the host is done with all transfers, at most until `deadline_ns` (CLOCK_MONOTONIC):
 * whether there is one to be taken (1, 0). -ETIMEDOUT: it is not done, and goes on. */
int image_finish(struct image *image, uint64_t deadline_ns);

/* How many transfers failed and are kept; `result` is that of the first of them. Those in flight
 * are not waited for. */
uint32_t image_kept(struct image *image, int *result);

/* Begin what is kept again: each goes on with what is left of it. Follow with image_submit. */
void image_retry(struct image *image);

/* Wait until the host is done with all transfers, and forget them, those that are kept, too. What
 * the host was not asked for yet is not done any more; so that is IMAGE_FLYING_MAX at most. */
void image_stop(struct image *image);

/* The same with those whose token is `meant`, which is asked once for each that was not taken; the
 * others go on. */
void image_drop(struct image *image, bool (*meant)(void *context, uint64_t token), void *context);

#endif
