/* A vdev host without modules, for tests of what stands above it: knows `ser8250` (loc, intr,
 * name, log, hostdev, delayed) and nothing else; refuses `delayed never`. */
#include "qvm-worker/vdev_host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

struct fake_device {
    char name[64], where[512], need_where[512], path[512];
    bool has_need;
    struct vdev_host_need need;
    struct vdev_region region;
};

struct vdev_host {
    struct fake_device devices[VDEV_HOST_DEVICES_MAX];
    size_t count;
};

int vdev_host_create(int directory_fd, struct vdev_host **host, struct err *err)
{
    (void)directory_fd;
    *host = calloc(1, sizeof(**host));
    return *host != NULL ? 0 : err_set(err, -ENOMEM, "no memory");
}

void vdev_host_destroy(struct vdev_host *host)
{
    free(host);
}

int vdev_host_load(struct vdev_host *host, const char *module, const char *where, struct err *err)
{
    (void)host;
    if (strcmp(module, "ser8250") != 0) {
        return err_set(err, -ENOENT, "%s: there is no vdev '%s'; there are: ser8250", where,
                       module);
    }
    return 0;
}

int vdev_host_option_arguments(const struct vdev_host *host, const char *module, const char *word)
{
    static const char *const words[] = {"loc", "intr", "name", "hostdev", "delayed"};

    (void)host;
    (void)module;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(words[i], word) == 0) {
            return 1;
        }
    }
    return strcmp(word, "log") == 0 ? 2 : -ENOENT;
}

static int read_option(struct fake_device *device, const struct vdev_host_option *option,
                       struct err *err)
{
    if (strcmp(option->word, "delayed") == 0 && strcmp(option->argument, "never") == 0) {
        return err_set(err, -EINVAL, "%s: 'never' is no delay", option->where);
    }
    if (strcmp(option->word, "name") == 0) {
        (void)snprintf(device->name, sizeof(device->name), "%s", option->argument);
    }
    if (strcmp(option->word, "hostdev") == 0 && strcmp(option->argument, "-") != 0) {
        const char *path = option->argument;

        device->has_need = true;
        device->need.can_read = path[0] != '>';
        device->need.can_write = path[0] != '<';
        path += path[0] == '<' || path[0] == '>' ? 1 : 0;
        device->need.kind = path[0] == '|' ? VDEV_HOST_NEED_COMMAND : VDEV_HOST_NEED_FILE;
        (void)snprintf(device->path, sizeof(device->path), "%s", path);
        (void)snprintf(device->need_where, sizeof(device->need_where), "%s", option->where);
        device->need.path = device->path;
        device->need.where = device->need_where;
    }
    return 0;
}

int vdev_host_add(struct vdev_host *host, const char *module, const char *where,
                  const struct vdev_host_option *options, size_t option_count, struct err *err)
{
    struct fake_device *device = &host->devices[host->count++];

    (void)snprintf(device->name, sizeof(device->name), "%s", module);
    (void)snprintf(device->where, sizeof(device->where), "%s", where);
    device->region = (struct vdev_region){VDEV_SPACE_IO, 0x3f8, 8};
    for (size_t i = 0; i < option_count; i++) {
        int r = read_option(device, &options[i], err);

        if (r != 0) {
            return r;
        }
    }
    return 0;
}

const struct vdev_host_need *vdev_host_next_need(const struct vdev_host *host,
                                                 const struct vdev_host_need *previous)
{
    bool is_behind = previous == NULL;

    for (size_t i = 0; i < host->count; i++) {
        if (is_behind && host->devices[i].has_need) {
            return &host->devices[i].need;
        }
        is_behind = is_behind || &host->devices[i].need == previous;
    }
    return NULL;
}

bool vdev_host_device(const struct vdev_host *host, size_t i, struct vdev_host_device *device)
{
    if (i >= host->count) {
        return false;
    }
    *device = (struct vdev_host_device){
        .name = host->devices[i].name,
        .module = "ser8250",
        .where = host->devices[i].where,
        .regions = &host->devices[i].region,
        .region_count = 1,
        .intr_line = 4,
    };
    return true;
}
