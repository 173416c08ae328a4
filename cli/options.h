/* Options of the command line as typed rows: a target of the wrong type does not compile. */
#ifndef QVM_CLI_OPTIONS_H
#define QVM_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTION_SPAN_MAX INT64_C(86400000) /* milliseconds: the longest that qvmd waits */

enum option_kind {
    OPTION_FLAG,
    OPTION_TEXT,
    OPTION_SPAN,  /* NUMBER[ms|s|m|h|d] as milliseconds, at most OPTION_SPAN_MAX */
    OPTION_NUMBER /* decimal, from 0 */
};

struct option_row {
    const char *name; /* long, without its dashes; NULL ends a table */
    char letter;      /* short, or 0 */
    enum option_kind kind;
    union {
        bool *flag;
        const char **text;
        int64_t *number; /* OPTION_SPAN and OPTION_NUMBER */
    } to;
    const char *argument; /* how help calls it; NULL for flags */
    const char *doc;
};

#define OPTION_TABLES_MAX 3

/* Read the options of `argv` (NULL-ended, without the program's name) by `tables` (NULL: none) and
 * leave the other arguments there, NULL-ended, in their order. `--` ends the options;
 * `only_first` stops at the first argument that is none. Returns the count of what is left, or
 * -EINVAL after the sentence was said. */
int options_read(const struct option_row *const tables[OPTION_TABLES_MAX], bool only_first,
                 char **argv);

/* The row of the tables that is called by the `size` bytes at `name`, or (NULL) by the letter. */
const struct option_row *options_find(const struct option_row *const tables[OPTION_TABLES_MAX],
                                      const char *name, size_t size, char letter);

#endif
