/* What happened: numbered, kept in the store, told to whoever subscribed. Loop thread. */
#ifndef QVM_DAEMON_GUEST_EVENTS_H
#define QVM_DAEMON_GUEST_EVENTS_H

#include <stdint.h>

#include "proto/base/lend.h"
#include "proto/words.h"

struct err;
struct events;
struct msg_event;
struct store;

/* Hears each event after it was written (or kept, while the store cannot be written). */
typedef void (*events_fn)(void *context, const struct msg_event *event);

int events_create(struct store *store, events_fn on_event, void *context, struct events **events,
                  struct err *err);
void events_destroy(struct events *events);

/* Write an event as part of a transaction of the caller; its time and number are filled in.
 * `time` (EVENTS_TIME_SIZE) must live as long as `event`. Publish it after the commit. */
#define EVENTS_TIME_SIZE 40
int events_write(struct events *events, struct msg_event *event, char time[EVENTS_TIME_SIZE],
                 struct err *err);
void events_publish(struct events *events, const struct msg_event *event);

/* What an event is of, for msg_event.what; it is lent. */
static inline char *events_what(enum event_what what)
{
    return lend(words_name(&words_what, (int)what));
}

/* Both at once, outside of a transaction: never lost while qvmd lives. */
void events_tell(struct events *events, struct msg_event *event);

#endif
