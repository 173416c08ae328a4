/* The one terminal that `console` makes raw. */
#include "cli/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

/* One process, one terminal: handlers for exits and crashes find it here. */
static struct termios before;
static volatile sig_atomic_t taken_fd = -1;
static int last_words_fd;
static const char *last_words; /* NULL: none */

void terminal_restore(void)
{
    int fd = taken_fd;

    if (fd >= 0) {
        taken_fd = -1;
        if (last_words != NULL && write(last_words_fd, last_words, strlen(last_words)) < 0) {
            /* as below */
        }
        (void)tcsetattr(fd, TCSANOW, &before); /* a terminal that hung up needs nothing back */
    }
}

void terminal_say_at_end(int fd, const char *text)
{
    last_words_fd = fd;
    last_words = text;
}

static void on_crash(int number)
{
    terminal_restore();
    (void)raise(number); /* SA_RESETHAND: ends the process now */
}

static void set_handlers(void)
{
    static const int crashes[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV};
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};

    for (size_t i = 0; i < ARRAY_LEN(crashes); i++) {
        (void)sigaction(crashes[i], &action, NULL); /* cannot fail for these */
    }
    (void)atexit(terminal_restore); /* console_open() restores it too */
}

int terminal_raw(int fd, struct err *err)
{
    static bool is_prepared;
    struct termios raw;

    if (tcgetattr(fd, &before) != 0) {
        return err_set(err, -EIO, "the terminal cannot be read: %s", strerrordesc_np(errno));
    }
    if (!is_prepared) {
        is_prepared = true;
        set_handlers();
    }
    raw = before;
    cfmakeraw(&raw);
    taken_fd = fd;
    if (tcsetattr(fd, TCSANOW, &raw) != 0) {
        taken_fd = -1;
        return err_set(err, -EIO, "the terminal cannot be set: %s", strerrordesc_np(errno));
    }
    return 0;
}
