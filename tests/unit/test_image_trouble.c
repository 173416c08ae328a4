/* Images: transfers that fail and are kept, that are dropped, and that are more than a step. */
#include "tests/unit/image_unit.h"

#include "qvm-worker/image/helper_private.h"

enum { BIG = 9 << 20, MANY = 100 };

static struct image *keep(bool may_ring, enum image_keep keep_what, off_t size)
{
    struct image_spec spec = {.path = "disk.img", .may_ring = may_ring, .keep = keep_what};
    struct image *image = NULL;

    file = memfd_create("image", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(file, size), 0);
    spec.fd = dup(file);
    ck_assert_int_eq(image_create(&spec, &image, &err), 0);
    return image;
}

/* Until nothing is in flight, what ended is taken: how many. */
static unsigned settle(struct image *image)
{
    uint64_t token;
    unsigned count = 0;
    int result;

    while (image_finish(image, 0) > 0 || image_fail_parked(image)) {
        while (image_take(image, &token, &result)) {
            count++;
        }
    }
    return count;
}

START_TEST(what_fails_is_kept_and_goes_on_where_it_was)
{
    static uint8_t in[8192];
    int result = 0;

    for (int may_ring = 0; may_ring < 2; may_ring++) {
        struct image *image = keep(may_ring != 0, IMAGE_KEEP_ALL, SIZE);

        ck_assert_int_eq(ftruncate(file, 4096), 0);
        memset(in, 0xff, sizeof(in));
        ck_assert_int_eq(begin(image, VDEV_IO_READ, 0, in, sizeof(in), 3), 0);
        image_submit(image);
        ck_assert_uint_eq(settle(image), 0);
        ck_assert_uint_eq(image_kept(image, &result), 1);
        ck_assert_int_eq(result, -EIO);
        image_retry(image); /* nothing is better */
        ck_assert_uint_eq(settle(image), 0);
        ck_assert_uint_eq(image_kept(image, &result), 1);
        ck_assert_int_eq(ftruncate(file, SIZE), 0);
        memset(in, 0xff, 4096); /* these were read */
        image_retry(image);
        image_submit(image);
        ck_assert_uint_eq(take(image, &result), 3);
        ck_assert_int_eq(result, 0);
        ck_assert_uint_eq(image_kept(image, &result), 0);
        ck_assert_uint_eq(in[4095], 0xff);
        ck_assert_uint_eq(in[4096], 0);
        ck_assert_uint_eq(in[8191], 0);
        image_destroy(image);
        (void)close(file);
    }
}
END_TEST

START_TEST(what_is_not_to_be_kept_is_told)
{
    static const enum image_keep others[] = {IMAGE_KEEP_NONE, IMAGE_KEEP_FULL};
    static uint8_t in[512];
    int result = 0;

    for (unsigned i = 0; i < 4; i++) {
        struct image *image = keep(i % 2 != 0, others[i / 2], SIZE);

        ck_assert_int_eq(ftruncate(file, 4096), 0);
        ck_assert_int_eq(begin(image, VDEV_IO_READ, 8192, in, sizeof(in), 3), 0);
        image_submit(image);
        ck_assert_uint_eq(take(image, &result), 3);
        ck_assert_int_eq(result, -EIO);
        ck_assert_uint_eq(image_kept(image, &result), 0);
        image_destroy(image);
        (void)close(file);
    }
}
END_TEST

/* Once more it would succeed, and what the host could not write would be lost unheard. */
START_TEST(a_flush_that_failed_is_told_and_not_tried_again)
{
    struct image *image = keep(false, IMAGE_KEEP_ALL, SIZE);
    int pipe_fds[2], result = 0;

    ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
    ck_assert_int_eq(dup3(pipe_fds[1], image->fd, O_CLOEXEC), image->fd); /* has no disk */
    ck_assert_int_eq(begin(image, VDEV_IO_FLUSH, 0, NULL, 0, 3), 0);
    image_submit(image);
    ck_assert_uint_eq(take(image, &result), 3);
    ck_assert_int_eq(result, -EINVAL);
    ck_assert_uint_eq(image_kept(image, &result), 0);
    image_destroy(image);
    ck_assert_int_eq(close(file) + close(pipe_fds[0]) + close(pipe_fds[1]), 0);
}
END_TEST

