/* Methods about what happened, and telling it to those who subscribed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ops/inside.h"
#include "daemon/server/client.h"
#include "daemon/store/store.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define LIST_SIZE 400 /* bytes of a list of words in a refusal */

/* One a client; subscribing again replaces what it hears. */
struct subscription {
    LIST_ENTRY(subscription) link;
    struct client *client;
    struct msg_events_params wanted; /* owned texts */
};

/* A word that is in no event would be waited for in vain. */
static int check_word(const char *member, const char *kind, const struct word_table *table,
                      const char *text, struct err *err)
{
    char list[LIST_SIZE] = "";
    size_t used = 0;

    if (text == NULL || text[0] == '\0' || words_find(table, text) >= 0) {
        return 0;
    }
    for (int i = 0; i < table->count && used < sizeof(list); i++) {
        if (table->names[i] != NULL) {
            used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", used > 0 ? ", " : "",
                                     table->names[i]);
        }
    }
    return err_set(err, -EINVAL, "%s: there is no %s '%s'; there are %s", member, kind, text, list);
}

/* False: the refusal was sent. */
static bool check_wanted(struct reply *reply, const struct msg_events_params *wanted)
{
    struct err err = {0};

    if (check_word("state", "state", &words_state, wanted->state, &err) == 0 &&
        check_word("reason", "reason", &words_reason, wanted->reason, &err) == 0 &&
        check_word("what", "kind of event", &words_what, wanted->what, &err) == 0) {
        return true;
    }
    reply_error(reply, &err);
    return false;
}

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
    reply_result(reply, MSG_event_list, &list);
    msg_fini(MSG_event_list, &list);
    return true;
}

void op_events(struct ops *ops, struct reply *reply, const void *params)
{
    if (check_wanted(reply, params)) {
        (void)reply_events(ops, reply, params);
    }
}

static void subscription_free(struct subscription *subscription)
{
    LIST_REMOVE(subscription, link);
    msg_fini(MSG_events_params, &subscription->wanted);
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
    struct subscription *subscription = subscription_of(ops, client);
    auto_free char *text = msg_encode(MSG_events_params, wanted);

    if (subscription == NULL || text == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    msg_fini(MSG_events_params, &subscription->wanted);
    return msg_decode(MSG_events_params, text, strlen(text), true, &subscription->wanted, err);
}

/* The events so far come before the next one: nothing happens in between. */
void op_subscribe(struct ops *ops, struct reply *reply, const void *params)
{
    struct client *client = reply_client(reply);
    struct err err = {0};

    if (!check_wanted(reply, params)) {
        return;
    }
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
        if (store_event_matches(&subscription->wanted, event)) {
            client_send(subscription->client, msg_event_format(event), -1);
        }
        subscription = next;
    }
}
