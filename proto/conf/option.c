/* Options of a configuration as typed rows, and the contexts that they stand in. */
#include "proto/conf/option.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"

const struct conf_word *conf_next(struct conf_scope *scope)
{
    return scope->next < scope->words->count ? &scope->words->list[scope->next++] : NULL;
}

const struct conf_word *conf_argument(struct conf_scope *scope, const struct conf_word *option)
{
    const struct conf_word *word = conf_next(scope);

    if (word == NULL) {
        (void)conf_fail(scope->err, option, "'%s' wants an argument, and nothing follows",
                        option->text);
    }
    return word;
}

static int set_choice(const struct conf_option *row, const struct conf_word *argument,
                      unsigned *choice, struct err *err)
{
    char all[256] = "";
    size_t used = 0;

    for (unsigned i = 0; row->choices[i] != NULL; i++) {
        if (strcmp(row->choices[i], argument->text) == 0) {
            *choice = i;
            return 0;
        }
        if (used < sizeof(all)) {
            used += (size_t)snprintf(all + used, sizeof(all) - used, " %s", row->choices[i]);
        }
    }
    return conf_fail(err, argument, "'%s' is not a value of '%s', which may be%s", argument->text,
                     row->name, all);
}

int conf_set(const struct conf_option *row, const struct conf_word *argument, void *object,
             struct err *err)
{
    void *member = (char *)object + row->offset;

    switch (row->kind) {
    case CONF_KIND_TEXT:
        *(const char **)member = argument->text;
        return 0;
    case CONF_KIND_BOOL:
        return conf_bool(argument, row->name, member, err);
    case CONF_KIND_NUMBER:
        return conf_number(argument, row->name, CONF_DECIMAL, row->min, row->max, member, err);
    case CONF_KIND_ADDRESS:
        return conf_number(argument, row->name, CONF_HEX, row->min, row->max, member, err);
    case CONF_KIND_CHOICE:
        return set_choice(row, argument, member, err);
    case CONF_KIND_HANDLER:
    case CONF_KIND_LATER:
        break;
    }
    assert(false); /* a row without a member */
    return err_set(err, -EIO, "option '%s' has no member", row->name);
}

void conf_set_fallbacks(const struct conf_grammar *grammar, unsigned contexts, void *object)
{
    for (size_t i = 0; i < grammar->option_count; i++) {
        const struct conf_option *row = &grammar->options[i];
        const struct conf_part part = {.name = "default"};
        const struct conf_word word = {.text = row->fallback, .part = &part};

        if (row->fallback != NULL &&
            (contexts == CONF_ANYWHERE ? row->contexts == CONF_ANYWHERE
                                       : (row->contexts & contexts) != 0)) {
            int r = conf_set(row, &word, object, NULL);

            assert(r == 0);
            (void)r;
        }
    }
}

/* The row for `name` that applies where the reading stands: of the open context, or without. */
static const struct conf_option *find_row(const struct conf_scope *scope, const char *name,
                                          bool in_context)
{
    const struct conf_grammar *grammar = scope->grammar;

    for (size_t i = 0; i < grammar->option_count; i++) {
        const struct conf_option *row = &grammar->options[i];
        bool applies =
            in_context ? (row->contexts & scope->context) != 0 : row->contexts == CONF_ANYWHERE;

        if (applies && strcmp(row->name, name) == 0) {
            return row;
        }
    }
    return NULL;
}

static int apply(struct conf_scope *scope, const struct conf_option *row,
                 const struct conf_word *word)
{
    const struct conf_word *argument;

    if (row->kind == CONF_KIND_LATER) {
        return conf_fail(scope->err, word, "'%s' is not supported yet", word->text);
    }
    if (row->kind == CONF_KIND_HANDLER) {
        return row->handler(scope, word);
    }
    argument = conf_argument(scope, word);
    if (argument == NULL) {
        return -ENOEXEC;
    }
    return conf_set(row, argument, row->contexts == CONF_ANYWHERE ? scope->root : scope->object,
                    scope->err);
}

/* "vdev" or "vdev, pass or reserve": the contexts in which `name` is an option, unless the open one
 * is among them: then it is no option of that very thing. */
