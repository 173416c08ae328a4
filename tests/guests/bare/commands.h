/* The words that the guest obeys; the list itself is in commands.c and in main.c's comment. */
#ifndef QVM_TESTS_GUESTS_BARE_COMMANDS_H
#define QVM_TESTS_GUESTS_BARE_COMMANDS_H

/* Obey one line; what is no command is answered "you said: LINE". */
void command_run(const char *line);

/* Power off through ACPI; comes back, with a word, only where there is no way to. */
void command_poweroff(const char *arguments);

/* Read and obey lines for ever (main.c). */
void prompt_loop(void) __attribute__((noreturn));

/* Leave whatever runs and go there (entry.S). */
void prompt_again(void) __attribute__((noreturn));

#endif
