#include "daemon/guest/many.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/log.h"

static void on_time(uv_timer_t *timer);

/* ---- memory ---- */

static void free_when_over(struct many *many)
{
    if (many->is_closing && many->open_timers == 0 && many->underway == 0) {
        free(many->entries);
        free(many->listeners);
        free(many);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct many *many = handle->data;

    many->open_timers--;
    free_when_over(many);
}

static void close_many(struct many *many)
{
    if (!many->is_closing) {
        many->is_closing = true;
        LIST_REMOVE(many, link);
        uv_close((uv_handle_t *)&many->timer, on_closed);
        uv_close((uv_handle_t *)&many->limit, on_closed);
    }
}

struct many *many_create(struct guests *guests, const struct guest_caller *caller,
                         const struct many_kind *kind, size_t most)
{
    struct many *many = calloc(1, sizeof(*many));

    if (many == NULL || (many->entries = calloc(most + 1, sizeof(*many->entries))) == NULL) {
        free(many);
        return NULL;
    }
    many->all = guests;
    many->caller = *caller;
    many->kind = kind;
    many->open_timers = 2;
    (void)uv_timer_init(guests->env.loop, &many->timer); /* cannot fail */
    (void)uv_timer_init(guests->env.loop, &many->limit); /* cannot fail */
    many->timer.data = many->limit.data = many;
    LIST_INSERT_HEAD(&guests->manys, many, link);
    return many;
}

struct many_entry *many_add(struct many *many, const char *name)
{
    struct many_entry *entry = &many->entries[many->count++];

    entry->many = many;
    (void)snprintf(entry->result.name, sizeof(entry->result.name), "%s", name);
    return entry;
}

static int compare_entry(const void *name, const void *entry)
{
    return strcmp(name, ((const struct many_entry *)entry)->result.name);
}

struct many_entry *many_find(struct many *many, const char *name)
{
    return bsearch(name, many->entries, many->count, sizeof(*many->entries), compare_entry);
}

static int compare_guest(const void *name, const void *slot)
{
    return strcmp(name, ((const struct many_index *)slot)->guest->name);
}

struct guest *many_guest(const struct many *many, const char *name)
{
    const struct many_index *slot;

    if (many->index == NULL) {
        return guest_find(many->all, name); /* there was no memory for it */
    }
    slot = bsearch(name, many->index, many->index_count, sizeof(*slot), compare_guest);
    return slot != NULL ? slot->guest : NULL;
}

static void make_index(struct many *many)
{
    struct guest *guest;

    many->index = calloc(many->all->count + 1, sizeof(*many->index));
    many->index_count = 0;
    TAILQ_FOREACH(guest, &many->all->list, link)
    {
        if (many->index != NULL) {
            many->index[many->index_count++].guest = guest;
        }
    }
}

/* ---- answers ---- */

void many_listen(struct many *many, guests_done_fn done, void *data)
{
    struct many_listener *grown =
        reallocarray(many->listeners, many->listener_count + 1, sizeof(*grown));

    if (grown == NULL) {
        done(data, NULL, 0);
        return;
    }
    many->listeners = grown;
    many->listeners[many->listener_count++] = (struct many_listener){done, data};
}

void many_answer(struct many *many, const struct err *unfinished)
{
    auto_free struct guest_result *results = calloc(many->count + 1, sizeof(*results));
    auto_free struct many_listener *listeners = take_ptr(many->listeners);
    size_t listener_count = many->listener_count;

    many->listener_count = 0;
    for (size_t i = 0; results != NULL && i < many->count; i++) {
        results[i] = many->entries[i].result;
        if (many->entries[i].state != MANY_DONE && unfinished != NULL) {
            results[i].err = *unfinished;
        }
    }
    for (size_t i = 0; i < listener_count; i++) {
        listeners[i].done(listeners[i].data, results, results != NULL ? many->count : 0);
    }
}

/* ---- turns ---- */

static bool is_done(const struct many *many)
{
    for (size_t i = 0; i < many->count; i++) {
        if (many->entries[i].state != MANY_DONE) {
            return false;
        }
    }
    return true;
}

void many_look(struct many *many)
{
    uint64_t next = 0;

    many->is_changed = true;
    if (many->is_looking || many->is_closing) {
        return; /* whoever looks does it once more */
    }
    many->is_looking = true;
    make_index(many);
    while (many->is_changed) {
        many->is_changed = false;
        next = many->kind->look(many);
    }
    cleanup_free(&many->index);
    many->is_looking = false;
    if (is_done(many)) {
        many_answer(many, NULL);
        if (many->kind->on_end != NULL) {
            many->kind->on_end(many);
        }
        close_many(many);
    } else if (next != 0) {
        uint64_t now = uv_now(many->all->env.loop);

        (void)uv_timer_start(&many->timer, on_time, next > now ? next - now : 0, 0);
    }
}

static void on_time(uv_timer_t *timer)
{
    many_look(timer->data);
}

static void on_limit(uv_timer_t *timer)
{
    struct many *many = timer->data;

    many->is_late = true;
    many->kind->on_limit(many);
    many_look(many);
}

void many_set_limit(struct many *many, int64_t limit_ms)
{
    if (many->is_closing) {
        return;
    }
    if (limit_ms > 0) {
        (void)uv_timer_start(&many->limit, on_limit, (uint64_t)limit_ms, 0);
    } else {
        (void)uv_timer_stop(&many->limit); /* cannot fail */
    }
}

void many_go(struct many *many, int64_t limit_ms)
{
    many_set_limit(many, limit_ms);
    many_look(many);
}

void many_begin(struct many_entry *entry)
{
    entry->state = MANY_UNDERWAY;
    entry->many->underway++;
}

static void finish(struct many_entry *entry, const char *note, const struct err *err)
{
    entry->state = MANY_DONE;
    entry->many->is_changed = true;
    if (note != NULL) {
        (void)snprintf(entry->result.note, sizeof(entry->result.note), "%s", note);
    }
    if (err != NULL) {
        entry->result.err = *err;
    }
}

void many_on_done(void *data, const struct guest *guest, const char *note, const struct err *err)
{
    struct many_entry *entry = data;
    struct many *many = entry->many;

    (void)guest; /* looked up when it is needed: it may be gone by then */
    many->underway--;
    if (many->is_closing) {
        free_when_over(many);
        return;
    }
    if (many->kind->is_over == NULL || many->kind->is_over(entry, err)) {
        finish(entry, note, err);
    }
    many_look(many);
}

void many_end(struct many_entry *entry, const char *note, const struct err *err)
{
    finish(entry, note, err);
}

void many_abandon_all(struct guests *guests)
{
    struct many *many;
    struct err err = {0};

    (void)err_set(&err, -ECANCELED, "qvmd is ending; guests go on without it");
    while ((many = LIST_FIRST(&guests->manys)) != NULL) {
        many_answer(many, &err);
        close_many(many);
    }
}
