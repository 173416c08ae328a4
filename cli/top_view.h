/* What `top` shows: guests in the order of a figure, as lines of a screen. */
#ifndef QVM_CLI_TOP_VIEW_H
#define QVM_CLI_TOP_VIEW_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/figures.h"

struct screen;

enum top_order { TOP_BY_CPU, TOP_BY_NAME, TOP_BY_MEMORY, TOP_BY_EXITS, TOP_BY_TIME, TOP_ORDERS };

/* The names of the orders, as --sort wants them. */
extern const char *const top_order_names[TOP_ORDERS];

struct top_view {
    struct msg_stats_list now, before; /* owned */
    struct msg_info info;              /* owned */
    struct figures *rows;              /* owned; in the order shown */
    size_t count;
    enum top_order order;
    bool is_reversed;
    char selected[GUEST_NAME_MAX + 1]; /* stays on its guest */
    size_t first;                      /* row at the top */
};

/* New samples, which become the view's. -ENOMEM */
int top_view_take(struct top_view *view, struct msg_stats_list *now, struct msg_info *info);
void top_view_sort(struct top_view *view);
void top_view_fini(struct top_view *view);

/* Which row is selected; the first if its guest is gone. */
size_t top_view_selected(struct top_view *view);
void top_view_select(struct top_view *view, size_t row);

/* All of it. `last_line` is shown at the bottom; NULL: none, as in a file. */
void top_view_draw(struct top_view *view, struct screen *screen, const char *last_line);

#endif
