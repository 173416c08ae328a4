#include "daemon/guest/events.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/host/clock.h"
#include "daemon/store/store.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "proto/msg.h"

_Static_assert(EVENTS_TIME_SIZE == CLOCK_TEXT_SIZE, "a time fits");

struct events {
    struct store *store;
    events_fn on_event;
    void *context;
};

int events_create(struct store *store, events_fn on_event, void *context, struct events **result,
                  struct err *err)
{
    struct events *events = calloc(1, sizeof(*events));

    if (events == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    *events = (struct events){.store = store, .on_event = on_event, .context = context};
    *result = events;
    return 0;
}

void events_destroy(struct events *events)
{
    free(events);
}

int events_write(struct events *events, struct msg_event *event, char time[EVENTS_TIME_SIZE],
                 struct err *err)
{
    event->time = clock_now_text(time);
    return store_event_append(events->store, event, &event->seq, err);
}

void events_publish(struct events *events, const struct msg_event *event)
{
    log_info("event: %s seq=%lld guest=%s instance=%lld state=%s reason=%s", event->what,
             (long long)event->seq, event->guest != NULL ? event->guest : "-",
             (long long)event->instance, event->state != NULL ? event->state : "-",
             event->reason != NULL ? event->reason : "-");
    events->on_event(events->context, event);
}

void events_tell(struct events *events, struct msg_event *event)
{
    char time[EVENTS_TIME_SIZE];
    struct err err = {0};

    if (events_write(events, event, time, &err) < 0) {
        log_error("events: lost what=%s why=\"%s\"", event->what, err.msg);
        return;
    }
    events_publish(events, event);
}
