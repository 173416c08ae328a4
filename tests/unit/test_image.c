/* Images: formats, bounds, and transfers by both engines on a real file. */
#include <endian.h>
#include <time.h>

#include "tests/unit/image_unit.h"

START_TEST(what_is_written_is_read_back_and_is_in_the_file)
{
    static char out[8192], in[8192], again[8192];
    int result = 1;

    for (int may_ring = 0; may_ring < 2; may_ring++) {
        struct image *image = make(may_ring != 0);

        for (size_t i = 0; i < sizeof(out); i++) {
            out[i] = (char)(i * 7 + (size_t)may_ring);
        }
        ck_assert_int_eq(begin(image, VDEV_IO_WRITE, 4096, out, sizeof(out), 11), 0);
        image_submit(image);
        ck_assert_uint_eq(take(image, &result), 11);
        ck_assert_int_eq(result, 0);
        ck_assert_int_eq(begin(image, VDEV_IO_FLUSH, 0, NULL, 0, 12), 0);
        image_submit(image);
        ck_assert_uint_eq(take(image, &result), 12);
        ck_assert_int_eq(result, 0);
        ck_assert_int_eq(begin(image, VDEV_IO_READ, 4096, in, sizeof(in), 13), 0);
        image_submit(image);
        ck_assert_uint_eq(take(image, &result), 13);
        ck_assert_mem_eq(in, out, sizeof(in));
        ck_assert_int_eq(pread(file, again, sizeof(again), 4096), sizeof(again));
        ck_assert_mem_eq(again, out, sizeof(again));
        image_destroy(image);
        (void)close(file);
    }
}
END_TEST

START_TEST(what_has_ended_is_told_by_submit)
{
    static char in[512];
    int result = 1;
    uint64_t token = 0;

    for (int may_ring = 0; may_ring < 2; may_ring++) {
        struct image *image = make(may_ring != 0);
        struct pollfd poll_of = {.fd = image_fd(image), .events = POLLIN};

        ck_assert(!image_submit(image));
        ck_assert_int_eq(begin(image, VDEV_IO_READ, 0, in, sizeof(in), 5), 0);
        (void)image_submit(image); /* it may have ended meanwhile, or not */
        ck_assert_int_eq(poll(&poll_of, 1, WAIT_MS), 1);
        ck_assert(image_submit(image));
        ck_assert(image_take(image, &token, &result));
        ck_assert_uint_eq(token, 5);
        ck_assert(!image_take(image, &token, &result));
        ck_assert(!image_submit(image));
        ck_assert_int_eq(poll(&poll_of, 1, 0), 0);
        image_destroy(image);
        (void)close(file);
    }
}
END_TEST

START_TEST(transfer_of_many_pieces_ends_once)
{
    static char out[VDEV_IO_PIECES][512], in[VDEV_IO_PIECES * 512];
    struct vdev_piece pieces[VDEV_IO_PIECES + 1];
    struct vdev_io io = {.kind = VDEV_IO_WRITE, .pieces = pieces, .piece_count = VDEV_IO_PIECES};
    int result = 1;

    for (int may_ring = 0; may_ring < 2; may_ring++) {
        struct image *image = make(may_ring != 0);

        for (unsigned i = 0; i < VDEV_IO_PIECES; i++) {
            memset(out[i], (int)i + 1, 512);
            pieces[i] = (struct vdev_piece){out[i], 512};
        }
        ck_assert_int_eq(image_begin(image, &io), 0);
        image_submit(image);
        (void)take(image, &result);
        ck_assert_int_eq(result, 0);
        ck_assert_int_eq(pread(file, in, sizeof(in), 0), sizeof(in));
        ck_assert_mem_eq(in, out, sizeof(in));
        io.piece_count++;
        ck_assert_int_eq(image_begin(image, &io), -EINVAL);
        io.piece_count--;
        image_destroy(image);
        (void)close(file);
    }
}
END_TEST

START_TEST(as_many_as_may_are_in_flight_and_one_more_is_refused)
{
    static char in[VDEV_IO_MAX][512];
    bool seen[VDEV_IO_MAX];
    int result;

    for (int may_ring = 0; may_ring < 2; may_ring++) {
        struct image *image = make(may_ring != 0);

        memset(seen, 0, sizeof(seen));
        for (unsigned i = 0; i < VDEV_IO_MAX; i++) {
            ck_assert_int_eq(begin(image, VDEV_IO_READ, 512 * i, in[i], 512, i), 0);
        }
        ck_assert_int_eq(begin(image, VDEV_IO_READ, 0, in[0], 512, 0), -EBUSY);
        image_submit(image);
        for (unsigned i = 0; i < VDEV_IO_MAX; i++) {
            uint64_t token = take(image, &result);

            ck_assert(!seen[token]);
            seen[token] = true;
        }
        ck_assert_int_eq(begin(image, VDEV_IO_READ, 0, in[0], 512, 0), 0);
        image_stop(image);
        image_destroy(image);
        (void)close(file);
    }
}
END_TEST

