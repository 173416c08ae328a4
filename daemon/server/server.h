/* The API's socket: who may connect, how many, and requests with their answers.
 *
 * The socket is in place before anything slow begins. An answer may be given at once or later, and
 * whether or not the client is still there: what was begun for it goes on. Loop thread. */
#ifndef QVM_DAEMON_SERVER_H
#define QVM_DAEMON_SERVER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/peer.h"
#include "proto/msg.h"

struct audit;
struct client;
struct err;
struct reply;
struct server;
struct uv_loop_s;

#define SERVER_BACKLOG     512
#define SERVER_REPLIES_MAX 1024 /* requests of one client that wait for their answer */
#define SERVER_ORPHANS_MAX 4096 /* and of one user who is no admin and whose connection is gone */

struct server_settings {
    const char *path; /* of the socket; a leftover there is removed: hold the store's lock */
    int fd; /* listens already, by another's hand; taken over in any case; -1: none does */
    mode_t mode;
    size_t clients_max, user_clients_max;
    struct peer_policy policy;
    struct audit *audit; /* borrowed; NULL: changes and refusals are told in qvmd's log alone */
};

struct server_hooks {
    /* One request of somebody whose role allows it. `reply` must be given back once, by one of
     * reply_...() below. `request` is the server's. */
    void (*on_request)(void *context, struct reply *reply, const struct msg_request *request);

    /* The client is gone: forget it. */
    void (*on_client_gone)(void *context, struct client *client);
};

int server_create(struct uv_loop_s *loop, const struct server_settings *settings,
                  const struct server_hooks *hooks, void *context, struct server **server,
                  struct err *err);

/* Cuts all clients and removes the socket; the memory goes when the loop has run the closing of
 * its handles. Replies that are given back afterwards are still to be given back. */
void server_destroy(struct server *server);

/* Who asks, and through which client; NULL when it is gone. */
const struct peer *reply_peer(const struct reply *reply);
struct client *reply_client(const struct reply *reply);

/* Let somebody hear the answer before it is sent, also if nobody else hears it: the result as JSON
 * (NULL: it could not be made, or was a descriptor), or the refusal. */
typedef void (*reply_heard_fn)(void *data, const char *json, const struct err *err);
void reply_listen(struct reply *reply, reply_heard_fn heard, void *data);

/* Answer; `reply` is over then. Nobody hears it if the client is gone or wanted no answer. */
void reply_result(struct reply *reply, enum msg_struct type, const void *result);
void reply_json(struct reply *reply, const char *json);
void reply_error(struct reply *reply, const struct err *err);

/* An answer with descriptors, which stay the caller's: a client that does not take them at once is
 * cut, as is one that wants no answer. */
void reply_with_descriptors(struct reply *reply, enum msg_struct type, const void *result,
                            const int *fds, size_t count);

/* An answer without members, with a descriptor that is the client's from now on. */
void reply_descriptor(struct reply *reply, int fd);

#endif
