/* What may stand on a command line of qvmctl: for the completion of shells, made from the command
 * table. What an argument is, its word in the synopsis tells: NAME, FILE, STATE ... */
#ifndef QVM_CLI_COMPLETE_H
#define QVM_CLI_COMPLETE_H

#include <stdbool.h>
#include <stddef.h>

/* The line on which a shell puts in the names of files. */
#define COMPLETE_FILES "\tfiles"

/* Write to stdout what may stand in the place of the last of `words` (the line behind the program's
 * name), a candidate and, behind a tab, its description on each line. The candidates need not begin
 * with the last word: shells match. Names come from qvmd, which has COMPLETE_PATIENCE_MS; without
 * it there are none. Says nothing on stderr. */
#define COMPLETE_PATIENCE_MS 500
void complete_line(char *const *words, int count);

/* The shells that have a script, NULL-ended. */
#define COMPLETE_SHELL_COUNT 3
extern const char *const complete_shells[COMPLETE_SHELL_COUNT + 1];

/* Whether the word of a synopsis, or of an option's argument, is one that this room knows. */
bool complete_knows(const char *word, size_t size);

/* The words in capitals of `synopsis` that may stand at the argument `index` (from 0), joined by
 * blanks; with_all: as --all is on the line. For tests. */
void complete_expected(const char *synopsis, int index, bool with_all, char *out, size_t size);

#endif
