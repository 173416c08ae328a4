/* Table `event`: what happened, numbered without gaps, also while the disk is full. */
#include "daemon/store/inside.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/msg.h"

/* ---- in the database ---- */

static const char SQL_INSERT[] =
    "INSERT INTO event(seq, time, what, guest, instance, pid, state, reason, message, uid)"
    " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
static const char SQL_LAST[] = "SELECT coalesce(max(seq), 0) FROM event";
static const char SQL_TRIM[] = "DELETE FROM event WHERE seq <= ?1";

static int insert(struct store *store, const struct msg_event *event, int64_t seq, struct err *err)
{
    int r = store_run(store, SQL_INSERT,
                      BIND(SQL_INT(seq), SQL_TEXT(event->time), SQL_TEXT(event->what),
                           SQL_TEXT(event->guest), SQL_INT(event->instance), SQL_INT(event->pid),
                           SQL_TEXT(event->state), SQL_TEXT(event->reason),
                           SQL_TEXT(event->message), SQL_INT(event->uid)),
                      NULL, NULL, err);

    if (r == 0) {
        r = store_run(store, SQL_TRIM, BIND(SQL_INT(seq - STORE_EVENTS_MAX)), NULL, NULL, err);
    }
    return r;
}

/* The newest number: in the database as the open transaction sees it, or in memory. */
static int64_t last_seq(struct store *store)
{
    const struct store_waiting *waiting = &store->waiting;
    int64_t last = 0;

    if (waiting->count > waiting->flushed) {
        return waiting->events[waiting->count - 1].seq;
    }
    if (store_run_int(store, SQL_LAST, BIND_NONE, &last, NULL) != 0) {
        last = waiting->last_known;
    }
    if (store->depth == 0) {
        store->waiting.last_known = last;
    }
    return last;
}

int64_t store_event_last(struct store *store)
{
    return last_seq(store);
}

/* ---- in memory ---- */

static char *copy_text(const char *text, bool *is_short)
{
    char *copy = text != NULL ? strdup(text) : NULL;

    *is_short = *is_short || (text != NULL && copy == NULL);
    return copy;
}

static int copy_event(const struct msg_event *from, int64_t seq, struct msg_event *to)
{
    bool is_short = false;

    *to = *from;
    to->seq = seq;
    to->time = copy_text(from->time, &is_short);
    to->what = copy_text(from->what, &is_short);
    to->guest = copy_text(from->guest, &is_short);
    to->state = copy_text(from->state, &is_short);
    to->reason = copy_text(from->reason, &is_short);
    to->message = copy_text(from->message, &is_short);
    if (is_short) {
        msg_fini(MSG_event, to);
        return -ENOMEM;
    }
    return 0;
}

static void forget_first(struct store_waiting *waiting, size_t count)
{
    if (count == 0) {
        return; /* there may be no array yet */
    }
    for (size_t i = 0; i < count; i++) {
        msg_fini(MSG_event, &waiting->events[i]);
    }
    waiting->count -= count;
    memmove(waiting->events, waiting->events + count, waiting->count * sizeof(*waiting->events));
}

static int keep(struct store_waiting *waiting, const struct msg_event *event, int64_t seq)
{
    int r;

    if (waiting->count == STORE_EVENTS_MAX) {
        forget_first(waiting, 1); /* as the table would */
    }
    if (waiting->count == waiting->room) {
        size_t room = waiting->room == 0 ? 64 : 2 * waiting->room;
        struct msg_event *grown = reallocarray(waiting->events, room, sizeof(*grown));

        if (grown == NULL) {
            return -ENOMEM;
        }
        waiting->events = grown;
        waiting->room = room;
    }
    r = copy_event(event, seq, &waiting->events[waiting->count]);
    if (r == 0) {
        waiting->count++;
    }
    return r;
}

int store_event_flush(struct store *store, struct err *err)
{
    struct store_waiting *waiting = &store->waiting;
    int r = 0;

    assert(waiting->flushed == 0);
    for (size_t i = 0; r == 0 && i < waiting->count; i++) {
        r = insert(store, &waiting->events[i], waiting->events[i].seq, err);
    }
    waiting->flushed = r == 0 ? waiting->count : 0;
    return r;
}

void store_event_flushed(struct store *store)
{
    struct store_waiting *waiting = &store->waiting;

    assert(waiting->flushed == waiting->count);
    forget_first(waiting, waiting->count);
    waiting->flushed = 0;
}

void store_waiting_fini(struct store_waiting *waiting)
{
    forget_first(waiting, waiting->count);
    free(waiting->events);
}

/* ---- appending ---- */

/* Alone, an event does not wait for the disk: a guest can cause many (`reboot`). */
static int append(struct store *store, const struct msg_event *event, int64_t *seq, struct err *err)
{
    auto_tx struct store_tx tx = {0};
    int r = store_begin_light(store, &tx, err);

    if (r == 0) {
        *seq = last_seq(store) + 1;
        r = insert(store, event, *seq, err);
    }
    return r == 0 ? store_commit(&tx, err) : r;
}

int store_event_append(struct store *store, const struct msg_event *event, int64_t *seq,
                       struct err *err)
{
    int64_t number = 0;
    int r = append(store, event, &number, err);

    if (r == -EROFS && store->depth == 0) {
        number = last_seq(store) + 1;
        r = keep(&store->waiting, event, number);
        if (r != 0) {
            return err_set(err, r, "out of memory");
        }
    }
    if (r == 0 && store->depth == 0) {
        store->waiting.last_known = number;
    }
    if (r == 0 && seq != NULL) {
        *seq = number;
    }
    return r;
}

/* ---- reading ---- */