START_TEST(what_is_kept_is_forgotten_by_a_stop)
{
    static uint8_t in[512];
    int result;

    for (int may_ring = 0; may_ring < 2; may_ring++) {
        struct image *image = keep(may_ring != 0, IMAGE_KEEP_ALL, SIZE);

        ck_assert_int_eq(ftruncate(file, 4096), 0);
        for (unsigned i = 0; i < VDEV_IO_MAX; i++) {
            ck_assert_int_eq(begin(image, VDEV_IO_READ, 8192, in, sizeof(in), i), 0);
        }
        ck_assert_uint_eq(settle(image), 0);
        ck_assert_uint_eq(image_kept(image, &result), VDEV_IO_MAX);
        ck_assert_int_eq(begin(image, VDEV_IO_READ, 0, in, sizeof(in), 0), -EBUSY);
        image_stop(image);
        ck_assert_uint_eq(image_kept(image, &result), 0);
        ck_assert_int_eq(begin(image, VDEV_IO_READ, 0, in, sizeof(in), 7), 0);
        image_submit(image);
        ck_assert_uint_eq(take(image, &result), 7);
        ck_assert_int_eq(result, 0);
        image_destroy(image);
        (void)close(file);
    }
}
END_TEST

START_TEST(more_than_a_step_arrives_whole)
{
    static uint8_t out[BIG], in[BIG];
    struct vdev_piece pieces[] = {{out, 512}, {out + 512, BIG - 1024}, {out + BIG - 512, 512}};
    struct vdev_io io = {.kind = VDEV_IO_WRITE, .pieces = pieces, .piece_count = 3};
    int result = 1;

    for (size_t i = 0; i < BIG; i++) {
        out[i] = (uint8_t)(i * 31 >> 7);
    }
    for (int may_ring = 0; may_ring < 2; may_ring++) {
        struct image *image = keep(may_ring != 0, IMAGE_KEEP_NONE, BIG);

        ck_assert_int_eq(image_begin(image, &io), 0);
        image_submit(image);
        (void)take(image, &result);
        ck_assert_int_eq(result, 0);
        memset(in, 0, BIG);
        ck_assert_int_eq(begin(image, VDEV_IO_READ, 0, in, BIG, 1), 0);
        image_submit(image);
        (void)take(image, &result);
        ck_assert_int_eq(result, 0);
        ck_assert_mem_eq(in, out, BIG);
        image_destroy(image);
        (void)close(file);
    }
}
END_TEST

/* None waits without need, and none is begun beyond the bound; threads may end some meanwhile. */
static void expect_bounded(struct image *image)
{
    uint64_t bytes;
    uint32_t waiting;

    (void)pthread_mutex_lock(&image->lock);
    bytes = image->flying_bytes;
    waiting = image->waiting.count;
    (void)pthread_mutex_unlock(&image->lock);
    ck_assert_uint_le(bytes, IMAGE_FLYING_MAX);
    ck_assert(waiting == 0 || bytes == IMAGE_FLYING_MAX);
}

START_TEST(more_than_the_host_is_asked_for_at_once_waits_and_is_done)
{
    static uint8_t in[IMAGE_STEP_MAX];
    unsigned count = 0;

    for (int may_ring = 0; may_ring < 2; may_ring++) {
        struct image *image = keep(may_ring != 0, IMAGE_KEEP_NONE, IMAGE_STEP_MAX);

        for (count = 0; count < 2 * IMAGE_FLYING_MAX / IMAGE_STEP_MAX; count++) {
            ck_assert_int_eq(begin(image, VDEV_IO_READ, 0, in, sizeof(in), count), 0);
            expect_bounded(image);
        }
        if (image->ops == &image_ring_ops) { /* the kernel has not heard of any */
            ck_assert_uint_eq(image->waiting.count, count / 2);
        }
        ck_assert_uint_eq(settle(image), count);
        ck_assert_uint_eq(image->flying_bytes, 0);
        image_destroy(image);
        (void)close(file);
    }
}
END_TEST

