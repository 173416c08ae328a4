/* In the child: a tree of files with what the program loader needs and nothing else.
 *
 * The directories are bound, not copied: a library that is upgraded is found upgraded by the next
 * qvm, and one that is replaced under a running qvm goes on as everywhere. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/worker/spawn_inside.h"
#include "proto/base/cleanup.h"

enum kind { KIND_PARENT, KIND_TREE, KIND_FILE };

struct entry {
    enum kind kind;
    const char *path; /* below the root of the host and of the tree */
};

/* Parents before their children. What the host does not have is left out; a symbolic link (a
 * merged /usr has some) is copied. */
static const struct entry entries[] = {
    {KIND_PARENT, "usr"},       {KIND_TREE, "usr/lib"},       {KIND_TREE, "usr/lib64"},
    {KIND_PARENT, "usr/local"}, {KIND_TREE, "usr/local/lib"}, {KIND_TREE, "lib"},
    {KIND_TREE, "lib64"},       {KIND_PARENT, "etc"},         {KIND_FILE, "etc/ld.so.cache"},
};

struct found {
    int clone; /* -1: none */
    char link[PATH_MAX];
};

/* A mount of its own of what is there. */
static int clone_mount(int dir_fd, const char *path, unsigned flags, uint64_t more)
{
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NOSUID | more};
    auto_close int fd = open_tree(dir_fd, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);

    if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0) {
        return -1;
    }
    return take_fd(&fd);
}

/* On the host: what an entry is there. Absence is fine. */
static int find(int root_fd, const struct entry *entry, struct found *found)
{
    ssize_t size;

    found->clone = -1;
    size = readlinkat(root_fd, entry->path, found->link, sizeof(found->link) - 1);
    found->link[size > 0 ? size : 0] = '\0';
    if (size >= 0 || errno == ENOENT) {
        return 0;
    }
    found->clone = clone_mount(root_fd, entry->path, 0, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV);
    return found->clone < 0 ? -1 : 0;
}

static int attach(int *clone, const char *path)
{
    int r = move_mount(*clone, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH);

    cleanup_close(clone);
    return r;
}

/* In the new tree, which is the working directory. */
static int put(const struct entry *entry, struct found *found)
{
    if (found->link[0] != '\0') {
        return symlink(found->link, entry->path);
    }
    if (found->clone < 0) {
        return 0;
    }
    if (entry->kind == KIND_FILE) {
        auto_close int fd = open(entry->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);

        if (fd < 0) {
            return -1;
        }
    } else if (mkdir(entry->path, 0755) < 0) {
        return -1;
    }
    return attach(&found->clone, entry->path);
}

/* A file system of a few pages over the root of our new namespace; we go into it. */
static int enter_new_root(void)
{
    auto_close int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
    auto_close int root = -1;

    if (context < 0 || fsconfig(context, FSCONFIG_SET_STRING, "size", "64k", 0) < 0 ||
        fsconfig(context, FSCONFIG_SET_STRING, "mode", "0755", 0) < 0 ||
        fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
        return -1;
    }
    root =
        fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (root < 0 || move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0) {
        return -1;
    }
    return fchdir(root);
}

static int fill(struct found *found)
{
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        int r = entries[i].kind == KIND_PARENT ? mkdir(entries[i].path, 0755)
                                               : put(&entries[i], &found[i]);

        if (r < 0) {
            return -1;
        }
    }
    return 0;
}

/* The old root goes, with everything that was mounted below it. */
static int leave_old_root(void)
{
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};

    if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0) {
        return -1;
    }
    return mount_setattr(AT_FDCWD, "/", 0, &attributes, sizeof(attributes));
}

/* Of the namespace of processes that we are in. */
static int make_proc(void)
{
    auto_close int context = fsopen("proc", FSOPEN_CLOEXEC);

    if (context < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
        return -1;
    }
    return fsmount(context, FSMOUNT_CLOEXEC,
                   MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

static int find_extra(const struct spawn_extra *extra, struct found *found)
{
    uint64_t more = (extra->is_writable ? 0 : MOUNT_ATTR_RDONLY) |
                    (extra->is_file ? MOUNT_ATTR_NOEXEC : 0) | /* modules are mapped to be run */
                    (extra->is_device ? 0 : MOUNT_ATTR_NODEV);

    if (extra->fd < 0 && !extra->is_proc) {
        found->clone = -1;
        return 0;
    }
    found->clone = extra->is_proc ? make_proc() : clone_mount(extra->fd, "", AT_EMPTY_PATH, more);
    return found->clone < 0 ? -1 : 0;
}

static int find_all(const struct spawn_extra *extras, size_t count, struct found *found,
                    struct found *its)
{
    auto_close int root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (root_fd < 0) {
        return -1;
    }
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        if (entries[i].kind != KIND_PARENT && find(root_fd, &entries[i], &found[i]) < 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (find_extra(&extras[i], &its[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

static int put_extras(const struct spawn_extra *extras, size_t count, struct found *its)
{
    for (size_t i = 0; i < count; i++) {
        const struct entry entry = {extras[i].is_file ? KIND_FILE : KIND_TREE, extras[i].name};

        if ((extras[i].parent != NULL && mkdir(extras[i].parent, 0755) < 0) ||
            (its[i].clone < 0 ? mkdir(extras[i].name, 0755) : put(&entry, &its[i])) < 0) {
            return -1;
        }
    }
    return 0;
}

int spawn_child_tree(const struct spawn_extra *extras, size_t count, const char **step)
{
    static struct found found[ARRAY_LEN(entries)];
    static struct found its[SPAWN_EXTRAS_MAX];

    *step = "finding the libraries";
    if (find_all(extras, count, found, its) < 0) {
        return -1;
    }
    *step = "a file system of its own";
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        enter_new_root() < 0) {
        return -1;
    }
    *step = "libraries in its file system";
    if (fill(found) < 0 || put_extras(extras, count, its) < 0) {
        return -1;
    }
    *step = "leaving the host's file system";
    return leave_old_root() < 0 ? -1 : open(extras[0].name, O_PATH | O_CLOEXEC);
}
