/* A console: a ring that a device writes, sessions that read it and type. */
#include "qvm-worker/console/console.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/console.h"
#include "qvm-worker/console/bell.h"
#include "qvm-worker/console/gather.h"
#include "qvm-worker/console/session.h"

struct console {
    uv_async_t wake;
    uv_timer_t batch;
    int open_handles;

    int ring_fd;
    struct console_ring *ring;
    pthread_mutex_t write_lock; /* of the ring, which has one writer */
    struct bell bell;

    /* Set while the control thread will look at the ring without being told. Who sets it from
     * false tells it. */
    atomic_bool is_awake;
    atomic_uint session_count; /* written by the control thread alone */
    atomic_bool is_resumed;    /* console_input_resume was called */
    uint64_t pumped_to;        /* end of the ring at the last pump */
    struct gather gather;      /* see console_set_silence */
    uint64_t batch_ms;         /* until the next one, while the device keeps writing */

    struct console_session_owner owner;
    struct console_session *sessions[CONSOLE_SESSIONS_MAX]; /* oldest first */
    struct console_session *typist;                         /* NULL: nobody types */
    uint64_t lost_by_ended;                                 /* sum over sessions that are over */

    console_input_fn on_input;
    void *input_context;
    bool is_device_full; /* it took less than it was given */
    size_t input_at, input_end;
    uint8_t input[CONSOLE_INPUT_MAX]; /* last, and not cleared: few guests are typed at */
};

/* Room for typed bytes that a session may fill now. */
static size_t input_room(const struct console *console)
{
    if (console->on_input == NULL) {
        return 0;
    }
    return CONSOLE_INPUT_MAX - (console->input_end - console->input_at);
}

static size_t session_count(const struct console *console)
{
    return atomic_load_explicit(&console->session_count, memory_order_relaxed);
}

/* Tell each session how much it may read. What others than the typist type is read, thrown away,
 * and tells when they leave. */
static void listen_all(struct console *console)
{
    for (size_t i = session_count(console); i-- > 0;) {
        struct console_session *session = console->sessions[i];

        console_session_listen(session,
                               session == console->typist ? input_room(console) : SIZE_MAX);
    }
}

static void deliver(struct console *console)
{
    while (console->on_input != NULL && !console->is_device_full &&
           console->input_at < console->input_end) {
        size_t count = console->input_end - console->input_at;
        size_t n =
            console->on_input(console->input_context, console->input + console->input_at, count);

        console->is_device_full = n < count;
        console->input_at += n < count ? n : count;
    }
    if (console->input_at == console->input_end) {
        console->input_at = 0;
        console->input_end = 0;
    }
}

size_t console_type(struct console *console, const uint8_t *data, size_t size)
{
    size_t count = input_room(console);

    count = size < count ? size : count;
    if (console->input_end + count > CONSOLE_INPUT_MAX) {
        memmove(console->input, console->input + console->input_at,
                console->input_end - console->input_at);
        console->input_end -= console->input_at;
        console->input_at = 0;
    }
    memcpy(console->input + console->input_end, data, count);
    console->input_end += count;
    deliver(console);
    listen_all(console);
    return count;
}

static void on_batch(uv_timer_t *timer);

/* Somebody waits for an echo: what comes next is told at once. */
static void pump_soon(struct console *console)
{
    console->batch_ms = CONSOLE_BATCH_MS;
    if (uv_is_active((uv_handle_t *)&console->batch) != 0) {
        (void)uv_timer_stop(&console->batch); /* cannot fail */
        on_batch(&console->batch);
    }
}

static void on_typed(void *context, struct console_session *session, const uint8_t *data,
                     size_t size)
{
    struct console *console = context;

    if (session == console->typist) {
        pump_soon(console);
        (void)console_type(console, data, size); /* there is room: the session read no more */
    }
}

/* Only who was told before that it reads has to hear that it types. */
static void tell_typist(struct console_session *session)
{
    if (console_session_is_quiet(session)) {
        console_session_set_quiet(session, false);
        console_session_notice(session, "this session types now");
        console_session_pump(session);
    }
}

static void choose_typist(struct console *console)
{
    console->typist = NULL;
    for (size_t i = 0; i < session_count(console) && console->typist == NULL; i++) {
        const struct console_session *session = console->sessions[i];

        if ((console_session_flags(session) & CONSOLE_READ_ONLY) == 0 &&
            console_session_is_typing(session)) {
            console->typist = console->sessions[i];
        }
    }
    if (console->typist != NULL) {
        console_session_listen(console->typist, input_room(console));
    }
    if (console->typist != NULL) {
        tell_typist(console->typist);
    }
}

static void on_silent(void *context, struct console_session *session)
{
    struct console *console = context;

    if (console->typist == session) {
        choose_typist(console);
    }
}

