/* What may stand on a command line of qvmctl. */
#include "cli/complete.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/complete_inside.h"
#include "cli/top_view.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/keys.h"

const char *const complete_shells[COMPLETE_SHELL_COUNT + 1] = {"bash", "zsh", "fish", NULL};

void complete_offer(const struct line *line, const char *word, const char *doc)
{
    printf("%.*s%s%s%s\n", (int)line->prefix_size, line->prefix_size > 0 ? line->prefix : "", word,
           doc != NULL ? "\t" : "", doc != NULL ? doc : "");
}

static void offer_words(const struct line *line, const struct word_table *table)
{
    for (int i = 0; i < table->count; i++) {
        if (words_name(table, i) != NULL) {
            complete_offer(line, words_name(table, i), NULL);
        }
    }
}

static void offer_states(const struct line *line)
{
    offer_words(line, &words_state);
}

static void offer_reasons(const struct line *line)
{
    offer_words(line, &words_reason);
}

static void offer_formats(const struct line *line)
{
    for (unsigned i = 0; i < FORMAT_COUNT; i++) {
        if (line->command == NULL || (line->command->formats >> i & 1) != 0) {
            complete_offer(line, format_names[i], NULL);
        }
    }
}

static void offer_commands(const struct line *line)
{
    for (size_t i = 0; commands[i] != NULL; i++) {
        complete_offer(line, commands[i]->name, commands[i]->help);
    }
}

static void offer_methods(const struct line *line)
{
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        complete_offer(line, msg_methods[i].name, msg_methods[i].doc);
    }
}

static void offer_shells(const struct line *line)
{
    for (size_t i = 0; complete_shells[i] != NULL; i++) {
        complete_offer(line, complete_shells[i], NULL);
    }
}

/* The members of `settings`, as they are written: without units, with dashes. */
static void offer_settings(const struct line *line)
{
    const struct msg_type *type = &msg_types[MSG_settings];

    for (size_t i = 0; i < type->field_count; i++) {
        char word[64];
        int size = (int)strlen(type->fields[i].name);

        if (size > 3 && strcmp(type->fields[i].name + size - 3, "_ms") == 0) {
            size -= 3;
        }
        (void)snprintf(word, sizeof(word), "%.*s=", size, type->fields[i].name);
        for (char *at = word; (at = strchr(at, '_')) != NULL;) {
            *at = '-';
        }
        complete_offer(line, word, msg_docs[MSG_settings].fields[i]);
    }
}

/* What stands before the `=` of a setting whose value is to come, in the last word or, as bash cuts
 * it, before it; `*prefix` is what its values are offered behind. NULL: none is to come. */
static const char *find_setting(const struct line *line, char name[64], const char **prefix)
{
    const char *equals = strchr(line->last, '=');
    int count = line->argument_count;
    bool is_cut = equals == line->last ||
                  (equals == NULL && count > 1 && strcmp(line->arguments[count - 1], "=") == 0);
    const char *from = !is_cut          ? line->last
                       : equals == NULL ? line->arguments[count - 2]
                       : count > 0      ? line->arguments[count - 1]
                                        : "";

    if (from == NULL || (equals == NULL && !is_cut) ||
        strstr(line->command->synopsis, "SETTING=VALUE") == NULL) {
        return NULL;
    }
    (void)snprintf(name, 64, "%.*s", (int)strcspn(from, "="), from);
    *prefix = is_cut ? "" : name;
    return name;
}

static bool offer_values(const struct line *line)
{
    static const struct {
        const char *setting;
        const struct word_table *words;
        const char *plain[3];
    } rows[] = {{"restart", &words_restart, {NULL}},
                {"on-reboot", &words_on_reboot, {NULL}},
                {"enabled", NULL, {"yes", "no"}}};
    char name[64], text[128];
    const char *prefix, *setting = find_setting(line, name, &prefix);

    for (size_t i = 0; setting != NULL && i < ARRAY_LEN(rows); i++) {
        int count = rows[i].words != NULL ? rows[i].words->count : 2;

        for (int j = 0; j < count && strcmp(setting, rows[i].setting) == 0; j++) {
            const char *word =
                rows[i].words != NULL ? words_name(rows[i].words, j) : rows[i].plain[j];

            (void)snprintf(text, sizeof(text), "%s%s%s", prefix, *prefix != '\0' ? "=" : "",
                           word != NULL ? word : "");
            if (word != NULL) {
                complete_offer(line, text, NULL);
            }
        }
    }
    return setting != NULL;
}

static void offer_keys(const struct line *line)
{
    for (size_t i = 0; i < key_word_count; i++) {
        complete_offer(line, key_words[i].name, NULL);
    }
}

static void offer_kinds_of_events(const struct line *line)
{
    offer_words(line, &words_what);
}

static void offer_orders(const struct line *line)
{
    for (size_t i = 0; i < TOP_ORDERS; i++) {
        complete_offer(line, top_order_names[i], NULL);
    }
}

