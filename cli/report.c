/* Reports of `show` and `info`. */
#include "cli/report.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/text.h"
#include "proto/words.h"

#define NAME_WIDTH 15

void report_text(const char *name, const char *value)
{
    if (value != NULL && *value != '\0') {
        printf("%-*s  ", NAME_WIDTH, name);
        text_print(stdout, value);
        (void)putchar('\n'); /* main() looks at stdout's errors */
    }
}

static void report_int(const struct report_row *row, int64_t value)
{
    char text[TEXT_SHORT_SIZE] = "";

    if (row->kind == REPORT_SIZE) {
        text_size(text, value);
    } else if (row->kind == REPORT_SPAN) {
        text_span(text, value);
    } else {
        (void)snprintf(text, sizeof(text), "%" PRId64, value);
    }
    report_text(row->name, value != 0 || row->kind == REPORT_COUNT ? text : NULL);
}

static void report_row(const struct report_row *row, const void *body)
{
    const void *member = (const char *)body + row->offset;

    switch (row->kind) {
    case REPORT_TEXT:
        report_text(row->name, *(char *const *)member);
        break;
    case REPORT_WORD:
        report_text(row->name, words_name(row->table, *(const int *)member));
        break;
    case REPORT_NUMBER:
    case REPORT_COUNT:
    case REPORT_SIZE:
    case REPORT_SPAN:
        report_int(row, *(const int64_t *)member);
        break;
    }
}

void report_rows(const struct report_row *rows, size_t count, const void *body)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].is_shown == NULL || rows[i].is_shown(body)) {
            report_row(&rows[i], body);
        }
    }
}

void report_heading(const char *text)
{
    printf("\n%s\n", text);
}
