/* What `top` shows. */
#include "cli/top_view.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/screen.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"

#define BAR_SIZE   10
#define HEAD_LINES 4 /* two of figures, one empty, one of names */
#define NAME_WIDTH 18

const char *const top_order_names[TOP_ORDERS] = {"cpu", "name", "memory", "exits", "time"};

/* ---- the order ---- */

static int by_number(double a, double b)
{
    return (a < b) - (a > b); /* the largest first */
}

static double key(const struct figures *row, enum top_order order)
{
    switch (order) {
    case TOP_BY_CPU:
        return row->cpu_percent;
    case TOP_BY_MEMORY:
        return (double)row->now->memory_touched;
    case TOP_BY_EXITS:
        return row->exits_a_second;
    case TOP_BY_TIME:
        return (double)row->now->cpu_ns;
    case TOP_BY_NAME:
    case TOP_ORDERS:
        break;
    }
    return 0;
}

static int compare(const void *left, const void *right, void *context)
{
    const struct top_view *view = context;
    const struct figures *a = left, *b = right;
    int order = by_number(key(a, view->order), key(b, view->order));

    order = order != 0 ? order : strcmp(a->name, b->name);
    return view->is_reversed ? -order : order;
}

void top_view_sort(struct top_view *view)
{
    if (view->count > 0) {
        qsort_r(view->rows, view->count, sizeof(*view->rows), compare, view);
    }
}

int top_view_take(struct top_view *view, struct msg_stats_list *now, struct msg_info *info)
{
    struct figures *rows = calloc(now->guests_count + 1, sizeof(*rows));

    if (rows == NULL) {
        return -ENOMEM;
    }
    msg_fini(MSG_stats_list, &view->before);
    msg_fini(MSG_info, &view->info);
    free(view->rows);
    view->before = view->now;
    view->now = *now;
    view->info = *info;
    *now = (struct msg_stats_list){0};
    *info = (struct msg_info){0};
    view->rows = rows;
    view->count = view->now.guests_count;
    for (size_t i = 0; i < view->count; i++) {
        const struct msg_guest_stats *stats = &view->now.guests[i];

        figures_of(stats, figures_find(&view->before, stats->name), &rows[i]);
    }
    top_view_sort(view);
    return 0;
}

void top_view_fini(struct top_view *view)
{
    msg_fini(MSG_stats_list, &view->before);
    msg_fini(MSG_stats_list, &view->now);
    msg_fini(MSG_info, &view->info);
    free(view->rows);
    *view = (struct top_view){0};
}

size_t top_view_selected(struct top_view *view)
{
    for (size_t i = 0; i < view->count; i++) {
        if (strcmp(view->rows[i].name, view->selected) == 0) {
            return i;
        }
    }
    top_view_select(view, 0);
    return 0;
}

void top_view_select(struct top_view *view, size_t row)
{
    if (view->count > 0) {
        row = row < view->count ? row : view->count - 1;
        (void)snprintf(view->selected, sizeof(view->selected), "%s", view->rows[row].name);
    }
}

/* ---- lines ---- */

/* "[|||       ]" of `part` in `all`. */
static void fill_bar(char bar[BAR_SIZE + 1], double part, double all)
{
    double share = all > 0 ? part / all : 0;
    int full = (int)(share * BAR_SIZE + 0.5);

    full = full < 0 ? 0 : full > BAR_SIZE ? BAR_SIZE : full;
    memset(bar, ' ', BAR_SIZE);
    memset(bar, '|', (size_t)full);
    bar[BAR_SIZE] = '\0';
}

/* All pools of a kind as one. */
static struct msg_pool sum_pools(const struct msg_info *info, int kind)
{
    struct msg_pool sum = {.kind = kind};

    for (size_t i = 0; i < info->pools_count; i++) {
        if (info->pools[i].kind == kind) {
            sum.total += info->pools[i].total;
            sum.claimed += info->pools[i].claimed;
        }
    }
    return sum;
}

