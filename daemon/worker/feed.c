#include "daemon/worker/feed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#include "daemon/host/clock.h"
#include "daemon/worker/log_file.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/console.h"

#define PACKETS_AT_ONCE 64 /* before the loop's others have their turn */
#define PIECES_AT_ONCE  (CONSOLE_RING_CAPACITY / LOG_FILE_PIECE_MAX)
#define LAST_ROUNDS     64 /* of packets: more than a socket holds */
#define STAMPED_MAX     (2 * FEED_PACKET_MAX)

/* What may be taken: grows with time up to a burst. */
struct budget {
    int64_t left, burst, per_ms;
};

struct feed {
    uv_poll_t poll;
    uv_timer_t timer;
    int open_handles;
    int log_fd; /* -1: none */
    bool is_log_paused, is_log_over;
    bool is_wary;
    bool is_at_line_start; /* of the log */
    bool is_rung;          /* the bell rang, and nobody has looked yet */
    struct log_file *log, *console;
    struct feed_hooks hooks;
    void *context;
    const struct console_ring *ring; /* NULL: none yet */
    uint64_t ring_offset, ring_lost; /* lost: not told in the file yet */
    uint64_t ring_seen;              /* its end when we looked last */
    uint64_t bell_ms, now_ms;        /* loop time */
    struct budget log_budget, ring_budget;
};

static void refill(struct feed *feed)
{
    struct budget *budgets[] = {&feed->log_budget, &feed->ring_budget};
    uint64_t now_ms = uv_now(feed->poll.loop);

    for (size_t i = 0; i < ARRAY_LEN(budgets); i++) {
        budgets[i]->left += (int64_t)(now_ms - feed->now_ms) * budgets[i]->per_ms;
        if (budgets[i]->left > budgets[i]->burst) {
            budgets[i]->left = budgets[i]->burst;
        }
    }
    feed->now_ms = now_ms;
}

/* ---- the log ---- */

static void on_log(uv_poll_t *poll, int status, int events);

/* Each line with its time before it. */
static size_t stamp(struct feed *feed, const char *data, size_t size, char out[STAMPED_MAX])
{
    char time[CLOCK_TEXT_SIZE];
    size_t used = 0;

    (void)clock_now_text(time);
    for (size_t i = 0; i < size; i++) {
        if (feed->is_at_line_start) {
            size_t length = strlen(time);

            if (used + length + 2 > STAMPED_MAX) {
                break;
            }
            used += (size_t)snprintf(out + used, STAMPED_MAX - used, "%s ", time);
        }
        if (used == STAMPED_MAX) {
            break;
        }
        out[used++] = data[i];
        feed->is_at_line_start = data[i] == '\n';
    }
    return used;
}

/* Look at the next packet, which takes no descriptors: 0, or a negative errno as of receiving it;
 * -EBADMSG: it has some. */
static int look(const struct feed *feed)
{
    char first;
    struct iovec piece = {.iov_base = &first, .iov_len = 1};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

    if (recvmsg(feed->log_fd, &message, MSG_DONTWAIT | MSG_PEEK) < 0) {
        return -errno;
    }
    return (message.msg_flags & MSG_CTRUNC) != 0 ? -EBADMSG : 0;
}

