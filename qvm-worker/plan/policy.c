/* `unsupported`, `dump`, `safety`, `reserve`. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/pci/pci.h"
#include "qvm-worker/plan/private.h"
#include "qvm-worker/vdev/host.h"

/* The index of `word` in `names` (NULL ends it), or -ENOEXEC with a sentence. */
static int find_word(const struct conf_word *word, const char *const *names, struct err *err)
{
    struct conf_nearest nearest = {.word = word->text};
    char all[128] = "";
    size_t used = 0;

    for (int i = 0; names[i] != NULL; i++) {
        if (strcmp(names[i], word->text) == 0) {
            return i;
        }
        conf_nearest_offer(&nearest, names[i]);
        if (used < sizeof(all)) {
            used += (size_t)snprintf(all + used, sizeof(all) - used, " %s", names[i]);
        }
    }
    if (nearest.best != NULL) {
        return conf_fail(err, word, "'%s' is none of%s; did you mean '%s'?", word->text, all,
                         nearest.best);
    }
    return conf_fail(err, word, "'%s' is none of%s", word->text, all);
}

static const char *const unsupported_words[] = {"instruction", "reference", "register", NULL};
static const char *const reaction_words[] = {"abort", "fail", "ignore", NULL};

int plan_unsupported(struct conf_scope *scope, const struct conf_word *option)
{
    struct plan_unsupported *plan = &plan_of(scope)->unsupported;
    enum plan_reaction *const members[] = {&plan->instruction, &plan->reference, &plan->msr};
    const struct conf_word *what = conf_argument(scope, option);
    const struct conf_word *reaction = what != NULL ? conf_argument(scope, option) : NULL;
    int i = reaction != NULL ? find_word(what, unsupported_words, scope->err) : -ENOEXEC;
    int to = i >= 0 ? find_word(reaction, reaction_words, scope->err) : -ENOEXEC;

    if (to < 0) {
        return -ENOEXEC;
    }
    *members[i] = (enum plan_reaction)to;
    return 0;
}

const char *plan_reaction_name(enum plan_reaction reaction)
{
    return reaction_words[reaction];
}

int plan_dump_option(struct conf_scope *scope, const struct conf_word *option)
{
    struct plan *plan = plan_of(scope);
    const struct conf_word *to = conf_argument(scope, option);
    struct plan_dump dump = {0};

    if (to == NULL) {
        return -ENOEXEC;
    }
    if (to->text[0] == '|') {
        dump.command = to->text + 1 + strspn(to->text + 1, " \t");
        if (dump.command[0] == '\0') {
            return conf_fail(scope->err, to, "dump '|' names no command");
        }
    } else {
        dump.directory = plan_path(plan, to, to->text, scope->err);
        if (dump.directory == NULL) {
            return -ENOEXEC;
        }
    }
    dump.where = plan_where(plan, to, scope->err);
    plan->dump = dump;
    return dump.where != NULL ? 0 : -ENOMEM;
}

int plan_safety(struct conf_scope *scope, const struct conf_word *option)
{
    static const char *const words[] = {"none", "warn", "required", NULL};
    const struct conf_word *level = conf_argument(scope, option);
    int i = level != NULL ? find_word(level, words, scope->err) : -ENOEXEC;

    if (i < 0) {
        return -ENOEXEC;
    }
    if (strcmp(words[i], "required") == 0) {
        return conf_fail(scope->err, level,
                         "'safety required' cannot be met: no part of this hypervisor is certified "
                         "for safety; 'safety warn' says so and goes on");
    }
    if (strcmp(words[i], "warn") == 0) {
        return plan_warn(plan_of(scope), level, scope->err,
                         "no part of this hypervisor is certified for safety");
    }
    return 0;
}

static struct plan_reserve *new_reserve(struct conf_scope *scope, const struct conf_word *word)
{
    struct plan *plan = plan_of(scope);
    struct plan_reserve *reserve = &plan->reserves[plan->reserve_count];

