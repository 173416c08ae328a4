/* qvmctl: ask qvmd, one command at a time. */
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/command.h"

/* Where a standard stream is closed, nothing of ours may take its place: what is printed would go
 * to qvmd. What holds the place can be read (nothing) and not written. */
static void hold_standard_streams(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDONLY); /* children get it as well */
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        (void)close(fd);
    }
}

int main(int argc, char **argv)
{
    struct sigaction interrupt = {.sa_handler = cli_on_interrupt}, before;

    hold_standard_streams();
    /* What was asked of qvmd goes on without us, and nothing of ours needs to be undone. `console`
     * takes the signal for itself. Neither call can fail for SIGINT. */
    (void)sigaction(SIGINT, NULL, &before);
    if (before.sa_handler != SIG_IGN) {
        (void)sigaction(SIGINT, &interrupt, NULL);
    }
    return cli_end(command_main(argc > 0 ? argv + 1 : argv));
}
