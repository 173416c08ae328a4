/* Questions to a living qvm; an answer that does not come in time is not waited for. */
#include <stdlib.h>

#include "daemon/guest/inside.h"

struct query {
    LIST_ENTRY(query) link;
    struct guest *guest;
    int64_t serial;
    guest_query_fn done;
    void *data;
    uv_timer_t timer;
};

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void finish(struct query *query, const struct msg_state *state)
{
    LIST_REMOVE(query, link);
    query->done(query->data, query->guest, state);
    uv_close((uv_handle_t *)&query->timer, on_closed);
}

static void on_time(uv_timer_t *timer)
{
    finish(timer->data, NULL);
}

void guest_query(struct guest *guest, guest_query_fn done, void *data)
{
    struct query *query = NULL;
    struct msg_query packet = {.serial = ++guest->all->last_query};

    if (guest->worker != NULL && worker_is_up(guest->worker) && guest->state != STATE_starting) {
        query = calloc(1, sizeof(*query));
    }
    if (query == NULL || worker_send(guest->worker, CONTROL_query, &packet, NULL, 0, NULL) < 0) {
        free(query);
        done(data, guest, NULL);
        return;
    }
    query->guest = guest;
    query->serial = packet.serial;
    query->done = done;
    query->data = data;
    query->timer.data = query;
    (void)uv_timer_init(guest->all->env.loop, &query->timer); /* cannot fail */
    (void)uv_timer_start(&query->timer, on_time, GUEST_QUERY_MS, 0);
    LIST_INSERT_HEAD(&guest->queries, query, link);
}

void guest_on_state(struct guest *guest, const struct msg_state *state)
{
    struct query *query;

    LIST_FOREACH(query, &guest->queries, link)
    {
        if (query->serial == state->serial) {
            finish(query, state);
            return;
        }
    }
}

void guest_queries_fail(struct guest *guest)
{
    struct query *query;

    while ((query = LIST_FIRST(&guest->queries)) != NULL) {
        finish(query, NULL);
    }
}
