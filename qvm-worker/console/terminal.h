/* The terminal as the guest's console, when a qvm runs alone.
 *
 * Keys reach the guest as they are typed; log lines and the guest's bytes still get their carriage
 * returns from the terminal. Ctrl-] leaves: the guest's power is cut. */
#ifndef QVM_WORKER_CONSOLE_TERMINAL_H
#define QVM_WORKER_CONSOLE_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct terminal;
struct uv_loop_s;

#define TERMINAL_ESCAPE 0x1d /* ctrl-] */

/* `on_keys` gets what was typed before the escape key, `on_escape` comes at the key. */
struct terminal_events {
    void (*on_keys)(void *context, const uint8_t *keys, size_t count);
    void (*on_escape)(void *context);
};

/* Whether standard input is a terminal that we may read now (not one of the background). */
bool terminal_is_there(void);

/* Make standard input raw. However this process ends, SIGKILL included, the terminal gets its old
 * settings back: a child that holds nothing else waits for our end and sees to it. */
int terminal_create(struct uv_loop_s *loop, const struct terminal_events *events, void *context,
                    struct terminal **terminal, struct err *err);

/* Old settings back. The memory goes when the loop has run the closing of its handle. */
void terminal_destroy(struct terminal *terminal);

#endif
