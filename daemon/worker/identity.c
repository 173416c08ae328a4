#include "daemon/worker/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/crash_point.h"
#include "daemon/worker/instance_dir.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/msg.h"

#define PATH_SIZE (INSTANCE_DIR_NAME_SIZE + sizeof(INSTANCE_IDENTITY_FILE))

bool identity_exists(int dir_fd)
{
    struct stat status;

    return fstatat(dir_fd, INSTANCE_IDENTITY_FILE, &status, 0) == 0 && status.st_size > 0;
}

int identity_write(int dir_fd, const struct msg_identity *identity, const char *definition,
                   struct err *err)
{
    auto_free char *line = msg_encode(MSG_identity, identity);
    auto_free char *text = NULL;
    auto_close int fd = -1;
    ssize_t n;
    int size, r;

    if (line == NULL || (size = asprintf(&text, "%s\n%s\n", line, definition)) < 0) {
        text = NULL;
        return err_set(err, -ENOMEM, "cannot write down who the instance is");
    }
    fd = openat(dir_fd, INSTANCE_IDENTITY_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return err_sys(err, -errno, "cannot keep who the instance is");
    }
    crash_point("identity begun");
    n = write(fd, text, (size_t)size);
    r = n == size ? 0 : n < 0 ? -errno : -ENOSPC;
    crash_point("identity written aside");
    if (r == 0 && renameat(dir_fd, INSTANCE_IDENTITY_NEW, dir_fd, INSTANCE_IDENTITY_FILE) < 0) {
        r = -errno;
    }
    if (r < 0) {
        (void)unlinkat(dir_fd, INSTANCE_IDENTITY_NEW, 0); /* a part of it is worse than none */
        return err_sys(err, r, "cannot keep who the instance is");
    }
    crash_point("identity written");
    return 0;
}

static int read_whole(int fd, char **text, struct err *err)
{
    auto_free char *data = NULL;
    struct stat status;
    ssize_t n;

    if (fstat(fd, &status) < 0 || status.st_size > IDENTITY_MAX) {
        return err_set(err, -EMSGSIZE, "the instance's identity is too long");
    }
    data = malloc((size_t)status.st_size + 1);
    if (data == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    n = pread(fd, data, (size_t)status.st_size, 0);
    if (n != status.st_size) {
        return err_set(err, -EINVAL, "the instance's identity cannot be read");
    }
    data[n] = '\0';
    *text = take_ptr(data);
    return 0;
}

static int parse(const char *text, struct msg_identity *identity, char **definition,
                 struct err *err)
{
    const char *end = strchr(text, '\n');
    const char *rest = end != NULL ? end + 1 : "";
    size_t size = strcspn(rest, "\n");
    struct msg_definition checked = {0};
    auto_free char *copy = strndup(rest, size);
    int r;

    if (end == NULL || rest[size] != '\n') {
        return err_set(err, -EINVAL, "the instance's identity is not whole");
    }
    if (copy == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    r = msg_decode(MSG_definition, copy, size, false, &checked, err);
    msg_fini(MSG_definition, &checked);
    if (r == 0) {
        r = msg_decode(MSG_identity, text, (size_t)(end - text), false, identity, err);
    }
    if (r == 0) {
        *definition = take_ptr(copy);
    }
    return r;
}

int identity_read(int guests_fd, const char *dir_name, struct msg_identity *identity,
                  char **definition, struct err *err)
{
    char path[PATH_SIZE];
    auto_free char *text = NULL;
    auto_close int fd = -1;
    int r;

    (void)snprintf(path, sizeof(path), "%.*s/" INSTANCE_IDENTITY_FILE, INSTANCE_DIR_NAME_SIZE - 1,
                   dir_name);
    fd = openat(guests_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return err_sys(err, -errno, "no identity of instance '%s'", dir_name);
    }
    r = read_whole(fd, &text, err);
    return text != NULL ? parse(text, identity, definition, err) : r;
}
