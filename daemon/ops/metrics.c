/* Figures for Prometheus: as a method, and for whoever scrapes the metrics socket. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/host/process.h"
#include "daemon/host/usage.h"
#include "daemon/metrics/metrics.h"
#include "daemon/metrics/scrape.h"
#include "daemon/ops/inside.h"
#include "daemon/store/store.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/lend.h"

static void describe_own(struct metrics *metrics)
{
    struct process_id self;
    struct usage usage;

    if (process_identify(getpid(), &self, NULL) == 0 &&
        usage_read(self.pid, self.start_ticks, &usage, NULL) == 0) {
        metrics->own_memory = usage.own + usage.shared;
        metrics->own_cpu_ns = usage.cpu_ns;
        usage_fini(&usage);
    }
}

/* To be freed; NULL: memory is out, or the store cannot be read. */
static char *format(const struct ops *ops, const struct msg_stats_list *list)
{
    size_t most = guests_count(ops->env.guests);
    auto_free struct msg_guest *guests = calloc(most + 1, sizeof(*guests));
    auto_free struct guest_times *times = calloc(most + 1, sizeof(*times));
    struct msg_pool pools[OPS_POOLS_MAX];
    struct metrics metrics = {
        .version = QVM_VERSION,
        .pools = pools,
        .guests = guests,
        .stats = list->guests,
        .stats_count = list->guests_count,
        .last_event = store_event_last(ops->env.store),
        .is_degraded = store_degraded(ops->env.store) != NULL,
    };
    const struct guest *guest = NULL;

    if (guests == NULL || times == NULL || ops_pools(ops, pools, &metrics.pool_count, NULL) < 0) {
        return NULL;
    }
    while ((guest = guest_next(ops->env.guests, guest)) != NULL) {
        guest_describe(guest, &times[metrics.guest_count], &guests[metrics.guest_count]);
        metrics.guest_count++;
    }
    describe_own(&metrics);
    return metrics_format(&metrics);
}

static void reply_metrics(struct ops *ops, void *context, const struct msg_stats_list *list)
{
    auto_free char *text = list != NULL ? format(ops, list) : NULL;
    struct err err = {0};

    if (text == NULL) {
        (void)err_set(&err, -ENOMEM, "out of memory");
        reply_error(context, &err);
    } else {
        reply_result(context, MSG_metrics_text, &(struct msg_metrics_text){.text = text});
    }
}

void op_metrics(struct ops *ops, struct reply *reply, const void *params)
{
    (void)params; /* has no members */
    ops_sample(ops, &(struct msg_list_params){0}, reply_metrics, reply);
}

static void answer_scraper(struct ops *ops, void *context, const struct msg_stats_list *list)
{
    scrape_answer(context, list != NULL ? format(ops, list) : NULL);
}

void ops_on_scrape(void *context, struct scraper *scraper)
{
    ops_sample(context, &(struct msg_list_params){0}, answer_scraper, scraper);
}