    if (plan->reserve_count == PLAN_RESERVES_MAX) {
        (void)conf_fail(scope->err, word, "more than %u things are reserved", PLAN_RESERVES_MAX);
        return NULL;
    }
    *reserve = (struct plan_reserve){.where = plan_where(plan, word, scope->err)};
    return reserve->where != NULL ? reserve : NULL;
}

_Static_assert(PLAN_RESERVES_MAX <= PCI_AVOIDED_MAX, "all fit");

int plan_reserve_open(struct conf_scope *scope, const struct conf_word *option)
{
    struct plan_reading *reading = scope->root;
    const struct conf_word *next =
        scope->next < scope->words->count ? &scope->words->list[scope->next] : NULL;

    if (next == NULL || (strcmp(next->text, "loc") != 0 && strcmp(next->text, "intr") != 0)) {
        return conf_fail(scope->err, option,
                         "'reserve' wants 'loc PLACE' or 'intr LINE' behind it");
    }
    reading->reserve = option;
    scope->context = PLAN_IN_RESERVE;
    return 0;
}

int plan_reserve_loc(struct conf_scope *scope, const struct conf_word *option)
{
    const struct conf_word *argument = conf_argument(scope, option);
    struct plan_reserve *reserve;
    struct err words = {0};
    struct loc loc = {0};

    if (argument == NULL) {
        return -ENOEXEC;
    }
    if (loc_parse(argument->text, &loc, &words) != 0) {
        return conf_fail(scope->err, argument, "%s", words.msg);
    }
    if (loc.kind == LOC_MEMORY && !loc.has_size) {
        return conf_fail(scope->err, argument, "loc '%s' wants a length: mem:ADDRESS,LEN",
                         argument->text);
    }
    if (loc.kind == LOC_PCI && !loc.pci.has_device) {
        return conf_fail(scope->err, argument,
                         "loc 'pci:' names no device: pci:BUS:DEVICE[.FUNCTION]");
    }
    if (loc.kind == LOC_IO && !loc.has_size) {
        loc.size = 1;
        loc.has_size = true;
    }
    reserve = new_reserve(scope, argument);
    if (reserve == NULL) {
        return -ENOEXEC;
    }
    reserve->loc = loc;
    plan_of(scope)->reserve_count++;
    return 0;
}

int plan_reserve_intr(struct conf_scope *scope, const struct conf_word *option)
{
    const struct conf_word *argument = conf_argument(scope, option);
    struct plan_reserve *reserve;
    uint64_t line;

    if (argument == NULL) {
        return -ENOEXEC;
    }
    if (conf_parse_number(argument->text, strlen(argument->text), CONF_DECIMAL, &line) != 0 ||
        line >= VDEV_HOST_GSI_COUNT) {
        return conf_fail(scope->err, argument, "intr '%s': the lines are 0 to %u", argument->text,
                         VDEV_HOST_GSI_COUNT - 1);
    }
    reserve = new_reserve(scope, argument);
    if (reserve == NULL) {
        return -ENOEXEC;
    }
    reserve->is_intr = true;
    reserve->intr = (uint32_t)line;
    plan_of(scope)->reserve_count++;
    return 0;
}

void plan_avoid(const struct plan *plan, struct pci *pci)
{
    for (uint32_t i = 0; pci != NULL && i < plan->reserve_count; i++) {
        if (!plan->reserves[i].is_intr) {
            (void)pci_avoid(pci, &plan->reserves[i].loc); /* it has room for all there can be */
        }
    }
    for (uint32_t i = 0; pci != NULL && i < plan->memory_count; i++) {
        const struct loc loc = {.kind = LOC_MEMORY,
                                .start = plan->memories[i].guest,
                                .size = plan->memories[i].size,
                                .has_size = true};

        (void)pci_avoid(pci, &loc); /* likewise */
    }
}
