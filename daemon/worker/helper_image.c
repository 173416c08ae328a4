/* What is in the head of an image.
 *
 * Sources: "QCOW2 image format" of the QEMU project; "Virtual Hard Disk Image Format
 * Specification", Microsoft, 1.0; MS-VHDX, 2.2 to 2.6. */
#include "daemon/worker/helper_image.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

/* qcow2 and footers of VHD are big-endian. */
struct qcow2 {
    uint32_t magic, version;
    uint64_t backing_offset;
    uint32_t backing_size, cluster_bits;
    uint64_t size;
    uint32_t crypt_method, l1_size;
    uint64_t l1_offset, refcounts_offset;
    uint32_t refcounts_clusters, snapshots;
    uint64_t snapshots_offset;
    uint64_t incompatible; /* since version 3 */
} __attribute__((packed));
#define QCOW2_MAGIC     0x514649fbu
#define QCOW2_CORRUPT   (UINT64_C(1) << 1)
#define QCOW2_DATA_FILE (UINT64_C(1) << 2)

struct vhd {
    char cookie[8];
    uint8_t rest[52];
    uint32_t type;
} __attribute__((packed));
#define VHD_COOKIE  "conectix"
#define VHD_FIXED   2u
#define VHD_DYNAMIC 3u
#define VHD_DIFFERS 4u

/* VHDX is little-endian. */
#define VHDX_MAGIC    "vhdxfile"
#define VHDX_REGIONS  UINT64_C(0x30000) /* the first table of regions; the second follows */
#define VHDX_REGION   "regi"
#define VHDX_METADATA "metadata"
#define VHDX_ROWS_MAX 2047u
#define VHDX_PARENT   2u /* of the flags of the file's parameters */

struct vhdx_region {
    uint8_t id[16];
    uint64_t offset;
    uint32_t size, is_required;
} __attribute__((packed));

struct vhdx_row {
    uint8_t id[16];
    uint32_t offset, size, flags, reserved;
} __attribute__((packed));

/* GUIDs as they lie in the file */
static const uint8_t metadata_region[16] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                            0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};
static const uint8_t file_parameters[16] = {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                            0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b};
static const uint8_t logical_sector[16] = {0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
                                           0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f};

static int read_at(int fd, uint64_t offset, void *to, size_t size, struct err *err)
{
    ssize_t n = offset <= INT64_MAX ? pread(fd, to, size, (off_t)offset) : 0;

    if (n < 0) {
        return err_sys(err, -errno, "it cannot be read");
    }
    return (size_t)n == size ? 0 : err_set(err, -EINVAL, "it is too short for an image");
}

/* What lies behind the end of the file reads as zeroes to QEMU: an empty disk. */
static int check_qcow2_is_whole(int fd, const struct qcow2 *head, struct err *err)
{
    const uint64_t tables[][2] = {
        {be64toh(head->l1_offset), UINT64_C(8) * be32toh(head->l1_size)},
        {be64toh(head->refcounts_offset), head->refcounts_clusters != 0 ? 8 : 0}};
    struct stat status;

    if (fstat(fd, &status) != 0) {
        return err_sys(err, -errno, "cannot look at it");
    }
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        if (tables[i][1] > 0 && (tables[i][0] > (uint64_t)status.st_size ||
                                 tables[i][1] > (uint64_t)status.st_size - tables[i][0])) {
            return err_set(err, -EINVAL,
                           "it is cut short: a table of it lies behind its end; `qemu-img check -f "
                           "qcow2` tells what is left of it");
        }
    }
    return 0;
}

static int check_qcow2(int fd, struct err *err)
{
    struct qcow2 head = {.magic = 0};
    int r = read_at(fd, 0, &head, sizeof(head), err);

    if (r != 0 || be32toh(head.magic) != QCOW2_MAGIC) {
        return r == -EIO ? r : err_set(err, -EINVAL, "it is no qcow2 image");
    }
    if (head.backing_offset != 0) {
        return err_set(err, -ENOTSUP,
                       "it has a backing file, which nobody would give it: make it whole by "
                       "'qemu-img convert -O qcow2'");
    }
    if (head.crypt_method != 0) {
        return err_set(err, -ENOTSUP, "it is encrypted, and there is no key for it");
    }
    r = check_qcow2_is_whole(fd, &head, err);
    if (r != 0 || be32toh(head.version) < 3) {
        return r;
    }
    if ((be64toh(head.incompatible) & QCOW2_DATA_FILE) != 0) {
        return err_set(
            err, -ENOTSUP,
            "its data lies in another file, which nobody would give it: make it whole by "
            "'qemu-img convert -O qcow2'");
    }
    if ((be64toh(head.incompatible) & QCOW2_CORRUPT) != 0) {
        return err_set(
            err, -EINVAL,
            "it is marked as damaged: look at it by 'qemu-img check', and repair a copy");
    }
    return 0;
}

