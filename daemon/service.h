/* Who manages us as a service: it hears when we are ready and that we live, and may listen for us.
 *
 * These are systemd's documented protocols (sd_notify(3), sd_listen_fds(3)) without its library,
 * which would cost each start 4 ms and 1 MiB (docs/design.md). Without such a manager nothing
 * happens here. Loop thread. */
#ifndef QVM_DAEMON_SERVICE_H
#define QVM_DAEMON_SERVICE_H

#include <stdint.h>

struct err;
struct service;
struct uv_loop_s;

/* What the environment says, taken out of it: no child of ours is to believe it. */
int service_create(struct uv_loop_s *loop, struct service **service, struct err *err);

/* The socket that the manager listens at for us: the caller's, O_CLOEXEC and non-blocking; -1:
 * none. -EINVAL: what we were given is something else, or more than that. */
int service_take_socket(struct service *service, int *fd, struct err *err);

/* The API can be used; from now on the loop says in time that it lives, if that is wanted. */
void service_ready(struct service *service);

/* We end because somebody wants that. */
void service_stopping(struct service *service);

/* The memory goes when the loop has run the closing of its handle. */
void service_destroy(struct service *service);

#endif
