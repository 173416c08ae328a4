#include "tests/lab/inside/port.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char PORTS[] = "/sys/class/virtio-ports";

/* Is the port in the sysfs folder `entry` the one called `name`? */
static bool is_called(const char *entry, const char *name)
{
    char path[300];
    char line[100] = "";
    FILE *file = NULL;

    (void)snprintf(path, sizeof(path), "%s/%s/name", PORTS, entry);
    file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    if (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
    }
    (void)fclose(file); /* only read */
    return strcmp(line, name) == 0;
}

int port_open(const char *name)
{
    const struct dirent *entry = NULL;
    char path[300];
    int fd = -ENOENT;
    DIR *dir = opendir(PORTS);

    if (dir == NULL) {
        return -errno;
    }
    while (fd == -ENOENT && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.' && is_called(entry->d_name, name)) {
            (void)snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
            fd = open(path, O_RDWR | O_CLOEXEC);
            fd = fd < 0 ? -errno : fd;
            break;
        }
    }
    (void)closedir(dir); /* only read */
    return fd;
}

int port_write(int fd, const void *data, size_t size)
{
    const char *at = data;

    while (size > 0) {
        ssize_t n = write(fd, at, size);

        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n > 0) {
            at += n;
            size -= (size_t)n;
        }
    }
    return 0;
}
