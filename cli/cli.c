/* Exit statuses and sentences on stderr. */
#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/text.h"
#include "proto/base/err.h"
#include "proto/words.h"

int cli_status(int code)
{
    return code == CLI_UNREACHABLE ? STATUS_UNREACHABLE : error_by_code(code)->exit_status;
}

bool cli_begins_with_place(const char *text)
{
    const char *end = text + strcspn(text, " '");

    for (const char *colon = strchr(text, ':'); colon != NULL && colon < end;
         colon = strchr(colon + 1, ':')) {
        size_t digits = strspn(colon + 1, "0123456789");

        if (colon > text && digits > 0 && colon[1 + digits] == ':') {
            return true;
        }
    }
    return false;
}

int cli_fail(const struct err *err)
{
    if (!cli_begins_with_place(err->msg)) {
        (void)fputs("qvmctl: ", stderr); /* there is nowhere to say that stderr is gone */
    }
    text_print(stderr, err->msg);
    (void)fputc('\n', stderr);
    return cli_status(err->code);
}

int cli_usage(const char *format, ...)
{
    struct err err;
    va_list args;

    va_start(args, format);
    (void)err_vset(&err, -EINVAL, format, args);
    va_end(args);
    (void)cli_fail(&err);
    (void)fputs("qvmctl: `qvmctl help` lists the commands and options\n", stderr);
    return STATUS_USAGE;
}

void cli_note(const struct cli *cli, const char *format, ...)
{
    struct err err;
    va_list args;

    if (cli->quiet) {
        return;
    }
    va_start(args, format);
    (void)err_vset(&err, 0, format, args);
    va_end(args);
    (void)cli_fail(&err);
}