static void on_ended(void *context, struct console_session *session)
{
    struct console *console = context;
    size_t count = session_count(console);
    size_t i = 0;

    while (i < count && console->sessions[i] != session) {
        i++;
    }
    if (i == count) {
        return; /* ended before it was one of us */
    }
    for (; i + 1 < count; i++) {
        console->sessions[i] = console->sessions[i + 1];
    }
    atomic_store(&console->session_count, (unsigned)count - 1);
    console->lost_by_ended += console_session_lost(session);
    if (console->typist == session) {
        choose_typist(console);
    }
}

static bool is_anybody_reading(const struct console *console)
{
    for (size_t i = 0; i < session_count(console); i++) {
        if (console_session_blocked_fd(console->sessions[i]) < 0) {
            return true;
        }
    }
    return false;
}

static void pump_all(struct console *console)
{
    console->pumped_to = console_ring_end(console->ring);
    /* Backwards: a session that ends leaves the list. */
    for (size_t i = session_count(console); i-- > 0;) {
        console_session_pump(console->sessions[i]);
    }
}

/* Pass on what came, or look again when more of it may have come: ever less often while the device
 * keeps writing, and hardly while nobody takes what it writes. */
static void pump(struct console *console)
{
    uint64_t wait_ms = gather_wait_ms(&console->gather, uv_now(console->batch.loop),
                                      console_ring_end(console->ring), console->pumped_to);

    if (wait_ms == 0) {
        pump_all(console);
        wait_ms = is_anybody_reading(console) ? console->batch_ms : CONSOLE_IDLE_MS;
        console->batch_ms *= 2;
        if (console->batch_ms > CONSOLE_BATCH_MAX_MS) {
            console->batch_ms = CONSOLE_BATCH_MAX_MS;
        }
    }
    (void)uv_timer_start(&console->batch, on_batch, wait_ms, 0); /* fails without callback alone */
}

static void on_batch(uv_timer_t *timer)
{
    struct console *console = timer->data;

    if (console_ring_end(console->ring) == console->pumped_to) {
        atomic_store(&console->is_awake, false);
        atomic_thread_fence(memory_order_seq_cst);
        if (console_ring_end(console->ring) == console->pumped_to ||
            atomic_exchange(&console->is_awake, true)) {
            console->batch_ms = CONSOLE_BATCH_MS;
            return; /* silence, or a writer that just called */
        }
    }
    pump(console);
}

static void on_wake(uv_async_t *wake)
{
    struct console *console = wake->data;

    if (atomic_exchange(&console->is_resumed, false)) {
        console->is_device_full = false;
        deliver(console);
        listen_all(console);
    }
    if (atomic_load(&console->is_awake)) {
        pump(console);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct console *console = handle->data;

    console->open_handles--;
    if (console->open_handles == 0) {
        free(console);
    }
}

int console_create(struct uv_loop_s *loop, struct console **console, struct err *err)
{
    struct console *new = malloc(sizeof(*new));
    int r;

    if (new == NULL) {
        return err_set(err, -ENOMEM, "no memory for a console");
    }
    memset(new, 0, offsetof(struct console, input));
    r = console_ring_create(&new->ring_fd, &new->ring, err);
    if (r != 0) {
        free(new);
        return r;
    }
    r = uv_async_init(loop, &new->wake, on_wake);
    if (r != 0) {
        console_ring_unmap(new->ring);
        cleanup_close(&new->ring_fd);
        free(new);
        return err_set(err, r, "cannot watch a console: %s", uv_strerror(r));
    }
    (void)uv_timer_init(loop, &new->batch); /* cannot fail */
    new->batch_ms = CONSOLE_BATCH_MS;
    bell_init(&new->bell);
    new->open_handles = 2;
    new->wake.data = new;
    new->batch.data = new;
    (void)pthread_mutex_init(&new->write_lock, NULL); /* cannot fail for a plain one */
    new->owner = (struct console_session_owner){.ring = new->ring,
                                                .context = new,
                                                .typed = on_typed,
                                                .silent = on_silent,
                                                .ended = on_ended};
    *console = new;
    return 0;
}

void console_destroy(struct console *console)
{
    if (console == NULL) {
        return;
    }
    for (size_t i = session_count(console); i-- > 0;) {
        console_session_destroy(console->sessions[i]);
    }
    atomic_store(&console->session_count, 0);
    console_ring_unmap(console->ring);
    cleanup_close(&console->ring_fd);
    (void)pthread_mutex_destroy(&console->write_lock); /* nobody holds it */
    uv_close((uv_handle_t *)&console->wake, on_closed);
    uv_close((uv_handle_t *)&console->batch, on_closed);
}

int console_ring_fd(const struct console *console)
{
    return console->ring_fd;
}

void console_set_silence(struct console *console, uint64_t ms)
{
    console->gather.silence_ms = ms;
}

void console_set_input(struct console *console, console_input_fn fn, void *context)
{
    console->on_input = fn;
    console->input_context = context;
    console->is_device_full = false;
    deliver(console);
    listen_all(console);
}

void console_input_resume(struct console *console)
{
    atomic_store(&console->is_resumed, true);
    (void)uv_async_send(&console->wake); /* fails on closed handles alone */
}

void console_set_bell(struct console *console, int fd)
{
    console->bell.fd = fd;
}

void console_write(struct console *console, const uint8_t *data, size_t size)
{
    (void)pthread_mutex_lock(&console->write_lock);
    console_ring_write(console->ring, data, size);
    (void)pthread_mutex_unlock(&console->write_lock);
    /* Pairs with the one in on_batch: either we see that it fell asleep, or it sees our bytes. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&console->session_count, memory_order_relaxed) > 0 &&
        !atomic_load_explicit(&console->is_awake, memory_order_relaxed) &&
        !atomic_exchange(&console->is_awake, true)) {
        (void)uv_async_send(&console->wake); /* as above */
    }
    bell_ring(&console->bell);
}

