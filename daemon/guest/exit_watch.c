#include "daemon/guest/exit_watch.h"

#include <errno.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/worker/instance_dir.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"

struct exit_watch {
    uv_poll_t poll;
    int fd; /* of inotify(7) */
    void (*on_write)(void *context);
    void *context;
};

static void on_readable(uv_poll_t *poll, int status, int events)
{
    const struct exit_watch *watch = poll->data;
    alignas(struct inotify_event) char buffer[4096];

    (void)status;
    (void)events;
    while (read(watch->fd, buffer, sizeof(buffer)) > 0) {
        /* which of them is seen by looking at all */
    }
    watch->on_write(watch->context);
}

int exit_watch_create(struct uv_loop_s *loop, void (*on_write)(void *context), void *context,
                      struct exit_watch **result, struct err *err)
{
    struct exit_watch *watch = calloc(1, sizeof(*watch));

    if (watch == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch->fd < 0 || uv_poll_init(loop, &watch->poll, watch->fd) != 0) {
        int r = watch->fd < 0 ? -errno : -EIO;

        cleanup_close(&watch->fd);
        free(watch);
        return err_sys(err, r, "cannot watch exit records (inotify)");
    }
    watch->on_write = on_write;
    watch->context = context;
    watch->poll.data = watch;
    (void)uv_poll_start(&watch->poll, UV_READABLE, on_readable); /* cannot fail here */
    *result = watch;
    return 0;
}

void exit_watch_add(struct exit_watch *watch, int dir_fd)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d/" INSTANCE_EXIT_FILE, dir_fd);
    if (inotify_add_watch(watch->fd, path, IN_MODIFY | IN_ONESHOT | IN_DONT_FOLLOW) < 0 &&
        errno != ENOENT) {
        log_warn("guest: exit record not watched errno=%d", errno);
    }
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void exit_watch_destroy(struct exit_watch *watch)
{
    if (watch != NULL) {
        (void)uv_poll_stop(&watch->poll);
        cleanup_close(&watch->fd);
        uv_close((uv_handle_t *)&watch->poll, on_closed);
    }
}