START_TEST(what_was_stopped_is_never_told)
{
    static char in[100][4096];
    uint64_t token;
    int result;

    for (int may_ring = 0; may_ring < 2; may_ring++) {
        struct image *image = make(may_ring != 0);

        for (unsigned i = 0; i < ARRAY_LEN(in); i++) {
            ck_assert_int_eq(begin(image, VDEV_IO_READ, 0, in[i], sizeof(in[i]), i), 0);
        }
        image_stop(image);
        ck_assert(!image_take(image, &token, &result));
        ck_assert_int_eq(begin(image, VDEV_IO_READ, 0, in[0], sizeof(in[0]), 7), 0);
        image_submit(image);
        ck_assert_uint_eq(take(image, &result), 7);
        image_destroy(image);
        (void)close(file);
    }
}
END_TEST

START_TEST(file_that_became_shorter_is_an_error)
{
    static char in[4096];
    int result = 0;

    for (int may_ring = 0; may_ring < 2; may_ring++) {
        struct image *image = make(may_ring != 0);

        ck_assert_int_eq(ftruncate(file, 4096 + 512), 0);
        ck_assert_int_eq(begin(image, VDEV_IO_READ, 4096, in, sizeof(in), 1), 0);
        image_submit(image);
        (void)take(image, &result);
        ck_assert_int_eq(result, -EIO);
        image_destroy(image);
        (void)close(file);
    }
}
END_TEST

static uint64_t in_ms(uint64_t ms)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec + ms * 1000000u;
}

/* A disk that does not answer: transfers reach the engine when the test lets them. */
static bool is_stalled;
static const struct image_engine_ops *engine;

static void stalled_start(struct image *image, uint16_t request)
{
    (void)request; /* the one that there is, 0, begins with its engine's wait */
    (void)image;
}

static void stalled_wait(struct image *image, uint64_t deadline_ns)
{
    if (!is_stalled) {
        engine->wait(image, deadline_ns);
    }
}

START_TEST(a_disk_that_does_not_answer_is_waited_for_until_the_deadline)
{
    static char out[512];
    uint64_t token;
    int result = 1;

    for (int may_ring = 0; may_ring < 2; may_ring++) {
        struct image *image = make(may_ring != 0);
        struct image_engine_ops ops = *image->ops;
        uint16_t request;

        ck_assert_int_eq(image_finish(image, in_ms(WAIT_MS)), 0);
        engine = image->ops;
        ops.start = stalled_start;
        ops.wait = stalled_wait;
        image->ops = &ops;
        is_stalled = true;
        request = image->unused.at[image->unused.count - 1];
        ck_assert_int_eq(begin(image, VDEV_IO_WRITE, 0, out, sizeof(out), 5), 0);
        ck_assert_int_eq(image_finish(image, in_ms(1)), -ETIMEDOUT);
        ck_assert(!image_take(image, &token, &result));
        is_stalled = false;
        (void)pthread_mutex_lock(&image->lock);
        engine->start(image, request);
        (void)pthread_mutex_unlock(&image->lock);
        ck_assert_int_eq(image_finish(image, in_ms(WAIT_MS)), 1);
        ck_assert(image_take(image, &token, &result));
        ck_assert_uint_eq(token, 5);
        ck_assert_int_eq(result, 0);
        ck_assert_int_eq(image_finish(image, in_ms(WAIT_MS)), 0);
        image->ops = engine;
        image_destroy(image);
        (void)close(file);
    }
}
END_TEST

/* The engine's own wait ends at its deadline, too. */
START_TEST(waiting_for_nothing_ends_at_the_deadline)
{
    for (int may_ring = 0; may_ring < 2; may_ring++) {
        struct image *image = make(may_ring != 0);

        (void)pthread_mutex_lock(&image->lock);
        image->ops->wait(image, in_ms(1));
        (void)pthread_mutex_unlock(&image->lock);
        image_destroy(image);
        (void)close(file);
    }
}
END_TEST

