/* The method that tells everything about one guest. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/host/clock.h"
#include "daemon/ops/inside.h"
#include "daemon/store/store.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/lend.h"

#define LOG_LINES 10
#define LOG_WIDTH 255
#define LOG_BYTES 4096u /* of its end that are looked at */
#define NS_A_MS   INT64_C(1000000)

struct showing {
    struct ops *ops;
    struct reply *reply;
};

static size_t read_claims(const struct reserve_held *held, size_t count, struct msg_claim *claims)
{
    for (size_t i = 0; i < count; i++) {
        claims[i] = (struct msg_claim){
            .kind = (int)held[i].kind,
            .id = held[i].name != NULL ? held[i].name : held[i].id,
            .amount = held[i].amount,
            .is_writable = held[i].is_exclusive && held[i].kind != RESOURCE_hostcpu,
            .where = held[i].where[0] != '\0' ? held[i].where : NULL,
        };
    }
    return count;
}

/* ---- its runs ---- */

/* The texts are borrowed from `instances`. */
static size_t read_history(struct store_instance *instances, size_t count,
                           struct msg_instance *history)
{
    for (size_t i = 0; i < count; i++) {
        struct store_instance *from = &instances[i];

        history[i] = (struct msg_instance){
            .id = from->id,
            .state = (int)from->state,
            .reason = (int)from->reason,
            .message = from->message[0] != '\0' ? from->message : NULL,
            .pid = from->pid,
            .exit_status = from->exit_status > 0 ? from->exit_status : 0,
            .reboots = from->reboots,
            .started = from->started,
            .ended = from->ended[0] != '\0' ? from->ended : NULL,
        };
    }
    return count;
}

/* ---- the end of its log ---- */

struct log_end {
    char *text; /* owned; the lines point into it */
    char *lines[LOG_LINES];
    size_t count;
};

/* The lines of what was read, from the last on; others than ASCII's letters become `?`. */
static void on_log_read(void *data, const struct guest_said *said, const struct err *err)
{
    struct log_end *log = data;
    size_t size = err == NULL ? said->size : 0;

    log->text = calloc(1, size + 1);
    if (log->text == NULL || size == 0) {
        return;
    }
    for (size_t i = 0; i < size; i++) {
        bool is_plain = said->data[i] == '\n' || isprint(said->data[i]);

        log->text[i] = (char)(is_plain ? said->data[i] : '?');
    }
    while (size > 0 && log->text[size - 1] == '\n') {
        log->text[--size] = '\0';
    }
    for (char *line = NULL; size > 0 && line != log->text && log->count < LOG_LINES;) {
        line = strrchr(log->text, '\n');
        line = line != NULL ? line + 1 : log->text;
        if (strlen(line) > LOG_WIDTH) {
            line[LOG_WIDTH] = '\0';
        }
        log->lines[LOG_LINES - ++log->count] = line;
        if (line != log->text) {
            line[-1] = '\0';
        }
    }
}

static void read_log(const struct showing *showing, const char *name, struct log_end *log)
{
    struct guest *guest = guest_find(showing->ops->env.guests, name);
    struct guest_caller caller = ops_caller(showing->reply);
    const struct guest_read end = {.kind = GUEST_READ_LOG, .lines = LOG_LINES, .size = LOG_BYTES};

    if (guest != NULL && guest_check_caller(guest, &caller, NULL) == 0) {
        guest_read(guest, &end, on_log_read, log); /* at once: it waits for nothing */
    }
}

/* What stood in the owner's environment is nobody else's business. */
static void hide_values(const struct reply *reply, const struct guest *guest,
                        struct msg_definition *definition)
{
    struct guest_caller caller = ops_caller(reply);

    if (guest_check_caller(guest, &caller, NULL) < 0) {
        for (size_t i = 0; i < definition->env_count; i++) {
            definition->env[i].value[0] = '\0';
        }
    }
}

