/* qvmctl help: the commands, or one of them; for the shell's completion, bare words. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"

#define SYNOPSIS_WIDTH 79

static bool bare_commands, bare_options;

static const struct option_row options[] = {
    {"commands", 0, OPTION_FLAG, {.flag = &bare_commands}, NULL, "only the commands' names"},
    {"options", 0, OPTION_FLAG, {.flag = &bare_options}, NULL, "only the options' names"},
    {0},
};

static void print_bare_options(const struct option_row *rows)
{
    for (; rows != NULL && rows->name != NULL; rows++) {
        printf("--%s\n", rows->name);
        if (rows->letter != 0) {
            printf("-%c\n", rows->letter);
        }
    }
}

static void print_options(const char *title, const struct option_row *rows)
{
    printf("\n%s\n", title);
    for (; rows->name != NULL; rows++) {
        char text[64];

        (void)snprintf(text, sizeof(text), "--%s%s%s", rows->name,
                       rows->argument != NULL ? " " : "",
                       rows->argument != NULL ? rows->argument : "");
        printf("  %c%c  %-20s  %s\n", rows->letter != 0 ? '-' : ' ',
               rows->letter != 0 ? rows->letter : ' ', text, rows->doc);
    }
}

/* In lines of a terminal's width; those after the first stand further in. */
static void print_synopsis(const struct command *command)
{
    int column = printf("qvmctl %s", command->name);

    for (const char *word = command->synopsis; *word != '\0';) {
        int size = (int)strcspn(word, " ");

        if (column + 1 + size > SYNOPSIS_WIDTH) {
            column = printf("\n        %.*s", size, word) - 1;
        } else {
            column += printf(" %.*s", size, word);
        }
        word += size + (word[size] == ' ');
    }
    printf("\n    %s\n", command->help);
}

int help_command(const struct command *command)
{
    print_synopsis(command);
    if (command->options != NULL) {
        print_options("Options:", command->options);
    }
    if (command->takes_guests) {
        printf("\nNAME is the name of a guest, or a pattern of names in quotes: 'web-*'.\n");
        print_options("Instead of names:", guest_options);
    }
    print_options("Options of every command:", global_options);
    return STATUS_OK;
}

static int print_all(void)
{
    printf("qvmctl [OPTION ...] COMMAND [ARGUMENT ...]\n\nCommands:\n");
    for (size_t i = 0; commands[i] != NULL; i++) {
        printf("  %-10s  %s\n", commands[i]->name, commands[i]->help);
    }
    print_options("Options of every command:", global_options);
    printf("\n`qvmctl help COMMAND` tells more, qvmctl(1) everything.\n");
    return STATUS_OK;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    const struct command *command = argc > 0 ? command_find(argv[0]) : NULL;

    (void)cli;
    if (argc > 0 && command == NULL) {
        return command_unknown(argv[0]);
    }
    if (bare_options) {
        print_bare_options(global_options);
        print_bare_options(command != NULL ? command->options : NULL);
        print_bare_options(command != NULL && command->takes_guests ? guest_options : NULL);
        return STATUS_OK;
    }
    if (command != NULL) {
        return help_command(command);
    }
    for (size_t i = 0; bare_commands && commands[i] != NULL; i++) {
        (void)puts(commands[i]->name);
    }
    return bare_commands ? STATUS_OK : print_all();
}

const struct command command_help = {
    .name = "help",
    .synopsis = "[--commands | --options] [COMMAND]",
    .help = "the commands, or one of them",
    .options = options,
    .most = 1,
    .formats = FORMATS_TABLE,
    .run = run,
};
