/* qvmctl console: a session at a guest's console. */
#include <stddef.h>

#include "cli/command.h"
#include "cli/console.h"

static struct console_options session = {.escape = CONSOLE_ESCAPE};
static const char *escape_text;

static const struct option_row options[] = {
    {"escape",
     'e',
     OPTION_TEXT,
     {.text = &escape_text},
     "KEY",
     "key that ends it (ctrl-]), or none"},
    {"read-only", 'r', OPTION_FLAG, {.flag = &session.read_only}, NULL, "only look"},
    {"no-scrollback", 0, OPTION_FLAG, {.flag = &session.no_scrollback}, NULL, "only what is new"},
    {0},
};

static int run(const struct cli *cli, int argc, char **argv)
{
    (void)argc;
    if (escape_text != NULL && !console_parse_escape(escape_text, &session.escape)) {
        return cli_usage("--escape wants ctrl-X, ^X, one character or none, not '%s'", escape_text);
    }
    return console_open(cli, argv[0], &session);
}

const struct command command_console = {
    .name = "console",
    .synopsis = "[-r] [-e KEY] [--no-scrollback] NAME",
    .help = "a session at a guest's console",
    .options = options,
    .least = 1,
    .most = 1,
    .formats = FORMATS_TABLE,
    .run = run,
};
