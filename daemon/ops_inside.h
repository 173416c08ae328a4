/* What the files of ops.h share; nobody else includes this. */
#ifndef QVM_DAEMON_OPS_INSIDE_H
#define QVM_DAEMON_OPS_INSIDE_H

#include <stdbool.h>
#include <sys/queue.h>

#include "daemon/guest.h"
#include "daemon/ops.h"

struct client;
struct subscription;

LIST_HEAD(subscription_list, subscription);

struct ops {
    struct ops_env env;
    struct subscription_list subscriptions;
};

/* `params` is the struct of the method; `reply` is given back by the function or later. */
typedef void (*op_fn)(struct ops *ops, struct reply *reply, const void *params);

void op_discover(struct ops *ops, struct reply *reply, const void *params);
void op_info(struct ops *ops, struct reply *reply, const void *params);
void op_define(struct ops *ops, struct reply *reply, const void *params);
void op_undefine(struct ops *ops, struct reply *reply, const void *params);
void op_start(struct ops *ops, struct reply *reply, const void *params);
void op_stop(struct ops *ops, struct reply *reply, const void *params);
void op_kill(struct ops *ops, struct reply *reply, const void *params);
void op_list(struct ops *ops, struct reply *reply, const void *params);
void op_show(struct ops *ops, struct reply *reply, const void *params);
void op_wait(struct ops *ops, struct reply *reply, const void *params);
void op_attach(struct ops *ops, struct reply *reply, const void *params);
void op_console_read(struct ops *ops, struct reply *reply, const void *params);
void op_console_write(struct ops *ops, struct reply *reply, const void *params);
void op_log(struct ops *ops, struct reply *reply, const void *params);
void op_events(struct ops *ops, struct reply *reply, const void *params);
void op_subscribe(struct ops *ops, struct reply *reply, const void *params);

struct guest_caller ops_caller(const struct reply *reply);

/* The guest called `name`, or NULL, and the refusal was sent: `reply` is over then. With
 * `must_own`, only if the caller may act on it. */
struct guest *ops_guest(struct ops *ops, struct reply *reply, const char *name, bool must_own);

/* Forget a client's subscriptions. */
void ops_unsubscribe(struct ops *ops, const struct client *client);

#endif
