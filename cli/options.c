/* Options of the command line as typed rows. */
#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/text.h"

const struct option_row *options_find(const struct option_row *const tables[OPTION_TABLES_MAX],
                                      const char *name, size_t size, char letter)
{
    for (size_t i = 0; i < OPTION_TABLES_MAX; i++) {
        for (const struct option_row *row = tables[i]; row != NULL && row->name != NULL; row++) {
            if (name != NULL ? strlen(row->name) == size && strncmp(row->name, name, size) == 0
                             : row->letter == letter) {
                return row;
            }
        }
    }
    return NULL;
}

static int set_number(const struct option_row *row, const char *value)
{
    char *end = NULL;
    long long number;

    errno = 0;
    number = strtoll(value, &end, 10);
    if (!isdigit((unsigned char)*value) || *end != '\0' || errno != 0) {
        (void)cli_usage("--%s wants a whole number, not '%s'", row->name, value);
        return -EINVAL;
    }
    *row->to.number = number;
    return 0;
}

static int set(const struct option_row *row, const char *value)
{
    switch (row->kind) {
    case OPTION_FLAG:
        *row->to.flag = true;
        return 0;
    case OPTION_TEXT:
        *row->to.text = value;
        return 0;
    case OPTION_NUMBER:
        return set_number(row, value);
    case OPTION_SPAN:
        if (text_parse_span(value, OPTION_SPAN_MAX, row->to.number)) {
            return 0;
        }
        (void)cli_usage("--%s wants seconds, or a number with ms, s, m, h or d, above 0 and at "
                        "most a day, not '%s'",
                        row->name, value);
        return -EINVAL;
    }
    return -EINVAL;
}

/* The option at `*next`, which moves behind what it took. */
static int read_long(const struct option_row *const *tables, char ***next)
{
    const char *name = *(*next)++ + 2;
    size_t size = strcspn(name, "=");
    const struct option_row *row = options_find(tables, name, size, 0);

    if (row == NULL) {
        (void)cli_usage("there is no option '--%.*s' here", (int)size, name);
        return -EINVAL;
    }
    if (row->kind == OPTION_FLAG && name[size] == '=') {
        (void)cli_usage("--%s takes no value", row->name);
        return -EINVAL;
    }
    if (row->kind == OPTION_FLAG || name[size] == '=') {
        return set(row, name + size + 1);
    }
    if (**next == NULL) {
        (void)cli_usage("--%s wants a value", row->name);
        return -EINVAL;
    }
    return set(row, *(*next)++);
}

static int read_letters(const struct option_row *const *tables, char ***next)
{
    const char *letter = *(*next)++ + 1;
    int r = 0;

    for (; r == 0 && *letter != '\0'; letter++) {
        const struct option_row *row = options_find(tables, NULL, 0, *letter);

        if (row == NULL) {
            (void)cli_usage("there is no option '-%c' here", *letter);
            return -EINVAL;
        }
        if (row->kind == OPTION_FLAG) {
            r = set(row, NULL);
        } else if (letter[1] != '\0') {
            return set(row, letter + 1);
        } else if (**next != NULL) {
            return set(row, *(*next)++);
        } else {
            (void)cli_usage("-%c wants a value", *letter);
            return -EINVAL;
        }
    }
    return r;
}

int options_read(const struct option_row *const tables[OPTION_TABLES_MAX], bool only_first,
                 char **argv)
{
    char **next = argv, **kept = argv;
    bool is_over = false;
    int r = 0;

    while (r == 0 && *next != NULL) {
        if (is_over || (*next)[0] != '-' || (*next)[1] == '\0') {
            is_over = is_over || only_first;
            *kept++ = *next++;
        } else if (strcmp(*next, "--") == 0) {
            is_over = true;
            next++;
        } else if ((*next)[1] == '-') {
            r = read_long(tables, &next);
        } else {
            r = read_letters(tables, &next);
        }
    }
    *kept = NULL;
    return r != 0 ? r : (int)(kept - argv);
}
