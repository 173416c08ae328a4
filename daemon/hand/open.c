/* In the hand: opening files as the guest's owner. */
#include "daemon/hand/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/file_lock.h"
#include "proto/base/listener.h"

#define MEM_MAJOR 1 /* /dev/null, zero, full: everybody may have them */

/* The code by which callers tell it: a path that leads nowhere is the configuration's fault. */
static int told_code(int code)
{
    switch (code) {
    case ENOTDIR:
        return -ENOENT;
    case ELOOP:
    case ENAMETOOLONG:
    case ENODEV:
    case ENXIO:
    case ETXTBSY:
        return -EINVAL;
    default:
        return -code;
    }
}

static int fail_open(const char *path, int code, const char *user, struct err *err)
{
    return err_set(err, told_code(code), "cannot open '%s': %s (as user '%s')", path,
                   code == ELOOP
                       ? "Too many levels of symbolic links, or one of /proc to what another "
                         "process has"
                       : strerrordesc_np(code),
                   user);
}

static const char *type_name(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "a regular file";
    case S_IFBLK:
        return "a block device";
    case S_IFCHR:
        return "a character device";
    case S_IFIFO:
        return "a FIFO";
    case S_IFDIR:
        return "a directory";
    case S_IFSOCK:
        return "a socket";
    default:
        return "something else";
    }
}

static int check_type(const struct hand_file *file, mode_t mode, struct err *err)
{
    bool is_fine = file->is_stream ? S_ISREG(mode) || S_ISCHR(mode) || S_ISFIFO(mode)
                                   : S_ISREG(mode) || S_ISBLK(mode);

    if (is_fine) {
        return 0;
    }
    return err_set(err, -EINVAL, "'%s' is %s, not %s", file->path, type_name(mode),
                   file->is_stream ? "a character device, FIFO or regular file"
                                   : "a regular file or block device");
}

/* Who it is, whatever path led to it: devices by their number, files by where they lie. */
static void identify(const struct stat *st, char id[HAND_ID_SIZE])
{
    if (S_ISBLK(st->st_mode) || S_ISCHR(st->st_mode)) {
        (void)snprintf(id, HAND_ID_SIZE, "%s:%u:%u", S_ISBLK(st->st_mode) ? "block" : "char",
                       major(st->st_rdev), minor(st->st_rdev));
    } else {
        (void)snprintf(id, HAND_ID_SIZE, "%s:%" PRIxMAX ":%" PRIuMAX,
                       S_ISDIR(st->st_mode) ? "folder" : "file", (uintmax_t)st->st_dev,
                       (uintmax_t)st->st_ino);
    }
}

static bool is_exclusive(const struct hand_file *file, const struct stat *st)
{
    if (!file->is_stream || S_ISREG(st->st_mode)) {
        return file->is_writable;
    }
    /* two readers of a line or a FIFO steal from each other */
    return !(S_ISCHR(st->st_mode) && major(st->st_rdev) == MEM_MAJOR);
}

/* Find the file without touching it: opening a device or a FIFO can have effects of its own. */
static int find(const char *path, const char *user, int *place, struct stat *st, struct err *err)
{
    auto_close int fd = -1;

    if (path[0] != '/') {
        return err_set(err, -EINVAL, "'%s' is not an absolute path", path);
    }
    fd = hand_walk(path);
    if (fd < 0) {
        return fail_open(path, -fd, user, err);
    }
    if (fstat(fd, st) != 0) {
        return fail_open(path, errno, user, err);
    }
    *place = take_fd(&fd);
    return 0;
}

/* Open what find() found: nothing can come between. */
static int open_found(int place, int flags)
{
    char path[32];
    int fd;

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", place);
    fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 && errno == ENXIO && (flags & O_ACCMODE) == O_WRONLY) {
        fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a FIFO nobody reads yet */
    }
    return fd < 0 ? -errno : fd;
}

/* What a guest says is added to what is there; who reads it may truncate it. */
static bool is_log(const struct hand_file *file)
{
    return file->is_stream && file->is_writable && !file->is_readable;
}

/* A file that is written is read too: without that it cannot be locked. */
static int open_flags(const struct hand_file *file)
{
    if (!file->is_writable) {
        return O_RDONLY;
    }
    return is_log(file) ? O_WRONLY | O_APPEND : O_RDWR;
}

static int size_of(int fd, const struct stat *st, int64_t *size)
{
    uint64_t bytes = 0;

    if (S_ISBLK(st->st_mode)) {
        if (ioctl(fd, BLKGETSIZE64, &bytes) != 0) {
            return -errno;
        }
        *size = (int64_t)bytes;
    } else {
        *size = S_ISREG(st->st_mode) ? st->st_size : 0;
    }
    return 0;
}

/* Files are read and written in earnest; only opening them was not to wait. */
static int clear_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0 ? -errno : 0;
}

/* Find it, or make it first: empty, its owner's alone. */
static int find_or_make(const struct hand_file *file, const char *user, int *place, struct stat *st,
                        struct err *err)
{
    struct err inner = {0};
    int r = find(file->path, user, place, st, &inner);

    if (r == -ENOENT && is_log(file)) {
        auto_close int fd = hand_make_at(file->path, O_WRONLY | O_NOCTTY, 0600);

        if (fd < 0 && fd != -EEXIST) {
            return fail_open(file->path, -fd, user, err);
        }
        return find(file->path, user, place, st, err);
    }
    return r == 0 ? 0 : err_set(err, r, "%s", inner.msg);
}

static int make_file(const struct hand_file *file, const char *user, struct hand_opened *opened,
                     struct err *err)
{
    auto_close int fd = -1;
    struct stat st = {0};
    int r;

