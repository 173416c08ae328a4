/* `logger`: what is logged, and where it goes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/plan/private.h"

/* `slog` is the system's logger of QNX: here it is syslog. */
static const struct {
    const char *name;
    enum plan_log_to to;
} destinations[] = {
    {"stdout", PLAN_LOG_STDOUT}, {"stderr", PLAN_LOG_STDERR},   {"slog", PLAN_LOG_SYSLOG},
    {"syslog", PLAN_LOG_SYSLOG}, {"journal", PLAN_LOG_JOURNAL}, {"none", PLAN_LOG_COUNT},
};

static int find_destination(const struct conf_word *word, enum plan_log_to *to, struct err *err)
{
    struct conf_nearest nearest = {.word = word->text};

    for (size_t i = 0; i < ARRAY_LEN(destinations); i++) {
        if (strcmp(destinations[i].name, word->text) == 0) {
            *to = destinations[i].to;
            return 0;
        }
        conf_nearest_offer(&nearest, destinations[i].name);
    }
    if (nearest.best != NULL) {
        return conf_fail(err, word, "'%s' is no destination; did you mean '%s'?", word->text,
                         nearest.best);
    }
    return conf_fail(err, word, "'%s' is no destination: stdout stderr slog syslog journal none",
                     word->text);
}

int plan_logger(struct conf_scope *scope, const struct conf_word *option)
{
    struct plan *plan = plan_of(scope);
    const struct conf_word *filters = conf_argument(scope, option);
    const struct conf_word *word = filters != NULL ? conf_argument(scope, option) : NULL;
    struct err words = {0};
    enum plan_log_to to = PLAN_LOG_COUNT;
    unsigned set = 0;

    if (word == NULL) {
        return -ENOEXEC;
    }
    if (conf_filters(filters->text, &set, &words) != 0) {
        return conf_fail(scope->err, filters, "%s", words.msg);
    }
    if (find_destination(word, &to, scope->err) != 0) {
        return -ENOEXEC;
    }
    plan->log.is_given = true;
    if (to == PLAN_LOG_COUNT) {
        return 0; /* none */
    }
    plan->log.to[to] = set;
    plan->log.where[to] = plan_where(plan, word, scope->err);
    return plan->log.where[to] != NULL ? 0 : -ENOMEM;
}

const char *plan_log_name(enum plan_log_to to)
{
    static const char *const names[] = {[PLAN_LOG_STDOUT] = "stdout",
                                        [PLAN_LOG_STDERR] = "stderr",
                                        [PLAN_LOG_SYSLOG] = "syslog",
                                        [PLAN_LOG_JOURNAL] = "journal"};

    return names[to];
}
