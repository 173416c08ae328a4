/* A file that goes into guest memory. */
#include "qvm-worker/loader/image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/err.h"
#include "qvm-worker/fd_stat.h"

#define READ_STEP (64ull << 20) /* of one pread: a signal is answered in between */

int image_refuse(const struct image *image, struct err *err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)err_vset(err, -EINVAL, format, args);
    va_end(args);
    (void)err_prefix(err, "%s: '%s' ", image->where, image->path);
    return -EINVAL;
}

static int64_t to_ns(const struct timespec *time)
{
    return (int64_t)((uint64_t)time->tv_sec * 1000000000u + (uint64_t)time->tv_nsec);
}

static bool is_same(const struct image_identity *a, const struct image_identity *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified_ns == b->modified_ns && a->changed_ns == b->changed_ns;
}

int image_open(struct image *image, struct image_identity *identity, struct err *err)
{
    struct image_identity now = {.is_known = true};
    struct stat st;

    if (fd_stat(image->fd, &st) != 0) {
        return err_sys(err, -errno, "%s: '%s'", image->where, image->path);
    }
    if (!S_ISREG(st.st_mode)) {
        return image_refuse(image, err, "is not a regular file");
    }
    if (st.st_size <= 0) {
        return image_refuse(image, err, "is empty");
    }
    now.device = st.st_dev;
    now.inode = st.st_ino;
    now.size = (uint64_t)st.st_size;
    now.modified_ns = to_ns(&st.st_mtim);
    now.changed_ns = to_ns(&st.st_ctim);
    if (identity->is_known && !is_same(identity, &now)) {
        (void)image_refuse(image, err,
                           "was changed in place since this guest started; stop it and start it "
                           "anew");
        if (err != NULL) {
            err->code = -ESTALE;
        }
        return -ESTALE;
    }
    *identity = now;
    image->size = now.size;
    return 0;
}

static int check_inside(const struct image *image, uint64_t offset, uint64_t size, struct err *err)
{
    if (size > image->size || offset > image->size - size) {
        return image_refuse(image, err,
                            "is cut short: %" PRIu64 " bytes at 0x%" PRIx64
                            " are asked for, it has %" PRIu64,
                            size, offset, image->size);
    }
    return 0;
}

static int read_all(const struct image *image, uint64_t offset, uint8_t *to, uint64_t size,
                    struct err *err)
{
    while (size > 0) {
        ssize_t n = pread(image->fd, to, size < READ_STEP ? size : READ_STEP, (off_t)offset);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return err_sys(err, -errno, "%s: '%s' cannot be read", image->where, image->path);
        }
        if (n == 0) {
            return image_refuse(image, err, "became shorter while it was read");
        }
        offset += (uint64_t)n;
        to += n;
        size -= (uint64_t)n;
    }
    return 0;
}

int image_read(const struct image *image, uint64_t offset, void *to, uint64_t size, struct err *err)
{
    int r = check_inside(image, offset, size, err);

    return r != 0 ? r : read_all(image, offset, to, size, err);
}

int image_read_to_guest(const struct image *image, uint64_t offset, const struct memory *memory,
                        uint64_t address, uint64_t size, struct err *err)
{
    uint8_t *rom = memory_rom_span(memory, gpa(address), size);
    int r = check_inside(image, offset, size, err);

    if (r == 0 && rom != NULL) {
        return image->is_dry ? 0 : read_all(image, offset, rom, size, err);
    }
    while (r == 0 && size > 0) {
        uint64_t run = memory_run(memory, gpa(address));

        if (run == 0) {
            return image_refuse(image, err, "does not fit: there is no RAM at 0x%" PRIx64, address);
        }
        run = run < size ? run : size;
        if (!image->is_dry) {
            r = read_all(image, offset, memory_span(memory, gpa(address), run), run, err);
        }
        offset += run;
        address += run;
        size -= run;
    }
    return r;
}
