/* What a qvm and its qvmd say to each other about helpers that follow others. */
#include "qvm-worker/under_helper.h"

#include <errno.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/msg.h"
#include "qvm-worker/control/control.h"
#include "qvm-worker/plan/plan.h"
#include "qvm-worker/vdev/host.h"

int under_wish_helper(struct control *control, const struct plan *plan, const char *device)
{
    for (uint32_t i = 0; i < plan->need_count; i++) {
        const struct plan_need *need = &plan->needs[i];

        if (need->kind == RESOURCE_helper && strcmp(need->device->device, device) == 0) {
            return control_send(control, CONTROL_helper_wish, &(struct msg_helper_wish){.item = i});
        }
    }
    return -ENOENT;
}

void under_take_helper(struct vdev_host *vdevs, const struct plan *plan,
                       const struct msg_helper_given *given, int *fds, size_t fd_count)
{
    uint32_t item = (uint32_t)given->item;

    if (item < plan->need_count && plan->needs[item].kind == RESOURCE_helper) {
        vdev_host_helper_given(vdevs, plan->needs[item].device->device,
                               fd_count == 1 ? take_fd(&fds[0]) : -1);
    }
}
