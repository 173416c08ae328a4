/* A disk image: requests, and who makes them. */
#include "qvm-worker/image/image.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/image/private.h"

#define REQUESTS_SIZE (VDEV_IO_MAX * sizeof(struct image_request))
#define ZEROES_SIZE   65536u

static uint8_t zeroes[ZEROES_SIZE]; /* nobody writes there: it takes no memory */

void image_list_push(struct image_list *list, uint16_t request)
{
    list->at[(list->first + list->count++) % VDEV_IO_MAX] = request;
}

uint16_t image_list_pop(struct image_list *list)
{
    uint16_t request = list->at[list->first];

    list->first = (list->first + 1) % VDEV_IO_MAX;
    list->count--;
    return request;
}

/* The last that was put there: memory that was touched before is used again. */
static uint16_t pop_last(struct image_list *list)
{
    return list->at[(list->first + --list->count) % VDEV_IO_MAX];
}

static int open_engine(struct image *image, const struct image_spec *spec, struct err *err)
{
    int r = -ENOSYS;

    if (spec->format == IMAGE_FORMAT_HELPER) {
        image->ops = &image_helper_ops;
        r = image->ops->open(image, spec, err);
        image->ops = r == 0 ? image->ops : NULL;
        return r;
    }
    if (spec->may_ring) {
        image->ops = &image_ring_ops;
        r = image->ops->open(image, spec, err);
    }
    if (r != 0) { /* no ring here: switched off, or older than what we need */
        image->ops = &image_pool_ops;
        r = image->ops->open(image, spec, err);
    }
    if (r != 0) {
        image->ops = NULL;
    }
    return r;
}

