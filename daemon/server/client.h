/* One connection to the API: lines in, lines out, within limits.
 *
 * A client can make us hold at most CLIENT_OUT_MAX bytes of answers and MSG_LINE_MAX of a message;
 * what is more, comes too slowly or is not read ends its connection, and nobody else's. While many
 * answers wait for it, no further message is read. Loop thread. */
#ifndef QVM_DAEMON_SERVER_CLIENT_H
#define QVM_DAEMON_SERVER_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "daemon/peer.h"

struct client;
struct uv_loop_s;

#define CLIENT_OUT_MAX      (16u << 20) /* bytes of answers that wait; more, and it is cut */
#define CLIENT_OUT_PAUSE    (1u << 20)  /* from here on its messages wait */
#define CLIENT_MESSAGE_MS   10000u      /* time to finish a message that was begun */
#define CLIENT_STALL_MS     10000u      /* time in which some of the answers must be taken */
#define CLIENT_LENT_MAX     32          /* descriptors with one line */
#define CLIENT_STRANGER_MAX 65536u      /* bytes of a message of somebody who may nothing */

struct client_hooks {
    /* One message, without its newline; `line` may be written to. */
    void (*on_line)(void *context, struct client *client, char *line, size_t size);

    /* It is gone: for nothing more than forgetting it. Called once. */
    void (*on_close)(void *context, struct client *client);
};

/* `fd` is a connected stream socket, non-blocking; it belongs to the client after success. */
int client_create(struct uv_loop_s *loop, int fd, const struct peer *peer,
                  const struct client_hooks *hooks, void *context, struct client **client);

const struct peer *client_peer(const struct client *client);

/* Send a line (heap; ends with its newline) with `passed_fd` (-1: none). Both belong to the client
 * from now on, whatever happens. NULL for `line` means that memory was out: the client is cut. */
void client_send(struct client *client, char *line, int passed_fd);

/* The same with descriptors that stay the caller's (at most CLIENT_LENT_MAX): they go at once, as
 * the first bytes do, or the client is cut, as it has not taken what was sent before. So nobody
 * makes us keep descriptors for him. */
void client_send_lent(struct client *client, char *line, const int *fds, size_t count);

/* Something is still to come for it (an answer, events): until it is paid, the connection stays
 * although the peer has said all that it wanted to say (shutdown, or the end of a pipe). */
void client_owe(struct client *client);
void client_pay(struct client *client);
size_t client_owed(const struct client *client);

/* Close at once (on_close is called before this returns), or when all answers were taken. */
void client_close(struct client *client);
void client_close_when_sent(struct client *client);

#endif
