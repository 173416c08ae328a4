/* The one terminal that `console` makes raw, and gives back on every way out. */
#ifndef QVM_CLI_TERMINAL_H
#define QVM_CLI_TERMINAL_H

struct err;

/* Make the terminal at `fd` raw. From now on exit(), and crashes of ours, give it back. */
int terminal_raw(int fd, struct err *err);

/* What is written to `fd` when the terminal is given back; a constant text. */
void terminal_say_at_end(int fd, const char *text);

/* Give it back; nothing happens if it was not taken. May be called from a signal handler. */
void terminal_restore(void);

#endif
