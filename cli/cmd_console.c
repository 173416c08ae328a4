/* qvmctl console: a session at a guest's console. */
#include <stddef.h>
#include <string.h>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/logs.h"
#include "cli/names.h"
#include "cli/text.h"

static struct console_options session = {.escape = CONSOLE_ESCAPE, .linger_ms = -1};
static const char *escape_text, *linger_text;
static struct logs_wanted wanted = {.console = true, .lines = -1};

static const struct option_row options[] = {
    {"follow",
     'f',
     OPTION_FLAG,
     {.flag = &wanted.follow},
     NULL,
     "what they say, several at once, without a session"},
    {"escape",
     'e',
     OPTION_TEXT,
     {.text = &escape_text},
     "ESCAPE",
     "key that ends it (ctrl-]), or none"},
    {"read-only", 'r', OPTION_FLAG, {.flag = &session.read_only}, NULL, "only look"},
    {"steal", 0, OPTION_FLAG, {.flag = &session.steal}, NULL, "type, whoever typed so far"},
    {"linger",
     0,
     OPTION_TEXT,
     {.text = &linger_text},
     "SECONDS",
     "end so long after the end of the input (0: at once)"},
    {"no-scrollback", 0, OPTION_FLAG, {.flag = &session.no_scrollback}, NULL, "only what is new"},
    {0},
};

/* NAME:PORT: cut in two. */
static void take_port(char *argument)
{
    char *colon = strchr(argument, ':');

    if (colon != NULL) {
        *colon = '\0';
        session.port = colon + 1;
    }
}

static int run(const struct cli *cli, int argc, char **argv)
{
    bool is_session =
        session.steal || session.no_scrollback || escape_text != NULL || linger_text != NULL;

    if (wanted.follow) {
        return is_session ? cli_usage("--follow is no session: of the other options it takes -r")
                          : logs_run(cli, &wanted, argv, argc);
    }
    if (argc != 1 || cli->all || names_is_pattern(argv[0])) {
        return cli_usage("a session is at one guest's console; --follow shows several");
    }
    if (escape_text != NULL && !console_parse_escape(escape_text, &session.escape)) {
        return cli_usage("--escape wants ctrl-X, ^X, one character or none, not '%s'", escape_text);
    }
    if (session.steal && session.read_only) {
        return cli_usage("--steal is for who types, --read-only for who does not");
    }
    if (linger_text != NULL && strcmp(linger_text, "0") == 0) {
        session.linger_ms = 0;
    } else if (linger_text != NULL &&
               !text_parse_span(linger_text, OPTION_SPAN_MAX, &session.linger_ms)) {
        return cli_usage("--linger wants a time like 2, 500ms or 1m, not '%s'", linger_text);
    }
    take_port(argv[0]);
    return console_open(cli, argv[0], &session);
}

const struct command command_console = {
    .name = "console",
    .synopsis = "[-r | --steal] [-e ESCAPE] [--linger SECONDS] [--no-scrollback] [-f] NAME[:PORT] "
                "... | --all",
    .help = "a session at a guest's console",
    .options = options,
    .least = 1,
    .most = COMMAND_ANY_COUNT,
    .formats = FORMATS_TABLE,
    .takes_guests = true,
    .run = run,
};