START_TEST(nothing_outside_the_image_is_begun)
{
    static char in[1024];
    struct image *image = make(false);

    ck_assert_int_eq(begin(image, VDEV_IO_READ, SIZE, in, 1, 0), -EINVAL);
    ck_assert_int_eq(begin(image, VDEV_IO_READ, SIZE - 512, in, 1024, 0), -EINVAL);
    ck_assert_int_eq(begin(image, VDEV_IO_WRITE, UINT64_MAX, in, 512, 0), -EINVAL);
    ck_assert_int_eq(begin(image, VDEV_IO_WRITE, 0, in, UINT64_MAX, 0), -EINVAL);
    ck_assert_int_eq(begin(image, (enum vdev_io_kind)77, 0, in, 512, 0), -EINVAL);
    ck_assert_int_eq(begin(image, VDEV_IO_DISCARD, SIZE - 512, NULL, 1024, 0), -EINVAL);
    ck_assert_int_eq(begin(image, VDEV_IO_ZERO, 0, NULL, UINT64_MAX, 0), -EINVAL);
    ck_assert_int_eq(begin(image, VDEV_IO_FILL, SIZE + 512, NULL, 512, 0), -EINVAL);
    image_destroy(image);
    ck_assert_int_eq(create("disk.img", SIZE, false, true, &image), 0);
    ck_assert_int_eq(begin(image, VDEV_IO_WRITE, 0, in, 512, 0), -EINVAL);
    ck_assert_int_eq(begin(image, VDEV_IO_DISCARD, 0, NULL, 512, 0), -EINVAL);
    ck_assert_int_eq(begin(image, VDEV_IO_ZERO, 0, NULL, 512, 0), -EINVAL);
    ck_assert_int_eq(begin(image, VDEV_IO_FILL, 0, NULL, 512, 0), -EINVAL);
    ck_assert(image_facts(image)->is_read_only);
    image_destroy(image);
}
END_TEST

START_TEST(size_of_a_raw_image_is_a_multiple_of_a_sector)
{
    static const off_t wrong[] = {1, 511, 513};
    struct image *image = NULL;

    ck_assert_int_eq(create("disk.img", 0, false, false, &image), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "is empty"));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_int_eq(create("disk.img", wrong[i], false, false, &image), -EINVAL);
        ck_assert_ptr_nonnull(strstr(err.msg, "multiple of 512"));
    }
}
END_TEST

START_TEST(a_raw_image_takes_the_size_that_its_file_has)
{
    static char out[512];
    uint64_t size = 0;
    int result = 1;

    for (int may_ring = 0; may_ring < 2; may_ring++) {
        struct image *image = make(may_ring != 0);

        ck_assert_int_eq(image_grow(image, "disk.img", &size, &err), 0);
        ck_assert_uint_eq(size, SIZE);
        ck_assert_int_eq(begin(image, VDEV_IO_WRITE, SIZE, out, sizeof(out), 1), -EINVAL);
        ck_assert_int_eq(ftruncate(file, SIZE + 512), 0);
        ck_assert_int_eq(begin(image, VDEV_IO_WRITE, SIZE, out, sizeof(out), 1), -EINVAL);
        ck_assert_int_eq(image_grow(image, "disk.img", &size, &err), 0);
        ck_assert_uint_eq(size, SIZE + 512);
        ck_assert_uint_eq(image_facts(image)->size, SIZE + 512);
        ck_assert_int_eq(begin(image, VDEV_IO_WRITE, SIZE, out, sizeof(out), 1), 0);
        image_submit(image);
        ck_assert_uint_eq(take(image, &result), 1);
        ck_assert_int_eq(result, 0);
        ck_assert_int_eq(begin(image, VDEV_IO_WRITE, SIZE + 512, out, sizeof(out), 1), -EINVAL);
        image_destroy(image);
        close(file);
    }
}
END_TEST

START_TEST(an_image_never_becomes_smaller_or_part_of_a_sector)
{
    struct image *image = make(false);
    uint64_t size = 7;

    ck_assert_int_eq(ftruncate(file, SIZE - 512), 0);
    ck_assert_int_eq(image_grow(image, "disk.img", &size, &err), -EINVAL);
    ck_assert_str_eq(err.msg, "'disk.img' has 1048064 bytes, and the guest knows a disk of 1048576"
                              ": make it as large as it was, or stop the guest");
    ck_assert_int_eq(ftruncate(file, SIZE + 100), 0);
    ck_assert_int_eq(image_grow(image, "disk.img", &size, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "not a multiple of 512"));
    ck_assert_uint_eq(size, 7);
    ck_assert_uint_eq(image_facts(image)->size, SIZE);
    image_destroy(image);
    close(file);
}
END_TEST

START_TEST(other_formats_are_refused_by_their_names)
{
    static const char *const names[] = {"a.vhdx", "b.qcow2", "C.QCOW2", "/x/d.vmdk"};
    struct image *image = NULL;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        ck_assert_int_eq(create(names[i], SIZE, false, false, &image), -ENOTSUP);
        ck_assert_ptr_nonnull(strstr(err.msg, "qemu-img convert"));
    }
}
END_TEST

