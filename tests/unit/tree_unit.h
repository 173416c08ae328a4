/* A prepared tree in place of "/": files and links as sysfs and proc have them. */
#ifndef QVM_TESTS_UNIT_TREE_UNIT_H
#define QVM_TESTS_UNIT_TREE_UNIT_H

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/cleanup.h"

struct tree_entry {
    const char *path;
    const char *text;   /* of a file; NULL and no target: a directory */
    const char *target; /* of a link */
};

static char tree_root[] = "/tmp/qvm-tree-XXXXXX";

static inline int tree_remove_one(const char *path, const struct stat *status, int type,
                                  struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static inline void tree_path(char whole[PATH_MAX], const char *path)
{
    ck_assert_int_lt(snprintf(whole, PATH_MAX, "%s%s", tree_root, path), PATH_MAX);
}

static inline void tree_parents(char *whole)
{
    for (char *slash = strchr(whole + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        ck_assert(mkdir(whole, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
}

/* What was there under that name is replaced. */
static inline void tree_bytes(const char *path, const void *bytes, size_t size)
{
    char whole[PATH_MAX];
    auto_close int fd = -1;

    tree_path(whole, path);
    tree_parents(whole);
    fd = open(whole, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
}

static inline void tree_link(const char *path, const char *target)
{
    char whole[PATH_MAX];

    tree_path(whole, path);
    tree_parents(whole);
    (void)unlink(whole);
    ck_assert_int_eq(symlink(target, whole), 0);
}

static inline void tree_add(const struct tree_entry *entries, size_t count)
{
    char whole[PATH_MAX];

    for (size_t i = 0; i < count; i++) {
        if (entries[i].target != NULL) {
            tree_link(entries[i].path, entries[i].target);
        } else if (entries[i].text != NULL) {
            tree_bytes(entries[i].path, entries[i].text, strlen(entries[i].text));
        } else {
            tree_path(whole, entries[i].path);
            tree_parents(whole);
            ck_assert(mkdir(whole, 0700) == 0 || errno == EEXIST);
        }
    }
}

/* Fixtures. */
static inline void tree_make(void)
{
    ck_assert_ptr_nonnull(mkdtemp(tree_root));
}

static inline void tree_remove(void)
{
    ck_assert_int_eq(nftw(tree_root, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

#endif
