/* What a qvm and its qvmd say to each other about programs of the host that the guest wants to talk
 * to. Control thread. */
#ifndef QVM_WORKER_UNDER_CONNECT_H
#define QVM_WORKER_UNDER_CONNECT_H

#include <stddef.h>
#include <stdint.h>

struct control;
struct msg_connected;
struct vdev_host;

/* Ask for a connection, as vdev_host_env's connect_wish: 0, or -errno when nobody hears it. */
int under_wish_connection(struct control *control, int64_t serial, const char *path, uint32_t port);

/* The answer, whose descriptor is taken if it is wanted; there will be none, since qvmd is gone. */
void under_take_connection(struct vdev_host *vdevs, const struct msg_connected *connected, int *fds,
                           size_t fd_count);
void under_lose_connection(struct vdev_host *vdevs);

#endif
