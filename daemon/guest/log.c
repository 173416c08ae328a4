/* A guest's two logs: what its qvm said, and what it said itself at its console. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/guest/inside.h"
#include "daemon/host/rights.h"
#include "daemon/worker/feed.h"
#include "daemon/worker/instance_dir.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"

static char *log_name(const char *guest, const char *what, char name[LOG_FILE_NAME_SIZE])
{
    (void)snprintf(name, LOG_FILE_NAME_SIZE, "%.63s.%s", guest, what);
    return name;
}

void guest_logs_init(struct guest *guest)
{
    const struct guests_env *env = &guest->all->env;
    char name[LOG_FILE_NAME_SIZE];

    log_file_init(&guest->log, env->log_fd, log_name(guest->name, "log", name), &env->log_bounds);
    log_file_init(&guest->console, env->log_fd, log_name(guest->name, "console", name),
                  &env->log_bounds);
}

void guest_logs_remove(const struct guests *guests, const char *name)
{
    char file[LOG_FILE_NAME_SIZE];

    log_file_remove(guests->env.log_fd, log_name(name, "console", file));
    log_file_remove(guests->env.log_fd, log_name(name, "log", file));
}

static void on_log(void *context)
{
    guest_readers_wake(context, GUEST_READ_LOG);
}

static void on_console(void *context)
{
    guest_readers_wake(context, GUEST_READ_RING);
    guest_readers_wake(context, GUEST_READ_CONSOLE);
}

static void on_position(void *context, uint64_t offset, uint64_t end)
{
    struct guest *guest = context;

    guest->console_offset = offset;
    if (guest->dir_fd >= 0) {
        /* only a later qvmd reads it: then some of the console stands there twice */
        (void)instance_dir_write_console(guest->dir_fd, offset, end);
    }
}

static void on_left(void *context, int fd)
{
    guest_on_left(context, &fd, 1);
}

static int open_feed(struct guest *guest, int log_fd, struct err *err)
{
    static const struct feed_hooks hooks = {on_log, on_console, on_position, on_left};
    bool is_kept = guest->all->env.is_console_kept;
    int r = feed_create(guest->all->env.loop, log_fd, &guest->log, is_kept ? &guest->console : NULL,
                        &hooks, guest, &guest->feed, err);

    if (r == 0 && guest->is_wary) {
        feed_be_wary(guest->feed);
    }
    return r;
}

/* A line in both files, for people. */
static void mark(struct guest *guest, const char *text)
{
    log_file_mark(&guest->log, log_file_is_at_line_start(&guest->log), "%s", text);
    if (guest->all->env.is_console_kept) {
        log_file_mark(&guest->console, log_file_is_at_line_start(&guest->console), "%s", text);
    }
    on_log(guest);
    on_console(guest);
}

int guest_logs_begin(struct guest *guest, int *qvm_fd, int *end_fd, struct err *err)
{
    char text[160];
    int pair[2];
    int r;

    (void)snprintf(text, sizeof(text), "guest '%s' starts, instance %" PRId64 ", %s", guest->name,
                   guest->instance.id, guest->instance.started);
    mark(guest, text);
    guest->console_offset = 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        return err_sys(err, -errno, "cannot make a socket for the log");
    }
    rights_refuse(pair[1]);
    r = open_feed(guest, pair[1], err);
    if (r < 0) {
        cleanup_close(&pair[0]);
        cleanup_close(&pair[1]);
        return r;
    }
    *qvm_fd = pair[0];
    *end_fd = pair[1];
    return 0;
}

void guest_logs_adopt(struct guest *guest, int *end_fd)
{
    struct err err = {0};
    uint64_t end = 0;

    if (guest->feed != NULL) {
        return; /* the same qvm again */
    }
    if (open_feed(guest, *end_fd, &err) < 0) {
        log_warn("guest: its log cannot be read guest=%s why=\"%s\"", guest->name, err.msg);
        return;
    }
    (void)take_fd(end_fd);
    /* What was written after the position was noted came from the ring. */
    if (guest->dir_fd >= 0 &&
        instance_dir_read_console(guest->dir_fd, &guest->console_offset, &end) == 0) {
        uint64_t now = log_file_end(&guest->console);

        guest->console_offset += now > end ? now - end : 0;
    }
}

void guest_logs_drain(struct guest *guest)
{
    if (guest->feed != NULL) {
        feed_finish(guest->feed);
    }
}

void guest_logs_end(struct guest *guest, const char *reason)
{
    char text[160];

    feed_destroy(take_ptr(guest->feed));
    (void)snprintf(text, sizeof(text), "guest '%s' has ended (%s), instance %" PRId64, guest->name,
                   reason, guest->instance.id);
    mark(guest, text);
    guest_readers_end(guest, GUEST_READ_RING);
}
