/* What `stats` and `top` say of a guest, from one sample of guest.stats or from two. */
#ifndef QVM_CLI_FIGURES_H
#define QVM_CLI_FIGURES_H

#include <stdint.h>

#include "proto/msg.h"

#define FIGURES_UNKNOWN (-1.0) /* a rate without an earlier sample of the same instance */

struct figures {
    const char *name; /* borrowed */
    enum guest_state state;
    double cpu_percent; /* of one host CPU since the earlier sample */
    double exits_a_second;
    int64_t exits; /* of all vCPUs */
    const struct msg_guest_stats *now;
};

/* The sample of the guest called `name`, or NULL. */
const struct msg_guest_stats *figures_find(const struct msg_stats_list *list, const char *name);

/* `before` may be NULL, or of another instance. */
void figures_of(const struct msg_guest_stats *now, const struct msg_guest_stats *before,
                struct figures *figures);

/* A table of the threads, on stdout. */
void figures_print_threads(const struct msg_guest_stats *stats);

/* CPU time as text_span() has spans: 850ms, 3m05s. */
void figures_time(char *out, int64_t ns); /* TEXT_SHORT_SIZE */

#endif
