/* Images: ranges that are given back or zeroed, by both engines on a real file. */
#include <sys/stat.h>

#include "tests/unit/image_unit.h"

/* How many blocks of 512 bytes the host keeps for the image. */
static long long blocks(void)
{
    struct stat stat;

    ck_assert_int_eq(fstat(file, &stat), 0);
    return (long long)stat.st_blocks;
}

/* A range of the image, in one kind of transfer; it succeeds. */
static void change(struct image *image, enum vdev_io_kind kind, uint64_t offset, uint64_t size)
{
    int result = 1;

    ck_assert_int_eq(begin(image, kind, offset, NULL, size, 7), 0);
    image_submit(image);
    ck_assert_uint_eq(take(image, &result), 7);
    ck_assert_int_eq(result, 0);
}

/* The image's bytes in the range are all this. */
static void expect_bytes(uint64_t offset, uint64_t size, uint8_t value)
{
    static uint8_t bytes[SIZE];

    ck_assert_int_eq(pread(file, bytes, size, (off_t)offset), (ssize_t)size);
    ck_assert_uint_eq(bytes[0], value);
    ck_assert_int_eq(memcmp(bytes, bytes + 1, size - 1), 0); /* each is as the one before */
}

START_TEST(holes_give_blocks_back_and_read_as_zero)
{
    static uint8_t full[SIZE];

    memset(full, 0x5a, sizeof(full));
    for (int i = 0; i < 4; i++) {
        struct image *image = make(i % 2 != 0);

        ck_assert_int_eq(pwrite(file, full, SIZE, 0), SIZE);
        ck_assert_int_ge(blocks(), SIZE / 512);
        change(image, i < 2 ? VDEV_IO_DISCARD : VDEV_IO_ZERO, 65536, SIZE / 2);
        ck_assert_int_le(blocks(), SIZE / 512 - SIZE / 1024);
        expect_bytes(0, 65536, 0x5a);
        expect_bytes(65536, SIZE / 2, 0);
        expect_bytes(65536 + SIZE / 2, SIZE / 2 - 65536, 0x5a);
        image_destroy(image);
        close(file);
    }
}
END_TEST

START_TEST(zeroes_that_keep_their_blocks_are_written)
{
    static uint8_t full[SIZE];

    memset(full, 0x5a, sizeof(full));
    for (int may_ring = 0; may_ring < 2; may_ring++) {
        struct image *image = make(may_ring != 0);

        ck_assert_int_eq(pwrite(file, full, SIZE, 0), SIZE);
        change(image, VDEV_IO_FILL, 512, SIZE - 1024); /* more pieces than one, and a part of one */
        ck_assert_int_ge(blocks(), SIZE / 512);
        expect_bytes(0, 512, 0x5a);
        expect_bytes(512, SIZE - 1024, 0);
        expect_bytes(SIZE - 512, 512, 0x5a);
        image_destroy(image);
        close(file);
    }
}
END_TEST

START_TEST(zeroes_may_be_more_than_one_step_has)
{
    enum { BIG = 40 << 20, AT = 1 << 20 };
    struct image *image = NULL;
    uint8_t byte = 1;

    ck_assert_int_eq(create("disk.img", BIG, true, false, &image), 0);
    ck_assert_int_eq(pwrite(file, &byte, 1, BIG - 1), 1);
    change(image, VDEV_IO_FILL, AT, BIG - AT);
    expect_bytes(BIG - SIZE, SIZE, 0);
    ck_assert_int_ge(blocks(), (BIG - AT) / 512);
    image_destroy(image);
    close(file);
}
END_TEST

START_TEST(host_without_holes_writes_zeroes_and_forgets_discards)
{
    struct image_request request = {.kind = VDEV_IO_DISCARD, .left = 100000, .result = 1};

    request.result = 0;
    ck_assert(!image_advance(&request, -EOPNOTSUPP));
    ck_assert_int_eq(request.result, 0);
    request.kind = VDEV_IO_ZERO;
    ck_assert(image_advance(&request, -EOPNOTSUPP));
    ck_assert_int_eq(request.kind, VDEV_IO_FILL);
    ck_assert_uint_eq(request.count, 2);
    ck_assert_uint_eq(request.pieces[0].iov_len + request.pieces[1].iov_len, 100000);
    request = (struct image_request){.kind = VDEV_IO_ZERO, .left = 512};
    ck_assert(!image_advance(&request, -ENOSPC));
    ck_assert_int_eq(request.result, -ENOSPC);
}
END_TEST

UNIT_MAIN("image_ranges", holes_give_blocks_back_and_read_as_zero,
          zeroes_that_keep_their_blocks_are_written, zeroes_may_be_more_than_one_step_has,
          host_without_holes_writes_zeroes_and_forgets_discards)
