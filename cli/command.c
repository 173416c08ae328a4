/* The commands of qvmctl: find the row, read the options, run. */
#include "cli/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/text.h"

#define NEAR_MAX 2 /* letters that make no other word of one */

#define COMMAND(id) &command_##id,
const struct command *const commands[] = {
#include "cli/commands.def"
    NULL,
};
#undef COMMAND

const char *const format_names[FORMAT_COUNT] = {"table", "json", "jsonl", "name"};

struct cli global_cli;
bool global_help, global_version;
static const char *format_name;

const struct option_row global_options[] = {
    {"socket", 0, OPTION_TEXT, {.text = &global_cli.socket}, "PATH", "where qvmd listens"},
    {"output", 'o', OPTION_TEXT, {.text = &format_name}, "FORMAT", "table, json, jsonl or name"},
    {"no-headers", 0, OPTION_FLAG, {.flag = &global_cli.no_headers}, NULL, "tables without header"},
    {"wide", 'w', OPTION_FLAG, {.flag = &global_cli.wide}, NULL, "more columns"},
    {"quiet", 'q', OPTION_FLAG, {.flag = &global_cli.quiet}, NULL, "no remarks, no confirmations"},
    {"timeout", 0, OPTION_SPAN, {.number = &global_cli.timeout_ms}, "SECONDS", "give up after"},
    {"request-id", 0, OPTION_TEXT, {.text = &global_cli.request_id}, "ID", "safe to repeat"},
    {"strict", 0, OPTION_FLAG, {.flag = &global_cli.strict}, NULL, "nothing to do is status 4"},
    {"help", 'h', OPTION_FLAG, {.flag = &global_help}, NULL, "what a command does"},
    {"version", 0, OPTION_FLAG, {.flag = &global_version}, NULL, "the version of qvmctl"},
    {0},
};

const struct option_row guest_options[] = {
    {"all", 0, OPTION_FLAG, {.flag = &global_cli.all}, NULL, "all guests instead of names"},
    {0},
};

struct command_options command_options(const struct command *command)
{
    struct command_options options = {.tables = {global_options}};

    if (command != NULL) {
        options.tables[1] = command->options;
        options.tables[2] = command->takes_guests ? guest_options : NULL;
    }
    return options;
}

const struct command *command_find(const char *name)
{
    for (size_t i = 0; commands[i] != NULL; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

int command_unknown(const char *name)
{
    const char *near = NULL;
    unsigned best = NEAR_MAX + 1;

    for (size_t i = 0; commands[i] != NULL; i++) {
        unsigned distance = text_distance(name, commands[i]->name);

        if (distance < best && distance < strlen(name)) {
            best = distance;
            near = commands[i]->name;
        }
    }
    return near != NULL ? cli_usage("there is no command '%s'; did you mean '%s'?", name, near)
                        : cli_usage("there is no command '%s'", name);
}

/* -o, and whether `command` serves it. */
static int set_format(const struct command *command)
{
    for (unsigned i = 0; format_name != NULL && i < FORMAT_COUNT; i++) {
        if (strcmp(format_name, format_names[i]) != 0) {
            continue;
        }
        if ((command->formats >> i & 1) == 0) {
            (void)cli_usage("`%s` cannot answer as '%s'", command->name, format_name);
            return -EINVAL;
        }
        global_cli.format = (enum cli_format)i;
        return 0;
    }
    if (format_name != NULL) {
        (void)cli_usage("-o wants table, json, jsonl or name, not '%s'", format_name);
        return -EINVAL;
    }
    return 0;
}

static void set_socket(void)
{
    const char *named = getenv(CLI_SOCKET_ENV);

    if (global_cli.socket == NULL) {
        global_cli.socket = named != NULL && *named != '\0' ? named : CLI_SOCKET_DEFAULT;
    }
}

/* Whether there are as many arguments as the command wants. With --all there are no names; what
 * holds a `=` is none. */
static int check_arguments(const struct command *command, int argc, char **argv)
{
    int least = global_cli.all && command->least > 0 ? command->least - 1 : command->least;
    int words = 0;

    if (argc < least || (command->most >= 0 && argc > command->most)) {
        (void)cli_usage("too %s arguments: qvmctl %s%s%s", argc < least ? "few" : "many",
                        command->name, *command->synopsis != '\0' ? " " : "", command->synopsis);
        return -EINVAL;
    }
    for (int i = 0; i < argc; i++) {
        words += strchr(argv[i], '=') == NULL;
    }
    if (global_cli.all && words > least) {
        (void)cli_usage("--all and names cannot be used together");
        return -EINVAL;
    }
    return 0;
}

static int run(const struct command *command, char **argv)
{
    struct command_options options = command_options(command);
    int argc = options_read(options.tables, false, argv);

    if (argc < 0) {
        return STATUS_USAGE;
    }
    if (global_help) {
        return help_command(command);
    }
    if (global_cli.request_id != NULL && strlen(global_cli.request_id) > CLI_REQUEST_ID_MAX) {
        return cli_usage("--request-id is longer than %d bytes", CLI_REQUEST_ID_MAX);
    }
    if (set_format(command) != 0 || check_arguments(command, argc, argv) != 0) {
        return STATUS_USAGE;
    }
    set_socket();
    global_cli.all_means = command->all_means;
    return command->run(&global_cli, argc, argv);
}

int command_main(char **argv)
{
    struct command_options options = command_options(NULL);
    const struct command *command;

    if (options_read(options.tables, true, argv) < 0) {
        return STATUS_USAGE;
    }
    if (global_version) {
        return command_version.run(&global_cli, 0, argv);
    }
    if (*argv == NULL) {
        return global_help ? command_help.run(&global_cli, 0, argv)
                           : cli_usage("which command? For example: qvmctl list");
    }
    command = command_find(*argv);
    if (command == NULL) {
        return command_unknown(*argv);
    }
    return run(command, argv + 1);
}
