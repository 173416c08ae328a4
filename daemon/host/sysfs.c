/* Attributes of sysfs. */
#include "daemon/host/sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/cleanup.h"

#define NUMBER_SIZE 32

int sysfs_open(const char *root, const char *path)
{
    char whole[PATH_MAX];

    if ((size_t)snprintf(whole, sizeof(whole), "%s%s", root, path) >= sizeof(whole)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(whole, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void sysfs_harmless(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < ' ' || *text > '~') {
            *text = '?';
        }
    }
}

int sysfs_text(int dir_fd, const char *name, char *text, size_t size)
{
    auto_close int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    text[0] = '\0';
    if (fd < 0) {
        return -errno;
    }
    n = read(fd, text, size - 1); /* the kernel writes an attribute whole */
    if (n < 0) {
        return -errno;
    }
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    sysfs_harmless(text);
    return 0;
}

int64_t sysfs_number(int dir_fd, const char *name, int64_t none)
{
    char text[NUMBER_SIZE], *end;
    int64_t number;

    if (sysfs_text(dir_fd, name, text, sizeof(text)) < 0) {
        return none;
    }
    errno = 0;
    number = strtoll(text, &end, 0);
    return errno == 0 && end != text && *end == '\0' ? number : none;
}

int sysfs_link(int dir_fd, const char *name, char *target, size_t size)
{
    ssize_t n = readlinkat(dir_fd, name, target, size);

    if (n < 0 || (size_t)n >= size) {
        target[0] = '\0';
        return n < 0 ? -errno : -ENAMETOOLONG;
    }
    target[n] = '\0';
    sysfs_harmless(target);
    return 0;
}

int sysfs_link_base(int dir_fd, const char *name, char *base, size_t size)
{
    char target[PATH_MAX];
    int r = sysfs_link(dir_fd, name, target, sizeof(target));
    const char *slash = strrchr(target, '/');
    const char *last = slash != NULL ? slash + 1 : target;

    base[0] = '\0';
    if (r == 0 && strlen(last) >= size) {
        r = -ENAMETOOLONG;
    }
    if (r == 0) {
        memcpy(base, last, strlen(last) + 1);
    }
    return r;
}

DIR *sysfs_list(const char *root, const char *path)
{
    int fd = sysfs_open(root, path);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (dir == NULL) {
        cleanup_close(&fd);
    }
    return dir;
}

const char *sysfs_next(DIR *dir)
{
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            return entry->d_name;
        }
    }
    return NULL;
}

void sysfs_list_end(DIR **dir)
{
    if (*dir != NULL) {
        (void)closedir(*dir); /* only read from */
        *dir = NULL;
    }
}
