/* A command line that is to be completed; for complete.c and complete_ask.c alone. */
#ifndef QVM_CLI_COMPLETE_INSIDE_H
#define QVM_CLI_COMPLETE_INSIDE_H

#include <stdbool.h>
#include <stddef.h>

struct command;
struct option_row;

/* As far as it goes. */
struct line {
    const struct command *command;  /* NULL: none stands there yet */
    const struct option_row *wants; /* the option whose value is the last word; NULL: none */
    const char *last, *socket;
    const char *prefix; /* `--option=` of the last word, which candidates keep; `prefix_size` */
    size_t prefix_size;
    char *const *arguments; /* NULL-ended: those before the last word */
    int argument_count;
    bool is_over, all; /* `--`; --all */
};

/* Write a candidate; `doc` may be NULL. */
void complete_offer(const struct line *line, const char *word, const char *doc);

/* What qvmd has of that: it has COMPLETE_PATIENCE_MS; without it there is nothing. Vdevs of the
 * guest before the last word: those that the command is about; guests, or behind a colon their
 * ports. */
void complete_offer_guests(const struct line *line);
void complete_offer_vdevs(const struct line *line);
void complete_offer_devices(const struct line *line);
void complete_offer_regions(const struct line *line);

#endif
