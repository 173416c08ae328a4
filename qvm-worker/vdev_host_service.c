/* What a device gets from its qvm: struct vdev_services. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "qvm-worker/console.h"
#include "qvm-worker/vdev_host_private.h"

#define LOG_TEXT_SIZE 512u

/* Exit statuses that belong to vdevs, and that of a vdev which asks for another. */
#define EXIT_FIRST 32u
#define EXIT_LAST  63u
#define EXIT_WRONG 6u

static int service_fail(struct vdev_slot *slot, const struct vdev_value *value, const char *format,
                        ...)
{
    va_list args;

    va_start(args, format);
    (void)err_vset(slot->create_err, -EINVAL, format, args);
    va_end(args);
    /* A fallback has no line; the vdev's own helps more. */
    (void)err_prefix(slot->create_err, "%s: vdev '%s': ",
                     value != NULL && value->where != NULL && strcmp(value->where, "default") != 0
                         ? value->where
                         : slot->where,
                     slot->name);
    return -EINVAL;
}

static void service_log(struct vdev_slot *slot, enum vdev_log_level level, const char *format, ...)
{
    static const enum log_level levels[] = {LOG_error, LOG_warn, LOG_info, LOG_debug};
    char text[LOG_TEXT_SIZE];
    enum log_level as = LOG_debug;
    va_list args;

    /* Once there is a device, the guest makes it talk: debug. */
    if ((unsigned)level < ARRAY_LEN(levels) && slot->device == NULL) {
        as = levels[level];
    }
    if (slot->has_log && (slot->log_fd < 0 || (slot->log_set & LOG_BIT(as)) == 0)) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args); /* cut when too long */
    va_end(args);
    if (!slot->has_log) {
        log_line(as, "vdev: %s device=%s", text, slot->name);
        return;
    }
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            *c = '?';
        }
    }
    (void)dprintf(slot->log_fd, "vdev: %s device=%s\n", text, slot->name); /* nobody to be told */
}

void vdev_host_set_intr(struct vdev_slot *slot, bool is_high)
{
    struct vdev_host *host = slot->host;
    struct intr_line *line;

    if (is_high == slot->is_high || slot->intr_line >= VDEV_HOST_GSI_COUNT) {
        return;
    }
    slot->is_high = is_high;
    line = &host->lines[slot->intr_line];
    (void)pthread_mutex_lock(&line->lock);
    line->high_count = is_high ? line->high_count + 1 : line->high_count - 1;
    if (host->env.intr != NULL && line->high_count == (is_high ? 1 : 0)) {
        host->env.intr(host->env.context, slot->intr_line, is_high);
    }
    (void)pthread_mutex_unlock(&line->lock);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now); /* cannot fail for these clocks */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t service_now_ns(struct vdev_slot *slot UNUSED)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t service_wall_ns(struct vdev_slot *slot UNUSED)
{
    return clock_ns(CLOCK_REALTIME);
}

void vdev_host_set_timer(struct vdev_slot *slot, uint64_t deadline_ns)
{
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                     .tv_nsec = (long)(deadline_ns % 1000000000u)},
    };

    if (deadline_ns == slot->deadline_ns || slot->timer_fd < 0) {
        return;
    }
    slot->deadline_ns = deadline_ns;
    (void)timerfd_settime(slot->timer_fd, TFD_TIMER_ABSTIME, &when, NULL); /* all valid */
}

static void on_timer(uv_poll_t *poll, int status UNUSED, int events UNUSED)
{
    struct vdev_slot *slot = poll->data;
    uint64_t count;

    if (read(slot->timer_fd, &count, sizeof(count)) < 0) {
        return; /* set anew in the meantime */
    }
    (void)pthread_mutex_lock(&slot->lock);
    if (slot->deadline_ns != 0 && clock_ns(CLOCK_MONOTONIC) >= slot->deadline_ns) {
        slot->deadline_ns = 0;
        slot->loaded->ops.timer(slot->device);
    }
    (void)pthread_mutex_unlock(&slot->lock);
}

