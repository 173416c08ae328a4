/* Figures as Prometheus text (exposition format 0.0.4): names with units, HELP and TYPE, labels. */
#ifndef QVM_DAEMON_METRICS_H
#define QVM_DAEMON_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/msg.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* All borrowed. */
struct metrics {
    const char *version;
    const struct msg_pool *pools;
    size_t pool_count;
    const struct msg_guest *guests; /* all that are defined */
    size_t guest_count;
    const struct msg_guest_stats *stats; /* of those that have a process */
    size_t stats_count;
    int64_t last_event;
    bool is_degraded;
    int64_t own_memory, own_cpu_ns; /* of qvmd */
};

/* Text to be freed; NULL: memory is out. */
char *metrics_format(const struct metrics *metrics);

/* `text` between quotes, as the value of a label. */
void metrics_print_label(FILE *out, const char *text);

#endif
