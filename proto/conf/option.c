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

/* "vdev" or "vdev, pass or reserve": the contexts in which `name` is an option. */
static bool contexts_of(const struct conf_grammar *grammar, const char *name, char *text,
                        size_t size)
{
    unsigned contexts = 0;
    size_t used = 0;

    for (size_t i = 0; i < grammar->option_count; i++) {
        if (strcmp(grammar->options[i].name, name) == 0) {
            contexts |= grammar->options[i].contexts;
        }
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

static const char *nearest_name(const struct conf_scope *scope, const char *word)
{
    struct conf_nearest nearest = {.word = word};

    for (size_t i = 0; i < scope->grammar->option_count; i++) {
        const struct conf_option *row = &scope->grammar->options[i];

        if (row->contexts == CONF_ANYWHERE || (row->contexts & scope->context) != 0) {
            conf_nearest_offer(&nearest, row->name);
        }
    }
    if (scope->grammar->offer != NULL) {
        scope->grammar->offer(scope, &nearest);
    }
    return nearest.best;
}

static int refuse(struct conf_scope *scope, const struct conf_word *word)
{
    char contexts[128];
    const char *nearest;

    if (contexts_of(scope->grammar, word->text, contexts, sizeof(contexts))) {
        return conf_fail(scope->err, word, "'%s' is an option of %s, and none is open here",
                         word->text, contexts);
    }
    nearest = nearest_name(scope, word->text);
    if (nearest != NULL) {
        return conf_fail(scope->err, word, "unknown option '%s'; did you mean '%s'?", word->text,
                         nearest);
    }
    return conf_fail(scope->err, word, "unknown option '%s'", word->text);
}

static int read_option(struct conf_scope *scope, const struct conf_word *word)
{
    const struct conf_option *row = scope->context != 0 ? find_row(scope, word->text, true) : NULL;

    if (row == NULL && scope->grammar->other != NULL) {
        int r = scope->grammar->other(scope, word);

        if (r != -ENOENT) {
            return r;
        }
    }
    if (row == NULL) {
        row = find_row(scope, word->text, false);
    }
    return row != NULL ? apply(scope, row, word) : refuse(scope, word);
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