static void offer_files(const struct line *line)
{
    (void)line;
    (void)puts(COMPLETE_FILES);
}

/* What the words in capitals stand for; NULL: nothing that could be offered. */
static const struct {
    const char *word;
    void (*offer)(const struct line *line);
} kinds[] = {
    {"NAME", complete_offer_guests},
    {"FILE", offer_files},
    {"PATH", offer_files},
    {"WORD", offer_files},
    {"STATE", offer_states},
    {"REASON", offer_reasons},
    {"FORMAT", offer_formats},
    {"COMMAND", offer_commands},
    {"METHOD", offer_methods},
    {"SHELL", offer_shells},
    {"SECONDS", NULL},
    {"COUNT", NULL},
    {"LINES", NULL},
    {"SEQ", NULL},
    {"BYTES", NULL},
    {"SIZE", NULL},
    {"VDEV", complete_offer_vdevs},
    {"TEXT", NULL},
    {"X", NULL},
    {"Y", NULL},
    {"KEY", offer_keys},
    {"ESCAPE", NULL},
    {"ORDER", offer_orders},
    {"KIND", offer_kinds_of_events},
    {"ID", NULL},
    {"JSON", NULL},
    {"BDF", complete_offer_devices},
    {"REGION", complete_offer_regions},
    {"OFFSET", NULL},
    {"CLIENT", NULL},
    {"NAMES", complete_offer_guests},
    {"SETTING=VALUE", offer_settings},
};

static int find_kind(const char *word, size_t size)
{
    for (int i = 0; i < (int)ARRAY_LEN(kinds); i++) {
        if (strlen(kinds[i].word) == size && strncmp(kinds[i].word, word, size) == 0) {
            return i;
        }
    }
    return -1;
}

bool complete_knows(const char *word, size_t size)
{
    return find_kind(word, size) >= 0;
}

/* One form of a synopsis, `[-x] NAME ... STATE`, from `form` to `end`: which kinds may stand at the
 * argument `index`, as bits. */
static uint32_t expect_of_form(const char *form, const char *end, int index, bool with_all)
{
    uint32_t found = 0;
    bool has_all = false, repeats = false;
    int place = 0, kind = -1;

    for (const char *at = form; at < end;) {
        size_t size;

        if (*at == '[' && at[1] == '-') { /* an option: the table of options knows it */
            at += strcspn(at, "]") + 1;
            continue;
        }
        size = strcspn(at, " []");
        if (size == 0) {
            at++;
            continue;
        }
        has_all = has_all || strncmp(at, "--all", size) == 0;
        if (*at == ':') { /* NAME[:PORT] is one word */
            at += size;
            continue;
        }
        if (strncmp(at, "...", size) == 0) {
            repeats = true;
            found |= kind >= 0 && index >= place - 1 ? UINT32_C(1) << kind : 0;
        } else if (*at != '-') {
            kind = find_kind(at, size);
            found |=
                kind >= 0 && (repeats ? index >= place : index == place) ? UINT32_C(1) << kind : 0;
            place++;
        }
        at += size;
    }
    return has_all == with_all ? found : 0;
}

/* The end of the form that begins at `at`: `|` outside of an option's brackets, or the end. */
static const char *end_of_form(const char *at)
{
    bool is_option = false;

    for (; *at != '\0' && (is_option || *at != '|'); at++) {
        is_option = *at == '[' ? at[1] == '-' : *at == ']' ? false : is_option;
    }
    return at;
}

static uint32_t expect(const char *synopsis, int index, bool with_all)
{
    uint32_t found = 0;

    for (const char *form = synopsis; *form != '\0';) {
        const char *end = end_of_form(form);

        found |= expect_of_form(form, end, index, with_all);
        form = *end == '|' ? end + 1 : end;
    }
    return found;
}

void complete_expected(const char *synopsis, int index, bool with_all, char *out, size_t size)
{
    uint32_t found = expect(synopsis, index, with_all);
    size_t used = 0;

    *out = '\0';
    for (size_t i = 0; i < ARRAY_LEN(kinds) && used < size; i++) {
        if ((found >> i & 1) != 0) {
            used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? " " : "",
                                     kinds[i].word);
        }
    }
}

static void offer_kinds(const struct line *line, uint32_t found)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if ((found >> i & 1) != 0 && kinds[i].offer != NULL) {
            kinds[i].offer(line);
        }
    }
}

/* Words of a form that stand there as they are: `list`, `show BDF`; those before must be on the
 * line already. */
static void offer_literals_of_form(const struct line *line, const char *form, const char *end)
{
    int place = 0;

    for (const char *at = form; at < end;) {
        size_t size;

        if (*at == '[' && at[1] == '-') {
            at += strcspn(at, "]") + 1;
            continue;
        }
        size = strcspn(at, " []|");
        if (size > 0 && islower((unsigned char)*at)) {
            char word[32];

            (void)snprintf(word, sizeof(word), "%.*s", (int)size, at);
            if (place == line->argument_count) {
                complete_offer(line, word, NULL);
            } else if (place > line->argument_count || strcmp(line->arguments[place], word) != 0) {
                return;
            }
        }
        place += size > 0 && *at != '-' && *at != '.';
        at += size > 0 ? size : 1;
    }
}

