/* Tables on stdout: upper-case header, text left, numbers right, no box lines, two blanks between
 * columns, nothing behind the last. */
#ifndef QVM_CLI_TABLE_H
#define QVM_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct table_column {
    const char *header;
    bool is_number; /* right-aligned */
    size_t least;   /* width that rows printed one by one agree on; 0: as needed */
};

struct table {
    const struct table_column *columns;
    size_t column_count;
    char **cells; /* row by row; owned, harmless */
    size_t count, room;
    bool is_out_of_memory;
};

void table_init(struct table *table, const struct table_column *columns, size_t column_count);
void table_fini(struct table *table);

/* The next cell, copied and made harmless; NULL or empty becomes "-". */
void table_text(struct table *table, const char *text);

/* The next cell as a number; 0 becomes "-" when `zero_is_none`. */
void table_number(struct table *table, long long number, bool zero_is_none);

/* Print all rows that are complete. -ENOMEM if a cell was lost: then nothing is printed. */
int table_print(const struct table *table, bool with_header, FILE *out);

#endif
