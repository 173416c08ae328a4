/* Figures of a guest. */
#include "cli/figures.h"

#include <stdio.h>
#include <string.h>

#include "cli/table.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"

#define NS_A_SECOND 1e9
#define NS_A_MS     INT64_C(1000000)

const struct msg_guest_stats *figures_find(const struct msg_stats_list *list, const char *name)
{
    size_t low = 0, high = list->guests_count;

    while (low < high) { /* they are sorted */
        size_t middle = (low + high) / 2;
        int order = strcmp(list->guests[middle].name, name);

        if (order == 0) {
            return &list->guests[middle];
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return NULL;
}

static int64_t exits_of(const struct msg_guest_stats *stats)
{
    int64_t sum = 0;

    for (size_t i = 0; i < stats->vcpus_count; i++) {
        int64_t exits = stats->vcpus[i].exits;

        sum = exits < INT64_MAX - sum ? sum + exits : INT64_MAX;
    }
    return sum;
}

void figures_of(const struct msg_guest_stats *now, const struct msg_guest_stats *before,
                struct figures *figures)
{
    *figures = (struct figures){.name = now->name,
                                .state = (enum guest_state)now->state,
                                .cpu_percent = FIGURES_UNKNOWN,
                                .exits_a_second = FIGURES_UNKNOWN,
                                .exits = exits_of(now),
                                .now = now};
    if (before != NULL && before->instance == now->instance && before->clock_ns != 0 &&
        now->clock_ns > before->clock_ns) {
        double seconds = (double)(now->clock_ns - before->clock_ns) / NS_A_SECOND;
        double cpu = (double)(now->cpu_ns - before->cpu_ns) / NS_A_SECOND;
        double exits = (double)(figures->exits - exits_of(before));

        /* a thread that ended took its time along; what a qvm counts it may count backwards */
        figures->cpu_percent = cpu > 0 ? 100 * cpu / seconds : 0;
        figures->exits_a_second = exits > 0 ? exits / seconds : 0;
    }
}

void figures_time(char *out, int64_t ns)
{
    text_span(out, ns / NS_A_MS);
}

void figures_print_threads(const struct msg_guest_stats *stats)
{
    static const struct table_column thread_columns[] = {
        {"TID", true, 0}, {"THREAD", false, 0}, {"STATE", false, 0}, {"CPU-TIME", true, 0}};
    struct table table;

    table_init(&table, thread_columns, ARRAY_LEN(thread_columns));
    for (size_t i = 0; i < stats->threads_count; i++) {
        char time[TEXT_SHORT_SIZE];

        figures_time(time, stats->threads[i].cpu_ns);
        table_number(&table, stats->threads[i].tid, false);
        table_text(&table, stats->threads[i].name);
        table_text(&table, stats->threads[i].state);
        table_text(&table, time);
    }
    (void)table_print(&table, true, stdout); /* the rest is worth having without it */
    table_fini(&table);
}
