/* In the hand: following a path, one name at a time.
 *
 * The kernel's openat2(2) could do it by one call, but a service that may make no setuid files
 * (systemd's RestrictSUIDSGID) does not have that call. */
#include "daemon/hand/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "proto/base/cleanup.h"

#define LINKS_MAX      40     /* as path_resolution(7) has it */
#define FS_NOSYMFOLLOW 0x2000 /* statfs(2): ST_NOSYMFOLLOW */

struct walk {
    int at; /* the directory reached, O_PATH */
    unsigned links;
    char left[PATH_MAX]; /* what is to be followed from there */
};

static int go_to(struct walk *walk, int fd)
{
    if (fd < 0) {
        return -errno;
    }
    if (walk->at >= 0) {
        (void)close(walk->at);
    }
    walk->at = fd;
    return 0;
}

static int go_to_root(struct walk *walk)
{
    return go_to(walk, open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

/* Cut the next name off what is left; false if nothing is. `*is_last`: nothing follows it, not even
 * a slash. */
static bool next_name(struct walk *walk, char name[NAME_MAX + 2], bool *is_last)
{
    const char *start = walk->left + strspn(walk->left, "/");
    size_t length = strcspn(start, "/");

    if (length == 0) {
        return false;
    }
    (void)snprintf(name, NAME_MAX + 2, "%.*s", (int)length, start);
    *is_last = start[length] == '\0';
    memmove(walk->left, start + length, strlen(start + length) + 1);
    return true;
}

/* A link in a directory where everybody may make files is its owner's word alone (proc(5),
 * protected_symlinks). */
static bool is_trap(int directory, const struct stat *link)
{
    const mode_t shared = S_ISVTX | S_IWOTH;
    struct stat st;

    return fstat(directory, &st) != 0 || ((st.st_mode & shared) == shared &&
                                          link->st_uid != geteuid() && link->st_uid != st.st_uid);
}

static int follow(struct walk *walk, int link, const struct stat *st)
{
    char target[PATH_MAX];
    struct statfs fs;
    ssize_t length;
    size_t left = strlen(walk->left);

    if (fstatfs(link, &fs) != 0) {
        return -errno;
    }
    if (++walk->links > LINKS_MAX || fs.f_type == PROC_SUPER_MAGIC ||
        ((unsigned long)fs.f_flags & FS_NOSYMFOLLOW) != 0) {
        return -ELOOP;
    }
    if (is_trap(walk->at, st)) {
        return -EACCES;
    }
    length = readlinkat(link, "", target, sizeof(target));
    if (length <= 0) {
        return length == 0 ? -ENOENT : -errno;
    }
    if ((size_t)length + left >= sizeof(walk->left)) {
        return -ENAMETOOLONG;
    }
    memmove(walk->left + length, walk->left, left + 1); /* empty, or a slash and more */
    memcpy(walk->left, target, (size_t)length);
    return target[0] == '/' ? go_to_root(walk) : 0;
}

static int step(struct walk *walk, const char *name, bool is_last)
{
    const int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
    auto_close int fd = -1;
    struct stat st;

    if (!is_last) { /* as a directory first: what is mounted on demand is mounted then */
        fd = openat(walk->at, name, flags | O_DIRECTORY);
        if (fd >= 0 || errno != ENOTDIR) {
            return go_to(walk, take_fd(&fd));
        }
    }
    fd = openat(walk->at, name, flags);
    if (fd < 0 || fstat(fd, &st) != 0) {
        return -errno;
    }
    if (S_ISLNK(st.st_mode)) {
        return follow(walk, fd, &st);
    }
    return is_last ? go_to(walk, take_fd(&fd)) : -ENOTDIR;
}

int hand_walk(const char *path)
{
    struct walk walk = {.at = -1};
    char name[NAME_MAX + 2];
    bool is_last;
    int r = 0;

    if (strlen(path) >= sizeof(walk.left)) {
        return -ENAMETOOLONG;
    }
    (void)snprintf(walk.left, sizeof(walk.left), "%s", path);
    r = go_to_root(&walk);
    while (r == 0 && next_name(&walk, name, &is_last)) {
        r = step(&walk, name, is_last);
    }
    if (r != 0 && walk.at >= 0) {
        (void)close(walk.at);
    }
    return r == 0 ? walk.at : r;
}

int hand_walk_parent(const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');
    char place[PATH_MAX];

    if (slash == NULL || (size_t)(slash - path) + 2 > sizeof(place)) {
        return -ENAMETOOLONG;
    }
    *name = slash + 1;
    (void)snprintf(place, sizeof(place), "%.*s/", (int)(slash - path), path);
    return hand_walk(place);
}

int hand_make_at(const char *path, int flags, mode_t mode)
{
    const char *name = NULL;
    auto_close int directory = hand_walk_parent(path, &name);
    int fd;

    if (directory < 0) {
        return directory;
    }
    fd = openat(directory, name, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    return fd < 0 ? -errno : fd;
}
