/* What a qvm and its qvmd say to each other about programs of the host that the guest wants to talk
 * to. */
#include "qvm-worker/under_connect.h"

#include "proto/base/lend.h"
#include "proto/msg.h"
#include "qvm-worker/control/control.h"
#include "qvm-worker/vdev/host.h"

int under_wish_connection(struct control *control, int64_t serial, const char *path, uint32_t port)
{
    const struct msg_connect_wish wish = {.serial = serial, .path = lend(path), .port = port};

    return control_send(control, CONTROL_connect_wish, &wish);
}

void under_take_connection(struct vdev_host *vdevs, const struct msg_connected *connected, int *fds,
                           size_t fd_count)
{
    int none = -1;

    vdev_host_connected(vdevs, connected->serial, fd_count == 1 ? fds : &none);
}

void under_lose_connection(struct vdev_host *vdevs)
{
    int none = -1;

    vdev_host_connected(vdevs, 0, &none);
}