static bool is_odd(void *context, uint64_t token)
{
    unsigned *asked = context;

    (*asked)++;
    return token % 2 != 0;
}

START_TEST(who_drops_some_hears_of_the_others)
{
    static uint8_t in[MANY][4096];
    bool seen[MANY];
    uint64_t token;
    int result;

    for (int may_ring = 0; may_ring < 2; may_ring++) {
        struct image *image = keep(may_ring != 0, IMAGE_KEEP_NONE, SIZE);
        unsigned asked = 0, taken = 0;

        memset(seen, 0, sizeof(seen));
        for (unsigned i = 0; i < MANY; i++) {
            ck_assert_int_eq(begin(image, VDEV_IO_READ, 0, in[i], sizeof(in[i]), i), 0);
        }
        image_drop(image, is_odd, &asked);
        ck_assert_uint_eq(asked, MANY);
        while (image_finish(image, 0) > 0) {
            for (; image_take(image, &token, &result); taken++) {
                ck_assert_uint_eq(token % 2, 0);
                ck_assert(!seen[token]);
                seen[token] = true;
            }
        }
        ck_assert_uint_eq(taken, MANY / 2);
        ck_assert_uint_eq(image->unused.count, VDEV_IO_MAX);
        image_destroy(image);
        (void)close(file);
    }
}
END_TEST

/* A helper that takes what it is asked for, and is lost as soon as somebody waits for it. */
static struct helper dying;

static void dying_start(struct image *image UNUSED, uint16_t request)
{
    image_list_push(&dying.waiting, request);
}

static void dying_wait(struct image *image, uint64_t deadline_ns UNUSED)
{
    image->is_parked = true;
}

static void do_nothing(struct image *image UNUSED)
{
}

START_TEST(what_waits_for_another_helper_can_be_failed_also_when_one_is_lost_meanwhile)
{
    static const struct image_engine_ops ops = {
        .start = dying_start, .submit = do_nothing, .reap = do_nothing, .wait = dying_wait};
    static uint8_t in[512];
    int result = 0;

    for (unsigned is_kept = 0; is_kept < 2; is_kept++) {
        struct image *image = keep(false, is_kept != 0 ? IMAGE_KEEP_ALL : IMAGE_KEEP_NONE, SIZE);
        const struct image_engine_ops *own_ops = image->ops;
        void *own_engine = image->engine;

        image->ops = &ops;
        image->engine = &dying;
        for (unsigned i = 0; i < MANY; i++) {
            ck_assert_int_eq(begin(image, VDEV_IO_READ, 0, in, sizeof(in), i), 0);
        }
        ck_assert_int_eq(image_finish(image, 0), 0); /* none has ended, nor will */
        ck_assert_uint_eq(image->flying, MANY);
        image->is_parked = false;
        ck_assert_uint_eq(settle(image), is_kept != 0 ? 0 : MANY);
        ck_assert_uint_eq(image_kept(image, &result), is_kept != 0 ? MANY : 0);
        ck_assert_uint_eq(image->flying, 0);
        ck_assert_uint_eq(dying.waiting.count, 0);
        image->ops = own_ops;
        image->engine = own_engine;
        image_destroy(image);
        (void)close(file);
    }
}
END_TEST

UNIT_MAIN("image_trouble", what_fails_is_kept_and_goes_on_where_it_was,
          what_is_not_to_be_kept_is_told, a_flush_that_failed_is_told_and_not_tried_again,
          what_is_kept_is_forgotten_by_a_stop, more_than_a_step_arrives_whole,
          more_than_the_host_is_asked_for_at_once_waits_and_is_done,
          who_drops_some_hears_of_the_others,
          what_waits_for_another_helper_can_be_failed_also_when_one_is_lost_meanwhile)