/* What is shown beside what the qvm says. */
struct gathered {
    struct msg_definition definition;
    struct reserve_held *held;
    size_t held_count;
    struct msg_claim *claims;
    struct store_instance *instances;
    size_t instance_count;
    struct msg_instance *history;
    struct guest_helpers helpers;
    struct log_end log;
};

static void gathered_fini(struct gathered *gathered)
{
    msg_fini(MSG_definition, &gathered->definition);
    reserve_held_free(gathered->held, gathered->held_count);
    free(gathered->claims);
    free(gathered->instances);
    free(gathered->history);
    guest_helpers_describe_end(&gathered->helpers);
    free(gathered->log.text);
}

static int gather(const struct showing *showing, const struct guest *guest,
                  struct gathered *gathered, struct err *err)
{
    struct store *store = showing->ops->env.store;
    const char *text = guest_definition(guest);
    int r = msg_decode(MSG_definition, text, strlen(text), false, &gathered->definition, err);

    if (r == 0) {
        r = reserve_list(store, guest_instance(guest), &gathered->held, &gathered->held_count, err);
    }
    if (r == 0) {
        r = store_instances_of(store, guest_name(guest), &gathered->instances,
                               &gathered->instance_count, err);
    }
    r = r == 0 ? guest_helpers_describe(guest, &gathered->helpers, err) : r;
    if (r < 0) {
        return r;
    }
    gathered->claims = calloc(gathered->held_count + 1, sizeof(*gathered->claims));
    gathered->history = calloc(gathered->instance_count + 1, sizeof(*gathered->history));
    if (gathered->claims == NULL || gathered->history == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    hide_values(showing->reply, guest, &gathered->definition);
    read_log(showing, guest_name(guest), &gathered->log);
    return 0;
}

static void tell(const struct showing *showing, const struct guest *guest,
                 const struct msg_state *state, struct gathered *gathered)
{
    struct guest_times times;
    struct msg_guest info;
    struct msg_guest_stats stats;
    struct msg_show show = {
        .guest = &info,
        .definition = &gathered->definition,
        .settings = lend(guest_settings(guest)),
        .claims = gathered->claims,
        .claims_count = read_claims(gathered->held, gathered->held_count, gathered->claims),
        .history = gathered->history,
        .history_count =
            read_history(gathered->instances, gathered->instance_count, gathered->history),
        .helpers = gathered->helpers.helpers,
        .helpers_count = gathered->helpers.count,
        .log = gathered->log.lines + LOG_LINES - gathered->log.count,
        .log_count = gathered->log.count,
    };

    guest_describe(guest, &times, &info);
    guest_stats(guest, &stats);
    show.stats = stats.pid != 0 ? &stats : NULL;
    if (state != NULL) {
        show.vdevs = state->vdevs;
        show.vdevs_count = state->vdevs_count;
    }
    reply_result(showing->reply, MSG_show, &show);
}

static void on_state(void *data, const struct guest *guest, const struct msg_state *state)
{
    struct showing *showing = data;
    struct gathered gathered = {0};
    struct err err = {0};

    if (gather(showing, guest, &gathered, &err) < 0) {
        reply_error(showing->reply, &err);
    } else {
        tell(showing, guest, state, &gathered);
    }
    gathered_fini(&gathered);
    free(showing);
}

void op_show(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_guest_params *wanted = params;
    struct guest *guest = ops_guest(ops, reply, wanted->name, false);
    struct showing *showing;
    struct err err = {0};

    if (guest == NULL) {
        return;
    }
    showing = malloc(sizeof(*showing));
    if (showing == NULL) {
        (void)err_set(&err, -ENOMEM, "out of memory");
        reply_error(reply, &err);
        return;
    }
    *showing = (struct showing){.ops = ops, .reply = reply};
    (void)guest_stats_refresh(guest, clock_mono_ns() - GUEST_STATS_FRESH_MS * NS_A_MS);
    guest_query(guest, on_state, showing);
}
