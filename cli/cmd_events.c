/* qvmctl events: what happened, and what happens. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/names.h"
#include "cli/table.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define LIMIT_MAX      10000
#define RETRY_FIRST_MS 50   /* after qvmd has gone; doubled each time */
#define RETRY_MOST_MS  1000 /* up to this */

static bool follow;
static int64_t since, last_count;
static const char *what, *state, *reason;

static const struct option_row options[] = {
    {"follow", 'f', OPTION_FLAG, {.flag = &follow}, NULL, "and each new one as it happens"},
    {"since", 0, OPTION_NUMBER, {.number = &since}, "SEQ", "only those behind event SEQ"},
    {"last", 'n', OPTION_NUMBER, {.number = &last_count}, "COUNT", "only the last so many"},
    {"what", 0, OPTION_TEXT, {.text = &what}, "KIND", "only those of this kind, such as reboot"},
    {"state", 0, OPTION_TEXT, {.text = &state}, "STATE", "only those that led to this state"},
    {"reason", 0, OPTION_TEXT, {.text = &reason}, "REASON", "only those with this reason"},
    {0},
};

/* Widths that a table and the rows after it agree on. */
static const struct table_column columns[] = {
    {"SEQ", true, 6},    {"TIME", false, 24},   {"GUEST", false, 12}, {"WHAT", false, 12},
    {"STATE", false, 8}, {"REASON", false, 11}, {"PID", true, 7},     {"MESSAGE", false, 0},
};

static int print_rows(const struct msg_event *events, size_t count, bool with_header)
{
    struct table table;
    int r;

    table_init(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < count; i++) {
        table_number(&table, events[i].seq, false);
        table_text(&table, events[i].time);
        table_text(&table, events[i].guest);
        table_text(&table, events[i].what);
        table_text(&table, events[i].state);
        table_text(&table, events[i].reason);
        table_number(&table, events[i].pid, true);
        table_text(&table, events[i].message);
    }
    r = table_print(&table, with_header, stdout);
    table_fini(&table);
    return r;
}

static int print(const struct cli *cli, const struct msg_event *events, size_t count,
                 bool with_header)
{
    if (cli->format == FORMAT_TABLE) {
        return print_rows(events, count, with_header && !cli->no_headers);
    }
    for (size_t i = 0; i < count; i++) {
        auto_free char *line = msg_encode(MSG_event, &events[i]);

        if (line == NULL) {
            return -ENOMEM;
        }
        (void)puts(line); /* main() looks at stdout's errors */
    }
    return 0;
}

/* One look, or one conversation of those that follow. */
struct watch {
    const struct cli *cli;
    struct client client;
    struct msg_events_params params; /* `since` grows with what was heard */
    int64_t deadline_ms;             /* CLIENT_FOR_EVER: none */
    bool has_header;
    char **names; /* several, or patterns, which qvmd does not know: chosen here; NULL: none */
};

/* A pattern means also guests that are not there yet, or no more. */
static bool is_chosen(const struct watch *watch, const struct msg_event *event)
{
    bool is_meant = watch->names == NULL;

    for (size_t i = 0; !is_meant && watch->names[i] != NULL; i++) {
        is_meant = event->guest != NULL && names_match(watch->names[i], event->guest);
    }
    return is_meant;
}

/* Keep those that are chosen, the last `last_count` of them; the others are freed. */
static void keep_chosen(const struct watch *watch, struct msg_event_list *list, int64_t most)
{
    size_t kept = 0, drop;

    for (size_t i = 0; i < list->events_count; i++) {
        if (is_chosen(watch, &list->events[i])) {
            struct msg_event event = list->events[i];

            list->events[i] = list->events[kept];
            list->events[kept++] = event;
        }
    }
    drop = most > 0 && kept > (size_t)most ? kept - (size_t)most : 0;
    for (size_t i = 0; i < list->events_count; i++) {
        if (i < drop || i >= kept) {
            msg_fini(MSG_event, &list->events[i]);
        }
    }
    memmove(list->events, list->events + drop, (kept - drop) * sizeof(*list->events));
    list->events_count = kept - drop;
}

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* What is left of the time given; 0: it is over. */
static int64_t patience_ms(const struct watch *watch)
{
    int64_t left;

    if (watch->deadline_ms == CLIENT_FOR_EVER) {
        return CLIENT_FOR_EVER;
    }
    left = watch->deadline_ms - now_ms();
    return left > 0 ? left : 0;
}

static void heard(struct watch *watch, int64_t seq)
{
    watch->params.since = seq > watch->params.since ? seq : watch->params.since;
}

/* Each new event at once; ends with the connection, the time or stdout. */
static int follow_on(struct watch *watch, struct err *err)
{
    int r = 0;

    while (r == 0) {
        auto_reply struct msg_reply reply = {0};

        if (fflush(stdout) != 0) {
            return 0; /* main() says it */
        }
        r = client_receive(&watch->client, &reply, err);
        if (r == 0 && reply.event != NULL) {
            heard(watch, reply.event->seq);
            r = is_chosen(watch, reply.event) ? print(watch->cli, reply.event, 1, false) : 0;
        }
    }
    return r;
}

