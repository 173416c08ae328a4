/* A session at a guest's console: stdin to the guest, the guest to stdout. */
#ifndef QVM_CLI_CONSOLE_H
#define QVM_CLI_CONSOLE_H

#include <stdbool.h>
#include <stdint.h>

struct cli;

#define CONSOLE_ESCAPE    0x1d /* ctrl-] */
#define CONSOLE_NO_ESCAPE (-1)

struct console_options {
    int escape; /* byte that ends a session at a terminal, or CONSOLE_NO_ESCAPE */
    bool read_only, steal, no_scrollback;
    const char *port;  /* of the guest's; NULL: its console */
    int64_t linger_ms; /* how long to hear the guest when stdin has ended; -1: until it ends */
};

/* ^X, ctrl-X, C-x, one ASCII character, or `none`. false: none of these. */
bool console_parse_escape(const char *text, int *escape);

/* Attach and copy both ways until the guest's end closes, or at a terminal until the escape key.
 * Without a terminal the end of stdin is passed on, and the guest is heard for linger_ms more.
 * cli->timeout_ms bounds the whole session. Returns the exit status, 128 + N after signal N. */
int console_open(const struct cli *cli, char *name, const struct console_options *options);

#endif
