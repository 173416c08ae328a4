/* The heads of images that a helper is to serve: what is whole by itself, and what is not. */
#include "daemon/worker/helper_image.h"

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

enum { SIZE = 512 << 10, REGIONS = 192 << 10, REGIONS_TOO = 256 << 10, METADATA = 300 << 10 };

static uint8_t image[SIZE];
static struct err err;

static int check_size(const char *format, size_t size)
{
    auto_close int fd = memfd_create("image", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, image, size), (ssize_t)size);
    memset(&err, 0, sizeof(err));
    return helper_image_check(fd, format, &err);
}

static int check(const char *format)
{
    return check_size(format, SIZE);
}

static void put32(size_t at, uint32_t value)
{
    memcpy(image + at, &value, sizeof(value));
}

static void put64(size_t at, uint64_t value)
{
    memcpy(image + at, &value, sizeof(value));
}

static void put_text(size_t at, const char *text)
{
    while (*text != '\0') {
        image[at++] = (uint8_t)*text++;
    }
}

static void make_qcow2(uint32_t version)
{
    memset(image, 0, sizeof(image));
    put32(0, htobe32(0x514649fb));
    put32(4, htobe32(version));
}

static void make_vhd(uint32_t type)
{
    memset(image, 0, sizeof(image));
    put_text(0, "conectix");
    put32(60, htobe32(type));
}

static void make_regions(size_t at)
{
    static const uint8_t metadata[] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                       0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};

    put_text(at, "regi");
    put32(at + 8, htole32(2)); /* the first is something else */
    memcpy(image + at + 16 + 32, metadata, sizeof(metadata));
    put64(at + 16 + 32 + 16, htole64(METADATA));
}

static void make_vhdx(uint32_t flags, uint32_t sector)
{
    static const uint8_t parameters[] = {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                         0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b};
    static const uint8_t sectors[] = {0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
                                      0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f};

    memset(image, 0, sizeof(image));
    put_text(0, "vhdxfile");
    make_regions(REGIONS);
    put_text(METADATA, "metadata");
    image[METADATA + 10] = 2;
    memcpy(image + METADATA + 32, parameters, sizeof(parameters));
    put32(METADATA + 32 + 16, htole32(65536));
    memcpy(image + METADATA + 64, sectors, sizeof(sectors));
    put32(METADATA + 64 + 16, htole32(65544));
    put32(METADATA + 65536 + 4, htole32(flags));
    put32(METADATA + 65544, htole32(sector));
}

START_TEST(an_image_that_is_whole_by_itself_is_taken)
{
    make_qcow2(3);
    ck_assert_int_eq(check("qcow2"), 0);
    make_vhd(3);
    ck_assert_int_eq(check("vhd-dynamic"), 0);
    make_vhdx(1, 512);
    ck_assert_int_eq(check("vhdx"), 0);
}
END_TEST

START_TEST(one_of_another_format_is_not)
{
    static const char *const formats[] = {"qcow2", "vhd-dynamic", "vhdx"};

    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        memset(image, 'x', sizeof(image));
        ck_assert_int_eq(check(formats[i]), -EINVAL);
        ck_assert_int_eq(check_size(formats[i], 0), -EINVAL);
    }
    make_qcow2(3);
    ck_assert_int_eq(check("vhdx"), -EINVAL);
    ck_assert_str_eq(err.msg, "it is no VHDX image");
    ck_assert_int_eq(check("vmdk"), -EINVAL);
}
END_TEST

START_TEST(a_qcow2_that_needs_another_file_or_a_key_is_refused)
{
    make_qcow2(2);
    put64(8, htobe64(512));
    ck_assert_int_eq(check("qcow2"), -ENOTSUP);
    make_qcow2(3);
    put32(32, htobe32(1));
    ck_assert_int_eq(check("qcow2"), -ENOTSUP);
    make_qcow2(3);
    put64(72, htobe64(4));
    ck_assert_int_eq(check("qcow2"), -ENOTSUP);
    make_qcow2(2); /* there is no such field yet */
    put64(72, htobe64(4));
    ck_assert_int_eq(check("qcow2"), 0);
    make_qcow2(3);
    put64(72, htobe64(2));
    ck_assert_int_eq(check("qcow2"), -EINVAL);
}
END_TEST

START_TEST(a_qcow2_whose_tables_lie_behind_its_end_is_refused)
{
    for (int offset = 40; offset <= 48; offset += 8) { /* of the L1 table, and of refcounts */
        make_qcow2(3);
        put32(36, htobe32(2));
        put32(56, htobe32(1));
        put64(40, htobe64(4096));
        put64(48, htobe64(4096));
        ck_assert_int_eq(check_size("qcow2", 4096 + 16), 0);
        put64((size_t)offset, htobe64(4096 + 16));
        ck_assert_int_eq(check_size("qcow2", 4096 + 16), -EINVAL);
        ck_assert_ptr_nonnull(strstr(err.msg, "it is cut short"));
        put64((size_t)offset, UINT64_MAX);
        ck_assert_int_eq(check_size("qcow2", 4096 + 16), -EINVAL);
    }
    ck_assert_int_eq(check_size("qcow2", 4096 + 15), -EINVAL);
}
END_TEST

START_TEST(a_differencing_vhd_and_a_fixed_one_are_refused)
{
    make_vhd(4);
    ck_assert_int_eq(check("vhd-dynamic"), -ENOTSUP);
    make_vhd(2);
    ck_assert_int_eq(check("vhd-dynamic"), -EINVAL);
}
END_TEST

START_TEST(a_vhdx_with_a_parent_or_large_sectors_is_refused)
{
    make_vhdx(2, 512);
    ck_assert_int_eq(check("vhdx"), -ENOTSUP);
    make_vhdx(0, 4096);
    ck_assert_int_eq(check("vhdx"), -ENOTSUP);
}
END_TEST

START_TEST(one_good_table_of_regions_is_enough)
{
    make_vhdx(2, 512);
    memset(image + REGIONS, 0, 4096);
    make_regions(REGIONS_TOO);
    ck_assert_int_eq(check("vhdx"), -ENOTSUP);
    memset(image + REGIONS_TOO, 0, 4096);
    ck_assert_int_eq(check("vhdx"), -EINVAL);
}
END_TEST

START_TEST(offsets_that_lead_nowhere_and_endless_counts_are_told)
{
    make_vhdx(0, 512);
    put64(REGIONS + 16 + 32 + 16, UINT64_MAX);
    ck_assert_int_eq(check("vhdx"), -EINVAL);
    make_vhdx(0, 512);
    put32(METADATA + 32 + 16, UINT32_MAX);
    ck_assert_int_eq(check("vhdx"), -EINVAL);
    make_vhdx(0, 512);
    memset(image + REGIONS + 16, 0, 64);
    put32(REGIONS + 8, UINT32_MAX);
    ck_assert_int_eq(check("vhdx"), -EINVAL);
}
END_TEST

UNIT_MAIN("helper_image", an_image_that_is_whole_by_itself_is_taken, one_of_another_format_is_not,
          a_qcow2_that_needs_another_file_or_a_key_is_refused,
          a_qcow2_whose_tables_lie_behind_its_end_is_refused,
          a_differencing_vhd_and_a_fixed_one_are_refused,
          a_vhdx_with_a_parent_or_large_sectors_is_refused, one_good_table_of_regions_is_enough,
          offsets_that_lead_nowhere_and_endless_counts_are_told)