struct reading {
    struct msg_event_list list;
    size_t room;
};

/* Make room for one more event; it is zero. */
static int grow(struct reading *reading)
{
    if (reading->list.events_count == reading->room) {
        size_t room = reading->room == 0 ? 64 : 2 * reading->room;
        struct msg_event *grown = reallocarray(reading->list.events, room, sizeof(*grown));

        if (grown == NULL) {
            return -ENOMEM;
        }
        reading->list.events = grown;
        reading->room = room;
    }
    return 0;
}

static int add(struct reading *reading, const struct msg_event *event)
{
    int r = grow(reading);

    if (r == 0) {
        r = copy_event(event, event->seq, &reading->list.events[reading->list.events_count]);
    }
    if (r == 0) {
        reading->list.events_count++;
    }
    return r;
}

static char *row_text(const struct store_row *row, int column, bool *is_short)
{
    const char *text = store_row_text(row, column);

    return copy_text(text[0] != '\0' ? text : NULL, is_short);
}

static int on_event(void *data, const struct store_row *row)
{
    struct reading *reading = data;
    bool is_short = false;
    struct msg_event event;
    int r = grow(reading);

    if (r != 0) {
        return r;
    }
    event = (struct msg_event){
        .seq = store_row_int(row, 0),
        .time = row_text(row, 1, &is_short),
        .what = row_text(row, 2, &is_short),
        .guest = row_text(row, 3, &is_short),
        .instance = store_row_int(row, 4),
        .pid = store_row_int(row, 5),
        .state = row_text(row, 6, &is_short),
        .reason = row_text(row, 7, &is_short),
        .message = row_text(row, 8, &is_short),
        .uid = store_row_int(row, 9),
    };
    reading->list.events[reading->list.events_count++] = event;
    return is_short ? -ENOMEM : 0;
}

/* The newest first, so that LIMIT keeps the last ones; turned round by the outer SELECT. */
static const char SQL_READ[] =
    "SELECT * FROM (SELECT seq, time, what, guest, instance, pid, state, reason, message, uid"
    " FROM event WHERE seq > ?1 AND (?2 IS NULL OR guest = ?2) AND (?3 IS NULL OR what = ?3)"
    " AND (?4 IS NULL OR state = ?4) AND (?5 IS NULL OR reason = ?5)"
    " ORDER BY seq DESC LIMIT ?6) ORDER BY seq";
static const char SQL_OLDEST[] = "SELECT coalesce(min(seq), 0) FROM event";

/* NULL: whatever it is. */
static const char *wanted(const char *text)
{
    return text != NULL && text[0] != '\0' ? text : NULL;
}

static bool is_wanted(const char *filter, const char *text)
{
    return wanted(filter) == NULL || (text != NULL && strcmp(filter, text) == 0);
}

bool store_event_matches(const struct msg_events_params *params, const struct msg_event *event)
{
    return is_wanted(params->guest, event->guest) && is_wanted(params->what, event->what) &&
           is_wanted(params->state, event->state) && is_wanted(params->reason, event->reason);
}

static int add_waiting(struct store *store, const struct msg_events_params *params,
                       struct reading *reading)
{
    const struct store_waiting *waiting = &store->waiting;
    int r = 0;

    for (size_t i = waiting->flushed; r == 0 && i < waiting->count; i++) {
        const struct msg_event *event = &waiting->events[i];

        if (event->seq > params->since && store_event_matches(params, event)) {
            r = add(reading, event);
        }
    }
    return r;
}

/* Drop the oldest until `most` are left. */
static void keep_last(struct msg_event_list *list, size_t most)
{
    size_t excess = list->events_count > most ? list->events_count - most : 0;

    for (size_t i = 0; i < excess; i++) {
        msg_fini(MSG_event, &list->events[i]);
    }
    list->events_count -= excess;
    memmove(list->events, list->events + excess, list->events_count * sizeof(*list->events));
}

/* From where to where events are kept, and how many of those asked for went before. */
static void read_range(struct store *store, int64_t since, struct msg_event_list *list)
{
    const struct store_waiting *waiting = &store->waiting;

    list->last = last_seq(store);
    if (store_run_int(store, SQL_OLDEST, BIND_NONE, &list->oldest, NULL) != 0) {
        list->oldest = 0;
    }
    if (list->oldest == 0 && waiting->count > waiting->flushed) {
        list->oldest = waiting->events[waiting->flushed].seq;
    }
    if (list->oldest <= list->last - STORE_EVENTS_MAX) {
        list->oldest =
            list->last - STORE_EVENTS_MAX + 1; /* more than are given out wait in memory */
    }
    list->missing = since > 0 && list->oldest > since ? list->oldest - since - 1 : 0;
}

int store_events_read(struct store *store, const struct msg_events_params *params,
                      struct msg_event_list *list, struct err *err)
{
    int64_t most =
        params->limit > 0 && params->limit < STORE_EVENTS_MAX ? params->limit : STORE_EVENTS_MAX;
    struct reading reading = {0};
    int r = store_run(store, SQL_READ,
                      BIND(SQL_INT(params->since), SQL_TEXT(wanted(params->guest)),
                           SQL_TEXT(wanted(params->what)), SQL_TEXT(wanted(params->state)),
                           SQL_TEXT(wanted(params->reason)), SQL_INT(most)),
                      on_event, &reading, err);

    if (r == 0) {
        r = add_waiting(store, params, &reading);
    }
    if (r != 0) {
        msg_fini(MSG_event_list, &reading.list);
        return r;
    }
    if (reading.list.events_count > 0) {
        keep_last(&reading.list, (size_t)most);
    }
    read_range(store, params->since, &reading.list);
    *list = reading.list;
    return 0;
}
