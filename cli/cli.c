/* Exit statuses and sentences on stderr. */
#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

/* Written beside the one that is told, then made the one: a signal finds a whole sentence. */
static char progress[2][160];
static const char *volatile told_progress;

void cli_tell_when_interrupted(const char *format, ...)
{
    char *next = told_progress == progress[0] ? progress[1] : progress[0];
    va_list args;

    if (format == NULL) {
        told_progress = NULL;
        return;
    }
    va_start(args, format);
    (void)vsnprintf(next, sizeof(progress[0]), format, args);
    va_end(args);
    told_progress = next;
}

static void write_text(const char *text)
{
    (void)!write(STDERR_FILENO, text, strlen(text)); /* nobody is left to be told */
}

void cli_on_interrupt(int number)
{
    const char *more = told_progress;

    (void)number;
    write_text("\nqvmctl: interrupted");
    if (more != NULL) {
        write_text(": ");
        write_text(more);
    }
    write_text("\n");
    _exit(STATUS_INTERRUPTED);
}

static int stdout_errno; /* of the first failure */

void cli_flush(void)
{
    if (fflush(stdout) != 0 && stdout_errno == 0) {
        stdout_errno = errno;
    }
}

int cli_end(int status)
{
    struct err err;

    cli_flush();
    if (stdout_errno == 0 && !ferror(stdout)) {
        return status;
    }
    if (stdout_errno == 0) { /* it was a write in between, whose cause is lost */
        (void)err_set(&err, -EIO, "not all could be written to stdout");
        return cli_fail(&err);
    }
    if (stdout_errno != EPIPE) {
        (void)err_set(&err, -EIO, "stdout cannot be written: %s", strerrordesc_np(stdout_errno));
        return cli_fail(&err);
    }
    return status != STATUS_OK ? status : STATUS_FAILED;
}
