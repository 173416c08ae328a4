/* Cables to other guests, under qvmd. */
#include "qvm-worker/under_cables.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/lend.h"
#include "qvm-worker/vdev/host.h"

int under_cables_take(struct under_cables *cables, const struct plan *plan, int *fds,
                      struct err *err)
{
    for (uint32_t i = 0; i < plan->need_count; i++) {
        const struct plan_need *need = &plan->needs[i];
        int *to = &cables->fds[2 * cables->count];

        if (!need->is_cable) {
            continue;
        }
        to[0] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        if (to[0] < 0) {
            return err_sys(err, -errno, "%s: cannot keep a cable", need->where);
        }
        to[1] = take_fd(&fds[PLAN_FD_FAR(need->cable)]);
        cables->list[cables->count++] = (struct msg_cable){.vdev = lend(need->device->device),
                                                           .peer = lend(need->device->path)};
    }
    return 0;
}

size_t under_cables_tell(struct under_cables *cables, struct msg_hello *hello, int *fds)
{
    hello->cables = cables->list;
    hello->cables_count = cables->count;
    memcpy(fds, cables->fds, 2 * cables->count * sizeof(*fds));
    return 2 * cables->count;
}

void under_hear_link(struct vdev_host *vdevs, const struct msg_link *link)
{
    vdev_host_set_link(vdevs, link->vdev, link->is_up);
}