void console_marker(struct console *console, const char *text)
{
    char line[160];
    int n = snprintf(line, sizeof(line), CONSOLE_LINE("%.140s"), text);

    console_write(console, (const uint8_t *)line, (size_t)n);
}

/* End sessions whose peer is gone without having been noticed: it said first that it types no more,
 * and nothing was written to it since. */
static void end_gone_sessions(struct console *console)
{
    for (size_t i = session_count(console); i-- > 0;) {
        /* What one typed may end others, which leave the list. */
        if (i < session_count(console) && console_session_is_gone(console->sessions[i])) {
            console_session_finish(console->sessions[i]);
        }
    }
}

static bool is_there(const struct console *console, const struct console_session *session)
{
    for (size_t i = 0; i < session_count(console); i++) {
        if (console->sessions[i] == session) {
            return true;
        }
    }
    return false;
}

static void silence(struct console_session *session, const char *why)
{
    console_session_set_quiet(session, true);
    console_session_notice(session, why);
}

/* A new session that would type. */
static void seat_typist(struct console *console, struct console_session *session)
{
    struct console_session *before = console->typist;

    if (before != NULL && (console_session_flags(session) & CONSOLE_STEAL) == 0) {
        silence(session, "another session types; this one only reads");
        return;
    }
    console->typist = session;
    if (before != NULL) {
        silence(before, "another session took the keyboard; this one only reads");
        console_session_pump(before);
    }
}

int console_attach_pair(struct console *console, int in_fd, int out_fd, unsigned flags,
                        uint64_t from, struct err *err)
{
    struct console_session *session = NULL;
    size_t count;
    int r;

    end_gone_sessions(console); /* one of them may be the typist */
    count = session_count(console);
    if (count == CONSOLE_SESSIONS_MAX) {
        return err_set(err, -EMFILE, "the console has %u sessions already", CONSOLE_SESSIONS_MAX);
    }
    r = console_session_create(console->wake.loop, &console->owner, in_fd, out_fd, flags, from,
                               &session, err);
    if (r != 0) {
        return r;
    }
    console->sessions[count] = session;
    atomic_store(&console->session_count, (unsigned)count + 1);
    if ((flags & CONSOLE_READ_ONLY) == 0 && console_session_is_typing(session)) {
        seat_typist(console, session);
    }
    listen_all(console);
    if (is_there(console, session)) {
        console_session_pump(session);
    }
    return 0;
}

int console_attach(struct console *console, int fd, unsigned flags, uint64_t from, struct err *err)
{
    return console_attach_pair(console, fd, fd, flags, from, err);
}

void console_get_stats(const struct console *console, struct console_stats *stats)
{
    *stats = (struct console_stats){
        .written = console_ring_end(console->ring),
        .lost = console->lost_by_ended,
        .session_count = (uint32_t)session_count(console),
    };
    for (size_t i = 0; i < session_count(console); i++) {
        stats->lost += console_session_lost(console->sessions[i]);
    }
}

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void console_flush(struct console *console, unsigned timeout_ms)
{
    int64_t deadline = now_ms() + timeout_ms;

    for (;;) {
        struct pollfd fds[CONSOLE_SESSIONS_MAX];
        nfds_t count = 0;
        int64_t left = deadline - now_ms();

        pump_all(console);
        for (size_t i = 0; i < session_count(console); i++) {
            int fd = console_session_blocked_fd(console->sessions[i]);

            if (fd >= 0) {
                fds[count++] = (struct pollfd){.fd = fd, .events = POLLOUT};
            }
        }
        if (count == 0 || left <= 0 || poll(fds, count, (int)left) <= 0) {
            return;
        }
    }
}
