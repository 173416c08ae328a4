/* Locks on image files at the bytes that QEMU uses for raw images (its docs: `locking` of the
 * `file` driver; block/file-posix.c names the bytes), so that its tools and we see each other.
 *
 * Byte 100 + n is locked (shared) by whoever uses permission n, byte 200 + n by whoever does not
 * let others use it. Whoever wants permission n therefore looks whether anybody has locked
 * 200 + n, and who denies it whether anybody has locked 100 + n. First lock, then look: of two at
 * once both may be refused, never both admitted. Open file description locks: they live exactly
 * as long as the descriptor and its copies. */
#include "proto/base/file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/types.h>

#include "proto/base/err.h"

#define USED_BASE   100
#define DENIED_BASE 200

/* permissions */
#define READ     0 /* consistent read */
#define WRITE    1
#define RESIZE   3
#define PERM_END 4

#define BIT(n) (1u << (n))

static int set(int fd, int command, short type, off_t first, off_t count)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = first, .l_len = count};
    int r;

    do {
        r = fcntl(fd, command, &lock);
    } while (r != 0 && errno == EINTR);
    return r == 0 ? 0 : -errno;
}

/* Lock shared base + n for each n of `bits`. */
static int lock_bits(int fd, off_t base, unsigned bits)
{
    int r = 0;

    for (int n = 0; r == 0 && n < PERM_END; n++) {
        if ((bits & BIT(n)) != 0) {
            r = set(fd, F_OFD_SETLK, F_RDLCK, base + n, 1);
        }
    }
    return r;
}

/* 1 if somebody else has locked base + n for an n of `bits`; `*pid` gets who, or -1. */
static int find_bits(int fd, off_t base, unsigned bits, pid_t *pid)
{
    for (int n = 0; n < PERM_END; n++) {
        struct flock lock = {
            .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = base + n, .l_len = 1};

        if ((bits & BIT(n)) == 0) {
            continue;
        }
        if (fcntl(fd, F_OFD_GETLK, &lock) != 0) {
            return -errno;
        }
        if (lock.l_type != F_UNLCK) {
            *pid = lock.l_pid;
            return 1;
        }
    }
    return 0;
}

static int refuse(const char *path, pid_t pid, struct err *err)
{
    if (pid > 0) {
        return err_set(err, -EBUSY,
                       "'%s' is in use by another program (pid %d), which has locked it", path,
                       (int)pid);
    }
    return err_set(err, -EBUSY, "'%s' is in use by another program, which has locked it", path);
}

/* Whether the file system has no such locks at all. */
static bool is_unsupported(int code)
{
    return code == -EOPNOTSUPP || code == -ENOSYS || code == -ENOLCK || code == -EINVAL;
}

int file_lock(int fd, bool is_writable, const char *path, struct err *err)
{
    unsigned used = is_writable ? BIT(READ) | BIT(WRITE) | BIT(RESIZE) : BIT(READ);
    unsigned denied = BIT(WRITE) | BIT(RESIZE);
    pid_t pid = -1;
    int r = lock_bits(fd, USED_BASE, used);

    if (r == 0) {
        r = lock_bits(fd, DENIED_BASE, denied);
    }
    if (r == 0) {
        r = find_bits(fd, DENIED_BASE, used, &pid);
    }
    if (r == 0) {
        r = find_bits(fd, USED_BASE, denied, &pid);
    }
    if (r == 1 || r == -EAGAIN || r == -EACCES) {
        return refuse(path, pid, err);
    }
    if (is_unsupported(r) && !is_writable) {
        return 0; /* a reader harms nobody */
    }
    return r == 0 ? 0 : err_sys(err, r, "cannot lock '%s'", path);
}

int file_unlock(int fd)
{
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

    return fcntl(fd, F_OFD_SETLK, &lock);
}

int file_lock_wait(int fd, const char *path, struct err *err)
{
    int r = set(fd, F_OFD_SETLKW, F_WRLCK, USED_BASE + WRITE, PERM_END - WRITE);

    return r == 0 || is_unsupported(r) ? 0 : err_sys(err, r, "cannot wait for '%s'", path);
}
