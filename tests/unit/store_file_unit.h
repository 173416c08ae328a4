/* A store in a file of its own, for tests that do things to the file. Modes mean something in them:
 * they do not run as root. */
#ifndef QVM_TESTS_STORE_FILE_UNIT_H
#define QVM_TESTS_STORE_FILE_UNIT_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/store_unit.h"

#define NOBODY 65534

static char directory[64];
static char path[96];

/* Modes mean nothing to root: be nobody, who owns the directory. */
static inline void setup(void)
{
    (void)snprintf(directory, sizeof(directory), "/tmp/test_store-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    (void)snprintf(path, sizeof(path), "%s/qvm.db", directory);
    if (geteuid() == 0) {
        ck_assert_int_eq(chown(directory, NOBODY, NOBODY), 0);
        ck_assert_int_eq(seteuid(NOBODY), 0);
    }
}

static inline void teardown(void)
{
    char command[128];

    (void)!seteuid(getuid());
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", directory);
    ck_assert_int_eq(system(command), 0);
}

static inline void expect_mode(const char *suffix)
{
    char name[128];
    struct stat st;

    (void)snprintf(name, sizeof(name), "%s%s", path, suffix);
    ck_assert_int_eq(stat(name, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
}

static inline void read_whole(const char *name, char **bytes, size_t *size)
{
    FILE *file = fopen(name, "r");

    *bytes = malloc(1u << 20);
    ck_assert_ptr_nonnull(file);
    *size = fread(*bytes, 1, 1u << 20, file);
    (void)fclose(file);
}

/* Opening fails with -EIO and a sentence that has `words`, and changes no byte. */
static inline void expect_refused(const char *words)
{
    auto_free char *before = NULL;
    auto_free char *after = NULL;
    struct store *store = NULL;
    struct err err = {0};
    size_t before_size;
    size_t after_size;

    read_whole(path, &before, &before_size);
    ck_assert_int_eq(store_open(path, &store, &err), -EIO);
    ck_assert_msg(strstr(err.msg, words) != NULL, "%s", err.msg);
    ck_assert_ptr_null(store);
    read_whole(path, &after, &after_size);
    ck_assert_uint_eq(before_size, after_size);
    ck_assert_mem_eq(before, after, before_size);
}

static inline void overwrite(off_t offset, const char *bytes, size_t size)
{
    auto_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_eq(pwrite(fd, bytes, size, offset), (ssize_t)size);
}

#endif
