/* What each method of the API does. One function a method; the list is proto/messages.def.
 *
 * Operators act on guests of their own, admins on all. Each change and each refusal is a line in
 * the audit log. Loop thread. */
#ifndef QVM_DAEMON_OPS_H
#define QVM_DAEMON_OPS_H

#include <stdbool.h>

#include "daemon/server.h"

struct err;
struct guests;
struct msg_event;
struct ops;
struct reserve_limits;
struct store;

/* All borrowed. */
struct ops_env {
    struct store *store;
    struct guests *guests;
    const struct reserve_limits *limits;
    const char *socket_path, *store_path;
    const char *started; /* RFC 3339 */
};

int ops_create(const struct ops_env *env, struct ops **ops, struct err *err);
void ops_destroy(struct ops *ops);

/* To be given to server_create() with the ops as context. */
extern const struct server_hooks ops_server_hooks;

/* To be given to guests_create(): `data` is that of a call, which is a reply. */
bool ops_is_wanted(const void *data);

/* To be given to events_create(): tells subscribers. */
void ops_on_event(void *context, const struct msg_event *event);

#endif
