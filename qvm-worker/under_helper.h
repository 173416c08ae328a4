/* What a qvm and its qvmd say to each other about helpers that follow others. Control thread. */
#ifndef QVM_WORKER_UNDER_HELPER_H
#define QVM_WORKER_UNDER_HELPER_H

#include <stddef.h>

struct control;
struct msg_helper_given;
struct plan;
struct vdev_host;

/* Wish for another one for that device, as vdev_host_env's helper_wish: 0, or -errno. */
int under_wish_helper(struct control *control, const struct plan *plan, const char *device);

/* The answer, whose descriptor is taken. */
void under_take_helper(struct vdev_host *vdevs, const struct plan *plan,
                       const struct msg_helper_given *given, int *fds, size_t fd_count);

#endif