static void draw_head(const struct top_view *view, struct screen *screen)
{
    const struct msg_pool memory = sum_pools(&view->info, RESOURCE_memory);
    const struct msg_pool cpus = sum_pools(&view->info, RESOURCE_cpu);
    char cpu_bar[BAR_SIZE + 1], memory_bar[BAR_SIZE + 1], clock[16];
    char claimed[TEXT_SHORT_SIZE], total[TEXT_SHORT_SIZE];
    time_t now = time(NULL);
    struct tm local;
    double percent = 0;

    for (size_t i = 0; i < view->count; i++) {
        percent += view->rows[i].cpu_percent > 0 ? view->rows[i].cpu_percent : 0;
    }
    (void)strftime(clock, sizeof(clock), "%H:%M:%S", localtime_r(&now, &local));
    fill_bar(cpu_bar, (double)cpus.claimed, (double)cpus.total);
    fill_bar(memory_bar, (double)memory.claimed, (double)memory.total);
    text_size(claimed, memory.claimed);
    text_size(total, memory.total);
    screen_line(screen, false, "%s  %" PRId64 " guests, %" PRId64 " live  CPU %.1f%%%s%s", clock,
                view->info.guests, view->info.live, percent,
                view->info.degraded != NULL ? "  STORE DEGRADED" : "",
                strcmp(view->info.kvm != NULL ? view->info.kvm : "ok", "ok") != 0 ? "  NO KVM"
                                                                                  : "");
    screen_line(screen, false, "vCPUs [%s] %" PRId64 " of %" PRId64 "   memory [%s] %s of %s",
                cpu_bar, cpus.claimed, cpus.total, memory_bar, claimed, total);
    screen_line(screen, false, "%s", "");
}

static void rate(char text[TEXT_SHORT_SIZE], double value, const char *format)
{
    if (value < 0) {
        (void)strcpy(text, "-");
    } else {
        (void)snprintf(text, TEXT_SHORT_SIZE, format, value);
    }
}

/* Names are ASCII; a long one ends in `~`. */
static void draw_row(const struct figures *row, bool is_marked, struct screen *screen)
{
    char name[NAME_WIDTH + 1], bar[BAR_SIZE + 1], cpu[TEXT_SHORT_SIZE], exits[TEXT_SHORT_SIZE];
    char touched[TEXT_SHORT_SIZE], memory[TEXT_SHORT_SIZE];
    const struct msg_guest_stats *now = row->now;
    double vcpus = now->vcpus_count > 0 ? (double)now->vcpus_count : 1;

    (void)snprintf(name, sizeof(name), "%s", row->name);
    if (strlen(row->name) > NAME_WIDTH) {
        name[NAME_WIDTH - 1] = '~';
    }
    rate(cpu, row->cpu_percent, "%.1f");
    rate(exits, row->exits_a_second, "%.0f");
    fill_bar(bar, row->cpu_percent, 100 * vcpus);
    text_size(touched, now->memory_touched);
    text_size(memory, now->memory);
    screen_line(screen, is_marked, "%-*s %-11s %6s [%s] %3zu %8s %8s %7s", NAME_WIDTH, name,
                words_name(&words_state, now->state), cpu, bar, now->vcpus_count, exits, touched,
                memory);
}

/* Keep the selected row between the first and the last that fit. */
static void scroll(struct top_view *view, size_t selected, size_t room)
{
    if (selected < view->first) {
        view->first = selected;
    }
    if (room > 0 && selected >= view->first + room) {
        view->first = selected - room + 1;
    }
    if (view->first + room > view->count) {
        view->first = view->count > room ? view->count - room : 0;
    }
}

void top_view_draw(struct top_view *view, struct screen *screen, const char *last_line)
{
    size_t room = screen->is_plain                ? view->count
                  : screen->rows > HEAD_LINES + 1 ? (size_t)(screen->rows - HEAD_LINES - 1)
                                                  : 0;
    size_t selected = last_line != NULL ? top_view_selected(view) : SIZE_MAX;

    if (last_line != NULL) {
        scroll(view, selected, room);
    }
    draw_head(view, screen);
    screen_line(screen, last_line != NULL, "%-*s %-11s %6s %-12s %3s %8s %8s %7s", NAME_WIDTH,
                "NAME", "STATE", "CPU%", " OF VCPUS", "VC", "EXITS/S", "TOUCHED", "MEMORY");
    for (size_t i = view->first; i < view->count && i < view->first + room; i++) {
        draw_row(&view->rows[i], i == selected, screen);
    }
    for (size_t i = view->count; last_line != NULL && i < room; i++) {
        screen_line(screen, false, "%s", "");
    }
    if (last_line != NULL) {
        screen_line(screen, false, "%s", last_line);
    }
}
