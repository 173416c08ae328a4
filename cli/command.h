/* The commands of qvmctl: one file, one row each. commands.def is the list. */
#ifndef QVM_CLI_COMMAND_H
#define QVM_CLI_COMMAND_H

#include <stdbool.h>

#include "cli/cli.h"
#include "cli/options.h"

#define COMMAND_ANY_COUNT 1024 /* most names of one command */

/* Which values of -o a command serves. */
#define FORMATS_TABLE (1u << FORMAT_TABLE)
#define FORMATS_DATA  (FORMATS_TABLE | 1u << FORMAT_JSON | 1u << FORMAT_JSONL)
#define FORMATS_ALL   (FORMATS_DATA | 1u << FORMAT_NAME)

struct command {
    const char *name;
    const char *synopsis;             /* behind the name */
    const char *help;                 /* one line */
    const struct option_row *options; /* of its own; NULL: none */
    int least, most;                  /* arguments; with --all one less */
    unsigned formats;
    /* The arguments are guests (`[NAME ...]` of the synopsis): names, patterns of names, or --all,
     * which means those that `all_means` (NULL: every one), as do names that shells offer. Look at
     * them through names.h. */
    bool takes_guests;
    bool (*all_means)(const struct msg_guest *guest);
    /* Arguments without options, NULL-ended. Returns the exit status. */
    int (*run)(const struct cli *cli, int argc, char **argv);
};

#define COMMAND(id) extern const struct command command_##id;
#include "cli/commands.def"
#undef COMMAND

/* All of them in the order of the list, NULL-ended. */
extern const struct command *const commands[];

/* The command called `name`, or NULL. */
const struct command *command_find(const char *name);

/* Say that there is none of that name, and which one was meant, perhaps. Returns STATUS_USAGE. */
int command_unknown(const char *name);

/* The options that every command knows, and what they set. */
extern const struct option_row global_options[];
extern struct cli global_cli;
extern bool global_help, global_version;

/* Those of commands that take guests, too. */
extern const struct option_row guest_options[];

/* The tables of a command's options, or (NULL) of no command. */
struct command_options {
    const struct option_row *tables[OPTION_TABLES_MAX];
};
struct command_options command_options(const struct command *command);

/* What `command` does, on stdout; returns STATUS_OK. */
int help_command(const struct command *command);

/* Read one command line (without the program's name) and run it; returns the exit status. */
int command_main(char **argv);

/* The names of -o. */
extern const char *const format_names[FORMAT_COUNT];

#endif
