/* Transfers of an image by threads, where the kernel gives no ring. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/image/private.h"
#include "qvm-worker/lockdown/apart.h"

struct pool {
    struct image *image;
    int (*on_thread)(void *context, struct err *err);
    void *context;
    pthread_t threads[IMAGE_THREADS];
    uint32_t thread_count;
    uint32_t ready_count; /* whose door is closed */
    pthread_cond_t work, ended;
    struct image_list waiting;
    struct err err; /* of the first thread that could not begin */
    bool is_closing;
};

/* One step, without the lock: the request is this thread's alone. */
static int64_t step(int fd, struct image_request *request)
{
    const struct iovec *pieces = &request->pieces[request->first];
    ssize_t n;

    switch (request->kind) {
    case VDEV_IO_READ:
        n = preadv(fd, pieces, (int)request->count, (off_t)request->offset);
        break;
    case VDEV_IO_WRITE:
    case VDEV_IO_FILL:
        n = pwritev(fd, pieces, (int)request->count, (off_t)request->offset);
        break;
    case VDEV_IO_DISCARD:
    case VDEV_IO_ZERO:
        n = fallocate(fd, IMAGE_PUNCH, (off_t)request->offset, (off_t)request->left);
        break;
    default:
        n = fdatasync(fd);
    }
    return n < 0 ? -errno : n;
}

static void work(struct pool *pool)
{
    struct image *image = pool->image;
    uint16_t index = image_list_pop(&pool->waiting);
    uint64_t one = 1;
    int64_t n;

    do {
        (void)pthread_mutex_unlock(&image->lock);
        n = step(image->fd, &image->requests[index]);
        (void)pthread_mutex_lock(&image->lock);
    } while (image_stepped(image, index, n));
    (void)!write(image->event_fd, &one, sizeof(one)); /* full: it is readable already */
    (void)pthread_cond_signal(&pool->ended);
}

static void *thread_main(void *context)
{
    struct pool *pool = context;
    struct image *image = pool->image;
    struct err err = {0};
    int r = pool->on_thread != NULL ? pool->on_thread(pool->context, &err) : 0;

    (void)pthread_mutex_lock(&image->lock);
    pool->ready_count++;
    if (r != 0 && pool->err.code == 0) {
        pool->err = err;
    }
    (void)pthread_cond_signal(&pool->ended);
    while (r == 0) {
        if (pool->waiting.count > 0) {
            work(pool);
        } else if (pool->is_closing) {
            break;
        } else {
            (void)pthread_cond_wait(&pool->work, &image->lock);
        }
    }
    (void)pthread_mutex_unlock(&image->lock);
    return NULL;
}

static void pool_close(struct image *image)
{
    struct pool *pool = image->engine;

    (void)pthread_mutex_lock(&image->lock);
    pool->is_closing = true;
    (void)pthread_cond_broadcast(&pool->work);
    (void)pthread_mutex_unlock(&image->lock);
    for (uint32_t i = 0; i < pool->thread_count; i++) {
        (void)pthread_join(pool->threads[i], NULL);
    }
    (void)pthread_cond_destroy(&pool->work);
    (void)pthread_cond_destroy(&pool->ended);
    free(pool);
    image->engine = NULL;
}

static int start_threads(struct pool *pool, struct err *err)
{
    struct image *image = pool->image;
    int r = 0;

    while (r == 0 && pool->thread_count < IMAGE_THREADS) {
        r = apart_create(&pool->threads[pool->thread_count], thread_main, pool);
        pool->thread_count += r == 0;
    }
    (void)pthread_mutex_lock(&image->lock);
    while (pool->ready_count < pool->thread_count) {
        (void)pthread_cond_wait(&pool->ended, &image->lock);
    }
    (void)pthread_mutex_unlock(&image->lock);
    if (r != 0) {
        return err_sys(err, -r, "no threads for an image");
    }
    return pool->err.code == 0 ? 0 : err_set(err, pool->err.code, "%s", pool->err.msg);
}

static int pool_open(struct image *image, const struct image_spec *spec, struct err *err)
{
    struct pool *pool = calloc(1, sizeof(*pool));
    int r;

    image->event_fd = pool != NULL ? eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) : -1;
    if (image->event_fd < 0) {
        free(pool);
        return err_set(err, -ENOMEM, "no memory for an image");
    }
    pool->image = image;
    pool->on_thread = spec->on_thread;
    pool->context = spec->context;
    (void)pthread_cond_init(&pool->work, NULL); /* cannot fail for plain ones */
    (void)pthread_cond_init(&pool->ended, NULL);
    image->engine = pool;
    r = start_threads(pool, err);
    if (r != 0) {
        pool_close(image);
    }
    return r;
}

static void pool_start(struct image *image, uint16_t request)
{
    struct pool *pool = image->engine;

    image_list_push(&pool->waiting, request);
    (void)pthread_cond_signal(&pool->work);
}

static void pool_submit(struct image *image)
{
    (void)image; /* they are at work */
}

static bool pool_has_ended(const struct image *image)
{
    (void)image; /* what has ended is in the image's list already */
    return false;
}

static void pool_reap(struct image *image)
{
    uint64_t count;

    (void)!read(image->event_fd, &count, sizeof(count)); /* empty: nothing is new */
}

static void pool_wait(struct image *image, uint64_t deadline_ns)
{
    struct pool *pool = image->engine;
    const struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                                      .tv_nsec = (long)(deadline_ns % 1000000000u)};

    if (deadline_ns == 0) {
        (void)pthread_cond_wait(&pool->ended, &image->lock);
    } else {
        (void)pthread_cond_clockwait(&pool->ended, &image->lock, CLOCK_MONOTONIC, &deadline);
    }
}

const struct image_engine_ops image_pool_ops = {
    .name = "threads",
    .open = pool_open,
    .close = pool_close,
    .start = pool_start,
    .submit = pool_submit,
    .has_ended = pool_has_ended,
    .reap = pool_reap,
    .wait = pool_wait,
};
