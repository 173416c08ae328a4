/* What guests, or their qvms, had to say: of one as it is, of several line by line with the name
 * before each. */
#ifndef QVM_CLI_LOGS_H
#define QVM_CLI_LOGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct cli;

#define LOGS_AT_ONCE_MAX 1000 /* guests; qvmd lets a connection have 1,024 questions */
#define LOGS_LINE_MAX    4096 /* bytes of a line of several; a longer one is broken */
#define LOGS_LINES_MAX   1000000
#define LOGS_SIZE_MAX    131072

struct logs_wanted {
    bool follow, console;
    int64_t size, lines; /* of the end; lines -1: not said */
};

/* Show them for the guests that the arguments mean (names.h); returns the exit status. With a
 * plain name alone each byte is shown as it comes. */
int logs_run(const struct cli *cli, const struct logs_wanted *wanted, char *const *arguments,
             int count);

/* ---- logs_print.c ---- */

/* A line that has no end yet. */
struct logs_line {
    const char *name; /* NULL: no name is put before it, and nothing is kept */
    size_t width;     /* of the names */
    size_t used;
    char text[LOGS_LINE_MAX];
};

/* For a human harmlessly, for a program as it is. */
void logs_print(struct logs_line *line, const uint8_t *data, size_t size);

/* So many bytes are missing here. */
void logs_print_lost(struct logs_line *line, int64_t bytes);

/* Nothing follows: what is kept is all. */
void logs_print_end(struct logs_line *line);

#endif
