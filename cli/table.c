/* Tables on stdout. */
#include "cli/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/text.h"
#include "proto/base/cleanup.h"

#define COLUMNS_MAX 16
#define GAP         2

void table_init(struct table *table, const struct table_column *columns, size_t column_count)
{
    *table = (struct table){.columns = columns, .column_count = column_count};
    if (column_count == 0 || column_count > COLUMNS_MAX) {
        table->is_out_of_memory = true;
    }
}

void table_fini(struct table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
    *table = (struct table){0};
}

void table_text(struct table *table, const char *text)
{
    if (table->count == table->room) {
        size_t room = table->room == 0 ? 64 : table->room * 2;
        char **cells = reallocarray(table->cells, room, sizeof(*cells));

        if (cells == NULL) {
            table->is_out_of_memory = true;
            return;
        }
        table->cells = cells;
        table->room = room;
    }
    table->cells[table->count] = text_harmless(text != NULL && *text != '\0' ? text : "-");
    if (table->cells[table->count] == NULL) {
        table->is_out_of_memory = true;
        return;
    }
    table->count++;
}

void table_number(struct table *table, long long number, bool zero_is_none)
{
    char text[TEXT_SHORT_SIZE];

    (void)snprintf(text, sizeof(text), "%lld", number);
    table_text(table, number == 0 && zero_is_none ? NULL : text);
}

static void print_blanks(size_t count, FILE *out)
{
    while (count-- > 0) {
        (void)putc_unlocked(' ', out);
    }
}

/* A full disk shows when stdout is closed. */
static void print_cell(const struct table_column *column, const char *text, size_t width,
                       bool is_last, FILE *out)
{
    size_t own = text_width(text);
    size_t fill = own < width ? width - own : 0;

    print_blanks(column->is_number ? fill : 0, out);
    (void)fputs(text, out);
    if (!is_last) {
        print_blanks(column->is_number ? GAP : fill + GAP, out);
    }
}

int table_print(const struct table *table, bool with_header, FILE *out)
{
    size_t columns = table->column_count, widths[COLUMNS_MAX] = {0};

    if (table->is_out_of_memory || columns == 0) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < columns; i++) {
        size_t width = with_header ? text_width(table->columns[i].header) : 0;

        widths[i] = width > table->columns[i].least ? width : table->columns[i].least;
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t width = text_width(table->cells[i]);

        widths[i % columns] = width > widths[i % columns] ? width : widths[i % columns];
    }
    for (size_t i = 0; i < columns && with_header; i++) {
        print_cell(&table->columns[i], table->columns[i].header, widths[i], i + 1 == columns, out);
    }
    if (with_header) {
        (void)fputc('\n', out);
    }
    for (size_t i = 0; i < table->count / columns * columns; i++) {
        size_t column = i % columns;

        print_cell(&table->columns[column], table->cells[i], widths[column], column + 1 == columns,
                   out);
        if (column + 1 == columns) {
            (void)fputc('\n', out);
        }
    }
    return 0;
}