static int check_vhd(int fd, struct err *err)
{
    struct vhd head = {.type = 0};
    int r = read_at(fd, 0, &head, sizeof(head), err);

    if (r != 0 || memcmp(head.cookie, VHD_COOKIE, sizeof(head.cookie)) != 0) {
        return r == -EIO
                   ? r
                   : err_set(err, -EINVAL, "it is no dynamic VHD (a fixed one is 'format vhd')");
    }
    switch (be32toh(head.type)) {
    case VHD_DYNAMIC:
        return 0;
    case VHD_DIFFERS:
        return err_set(err, -ENOTSUP,
                       "it is a differencing VHD, whose disk is only whole with its parent: merge "
                       "the two with the program that made it");
    default:
        return err_set(err, -EINVAL, "it is no dynamic VHD (a fixed one is 'format vhd')");
    }
}

/* The place of a region, from either of the two tables. */
static int find_region(int fd, const uint8_t id[16], uint64_t *offset, struct err *err)
{
    for (unsigned table = 0; table < 2; table++) {
        uint64_t at = VHDX_REGIONS + table * UINT64_C(0x10000);
        struct {
            char magic[4];
            uint32_t checksum, count, reserved;
        } head = {.count = 0};

        if (read_at(fd, at, &head, sizeof(head), err) != 0 ||
            memcmp(head.magic, VHDX_REGION, sizeof(head.magic)) != 0) {
            continue;
        }
        at += sizeof(head);
        for (uint32_t i = 0; i < le32toh(head.count) && i < VHDX_ROWS_MAX; i++) {
            struct vhdx_region region = {.offset = 0};

            if (read_at(fd, at + i * sizeof(region), &region, sizeof(region), err) == 0 &&
                memcmp(region.id, id, sizeof(region.id)) == 0) {
                *offset = le64toh(region.offset);
                return 0;
            }
        }
    }
    return err_set(err, -EINVAL, "its table of regions is damaged");
}

/* The first four bytes of an item behind `shift` others; they are 0 if it is not there. */
static int read_item(int fd, uint64_t metadata, const uint8_t id[16], uint32_t shift,
                     uint32_t *value, struct err *err)
{
    struct {
        char magic[8];
        uint16_t reserved, count;
        uint8_t rest[20];
    } head = {.count = 0};
    int r = read_at(fd, metadata, &head, sizeof(head), err);

    *value = 0;
    if (r == 0 && memcmp(head.magic, VHDX_METADATA, sizeof(head.magic)) != 0) {
        r = err_set(err, -EINVAL, "its metadata is damaged");
    }
    for (uint32_t i = 0; r == 0 && i < le16toh(head.count) && i < VHDX_ROWS_MAX; i++) {
        struct vhdx_row row = {.offset = 0};

        r = read_at(fd, metadata + sizeof(head) + i * sizeof(row), &row, sizeof(row), err);
        if (r == 0 && memcmp(row.id, id, sizeof(row.id)) == 0) {
            r = read_at(fd, metadata + le32toh(row.offset) + shift, value, sizeof(*value), err);
            *value = le32toh(*value);
            return r;
        }
    }
    return r;
}

static int check_vhdx(int fd, struct err *err)
{
    char magic[8] = "";
    uint64_t metadata = 0;
    uint32_t flags = 0, sector = 0;
    int r = read_at(fd, 0, magic, sizeof(magic), err);

    if (r != 0 || memcmp(magic, VHDX_MAGIC, sizeof(magic)) != 0) {
        return r == -EIO ? r : err_set(err, -EINVAL, "it is no VHDX image");
    }
    r = find_region(fd, metadata_region, &metadata, err);
    r = r == 0 ? read_item(fd, metadata, file_parameters, 4, &flags, err) : r;
    r = r == 0 ? read_item(fd, metadata, logical_sector, 0, &sector, err) : r;
    if (r == 0 && (flags & VHDX_PARENT) != 0) {
        r = err_set(
            err, -ENOTSUP,
            "it is a differencing VHDX, whose disk is only whole with its parent: merge the "
            "two with the program that made it");
    }
    if (r == 0 && sector == 4096) {
        r = err_set(err, -ENOTSUP,
                    "its sectors have 4096 bytes, and those of a disk here have 512");
    }
    return r;
}

int helper_image_check(int fd, const char *format, struct err *err)
{
    static const struct {
        const char *name;
        int (*check)(int fd, struct err *err);
    } rows[] = {{"qcow2", check_qcow2}, {"vhd-dynamic", check_vhd}, {"vhdx", check_vhdx}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (strcmp(rows[i].name, format) == 0) {
            return rows[i].check(fd, err);
        }
    }
    return err_set(err, -EINVAL, "format '%s' is none that a helper knows", format);
}