    if (file->path[0] != '/') {
        return err_set(err, -EINVAL, "'%s' is not an absolute path", file->path);
    }
    fd = hand_make_at(file->path, O_WRONLY, 0600);
    r = fd < 0 ? fd : fstat(fd, &st) != 0 ? -errno : 0;
    if (r != 0) {
        return err_set(err, told_code(-r), "cannot make '%s': %s (as user '%s')", file->path,
                       strerrordesc_np(-r), user);
    }
    identify(&st, opened->id);
    opened->fd = take_fd(&fd);
    return 0;
}

/* The path is walked as that of a file, and the one who listens at what was found sees the user. */
static int connect_to(const struct hand_file *file, const char *user, struct hand_opened *opened,
                      struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    auto_close int place = -1;
    auto_close int fd = -1;
    struct stat st = {0};
    int r = find(file->path, user, &place, &st, err);

    if (r == 0 && !S_ISSOCK(st.st_mode)) {
        return err_set(err, -EINVAL, "'%s' is %s, not a socket", file->path, type_name(st.st_mode));
    }
    if (r != 0) {
        return r;
    }
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", place);
    fd = socket(AF_UNIX, HAND_SOCKET_TYPE, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        r = -errno;
        return err_set(err, r == -ECONNREFUSED || r == -EPROTOTYPE ? -ENXIO : r,
                       "cannot connect to '%s': %s (as user '%s')", file->path, strerrordesc_np(-r),
                       user);
    }
    identify(&st, opened->id);
    opened->is_exclusive = true;
    opened->fd = take_fd(&fd);
    return 0;
}

/* A folder whose list of names can be read, and what is in it found: as who will serve it. */
static int open_folder(const struct hand_file *file, const char *user, struct hand_opened *opened,
                       struct err *err)
{
    auto_close int place = -1;
    auto_close int fd = -1;
    struct stat st = {0};
    int r = find(file->path, user, &place, &st, err);

    if (r == 0 && !S_ISDIR(st.st_mode)) {
        return err_set(err, -EINVAL, "'%s' is %s, not a directory", file->path,
                       type_name(st.st_mode));
    }
    if (r != 0) {
        return r;
    }
    fd = openat(place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return fail_open(file->path, errno, user, err);
    }
    identify(&st, opened->id);
    opened->fd = take_fd(&fd);
    return 0;
}

/* Made in the directory that its path leads to, whoever renames that meanwhile. */
static int make_listener(const struct hand_file *file, const char *user, struct hand_opened *opened,
                         struct err *err)
{
    const char *name = NULL;
    auto_close int directory = hand_walk_parent(file->path, &name);
    int r;

    if (directory < 0) {
        return err_set(err, told_code(-directory), "cannot make the socket '%s': %s (as user '%s')",
                       file->path, strerrordesc_np(-directory), user);
    }
    r = listener_open(directory, name, file->path, &opened->fd, err);
    opened->is_exclusive = true;
    return r == -EACCES || r == -EPERM
               ? err_set(err, r, "cannot make the socket '%s': %s (as user '%s')", file->path,
                         strerrordesc_np(-r), user)
               : r;
}

int hand_remove(const char *path, struct err *err)
{
    const char *name = NULL;
    auto_close int directory = hand_walk_parent(path, &name);

    if (directory < 0) {
        return err_set(err, directory, "cannot remove the socket '%s': %s", path,
                       strerrordesc_np(-directory));
    }
    listener_remove(directory, name);
    return 0;
}

int hand_open(const struct hand_file *file, const char *user, struct hand_opened *opened,
              struct err *err)
{
    auto_close int place = -1;
    auto_close int fd = -1;
    struct stat st = {0};
    int r;

    if (file->is_new) {
        return make_file(file, user, opened, err);
    }
    if (file->is_listener) {
        return make_listener(file, user, opened, err);
    }
    if (file->is_socket) {
        return connect_to(file, user, opened, err);
    }
    if (file->is_folder) {
        return open_folder(file, user, opened, err);
    }
    r = find_or_make(file, user, &place, &st, err);
    if (r == 0) {
        r = check_type(file, st.st_mode, err);
    }
    if (r != 0) {
        return r;
    }
    fd = open_found(place, open_flags(file));
    if (fd < 0) {
        return fail_open(file->path, -fd, user, err);
    }
    r = size_of(fd, &st, &opened->size);
    if (r == 0 && !file->is_stream) {
        r = clear_nonblock(fd);
    }
    if (r != 0) {
        return fail_open(file->path, -r, user, err);
    }
    r = file->is_stream ? 0 : file_lock(fd, file->is_writable, file->path, err);
    if (r != 0) {
        return r;
    }
    identify(&st, opened->id);
    opened->is_exclusive = is_exclusive(file, &st);
    opened->fd = take_fd(&fd);
    return 0;
}

int hand_await(const char *path, const char *id, const char *user, struct err *err)
{
    auto_close int place = -1;
    auto_close int fd = -1;
    char now[HAND_ID_SIZE];
    struct err inner = {0};
    struct stat st = {0};
    int r = find(path, user, &place, &st, &inner);

    if (r == -ENOENT) {
        return 0;
    }
    if (r != 0) {
        return err_set(err, r, "%s", inner.msg);
    }
    identify(&st, now);
    if (strcmp(now, id) != 0) {
        return 0;
    }
    fd = open_found(place, O_RDWR);
    if (fd < 0) {
        return fail_open(path, -fd, user, err);
    }
    return file_lock_wait(fd, path, err);
}