static bool contexts_of(const struct conf_scope *scope, const char *name, char *text, size_t size)
{
    const struct conf_grammar *grammar = scope->grammar;
    unsigned contexts = 0;
    size_t used = 0;

    for (size_t i = 0; i < grammar->option_count; i++) {
        if (strcmp(grammar->options[i].name, name) == 0) {
            contexts |= grammar->options[i].contexts;
        }
    }
    if ((contexts & scope->context) != 0) {
        return false;
    }
    for (size_t bit = 0; bit < grammar->context_count && contexts != 0; bit++) {
        if ((contexts & (1u << bit)) != 0 && used < size) {
            contexts &= ~(1u << bit);
            used += (size_t)snprintf(text + used, size - used, "%s%s",
                                     used == 0 ? "" : (contexts == 0 ? " or " : ", "),
                                     grammar->context_names[bit]);
        }
    }
    return used != 0;
}

/* What may stand here: of the open context, and without one. A row whose handler is `other` says in
 * which context there are such options; which this object has, `offer` says. */
static const char *nearest_name(const struct conf_scope *scope, const char *word,
                                struct conf_names *of_context, struct conf_names *anywhere)
{
    const struct conf_grammar *grammar = scope->grammar;
    struct conf_nearest nearest = {.word = word, .names = of_context};

    if (grammar->offer != NULL) {
        grammar->offer(scope, &nearest);
    }
    for (size_t i = 0; i < grammar->option_count; i++) {
        if ((grammar->options[i].contexts & scope->context) != 0 &&
            (grammar->options[i].handler == NULL ||
             grammar->options[i].handler != grammar->other)) {
            conf_nearest_offer(&nearest, grammar->options[i].name);
        }
    }
    nearest.names = anywhere;
    for (size_t i = 0; i < grammar->option_count; i++) {
        if (grammar->options[i].contexts == CONF_ANYWHERE) {
            conf_nearest_offer(&nearest, grammar->options[i].name);
        }
    }
    return nearest.best;
}

static const char *context_name(const struct conf_scope *scope)
{
    for (size_t bit = 0; bit < scope->grammar->context_count; bit++) {
        if ((scope->context & (1u << bit)) != 0) {
            return scope->grammar->context_names[bit];
        }
    }
    return "";
}

static int refuse(struct conf_scope *scope, const struct conf_word *word)
{
    struct conf_names of_context = {0}, anywhere = {0};
    char contexts[128];
    const char *nearest;

    if (contexts_of(scope, word->text, contexts, sizeof(contexts))) {
        return conf_fail(scope->err, word, "'%s' is an option of %s, and none is open here",
                         word->text, contexts);
    }
    nearest = nearest_name(scope, word->text, &of_context, &anywhere);
    if (nearest != NULL && strcmp(nearest, word->text) != 0) {
        return conf_fail(scope->err, word, "unknown option '%s'; did you mean '%s'?", word->text,
                         nearest);
    }
    if (of_context.text[0] != '\0') {
        return conf_fail(scope->err, word, "unknown option '%s'; this %s may have %s; then come %s",
                         word->text, context_name(scope), of_context.text, anywhere.text);
    }
    return conf_fail(scope->err, word, "unknown option '%s'; there are %s", word->text,
                     anywhere.text);
}

static int read_option(struct conf_scope *scope, const struct conf_word *word)
{
    const struct conf_option *row = scope->context != 0 ? find_row(scope, word->text, true) : NULL;
    int r;

    if (row == NULL && scope->grammar->other != NULL) {
        r = scope->grammar->other(scope, word);
        if (r != -ENOENT) {
            return r;
        }
    }
    if (row == NULL) {
        row = find_row(scope, word->text, false);
    }
    r = row != NULL ? apply(scope, row, word) : -ENOENT;
    return r == -ENOENT ? refuse(scope, word) : r;
}

/* An option at the end of a file takes its argument from what comes behind that file, where it most
 * likely was not meant: if that goes wrong, both places are told. */
static void tell_option(const struct conf_scope *scope, const struct conf_word *option)
{
    const struct conf_word *last = &scope->words->list[scope->next - 1];
    struct err *err = scope->err;
    char place[CONF_PLACE_SIZE];
    size_t used;

    if (err == NULL || last->part == option->part || option->part->name == NULL) {
        return;
    }
    used = strlen(err->msg);
    (void)snprintf(err->msg + used, sizeof(err->msg) - used,
                   "; '%s' at %s, where its file ends, takes it for its argument", option->text,
                   conf_place(option, place));
}

int conf_read(struct conf_scope *scope)
{
    const struct conf_word *word;
    int r = 0;

    while (r == 0 && (word = conf_next(scope)) != NULL) {
        r = read_option(scope, word);
        if (r != 0) {
            tell_option(scope, word);
        }
    }
    return r;
}