int vdev_host_open_timer(struct vdev_slot *slot, struct err *err)
{
    int r;

    if (slot->loaded->ops.timer == NULL) {
        return 0;
    }
    slot->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (slot->timer_fd < 0) {
        return err_sys(err, -errno, "%s: vdev '%s' gets no timer", slot->where, slot->name);
    }
    r = uv_poll_init(slot->host->env.loop, &slot->timer_poll, slot->timer_fd);
    if (r != 0) {
        return err_set(err, r, "%s: vdev '%s' gets no timer: %s", slot->where, slot->name,
                       uv_strerror(r));
    }
    slot->timer_poll.data = slot;
    slot->has_timer_poll = true;
    (void)uv_poll_start(&slot->timer_poll, UV_READABLE, on_timer); /* fails when closed alone */
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    vdev_host_free_slot(handle->data);
}

void vdev_host_close_timer(struct vdev_slot *slot)
{
    if (slot->has_timer_poll) {
        uv_close((uv_handle_t *)&slot->timer_poll, on_timer_closed);
        cleanup_close(&slot->timer_fd);
    } else {
        cleanup_close(&slot->timer_fd);
        vdev_host_free_slot(slot);
    }
}

static void service_stream_write(struct vdev_slot *slot, const uint8_t *data, size_t size)
{
    if (slot->stream != NULL && slot->need.can_write) {
        console_write(slot->stream, data, size);
    }
}

static void service_stream_resume(struct vdev_slot *slot)
{
    if (slot->stream != NULL && slot->need.can_read) {
        console_input_resume(slot->stream);
    }
}

static size_t on_stream(void *context, const uint8_t *data, size_t count)
{
    struct vdev_slot *slot = context;
    size_t n;

    (void)pthread_mutex_lock(&slot->lock);
    n = slot->loaded->ops.receive(slot->device, data, count);
    (void)pthread_mutex_unlock(&slot->lock);
    return n;
}

int vdev_host_open_stream(struct vdev_slot *slot, struct err *err)
{
    int r;

    if (slot->stream_kind == STREAM_CONSOLE) {
        slot->stream = slot->host->env.console;
        return 0;
    }
    if (slot->stream_kind != STREAM_GRANTED) {
        return 0;
    }
    if (slot->granted_fd < 0) {
        return err_set(err, -ENODEV, "%s: '%s' was not given to vdev '%s'", slot->need.where,
                       slot->need.path, slot->name);
    }
    r = console_create(slot->host->env.loop, &slot->stream, err);
    if (r != 0) {
        return r;
    }
    slot->is_stream_own = true;
    r = console_attach_pair(slot->stream, slot->need.can_read ? slot->granted_fd : -1,
                            slot->need.can_write ? slot->granted_fd : -1, CONSOLE_PLAIN,
                            CONSOLE_FROM_OLDEST, err);
    if (r == 0) {
        slot->granted_fd = -1; /* the session's now */
    } else {
        (void)err_prefix(err, "%s: ", slot->need.where);
    }
    return r;
}

void vdev_host_listen_stream(struct vdev_slot *slot)
{
    if (slot->stream != NULL && slot->need.can_read) {
        console_set_input(slot->stream, on_stream, slot);
    }
}

void vdev_host_close_stream(struct vdev_slot *slot)
{
    if (slot->is_stream_own) {
        console_destroy(slot->stream);
    } else if (slot->stream != NULL && slot->need.can_read && slot->device != NULL) {
        console_set_input(slot->stream, NULL, NULL);
    }
    slot->stream = NULL;
    cleanup_close(&slot->granted_fd);
}

static void service_request(struct vdev_slot *slot, enum vdev_request request, uint32_t value)
{
    if (request == VDEV_REQUEST_EXIT && (value < EXIT_FIRST || value > EXIT_LAST)) {
        value = EXIT_WRONG;
    }
    if (slot->host->env.request != NULL) {
        slot->host->env.request(slot->host->env.context, request, value);
    }
}

const struct vdev_services vdev_host_services = {
    .size = sizeof(vdev_host_services),
    .abi = QVM_VDEV_ABI,
    .fail = service_fail,
    .log = service_log,
    .intr = vdev_host_set_intr,
    .now_ns = service_now_ns,
    .wall_ns = service_wall_ns,
    .timer = vdev_host_set_timer,
    .stream_write = service_stream_write,
    .stream_resume = service_stream_resume,
    .request = service_request,
};