/* What was asked for and is not there any more, or cannot be. */
static void note_missing(struct watch *watch, const struct msg_event_list *list)
{
    if (list->missing > 0) {
        cli_note(watch->cli,
                 "%" PRId64 " events behind event %" PRId64 " are no longer kept; the oldest is "
                 "event %" PRId64,
                 list->missing, watch->params.since, list->oldest);
    }
    if (watch->params.since > list->last) {
        cli_note(watch->cli,
                 "there is no event %" PRId64 ": qvmd's store was lost, and numbers go on behind "
                 "event %" PRId64,
                 watch->params.since, list->last);
    }
}

static int ask(struct watch *watch, struct msg_reply *reply, struct msg_event_list *list,
               struct err *err)
{
    int r = follow ? client_call(&watch->client, METHOD_subscribe, &watch->params, reply, err)
                   : client_call(&watch->client, METHOD_events, &watch->params, reply, err);

    if (r == 0) {
        r = msg_reply_read(reply, MSG_event_list, list, err);
    }
    return r;
}

static int list_then_follow(struct watch *watch, struct err *err)
{
    auto_reply struct msg_reply reply = {0};
    struct msg_event_list list = {0};
    int r = ask(watch, &reply, &list, err);

    if (r == 0) {
        note_missing(watch, &list);
    }
    if (r == 0 && watch->has_header && watch->params.since > list.last) {
        watch->params.since = 0; /* while we waited for qvmd: all of these are new */
        msg_reply_fini(&reply);
        msg_fini(MSG_event_list, &list);
        r = ask(watch, &reply, &list, err);
    }
    if (r == 0) {
        heard(watch, list.last);
    }
    if (r == 0 && watch->names != NULL && list.events_count > 0) {
        keep_chosen(watch, &list, watch->has_header ? 0 : last_count);
    }
    if (r == 0 && watch->cli->format == FORMAT_JSON && !follow) {
        auto_free char *chosen = watch->names != NULL ? msg_encode(MSG_event_list, &list) : NULL;

        if (chosen != NULL) {
            (void)puts(chosen);
        } else {
            client_print(&reply);
        }
    } else if (r == 0) {
        r = print(watch->cli, list.events, list.events_count, !watch->has_header);
        watch->has_header = true;
    }
    msg_fini(MSG_event_list, &list);
    return r == 0 && follow ? follow_on(watch, err) : r;
}

static int connect_once(struct watch *watch, struct err *err)
{
    int64_t patience = follow || watch->cli->timeout_ms != 0 ? patience_ms(watch) : CLIENT_READ_MS;

    return patience == 0 ? err_set(err, -ETIMEDOUT, "the time is over")
                         : client_init(&watch->client, watch->cli, patience, err);
}

/* qvmd is gone; wait until it is back. */
static int connect_again(struct watch *watch, struct err *err)
{
    int64_t wait_ms = RETRY_FIRST_MS;
    int r = CLI_UNREACHABLE;

    cli_note(watch->cli, "qvmd is gone; waiting for it");
    watch->params.limit = 0; /* from now on, all that was missed */
    while (r == CLI_UNREACHABLE) {
        (void)poll(NULL, 0, (int)wait_ms); /* a signal only makes us look sooner */
        wait_ms = wait_ms * 2 < RETRY_MOST_MS ? wait_ms * 2 : RETRY_MOST_MS;
        client_fini(&watch->client);
        r = connect_once(watch, err);
    }
    return r;
}

static int watch_all(struct watch *watch, struct err *err)
{
    int r = connect_once(watch, err);

    while (r == 0) {
        r = list_then_follow(watch, err);
        if (r == 0 || !follow || r != CLI_UNREACHABLE) {
            break;
        }
        r = connect_again(watch, err);
    }
    if (follow && r == -ETIMEDOUT) {
        (void)err_set(err, r, "the time is over");
    }
    return r;
}

static char *copy(const char *text)
{
    return text != NULL ? strdup(text) : NULL;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    bool is_plain = argc == 0 || (argc == 1 && !names_is_pattern(argv[0]));
    auto_free char *of_kind = copy(what), *to_state = copy(state), *for_reason = copy(reason);
    struct watch watch = {
        .cli = cli,
        .client = CLIENT_CLOSED,
        .params = {.since = since,
                   .guest = is_plain ? argv[0] : NULL,
                   .what = of_kind,
                   .state = to_state,
                   .reason = for_reason,
                   .limit = is_plain ? last_count : 0},
        .names = is_plain ? NULL : argv,
        .deadline_ms = cli->timeout_ms != 0 ? now_ms() + cli->timeout_ms : CLIENT_FOR_EVER,
    };
    struct err err = {.code = -ENOMEM, .msg = "out of memory"};
    int r;

    if (last_count > LIMIT_MAX) {
        return cli_usage("--last wants a number up to %d", LIMIT_MAX);
    }
    if ((what != NULL && of_kind == NULL) || (state != NULL && to_state == NULL) ||
        (reason != NULL && for_reason == NULL)) {
        return cli_fail(&err);
    }
    r = watch_all(&watch, &err);
    client_fini(&watch.client);
    return r == 0 ? STATUS_OK : cli_fail(&err);
}

const struct command command_events = {
    .name = "events",
    .synopsis = "[-f] [--since SEQ] [-n COUNT] [--what KIND] [--state STATE] [--reason REASON] "
                "[NAME ... | --all]",
    .help = "what happened to the guests, and what happens",
    .options = options,
    .most = COMMAND_ANY_COUNT,
    .formats = FORMATS_DATA,
    .takes_guests = true,
    .run = run,
};
