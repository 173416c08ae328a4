/* The kernel's own back ends of virtio devices. */
#include "proto/base/vhost_node.h"

#include <errno.h>
#include <fcntl.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

struct node {
    const char *path, *module, *device;
};

static const struct node net = {VHOST_NET_DEVICE, "vhost_net", "card"};
static const struct node vsock = {VHOST_VSOCK_DEVICE, "vhost_vsock", "vsock"};

static int refuse(const struct node *node, int code, struct err *err)
{
    switch (-code) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
        return err_set(err, -ENOENT,
                       "the host has no %s: 'modprobe %s' loads it; with 'vhost off' the %s does "
                       "without",
                       node->path, node->module, node->device);
    case EACCES:
    case EPERM:
        return err_set(err, -EACCES,
                       "no permission to open %s ('ls -l %s'); with 'vhost off' the %s does "
                       "without",
                       node->path, node->path, node->device);
    default:
        return err_sys(err, code, "cannot open %s", node->path);
    }
}

static int open_all(const struct node *node, size_t count, int *fds, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        fds[i] = open(node->path, O_RDWR | O_CLOEXEC);
        if (fds[i] < 0) {
            int code = -errno;

            while (i-- > 0) {
                cleanup_close(&fds[i]);
            }
            return refuse(node, code, err);
        }
    }
    return 0;
}

int vhost_net_open(size_t count, int *fds, struct err *err)
{
    return open_all(&net, count, fds, err);
}

int vhost_vsock_open(int *fd, struct err *err)
{
    return open_all(&vsock, 1, fd, err);
}

int vhost_vsock_refuse(int code, struct err *err)
{
    return refuse(&vsock, code, err);
}
