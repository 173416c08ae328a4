/* What a qvm and its qvmd say to each other about memory that guests share. */
#ifndef QVM_WORKER_UNDER_SHMEM_H
#define QVM_WORKER_UNDER_SHMEM_H

#include <stddef.h>
#include <stdint.h>

struct control;
struct msg_shmem_changed;
struct msg_shmem_given;
struct vdev_host;

/* To a new qvmd: how many regions, and which, with their descriptors. */
int64_t under_count_shared(const struct vdev_host *vdevs);
void under_tell_shared(struct control *control, const struct vdev_host *vdevs);

/* Its answer to a wish. */
void under_take_shared(struct control *control, struct vdev_host *vdevs,
                       const struct msg_shmem_given *given, int *fds, size_t fd_count);

/* What it says of others. */
void under_hear_shared(struct vdev_host *vdevs, const struct msg_shmem_changed *changed);

/* Ask for a region, as the service shmem_attach (qvm/vdev.h): 0, or -errno when nobody hears it.
 * Tell that it is not held any more. */
int under_wish_shared(struct control *control, int64_t serial, const char *name, uint64_t bytes,
                      uint64_t most);
void under_leave_shared(struct control *control, const char *name);

#endif
