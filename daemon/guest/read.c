/* Calls that read what a guest said, and may wait until it says more. */
#include <errno.h>
#include <stdlib.h>

#include "daemon/guest/inside.h"
#include "proto/base/cleanup.h"
#include "proto/console.h"

struct reader {
    LIST_ENTRY(reader) link;
    struct guest *guest;
    struct guest_read read;
    guest_read_fn done;
    void *data;
    uv_timer_t timer;
};

static int read_ring(const struct guest *guest, const struct guest_read *read, uint8_t *buffer,
                     struct guest_said *said, struct err *err)
{
    said->next = read->offset;
    if (guest->ring == NULL && state_has_process(guest->state)) {
        return err_set(err, -EALREADY, "the qvm of guest '%s' has not answered this qvmd yet",
                       guest->name);
    }
    if (guest->ring == NULL) {
        return err_set(err, -EALREADY, "guest '%s' has said nothing that is kept", guest->name);
    }
    said->size = console_ring_read(guest->ring, &said->next, buffer, read->size, &said->lost);
    said->end = console_ring_end(guest->ring);
    said->instance = guest->ring_instance;
    console_ring_rest(guest->ring);
    return 0;
}

/* Where reading begins; 0 stands for the end of the log, as far back as is asked for. */
static uint64_t first_offset(struct log_file *log, const struct guest_read *read)
{
    uint64_t end, oldest;

    if (read->offset > 0) {
        return read->offset;
    }
    if (read->lines > 0) {
        return log_file_find_lines(log, read->lines);
    }
    end = log_file_end(log);
    oldest = log_file_oldest(log);
    return end - oldest > read->size ? end - read->size : oldest;
}

static int read_file(struct guest *guest, const struct guest_read *read, uint8_t *buffer,
                     struct guest_said *said, struct err *err)
{
    struct log_file *log = read->kind == GUEST_READ_LOG ? &guest->log : &guest->console;
    ssize_t n = 1;

    if (read->kind == GUEST_READ_CONSOLE && !guest->all->env.is_console_kept) {
        return err_set(err, -EOPNOTSUPP, "consoles are not kept: qvmd.conf says 'console-log no'");
    }
    said->instance = guest->instance.id;
    if (guest->instance.id == 0 && log_file_end(log) == 0) {
        return err_set(err, -ENOENT, "guest '%s' has not run yet", guest->name);
    }
    said->next = first_offset(log, read);
    while (n > 0 && said->size < read->size) {
        n = log_file_read(log, &said->next, buffer + said->size, read->size - said->size,
                          &said->lost, err);
        said->size += n > 0 ? (size_t)n : 0;
        if (said->lost > 0 && said->size > 0) {
            break; /* a gap stands before the bytes of one answer, not between them */
        }
    }
    said->end = log_file_end(log);
    return n < 0 ? (int)n : 0;
}

static int read_now(struct guest *guest, const struct guest_read *read, uint8_t *buffer,
                    struct guest_said *said, struct err *err)
{
    *said = (struct guest_said){.data = buffer};
    return read->kind == GUEST_READ_RING ? read_ring(guest, read, buffer, said, err)
                                         : read_file(guest, read, buffer, said, err);
}

/* Answer if there is something to answer. */
static bool try_now(struct guest *guest, const struct guest_read *read, bool must,
                    guest_read_fn done, void *data)
{
    auto_free uint8_t *buffer = malloc(read->size);
    struct guest_said said = {0};
    struct err err = {0};
    int r = buffer == NULL ? err_set(&err, -ENOMEM, "out of memory")
                           : read_now(guest, read, buffer, &said, &err);

    if (r == 0 && said.size == 0 && !must) {
        return false;
    }
    done(data, &said, r < 0 ? &err : NULL);
    return true;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void reader_free(struct reader *reader)
{
    LIST_REMOVE(reader, link);
    reader->guest->reader_count--;
    uv_close((uv_handle_t *)&reader->timer, on_closed);
}

static void on_time(uv_timer_t *timer)
{
    struct reader *reader = timer->data;

    (void)try_now(reader->guest, &reader->read, true, reader->done, reader->data);
    reader_free(reader);
}

/* Who waited and went away makes room for others. */
static void drop_unwanted(struct guest *guest)
{
    struct reader *reader = LIST_FIRST(&guest->readers);
    struct err err = {0};

    (void)err_set(&err, -ECANCELED, "nobody waits for it any more");
    while (reader != NULL) {
        struct reader *next = LIST_NEXT(reader, link);

        if (!guest->all->env.is_wanted(reader->data)) {
            reader->done(reader->data, NULL, &err);
            reader_free(reader);
        }
        reader = next;
    }
}

static int wait_for_more(struct guest *guest, const struct guest_read *read, guest_read_fn done,
                         void *data, struct err *err)
{
    struct reader *reader;

    if (guest->reader_count >= GUEST_READERS_MAX) {
        drop_unwanted(guest);
    }
    if (guest->reader_count >= GUEST_READERS_MAX) {
        return err_set(err, -EAGAIN, "too many calls wait for what guest '%s' says", guest->name);
    }
    reader = calloc(1, sizeof(*reader));
    if (reader == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    *reader = (struct reader){.guest = guest, .read = *read, .done = done, .data = data};
    reader->timer.data = reader;
    (void)uv_timer_init(guest->all->env.loop, &reader->timer); /* cannot fail */
    (void)uv_timer_start(&reader->timer, on_time, (uint64_t)read->wait_ms, 0);
    LIST_INSERT_HEAD(&guest->readers, reader, link);
    guest->reader_count++;
    return 0;
}

void guest_read(struct guest *guest, const struct guest_read *read, guest_read_fn done, void *data)
{
    bool can_wait = read->wait_ms > 0 && (read->kind != GUEST_READ_RING || guest->feed != NULL);
    struct err err = {0};

    if (try_now(guest, read, !can_wait, done, data)) {
        return;
    }
    if (wait_for_more(guest, read, done, data, &err) < 0) {
        done(data, NULL, &err);
    }
}

static void wake(struct guest *guest, enum guest_read_kind kind, bool must)
{
    struct reader *reader = LIST_FIRST(&guest->readers);

    while (reader != NULL) {
        struct reader *next = LIST_NEXT(reader, link);

        if (reader->read.kind == kind &&
            try_now(guest, &reader->read, must, reader->done, reader->data)) {
            reader_free(reader);
        }
        reader = next;
    }
}

void guest_readers_wake(struct guest *guest, enum guest_read_kind kind)
{
    wake(guest, kind, false);
}

void guest_readers_end(struct guest *guest, enum guest_read_kind kind)
{
    wake(guest, kind, true);
}

void guest_readers_fail(struct guest *guest, int code, const char *why)
{
    struct reader *reader;
    struct err err = {0};

    (void)err_set(&err, code, "%s", why);
    while ((reader = LIST_FIRST(&guest->readers)) != NULL) {
        reader->done(reader->data, NULL, &err);
        reader_free(reader);
    }
}
