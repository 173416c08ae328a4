/* The connection to qvmd: requests out, replies in, with a deadline. Blocking; one thread. */
#ifndef QVM_CLI_CLIENT_H
#define QVM_CLI_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/method.h"
#include "proto/msg.h"

struct cli;
struct err;

#define CLIENT_REPLY_MAX (64u << 20) /* bytes of one reply line: more than 65,536 guests need */
#define CLIENT_READ_MS   30000       /* what waits for nobody is answered by then */
#define CLIENT_GRACE_MS  5000        /* qvmd keeps the time given; this much later we stop hoping */
#define CLIENT_FOR_EVER  (-1)

struct client {
    int fd; /* -1: not open */
    const char *path;
    char *buffer; /* bytes received; lines up to `start` were given out */
    size_t start, used, room;
    int64_t last_id;
    int64_t patience_ms, deadline_ns; /* CLIENT_FOR_EVER: none */
    int passed_fd;                    /* descriptor that came last, or -1; owned */
};

/* What client_fini() may be given before client_init(). */
#define CLIENT_CLOSED                                                                              \
    {                                                                                              \
        .fd = -1, .passed_fd = -1                                                                  \
    }
#define auto_client __attribute__((cleanup(client_fini)))

/* Connect to cli->socket. `patience_ms` (or CLIENT_FOR_EVER) bounds this and each call after it.
 * CLI_UNREACHABLE, -EACCES, -EINVAL (the path is too long), with what to do. */
int client_init(struct client *client, const struct cli *cli, int64_t patience_ms, struct err *err);
void client_fini(struct client *client);

/* How long calls may take from now on. */
void client_set_patience(struct client *client, int64_t patience_ms);

/* Send one request; its id is client->last_id. -EINVAL: a parameter is not UTF-8. */
int client_send(struct client *client, enum msg_method method, const void *params, struct err *err);

/* The next line of qvmd, whatever it is; ends with msg_reply_fini(). CLI_UNREACHABLE when qvmd
 * closed, -ETIMEDOUT, -EPROTO when it is not what qvmd should say. */
int client_receive(struct client *client, struct msg_reply *reply, struct err *err);

/* Send and wait for that reply; events between are dropped. A refusal is returned as its code,
 * with its sentence. On success reply->result is set; ends with msg_reply_fini(). */
#define client_call(client, method, params, reply, err)                                            \
    client_call_any(client, method, method_params_##method(params), reply, err)
int client_call_any(struct client *client, enum msg_method method, const void *params,
                    struct msg_reply *reply, struct err *err);

/* The same, decoded into `result`, the method's result struct; ends with msg_fini(). */
#define client_ask(client, method, params, result, err)                                            \
    client_ask_any(client, method, method_params_##method(params), method_result_##method(result), \
                   err)
int client_ask_any(struct client *client, enum msg_method method, const void *params, void *result,
                   struct err *err);

/* A call by name with any JSON object as its parameters. */
int client_call_json(struct client *client, const char *method, const char *params,
                     struct msg_reply *reply, struct err *err);

/* Its result on stdout, as one line of JSON. */
void client_print(const struct msg_reply *reply);

/* The descriptor that came with the last reply, or -1; the caller owns it. */
int client_take_fd(struct client *client);

#define auto_reply __attribute__((cleanup(msg_reply_fini)))

#endif
