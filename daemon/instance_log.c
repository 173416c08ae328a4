#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/instance_dir.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/words.h"

#define LOG_NAME_SIZE (GUEST_NAME_MAX + sizeof(".log.1"))

static char *log_name(const char *guest, const char *suffix, char name[LOG_NAME_SIZE])
{
    (void)snprintf(name, LOG_NAME_SIZE, "%.63s.log%s", guest, suffix);
    return name;
}

int instance_log_begin(int log_fd, const char *guest, int *result, struct err *err)
{
    char name[LOG_NAME_SIZE], older[LOG_NAME_SIZE];
    int fd;

    (void)log_name(guest, "", name);
    (void)log_name(guest, ".1", older);
    if (renameat(log_fd, name, log_fd, older) < 0 && errno != ENOENT) {
        return err_sys(err, -errno, "cannot put the last log '%s' aside", name);
    }
    fd = openat(log_fd, name, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        return err_sys(err, -errno, "cannot make the log '%s'", name);
    }
    *result = fd;
    return 0;
}

int instance_log_open(int log_fd, const char *guest, int *result, struct err *err)
{
    char name[LOG_NAME_SIZE];
    int fd = openat(log_fd, log_name(guest, "", name), O_RDWR | O_APPEND | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0) {
        return err_sys(err, -errno, "cannot open the log '%s'", name);
    }
    *result = fd;
    return 0;
}

/* The last `size` bytes of an open log. */
static int read_tail(int fd, size_t size, char **data, size_t *data_size, struct err *err)
{
    auto_free char *text = NULL;
    struct stat status;
    ssize_t n;

    if (fstat(fd, &status) < 0) {
        return err_sys(err, -errno, "cannot read the log");
    }
    if ((uint64_t)status.st_size < size) {
        size = (size_t)status.st_size;
    }
    text = malloc(size + 1);
    if (text == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    n = pread(fd, text, size, status.st_size - (off_t)size);
    if (n < 0) {
        return err_sys(err, -errno, "cannot read the log");
    }
    text[n] = '\0';
    *data = take_ptr(text);
    *data_size = (size_t)n;
    return 0;
}

int instance_log_tail(int log_fd, const char *guest, size_t size, char **data, size_t *data_size,
                      struct err *err)
{
    auto_close int fd = -1;
    int r = instance_log_open(log_fd, guest, &fd, err);

    return r < 0 ? r : read_tail(fd, size, data, data_size, err);
}

int64_t instance_log_bound(int log_fd, const char *guest)
{
    auto_close int fd = -1;
    auto_free char *kept = NULL;
    char note[80];
    size_t kept_size = 0;
    struct stat status;
    int r = instance_log_open(log_fd, guest, &fd, NULL);

    if (r < 0 || fstat(fd, &status) < 0 || status.st_size <= (off_t)INSTANCE_LOG_MAX) {
        return 0;
    }
    r = read_tail(fd, INSTANCE_LOG_KEEP, &kept, &kept_size, NULL);
    if (r < 0) {
        return r;
    }
    /* In place: the qvm keeps its descriptor, and O_APPEND takes it to the new end. */
    if (ftruncate(fd, 0) < 0) {
        return -errno;
    }
    (void)snprintf(note, sizeof(note), "[%" PRId64 " bytes of this log are gone]\n",
                   (int64_t)status.st_size - (int64_t)kept_size);
    if (write(fd, note, strlen(note)) < 0 || write(fd, kept, kept_size) < 0) {
        return -errno;
    }
    return (int64_t)status.st_size - (int64_t)kept_size;
}

void instance_log_remove(int log_fd, const char *guest)
{
    char name[LOG_NAME_SIZE];

    (void)unlinkat(log_fd, log_name(guest, "", name), 0);   /* it may never have run */
    (void)unlinkat(log_fd, log_name(guest, ".1", name), 0); /* or only once */
}
