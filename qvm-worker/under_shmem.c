/* What a qvm and its qvmd say to each other about memory that guests share. */
#include "qvm-worker/under_shmem.h"

#include <stdbool.h>
#include <stdio.h>

#include "proto/msg.h"
#include "proto/shmem.h"
#include "qvm-worker/control/control.h"
#include "qvm-worker/vdev/host.h"

_Static_assert((int)SHMEM_FD_COUNT <= CONTROL_FDS_MAX, "a region's descriptors are one packet");
_Static_assert((int)SHMEM_DOES_NOT_EXIST == (int)VDEV_SHMEM_DOES_NOT_EXIST, "the same numbers");

int64_t under_count_shared(const struct vdev_host *vdevs)
{
    struct vdev_host_shared shared;
    uint32_t count = 0;

    while (vdev_host_shared(vdevs, count, &shared)) {
        count++;
    }
    return count;
}

void under_tell_shared(struct control *control, const struct vdev_host *vdevs)
{
    struct vdev_host_shared shared;

    for (uint32_t i = 0; vdev_host_shared(vdevs, i, &shared); i++) {
        char name[SHMEM_NAME_MAX + 1];
        const struct msg_shmem_held held = {
            .name = name, .client = (int64_t)shared.client, .size = (int64_t)shared.bytes};

        (void)snprintf(name, sizeof(name), "%s", shared.name);
        (void)control_send_fds(control, CONTROL_shmem_held, &held, shared.fds, SHMEM_FD_COUNT);
    }
}

void under_take_shared(struct control *control, struct vdev_host *vdevs,
                       const struct msg_shmem_given *given, int *fds, size_t fd_count)
{
    bool is_taken = vdev_host_shmem_given(
        vdevs, given->serial, (enum vdev_shmem_status)given->status, (uint32_t)given->client,
        (uint64_t)given->size, fd_count == SHMEM_FD_COUNT ? fds : NULL);

    if (!is_taken) {
        (void)control_send(control, CONTROL_shmem_left,
                           &(struct msg_shmem_left){.name = given->name});
    }
}

void under_hear_shared(struct vdev_host *vdevs, const struct msg_shmem_changed *changed)
{
    vdev_host_shmem_changed(vdevs, changed->name);
}

int under_wish_shared(struct control *control, int64_t serial, const char *name, uint64_t bytes,
                      uint64_t most)
{
    char text[SHMEM_NAME_MAX + 1];
    const struct msg_shmem_wish wish = {
        .serial = serial, .name = text, .size = (int64_t)bytes, .most = (int64_t)most};

    (void)snprintf(text, sizeof(text), "%s", name);
    return control_send(control, CONTROL_shmem_wish, &wish);
}

void under_leave_shared(struct control *control, const char *name)
{
    char text[SHMEM_NAME_MAX + 1];
    const struct msg_shmem_left left = {.name = text};

    (void)snprintf(text, sizeof(text), "%s", name);
    (void)control_send(control, CONTROL_shmem_left, &left); /* nobody: not held any more */
}
