/* Methods about what happened, and telling it to those who subscribed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/client.h"
#include "daemon/ops_inside.h"
#include "daemon/store.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

/* One a client; subscribing again replaces what it hears. */
struct subscription {
    LIST_ENTRY(subscription) link;
    struct client *client;
    char *guest; /* NULL: all */
};

/* False: the refusal was sent. */
static bool reply_events(struct ops *ops, struct reply *reply,
                         const struct msg_events_params *wanted)
{
    struct msg_event_list list = {0};
    struct err err = {0};

    if (store_events_read(ops->env.store, wanted, &list, &err) < 0) {
        reply_error(reply, &err);
        return false;
    }
    list.last = store_event_last(ops->env.store);
    reply_result(reply, MSG_event_list, &list);
    msg_fini(MSG_event_list, &list);
    return true;
}

void op_events(struct ops *ops, struct reply *reply, const void *params)
{
    (void)reply_events(ops, reply, params);
}

static void subscription_free(struct subscription *subscription)
{
    LIST_REMOVE(subscription, link);
    free(subscription->guest);
    free(subscription);
}

void ops_unsubscribe(struct ops *ops, const struct client *client)
{
    struct subscription *subscription = LIST_FIRST(&ops->subscriptions);

    while (subscription != NULL) {
        struct subscription *next = LIST_NEXT(subscription, link);

        if (subscription->client == client) {
            subscription_free(subscription);
        }
        subscription = next;
    }
}

static struct subscription *subscription_of(struct ops *ops, struct client *client)
{
    struct subscription *subscription;

    LIST_FOREACH(subscription, &ops->subscriptions, link)
    {
        if (subscription->client == client) {
            return subscription;
        }
    }
    subscription = calloc(1, sizeof(*subscription));
    if (subscription != NULL) {
        subscription->client = client;
        LIST_INSERT_HEAD(&ops->subscriptions, subscription, link);
        client_owe(client);
    }
    return subscription;
}

static int subscribe(struct ops *ops, struct client *client, const struct msg_events_params *wanted,
                     struct err *err)
{
    bool is_for_one = wanted->guest != NULL && wanted->guest[0] != '\0';
    struct subscription *subscription = subscription_of(ops, client);
    char *guest = is_for_one ? strdup(wanted->guest) : NULL;

    if (subscription == NULL || (is_for_one && guest == NULL)) {
        free(guest);
        return err_set(err, -ENOMEM, "out of memory");
    }
    free(subscription->guest);
    subscription->guest = guest;
    return 0;
}

/* The events so far come before the next one: nothing happens in between. */
void op_subscribe(struct ops *ops, struct reply *reply, const void *params)
{
    struct client *client = reply_client(reply);
    struct err err = {0};

    if (client != NULL && subscribe(ops, client, params, &err) < 0) {
        reply_error(reply, &err);
        return;
    }
    (void)reply_events(ops, reply, params);
}

void ops_on_event(void *context, const struct msg_event *event)
{
    struct ops *ops = context;
    struct subscription *subscription = LIST_FIRST(&ops->subscriptions);

    while (subscription != NULL) {
        struct subscription *next = LIST_NEXT(subscription, link);

        /* Who is cut by this takes his subscription with him, and no other. */
        if (subscription->guest == NULL ||
            (event->guest != NULL && strcmp(subscription->guest, event->guest) == 0)) {
            client_send(subscription->client, msg_event_format(event), -1);
        }
        subscription = next;
    }
}
