/* qvmctl: ask qvmd, one command at a time. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/command.h"
#include "proto/base/err.h"

/* What was asked of qvmd goes on without us; nothing of ours needs to be undone. `console` takes
 * the signal for itself. */
static void on_interrupt(int number)
{
    static const char words[] = "\nqvmctl: interrupted\n";

    (void)number;
    (void)!write(STDERR_FILENO, words, sizeof(words) - 1); /* nobody is left to be told */
    _exit(STATUS_INTERRUPTED);
}

/* Output that did not arrive is a failure, except for the pipe of somebody who saw enough. */
static int close_stdout(int status)
{
    struct err err;

    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return status;
    }
    if (errno != EPIPE) {
        (void)err_set(&err, -EIO, "stdout cannot be written: %s", strerrordesc_np(errno));
        return cli_fail(&err);
    }
    return STATUS_FAILED;
}

int main(int argc, char **argv)
{
    struct sigaction interrupt = {.sa_handler = on_interrupt}, before;

    (void)sigaction(SIGINT, NULL, &before); /* neither can fail for SIGINT */
    if (before.sa_handler != SIG_IGN) {
        (void)sigaction(SIGINT, &interrupt, NULL);
    }
    return close_stdout(command_main(argc > 0 ? argv + 1 : argv));
}
