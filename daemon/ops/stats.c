/* Methods about figures. Samples are taken some guests at a time, so that nobody else waits for
 * many of them; an answer is made of samples that were young enough when it was asked for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "daemon/host/clock.h"
#include "daemon/ops/inside.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define SAMPLES_A_TURN 16 /* some 2 ms */
#define NS_A_MS        INT64_C(1000000)

/* One caller who waits for figures. */
struct sampling {
    uv_idle_t idle; /* runs as long as samples are missing */
    struct ops *ops;
    void *context;
    struct msg_list_params wanted; /* owned */
    int64_t not_before_ns;
    ops_sample_fn done;
    LIST_ENTRY(sampling) link;
};

static bool is_wanted(const struct msg_list_params *wanted, const struct guest *guest)
{
    struct msg_guest_stats stats;

    if (wanted->names_count == 0) {
        guest_stats(guest, &stats);
        return stats.pid != 0;
    }
    for (size_t i = 0; i < wanted->names_count; i++) {
        if (strcmp(wanted->names[i], guest_name(guest)) == 0) {
            return true;
        }
    }
    return false;
}

static void on_closed(uv_handle_t *handle)
{
    struct sampling *sampling = handle->data;

    msg_fini(MSG_list_params, &sampling->wanted);
    free(sampling);
}

static void answer(struct sampling *sampling)
{
    struct guests *guests = sampling->ops->env.guests;
    auto_free struct msg_guest_stats *all = calloc(guests_count(guests) + 1, sizeof(*all));
    struct msg_stats_list list = {.guests = all};
    struct guest *guest = NULL;

    while (all != NULL && (guest = guest_next(guests, guest)) != NULL) {
        if (is_wanted(&sampling->wanted, guest)) {
            guest_stats(guest, &all[list.guests_count++]);
        }
    }
    sampling->done(sampling->ops, sampling->context, all != NULL ? &list : NULL);
}

/* Take some of the samples that are missing; false: there are more. */
static bool sample_some(struct sampling *sampling)
{
    struct guests *guests = sampling->ops->env.guests;
    struct guest *guest = NULL;
    int taken = 0;

    while (taken < SAMPLES_A_TURN && (guest = guest_next(guests, guest)) != NULL) {
        if (is_wanted(&sampling->wanted, guest)) {
            taken += guest_stats_refresh(guest, sampling->not_before_ns);
        }
    }
    return taken < SAMPLES_A_TURN;
}

static void finish(struct sampling *sampling)
{
    LIST_REMOVE(sampling, link);
    answer(sampling);
    uv_close((uv_handle_t *)&sampling->idle, on_closed);
}

static void on_idle(uv_idle_t *idle)
{
    if (sample_some(idle->data)) {
        finish(idle->data);
    }
}

void ops_sample(struct ops *ops, const struct msg_list_params *wanted, ops_sample_fn done,
                void *context)
{
    struct sampling *sampling = calloc(1, sizeof(*sampling));
    auto_free char *text = msg_encode(MSG_list_params, wanted);

    if (sampling == NULL || text == NULL ||
        msg_decode(MSG_list_params, text, strlen(text), true, &sampling->wanted, NULL) < 0) {
        free(sampling);
        done(ops, context, NULL);
        return;
    }
    sampling->ops = ops;
    sampling->done = done;
    sampling->context = context;
    sampling->not_before_ns = clock_mono_ns() - GUEST_STATS_FRESH_MS * NS_A_MS;
    sampling->idle.data = sampling;
    LIST_INSERT_HEAD(&ops->samplings, sampling, link);
    (void)uv_idle_init(ops->env.loop, &sampling->idle); /* cannot fail */
    (void)uv_idle_start(&sampling->idle, on_idle);      /* cannot fail */
}

void ops_sample_end(struct ops *ops)
{
    struct sampling *sampling;

    while ((sampling = LIST_FIRST(&ops->samplings)) != NULL) {
        finish(sampling); /* with what there is */
    }
}

static void reply_stats(struct ops *ops, void *context, const struct msg_stats_list *list)
{
    struct err err = {0};

    (void)ops;
    if (list == NULL) {
        (void)err_set(&err, -ENOMEM, "out of memory");
        reply_error(context, &err);
    } else {
        reply_result(context, MSG_stats_list, list);
    }
}

void op_stats(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_list_params *wanted = params;

    for (size_t i = 0; i < wanted->names_count; i++) {
        if (guest_find(ops->env.guests, wanted->names[i]) == NULL) {
            (void)ops_guest(ops, reply, wanted->names[i], false);
            return;
        }
    }
    ops_sample(ops, wanted, reply_stats, reply);
}