int image_create(const struct image_spec *spec, struct image **image, struct err *err)
{
    struct image *new = calloc(1, sizeof(*new));
    void *requests = MAP_FAILED;
    int r;

    if (new != NULL) {
        requests = mmap(NULL, REQUESTS_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    if (requests == MAP_FAILED) {
        free(new);
        (void)close(spec->fd); /* nothing was written */
        return err_set(err, -ENOMEM, "no memory for an image");
    }
    new->fd = spec->fd;
    new->requests = requests;
    new->event_fd = -1;
    (void)pthread_mutex_init(&new->lock, NULL); /* cannot fail for a plain one */
    for (uint32_t i = VDEV_IO_MAX; i-- > 0;) {
        image_list_push(&new->unused, (uint16_t)i);
    }
    new->keep = spec->keep;
    r = spec->format != IMAGE_FORMAT_HELPER ? image_probe(spec, &new->facts, &new->is_raw, err) : 0;
    new->facts.is_read_only = spec->is_read_only;
    if (r == 0) {
        r = open_engine(new, spec, err);
    }
    if (r != 0) {
        image_destroy(new);
        return r;
    }
    *image = new;
    return 0;
}

void image_destroy(struct image *image)
{
    if (image == NULL) {
        return;
    }
    if (image->ops != NULL) {
        image->ops->close(image);
    }
    cleanup_close(&image->event_fd);
    cleanup_close(&image->fd);
    (void)munmap(image->requests, REQUESTS_SIZE); /* cannot fail: it is ours */
    (void)pthread_mutex_destroy(&image->lock);    /* nobody holds it */
    free(image);
}

const struct vdev_image *image_facts(const struct image *image)
{
    return &image->facts;
}

const char *image_engine(const struct image *image)
{
    return image->ops->name;
}

int image_fd(const struct image *image)
{
    return image->event_fd;
}

bool image_is_punch(const struct image_request *request)
{
    return request->kind == VDEV_IO_DISCARD || request->kind == VDEV_IO_ZERO;
}

/* How many bytes `io` is about; UINT64_MAX: it is not to be done. */
static uint64_t check(const struct image *image, const struct vdev_io *io)
{
    bool has_memory = io->kind == VDEV_IO_READ || io->kind == VDEV_IO_WRITE;
    uint64_t size = 0;

    if (io->kind == VDEV_IO_FLUSH) {
        return io->piece_count == 0 ? 0 : UINT64_MAX;
    }
    if (io->kind > VDEV_IO_FILL || (io->kind != VDEV_IO_READ && image->facts.is_read_only) ||
        io->piece_count > (has_memory ? VDEV_IO_PIECES : 1)) {
        return UINT64_MAX;
    }
    for (uint32_t i = 0; i < io->piece_count; i++) {
        if (__builtin_add_overflow(size, io->pieces[i].size, &size)) {
            return UINT64_MAX;
        }
    }
    return io->offset <= image->facts.size && size <= image->facts.size - io->offset ? size
                                                                                     : UINT64_MAX;
}

/* Zeroes for what is left, as many as one step may have. */
static void fill_with_zeroes(struct image_request *request)
{
    uint64_t left = request->left;

    request->first = 0;
    for (request->count = 0; left > 0 && request->count < VDEV_IO_PIECES; request->count++) {
        size_t size = left < ZEROES_SIZE ? (size_t)left : ZEROES_SIZE;

        request->pieces[request->count] = (struct iovec){zeroes, size};
        left -= size;
    }
}

/* The engine gets no more than one step: the first pieces, and perhaps less of the last of them. */
static void cut_step(struct image_request *request)
{
    uint64_t size = 0;

    request->all_count = request->count;
    request->cut = 0;
    for (request->count = 0; request->count < request->all_count && size < IMAGE_STEP_MAX;
         request->count++) {
        size += request->pieces[request->first + request->count].iov_len;
    }
    if (size > IMAGE_STEP_MAX) {
        request->cut = (size_t)(size - IMAGE_STEP_MAX);
        request->pieces[request->first + request->count - 1].iov_len -= request->cut;
        size = IMAGE_STEP_MAX;
    }
    request->step = size;
}

/* All pieces are there again. */
static void join_step(struct image_request *request)
{
    if (request->count > 0) {
        request->pieces[request->first + request->count - 1].iov_len += request->cut;
    }
    request->count = request->all_count;
    request->cut = 0;
}

static void start(struct image *image, uint16_t index)
{
    struct image_request *request = &image->requests[index];

    cut_step(request);
    image->is_flying[index] = true;
    image->flying++;
    image->flying_bytes += request->step;
    image->ops->start(image, index);
}

static bool has_room(const struct image *image)
{
    return image->flying_bytes < IMAGE_FLYING_MAX && !image->is_dropping;
}

static void start_waiting(struct image *image)
{
    while (image->waiting.count > 0 && has_room(image)) {
        start(image, image_list_pop(&image->waiting));
    }
}

static void fill(struct image_request *request, const struct vdev_io *io, uint64_t size)
{
    request->kind = io->kind;
    request->token = io->token;
    request->offset = io->offset;
    request->left = size;
    request->first = 0;
    request->count = 0;
    request->result = 0;
    request->is_dropped = false;
    if (io->kind == VDEV_IO_FILL) {
        fill_with_zeroes(request);
    } else if (!image_is_punch(request)) {
        for (uint32_t i = 0; i < io->piece_count; i++) {
            if (io->pieces[i].size > 0) {
                request->pieces[request->count++] =
                    (struct iovec){io->pieces[i].base, (size_t)io->pieces[i].size};
            }
        }
    }
}

int image_begin(struct image *image, const struct vdev_io *io)
{
    uint64_t size = check(image, io);
    uint16_t request;

    if (size == UINT64_MAX) {
        return -EINVAL;
    }
    (void)pthread_mutex_lock(&image->lock);
    if (image->unused.count == 0) {
        (void)pthread_mutex_unlock(&image->lock);
        return -EBUSY;
    }
    request = pop_last(&image->unused);
    fill(&image->requests[request], io, size);
    if (image->waiting.count == 0 && has_room(image)) {
        start(image, request);
    } else {
        image_list_push(&image->waiting, request);
    }
    (void)pthread_mutex_unlock(&image->lock);
    return 0;
}

bool image_submit(struct image *image)
{
    bool has_ended;

    (void)pthread_mutex_lock(&image->lock);
    image->ops->submit(image);
    has_ended = image->ended.count > 0 || image->ops->has_ended(image);
    (void)pthread_mutex_unlock(&image->lock);
    return has_ended;
}

/* The host makes no holes here, or not at these borders: then a discard is over, since nothing was
 * promised, and zeroes are written. */
static bool manage_without_holes(struct image_request *request)
{
    if (request->kind == VDEV_IO_DISCARD) {
        return false;
    }
    request->kind = VDEV_IO_FILL;
    fill_with_zeroes(request);
    return true;
}

bool image_advance(struct image_request *request, int64_t n)
{
    if (n == -EINTR || n == -EAGAIN) {
        return true;
    }
    if (image_is_punch(request) && (n == -EOPNOTSUPP || n == -EINVAL)) {
        return manage_without_holes(request);
    }
    if (image_is_punch(request) && n > 0) { /* who does it in parts says how far it is */
        request->offset += (uint64_t)n;
        request->left -= (uint64_t)n;
        return request->left > 0;
    }
    if (n < 0 || request->kind == VDEV_IO_FLUSH || image_is_punch(request)) {
        request->result = (int)(n < 0 ? n : 0);
        return false;
    }
    if (n == 0 && request->left > 0) {
        request->result = -EIO; /* the file is shorter than it was */
        return false;
    }
    request->offset += (uint64_t)n;
    request->left -= (uint64_t)n;
    while (n > 0) {
        struct iovec *piece = &request->pieces[request->first];

        if ((uint64_t)n < piece->iov_len) {
            piece->iov_base = (uint8_t *)piece->iov_base + n;
            piece->iov_len -= (size_t)n;
            break;
        }
        n -= (int64_t)piece->iov_len;
        request->first++;
        request->count--;
    }
    if (request->kind == VDEV_IO_FILL && request->count == 0) {
        fill_with_zeroes(request);
    }
    return request->left > 0;
}

/* A flush is not: the kernel forgets what it could not write, and the next flush would succeed
 * without it. */
static bool is_kept(const struct image *image, const struct image_request *request)
{
    int result = request->result;
    bool is_full = result == -ENOSPC || result == -EDQUOT;

    return result < 0 && request->kind != VDEV_IO_FLUSH &&
           (image->keep == IMAGE_KEEP_ALL || (image->keep == IMAGE_KEEP_FULL && is_full));
}

bool image_stepped(struct image *image, uint16_t index, int64_t n)
{
    struct image_request *request = &image->requests[index];

    image->flying_bytes -= request->step;
    join_step(request);
    if (image_advance(request, n) && !request->is_dropped) {
        cut_step(request);
        image->flying_bytes += request->step;
        return true;
    }
    image->is_flying[index] = false;
    image->flying--;
    if (request->is_dropped) {
        image->dropped--;
        image_list_push(&image->unused, index);
    } else {
        image_list_push(is_kept(image, request) ? &image->kept : &image->ended, index);
    }
    start_waiting(image);
    return false;
}

bool image_take(struct image *image, uint64_t *token, int *result)
{
    bool is_there;

    (void)pthread_mutex_lock(&image->lock);
    if (image->ended.count == 0) {
        image->ops->reap(image);
    }
    is_there = image->ended.count > 0;
    if (is_there) {
        uint16_t request = image_list_pop(&image->ended);

        *token = image->requests[request].token;
        *result = image->requests[request].result;
        image_list_push(&image->unused, request);
    }
    (void)pthread_mutex_unlock(&image->lock);
    return is_there;
}

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The lock is held. */
static int finish(struct image *image, uint64_t deadline_ns)
{
    image->ops->submit(image);
    image->ops->reap(image);
    while (!image->is_parked && (image->flying > 0 || image->waiting.count > 0)) {
        if (deadline_ns != 0 && now_ns() >= deadline_ns) {
            return -ETIMEDOUT;
        }
        image->ops->wait(image, deadline_ns);
        image->ops->reap(image);
        image->ops->submit(image);
    }
    return 0;
}

int image_finish(struct image *image, uint64_t deadline_ns)
{
    int r;

    (void)pthread_mutex_lock(&image->lock);
    r = finish(image, deadline_ns);
    if (r == 0 && image->ended.count > 0) {
        r = 1;
    }
    (void)pthread_mutex_unlock(&image->lock);
    return r;
}

uint32_t image_kept(struct image *image, int *result)
{
    uint32_t count;

    (void)pthread_mutex_lock(&image->lock);
    count = image->kept.count;
    if (count > 0) {
        *result = image->requests[image->kept.at[image->kept.first]].result;
    }
    (void)pthread_mutex_unlock(&image->lock);
    return count;
}

void image_retry(struct image *image)
{
    (void)pthread_mutex_lock(&image->lock);
    while (image->kept.count > 0) {
        uint16_t index = image_list_pop(&image->kept);

        image->requests[index].result = 0;
        image_list_push(&image->waiting, index);
    }
    start_waiting(image);
    (void)pthread_mutex_unlock(&image->lock);
}

struct meant {
    bool (*is)(void *context, uint64_t token); /* NULL: all are */
    void *context;
};

static bool is_meant(const struct image *image, uint16_t index, const struct meant *meant)
{
    return meant->is == NULL || meant->is(meant->context, image->requests[index].token);
}

static void drop_from(struct image *image, struct image_list *list, const struct meant *meant)
{
    for (uint32_t left = list->count; left > 0; left--) {
        uint16_t index = image_list_pop(list);

        image_list_push(is_meant(image, index, meant) ? &image->unused : list, index);
    }
}

static void drop(struct image *image, const struct meant *meant)
{
    (void)pthread_mutex_lock(&image->lock);
    drop_from(image, &image->waiting, meant);
    drop_from(image, &image->ended, meant);
    drop_from(image, &image->kept, meant);
    for (uint32_t i = 0; i < VDEV_IO_MAX; i++) {
        if (image->is_flying[i] && is_meant(image, (uint16_t)i, meant)) {
            image->requests[i].is_dropped = true;
            image->dropped++;
        }
    }
    image->is_dropping = true;
    image->ops->submit(image);
    image->ops->reap(image);
    while (image->dropped > 0) {
        image->ops->wait(image, 0);
        image->ops->reap(image);
    }
    image->is_dropping = false;
    start_waiting(image);
    image->ops->submit(image);
    (void)pthread_mutex_unlock(&image->lock);
}

void image_stop(struct image *image)
{
    drop(image, &(struct meant){0});
}

void image_drop(struct image *image, bool (*meant)(void *context, uint64_t token), void *context)
{
    drop(image, &(struct meant){meant, context});
}