static void offer_literals(const struct line *line)
{
    for (const char *form = line->command->synopsis; *form != '\0';) {
        const char *end = end_of_form(form);

        offer_literals_of_form(line, form, end);
        form = *end == '|' ? end + 1 : end;
    }
}

static void offer_options(const struct line *line)
{
    struct command_options options = command_options(line->command);

    for (size_t i = 0; i < OPTION_TABLES_MAX; i++) {
        for (const struct option_row *row = options.tables[i]; row != NULL && row->name != NULL;
             row++) {
            printf("--%s\t%s\n", row->name, row->doc);
            if (row->letter != 0) {
                printf("-%c\t%s\n", row->letter, row->doc);
            }
        }
    }
}

/* The option `word` is written as, or NULL; `*value` is what stands behind it in the same word. */
static const struct option_row *find_option(const struct line *line, const char *word,
                                            const char **value)
{
    struct command_options options = command_options(line->command);
    const struct option_row *row = NULL;

    *value = NULL;
    if (word[1] == '-') {
        size_t size = strcspn(word + 2, "=");

        *value = word[2 + size] == '=' ? word + 3 + size : NULL;
        return options_find(options.tables, word + 2, size, 0);
    }
    for (word++; *word != '\0'; word++) { /* letters: flags, and the last may want a value */
        row = options_find(options.tables, NULL, 0, *word);
        if (row == NULL || row->kind != OPTION_FLAG) {
            *value = row != NULL && word[1] != '\0' ? word + 1 : NULL;
            break;
        }
    }
    return row;
}

static void take_option(struct line *line, const struct option_row *row, const char *value)
{
    if (row != NULL && strcmp(row->name, "socket") == 0 && value != NULL) {
        line->socket = value;
    } else if (row != NULL && strcmp(row->name, "all") == 0) {
        line->all = true;
    }
}

static bool is_option(const struct line *line, const char *word)
{
    return !line->is_over && word[0] == '-' && word[1] != '\0';
}

/* One word before the last; returns how many words it takes. `next` may be NULL. bash has `=` as a
 * word of its own. */
static int take_word(struct line *line, char *word, char *const *rest, char **arguments)
{
    const struct option_row *row;
    const char *value;
    int taken = 1;

    if (!is_option(line, word)) {
        if (line->command == NULL && !line->is_over) {
            line->command = command_find(word);
        } else {
            arguments[line->argument_count++] = word;
        }
        return 1;
    }
    if (strcmp(word, "--") == 0) {
        line->is_over = line->command != NULL;
        return 1;
    }
    row = find_option(line, word, &value);
    if (row != NULL && row->kind != OPTION_FLAG && value == NULL) {
        taken += rest[0] != NULL && strcmp(rest[0], "=") == 0;
        value = rest[taken - 1];
        line->wants = value == NULL ? row : NULL;
        taken += value != NULL;
    }
    take_option(line, row, value);
    return taken;
}

/* The last word: an option with its value in the same word wants that value. */
static void take_last(struct line *line)
{
    const char *value = NULL;
    const struct option_row *row;

    if (line->wants == NULL && is_option(line, line->last) && line->last[1] == '-') {
        row = find_option(line, line->last, &value);
        if (row != NULL && value != NULL && row->kind != OPTION_FLAG) {
            line->wants = row;
            line->prefix = line->last;
            line->prefix_size = (size_t)(value - line->last);
        }
    }
}

void complete_line(char *const *words, int count)
{
    const char *named = getenv(CLI_SOCKET_ENV);
    auto_free char **before = calloc((size_t)count + 1, sizeof(*before));
    auto_free char **arguments = calloc((size_t)count + 1, sizeof(*arguments));
    struct line line = {
        .socket = named != NULL && *named != '\0' ? named : CLI_SOCKET_DEFAULT,
        .last = count > 0 ? words[count - 1] : "",
        .arguments = arguments,
    };

    if (before == NULL || arguments == NULL) {
        return;
    }
    for (int i = 0; i + 1 < count; i++) {
        before[i] = words[i];
    }
    for (int i = 0; i + 1 < count;) {
        i += take_word(&line, before[i], before + i + 1, arguments);
    }
    take_last(&line);
    if (line.wants != NULL) {
        const char *argument = line.wants->argument;
        int kind = find_kind(argument, strlen(argument));

        offer_kinds(&line, kind >= 0 ? UINT32_C(1) << kind : 0);
    } else if (is_option(&line, line.last) || strcmp(line.last, "-") == 0) {
        offer_options(&line);
    } else if (line.command == NULL) {
        offer_commands(&line);
    } else if (!offer_values(&line)) {
        offer_kinds(&line, expect(line.command->synopsis, line.argument_count, line.all));
        offer_literals(&line);
    }
}