/* ---- fixed VHD ---- */

static uint8_t footer[512];

static void set_footer(uint32_t type, uint64_t size)
{
    static const char cookie[8] = {'c', 'o', 'n', 'e', 'c', 't', 'i', 'x'};
    uint32_t sum = 0, value;

    memset(footer, 0, sizeof(footer));
    memcpy(footer, cookie, sizeof(cookie));
    value = htobe32(0x00010000);
    memcpy(footer + 12, &value, 4);
    memset(footer + 16, 0xff, 8);
    size = htobe64(size);
    memcpy(footer + 40, &size, 8);
    memcpy(footer + 48, &size, 8);
    value = htobe32(type);
    memcpy(footer + 60, &value, 4);
    for (size_t i = 0; i < sizeof(footer); i++) {
        sum += footer[i];
    }
    value = htobe32(~sum);
    memcpy(footer + 64, &value, 4);
}

static int create_vhd(off_t file_size, struct image **image)
{
    struct image_spec spec = {.path = "disk.vhd"};

    file = memfd_create("image", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(file, file_size), 0);
    ck_assert_int_eq(pwrite(file, footer, sizeof(footer), file_size - 512), 512);
    spec.fd = file;
    memset(&err, 0, sizeof(err));
    return image_create(&spec, image, &err);
}

START_TEST(fixed_vhd_is_the_disk_without_its_footer)
{
    struct image *image = NULL;

    set_footer(2, SIZE);
    ck_assert_int_eq(create_vhd(SIZE + 512, &image), 0);
    ck_assert_uint_eq(image_facts(image)->size, SIZE);
    image_destroy(image);
}
END_TEST

START_TEST(footer_in_an_image_with_another_name_means_nothing)
{
    struct image *image = NULL;

    set_footer(2, 512);
    ck_assert_int_eq(create("disk.img", SIZE, false, false, &image), 0);
    ck_assert_int_eq(pwrite(file, footer, sizeof(footer), SIZE - 512), 512);
    image_destroy(image);
    ck_assert_int_eq(create("disk.img", SIZE, false, false, &image), 0);
    ck_assert_uint_eq(image_facts(image)->size, SIZE);
    image_destroy(image);
}
END_TEST

START_TEST(vhd_that_is_damaged_or_of_another_kind_is_refused_in_words)
{
    struct image *image = NULL;

    set_footer(3, SIZE);
    ck_assert_int_eq(create_vhd(SIZE + 512, &image), -ENOTSUP);
    ck_assert_ptr_nonnull(strstr(err.msg, "dynamic"));
    set_footer(4, SIZE);
    ck_assert_int_eq(create_vhd(SIZE + 512, &image), -ENOTSUP);
    ck_assert_ptr_nonnull(strstr(err.msg, "differencing"));
    set_footer(2, SIZE);
    footer[100] ^= 1;
    ck_assert_int_eq(create_vhd(SIZE + 512, &image), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "damaged"));
    set_footer(2, SIZE + 512); /* more than there is */
    ck_assert_int_eq(create_vhd(SIZE + 512, &image), -EINVAL);
    set_footer(2, 0);
    ck_assert_int_eq(create_vhd(SIZE + 512, &image), -EINVAL);
    set_footer(2, SIZE - 1);
    ck_assert_int_eq(create_vhd(SIZE + 512, &image), -EINVAL);
    set_footer(2, SIZE);
    footer[0] = 'C';
    ck_assert_int_eq(create_vhd(SIZE + 512, &image), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "no footer"));
    set_footer(2, 512);
    ck_assert_int_eq(create_vhd(512, &image), -EINVAL);
}
END_TEST

UNIT_MAIN("image", what_is_written_is_read_back_and_is_in_the_file,
          what_has_ended_is_told_by_submit, transfer_of_many_pieces_ends_once,
          as_many_as_may_are_in_flight_and_one_more_is_refused, what_was_stopped_is_never_told,
          a_disk_that_does_not_answer_is_waited_for_until_the_deadline,
          waiting_for_nothing_ends_at_the_deadline, file_that_became_shorter_is_an_error,
          nothing_outside_the_image_is_begun, size_of_a_raw_image_is_a_multiple_of_a_sector,
          a_raw_image_takes_the_size_that_its_file_has,
          an_image_never_becomes_smaller_or_part_of_a_sector,
          other_formats_are_refused_by_their_names, fixed_vhd_is_the_disk_without_its_footer,
          footer_in_an_image_with_another_name_means_nothing,
          vhd_that_is_damaged_or_of_another_kind_is_refused_in_words)
