/* Logs on stdout. main() looks at stdout's errors. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/logs.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"

static bool is_for_human(void)
{
    static int is_terminal = -1;

    if (is_terminal < 0) {
        is_terminal = isatty(STDOUT_FILENO);
    }
    return is_terminal == 1;
}

/* ---- of one ---- */

static void print_all(const uint8_t *data, size_t size)
{
    auto_free char *text = NULL;
    char *rest, *line;

    if (!is_for_human()) {
        (void)fwrite(data, 1, size, stdout);
        return;
    }
    text = calloc(1, size + 1);
    if (text == NULL || size == 0) {
        return;
    }
    for (size_t i = 0, used = 0; i < size; i++) {
        bool is_ending = data[i] == '\r' && i + 1 < size && data[i + 1] == '\n';

        if (!is_ending) {
            text[used++] = (char)(data[i] != '\0' ? data[i] : '?');
        }
    }
    rest = text;
    while ((line = strsep(&rest, "\n")) != NULL) {
        text_print(stdout, line);
        if (rest != NULL) {
            (void)putchar('\n');
        }
    }
}

/* ---- of several ---- */

static void print_kept(struct logs_line *line)
{
    while (line->used > 0 && line->text[line->used - 1] == '\r') {
        line->used--;
    }
    (void)printf("%-*s | ", (int)line->width, line->name);
    if (is_for_human()) {
        line->text[line->used] = '\0';
        text_print(stdout, line->text);
    } else {
        (void)fwrite(line->text, 1, line->used, stdout);
    }
    (void)putchar('\n');
    line->used = 0;
}

static void keep(struct logs_line *line, char byte)
{
    line->text[line->used++] = (char)(byte != '\0' || !is_for_human() ? byte : '?');
    if (line->used == sizeof(line->text) - 1) {
        print_kept(line);
    }
}

void logs_print(struct logs_line *line, const uint8_t *data, size_t size)
{
    if (line->name == NULL) {
        print_all(data, size);
        return;
    }
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\n') {
            print_kept(line);
        } else {
            keep(line, (char)data[i]);
        }
    }
}

void logs_print_lost(struct logs_line *line, int64_t bytes)
{
    if (line->name == NULL) {
        (void)printf("\n-- qvm: %" PRId64 " bytes lost --\n", bytes);
        return;
    }
    logs_print_end(line);
    (void)printf("%-*s | -- qvm: %" PRId64 " bytes lost --\n", (int)line->width, line->name, bytes);
}

void logs_print_end(struct logs_line *line)
{
    if (line->name != NULL && line->used > 0) {
        print_kept(line);
    }
}
