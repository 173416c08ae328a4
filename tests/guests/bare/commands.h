/* The words that the guest obeys; the lists are in commands.c, those of all images, and in
 * commands_devices.c, those of devices.bzimage alone, and in main.c's comment. */
#ifndef QVM_TESTS_GUESTS_BARE_COMMANDS_H
#define QVM_TESTS_GUESTS_BARE_COMMANDS_H

struct command {
    const char *name;
    void (*run)(const char *arguments);
    const char *help;
};

/* What this image obeys beside the commands of all: commands_devices.c or commands_none.c. */
extern const struct command more_commands[];
extern const unsigned more_command_count;

/* Obey one line; what is no command is answered "you said: LINE". */
void command_run(const char *line);

/* Power off through ACPI; comes back, with a word, only where there is no way to. */
void command_poweroff(const char *arguments);

/* Read and obey lines for ever (main.c). */
void prompt_loop(void) __attribute__((noreturn));

/* Leave whatever runs and go there (entry.S). */
void prompt_again(void) __attribute__((noreturn));

#endif
