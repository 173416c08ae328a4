/* The kernel's own back end of a virtio network card. */
#include "proto/base/vhost_net.h"

#include <errno.h>
#include <fcntl.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

static int refuse(int why, struct err *err)
{
    switch (why) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
        return err_set(err, -ENOENT,
                       "the host has no %s: 'modprobe vhost_net' loads it; with 'vhost off' the "
                       "card does without",
                       VHOST_NET_DEVICE);
    case EACCES:
    case EPERM:
        return err_set(err, -EACCES,
                       "no permission to open %s ('ls -l %s'); with 'vhost off' the card does "
                       "without",
                       VHOST_NET_DEVICE, VHOST_NET_DEVICE);
    default:
        return err_sys(err, -why, "cannot open %s", VHOST_NET_DEVICE);
    }
}

int vhost_net_open(size_t count, int *fds, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        fds[i] = open(VHOST_NET_DEVICE, O_RDWR | O_CLOEXEC);
        if (fds[i] < 0) {
            int why = errno;

            while (i-- > 0) {
                cleanup_close(&fds[i]);
            }
            return refuse(why, err);
        }
    }
    return 0;
}