/* Its size, or a negative errno. What comes only after a look that found nothing is not taken. */
static ssize_t receive(const struct feed *feed, char *data, size_t size)
{
    int r = feed->is_wary ? look(feed) : 0;
    ssize_t n;

    if (r < 0) {
        return r;
    }
    n = recv(feed->log_fd, data, size, MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

/* One packet. False: there is none. */
static bool take_packet(struct feed *feed)
{
    static const char loaded[] = "its qvm sent descriptors, and its log is read no more\n";
    char data[FEED_PACKET_MAX], out[STAMPED_MAX];
    size_t size;
    ssize_t n = receive(feed, data, sizeof(data));

    if (n == -EBADMSG && !feed->is_log_over) {
        log_file_append(feed->log, loaded, sizeof(loaded) - 1);
    }
    if (n == -EINTR || n == -ECONNRESET) {
        return true; /* what was sent before a reset is still there */
    }
    if (n == -EAGAIN) {
        return false;
    }
    if (n <= 0) {                 /* a socket that cannot be read would wake us for ever */
        feed->is_log_over = true; /* it has closed its end; its process may live */
        return false;
    }
    feed->is_rung = true; /* also by a line: a bell that found no room stands behind it */
    if (n == 1 && data[0] == '\0') {
        return true;
    }
    size = stamp(feed, data, (size_t)n, out);
    log_file_append(feed->log, out, size);
    feed->log_budget.left -= (int64_t)size;
    return true;
}

/* Some packets. False: there are no more. */
static bool take_log(struct feed *feed)
{
    int64_t before = feed->log_budget.left;
    bool is_more = true;

    for (int i = 0; i < PACKETS_AT_ONCE && is_more && feed->log_budget.left > 0; i++) {
        is_more = take_packet(feed);
    }
    if (feed->log_budget.left < before) {
        feed->hooks.on_log(feed->context);
    }
    return is_more;
}

static void watch_log(struct feed *feed)
{
    bool is_paused = feed->log_budget.left <= 0 || feed->is_log_over;

    if (feed->log_fd >= 0 && is_paused != feed->is_log_paused) {
        feed->is_log_paused = is_paused;
        if (is_paused) {
            (void)uv_poll_stop(&feed->poll);
        } else {
            (void)uv_poll_start(&feed->poll, UV_READABLE, on_log); /* cannot fail */
        }
    }
}

/* ---- the console ---- */

static void tell_lost(struct feed *feed)
{
    if (feed->ring_lost > 0) {
        log_file_mark(feed->console, false, "%" PRIu64 " bytes lost", feed->ring_lost);
        feed->ring_lost = 0;
    }
}

static void take_ring(struct feed *feed)
{
    uint8_t piece[LOG_FILE_PIECE_MAX];
    size_t n = 1;

    for (unsigned i = 0; i < PIECES_AT_ONCE && n > 0 && feed->ring_budget.left > 0; i++) {
        n = console_ring_read(feed->ring, &feed->ring_offset, piece, sizeof(piece),
                              &feed->ring_lost);
        if (n > 0) {
            tell_lost(feed);
            log_file_append(feed->console, piece, n);
            feed->ring_budget.left -= (int64_t)n;
        }
    }
}

/* What is new in the ring; false: nothing. */
static bool look_at_ring(struct feed *feed)
{
    uint64_t end = feed->ring != NULL ? console_ring_end(feed->ring) : 0;
    bool is_behind = feed->console != NULL && feed->ring != NULL && feed->ring_offset != end;
    bool is_new = end != feed->ring_seen;

    feed->ring_seen = end;
    if (is_behind) {
        take_ring(feed);
        feed->hooks.on_position(feed->context, feed->ring_offset, log_file_end(feed->console));
    }
    if (is_new) {
        feed->hooks.on_console(feed->context);
    }
    return is_new || is_behind;
}

/* ---- time ---- */

static void on_tick(uv_timer_t *timer);

static void tick_later(struct feed *feed)
{
    if (uv_is_active((uv_handle_t *)&feed->timer) == 0) {
        (void)uv_timer_start(&feed->timer, on_tick, FEED_TICK_MS, 0); /* cannot fail */
    }
}

static bool is_log_waiting(const struct feed *feed)
{
    return feed->log_fd >= 0 && feed->is_log_paused && !feed->is_log_over;
}

static void on_tick(uv_timer_t *timer)
{
    struct feed *feed = timer->data;
    bool is_new;

    refill(feed);
    is_new = look_at_ring(feed);
    watch_log(feed);
    feed->bell_ms = feed->is_rung ? uv_now(timer->loop) : feed->bell_ms;
    feed->is_rung = false;
    if (is_new || is_log_waiting(feed) || uv_now(timer->loop) - feed->bell_ms < FEED_BELL_MS) {
        tick_later(feed);
    } else if (feed->ring != NULL) {
        console_ring_rest(feed->ring);
    }
}

static void on_log(uv_poll_t *poll, int status, int events)
{
    struct feed *feed = poll->data;

    (void)events;
    if (status < 0) {
        (void)uv_poll_stop(poll); /* what is left is taken at its end */
        return;
    }
    refill(feed);
    (void)take_log(feed);
    if (feed->is_rung && uv_is_active((uv_handle_t *)&feed->timer) == 0) {
        feed->is_rung = false;
        feed->bell_ms = uv_now(poll->loop);
        (void)look_at_ring(feed);
        tick_later(feed);
    }
    watch_log(feed);
    if (is_log_waiting(feed)) {
        tick_later(feed);
    }
}

/* ---- its life ---- */

static int check_socket(int fd, struct err *err)
{
    int domain = 0;
    socklen_t size = sizeof(domain);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || domain != AF_UNIX) {
        return err_set(err, -EPROTO, "the end of its log is no socket");
    }
    return 0;
}

int feed_create(struct uv_loop_s *loop, int log_fd, struct log_file *log, struct log_file *console,
                const struct feed_hooks *hooks, void *context, struct feed **result,
                struct err *err)
{
    struct feed *feed;
    int r = log_fd >= 0 ? check_socket(log_fd, err) : 0;

    if (r < 0) {
        return r;
    }
    feed = calloc(1, sizeof(*feed));
    if (feed == NULL || (log_fd >= 0 && uv_poll_init(loop, &feed->poll, log_fd) != 0)) {
        free(feed);
        return err_set(err, -ENOMEM, "cannot watch its log");
    }
    (void)uv_timer_init(loop, &feed->timer); /* cannot fail */
    feed->open_handles = log_fd >= 0 ? 2 : 1;
    feed->poll.data = feed->timer.data = feed;
    feed->poll.loop = loop;
    feed->log_fd = log_fd;
    feed->log = log;
    feed->console = console;
    feed->hooks = *hooks;
    feed->context = context;
    feed->now_ms = uv_now(loop);
    feed->is_at_line_start = log_file_is_at_line_start(log);
    feed->is_log_paused = true;
    feed->log_budget = (struct budget){FEED_LOG_BURST, FEED_LOG_BURST, FEED_LOG_PER_MS};
    feed->ring_budget = (struct budget){FEED_RING_BURST, FEED_RING_BURST, FEED_RING_PER_MS};
    watch_log(feed);
    *result = feed;
    return 0;
}

void feed_be_wary(struct feed *feed)
{
    feed->is_wary = true;
}

void feed_set_ring(struct feed *feed, const struct console_ring *ring, uint64_t offset)
{
    feed->ring = ring;
    feed->ring_offset = offset;
    if (look_at_ring(feed)) {
        tick_later(feed);
    }
}

void feed_finish(struct feed *feed)
{
    /* As much as a socket and the ring hold, whatever was taken before. */
    feed->log_budget.left = feed->ring_budget.left = FEED_RING_BURST;
    for (int i = 0; feed->log_fd >= 0 && i < LAST_ROUNDS && take_log(feed); i++) {
    }
    (void)look_at_ring(feed);
    if (!feed->is_at_line_start) {
        log_file_append(feed->log, "\n", 1);
        feed->is_at_line_start = true;
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct feed *feed = handle->data;

    feed->open_handles--;
    if (feed->open_handles == 0) {
        free(feed);
    }
}

void feed_destroy(struct feed *feed)
{
    if (feed == NULL) {
        return;
    }
    if (feed->log_fd >= 0) {
        (void)uv_poll_stop(&feed->poll);
        uv_close((uv_handle_t *)&feed->poll, on_closed);
        if (feed->is_wary) {
            feed->hooks.on_left(feed->context, take_fd(&feed->log_fd));
        } else {
            cleanup_close(&feed->log_fd);
        }
    }
    uv_close((uv_handle_t *)&feed->timer, on_closed);
}
