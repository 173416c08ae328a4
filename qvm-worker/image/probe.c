/* What is in an image file.
 *
 * Source of fixed VHD: "Virtual Hard Disk Image Format Specification", Microsoft, 1.0, "Hard Disk
 * Footer Format": 512 bytes at the end, big-endian; the disk is all before it. */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/image/private.h"

#define SECTOR      512u
#define QUICK_BLOCK 4096u /* a page of the host's cache */
#define VHD_COOKIE  "conectix"
#define VHD_VERSION 0x00010000u
#define VHD_FIXED   2u
#define VHD_DYNAMIC 3u
#define VHD_DIFFERS 4u

struct vhd_footer {
    char cookie[8];
    uint32_t features, version;
    uint64_t data_offset;
    uint32_t time;
    char creator[4];
    uint32_t creator_version, creator_host;
    uint64_t original_size, current_size;
    uint32_t geometry, type, checksum;
    uint8_t rest[SECTOR - 68];
} __attribute__((packed));
_Static_assert(sizeof(struct vhd_footer) == SECTOR, "Hard Disk Footer Format");

/* Names of formats that are not raw; taking them for raw would show the guest their insides. */
static const char *const others[] = {".vhdx", ".qcow2", ".qcow", ".vmdk", ".vdi"};

static bool ends_in(const char *path, const char *end)
{
    size_t size = strlen(path), end_size = strlen(end);

    return size > end_size && strcasecmp(path + size - end_size, end) == 0;
}

static uint32_t checksum(const struct vhd_footer *footer)
{
    const uint8_t *bytes = (const uint8_t *)footer;
    uint32_t sum = 0;

    for (size_t i = 0; i < sizeof(*footer); i++) {
        bool is_itself = i >= offsetof(struct vhd_footer, checksum) &&
                         i < offsetof(struct vhd_footer, checksum) + 4;

        sum += is_itself ? 0 : bytes[i];
    }
    return ~sum;
}

/* The size of the disk in a fixed VHD of `size` bytes. */
static int probe_vhd(int fd, const char *path, uint64_t *size, struct err *err)
{
    struct vhd_footer footer;
    uint64_t disk;
    uint32_t type;

    if (*size < 2 * SECTOR ||
        pread(fd, &footer, sizeof(footer), (off_t)(*size - SECTOR)) != (ssize_t)sizeof(footer) ||
        memcmp(footer.cookie, VHD_COOKIE, sizeof(footer.cookie)) != 0) {
        return err_set(err, -EINVAL, "'%s' is no VHD: it has no footer at its end", path);
    }
    type = be32toh(footer.type);
    if (be32toh(footer.version) != VHD_VERSION || be32toh(footer.checksum) != checksum(&footer)) {
        return err_set(err, -EINVAL, "the footer of the VHD '%s' is damaged", path);
    }
    if (type == VHD_DYNAMIC) {
        return err_set(err, -ENOTSUP, "'%s' is a dynamic VHD: say so by 'format vhd-dynamic'",
                       path);
    }
    if (type == VHD_DIFFERS) {
        return err_set(
            err, -ENOTSUP,
            "'%s' is a differencing VHD, whose disk is only whole with its parent: merge "
            "the two with the program that made it",
            path);
    }
    disk = be64toh(footer.current_size);
    if (type != VHD_FIXED || disk % SECTOR != 0 || disk == 0 || disk > *size - SECTOR) {
        return err_set(err, -EINVAL, "the VHD '%s' says that it is what it cannot be", path);
    }
    *size = disk;
    return 0;
}

static int file_size(int fd, const char *path, uint64_t *size, struct err *err)
{
    struct stat stat;

    if (fstat(fd, &stat) != 0) {
        return err_sys(err, -errno, "cannot look at the image '%s'", path);
    }
    if (S_ISBLK(stat.st_mode)) {
        return ioctl(fd, BLKGETSIZE64, size) == 0
                   ? 0
                   : err_sys(err, -errno, "cannot tell the size of '%s'", path);
    }
    if (!S_ISREG(stat.st_mode)) {
        return err_set(err, -EINVAL, "'%s' is neither a file nor a block device", path);
    }
    *size = (uint64_t)stat.st_size;
    return 0;
}

int image_probe(const struct image_spec *spec, struct vdev_image *facts, bool *is_raw,
                struct err *err)
{
    bool is_named = spec->format != IMAGE_FORMAT_BY_NAME;
    bool is_vhd = is_named ? spec->format == IMAGE_FORMAT_VHD : ends_in(spec->path, ".vhd");
    uint64_t size = 0;
    int r = file_size(spec->fd, spec->path, &size, err);

    for (size_t i = 0; r == 0 && !is_named && i < ARRAY_LEN(others); i++) {
        if (ends_in(spec->path, others[i])) {
            r = err_set(err, -ENOTSUP,
                        "'%s' is named like an image that is not raw: give the 'format' (qcow2, "
                        "vhdx, vhd-dynamic, raw), or make a raw one by 'qemu-img convert -O raw'",
                        spec->path);
        }
    }
    if (r == 0 && is_vhd) {
        r = probe_vhd(spec->fd, spec->path, &size, err);
    }
    if (r == 0 && size == 0) {
        r = err_set(err, -EINVAL, "the image '%s' is empty: `truncate -s SIZE` makes a disk of it",
                    spec->path);
    }
    if (r == 0 && size % SECTOR != 0) {
        r = err_set(err, -EINVAL, "the image '%s' has %" PRIu64 " bytes, not a multiple of 512",
                    spec->path, size);
    }
    if (r == 0) {
        facts->size = size;
        facts->block = QUICK_BLOCK;
        *is_raw = !is_vhd;
    }
    return r;
}

int image_grow(struct image *image, const char *path, uint64_t *size, struct err *err)
{
    off_t end;

    if (!image->is_raw) {
        return err_set(err, -EOPNOTSUPP,
                       "'%s' has more in it than the disk: only a raw image can grow under a "
                       "guest that runs",
                       path);
    }
    end = lseek(image->fd, 0, SEEK_END); /* of block devices, too; nobody else uses its place */
    if (end < 0) {
        return err_sys(err, -errno, "cannot tell the size of '%s'", path);
    }
    if ((uint64_t)end < image->facts.size) {
        return err_set(err, -EINVAL,
                       "'%s' has %jd bytes, and the guest knows a disk of %" PRIu64
                       ": make it as large as it was, or stop the guest",
                       path, (intmax_t)end, image->facts.size);
    }
    if (end % SECTOR != 0) {
        return err_set(err, -EINVAL, "'%s' has %jd bytes, not a multiple of %u", path,
                       (intmax_t)end, SECTOR);
    }
    (void)pthread_mutex_lock(&image->lock);
    image->facts.size = (uint64_t)end;
    (void)pthread_mutex_unlock(&image->lock);
    *size = (uint64_t)end;
    return 0;
}
