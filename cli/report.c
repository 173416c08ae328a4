/* Reports of `show` and `info`. */
#include "cli/report.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/text.h"

#define NAME_WIDTH 15

void report_text(const char *name, const char *value)
{
    if (value != NULL && *value != '\0') {
        printf("%-*s  ", NAME_WIDTH, name);
        text_print(stdout, value);
        (void)putchar('\n'); /* main() looks at stdout's errors */
    }
}

void report_count(const char *name, int64_t value)
{
    char text[TEXT_SHORT_SIZE];

    (void)snprintf(text, sizeof(text), "%" PRId64, value);
    report_text(name, text);
}

void report_number(const char *name, int64_t value)
{
    if (value != 0) {
        report_count(name, value);
    }
}

void report_size(const char *name, int64_t bytes)
{
    char text[TEXT_SHORT_SIZE];

    text_size(text, bytes);
    report_text(name, bytes != 0 ? text : NULL);
}

void report_span(const char *name, int64_t ms)
{
    char text[TEXT_SHORT_SIZE];

    text_span(text, ms);
    report_text(name, ms != 0 ? text : NULL);
}

void report_heading(const char *text)
{
    printf("\n%s\n", text);
}
