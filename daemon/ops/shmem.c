/* Methods about memory that guests share. */
#include <errno.h>
#include <stdlib.h>

#include "daemon/ops/inside.h"
#include "daemon/shmem/shmem.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

void op_shmem(struct ops *ops, struct reply *reply, const void *params)
{
    auto_free struct guests_shmem_room *rooms = calloc(SHMEM_REGIONS_MAX, sizeof(*rooms));
    struct msg_shmem_region regions[SHMEM_REGIONS_MAX];
    struct msg_shmem_list list = {.regions = regions};
    struct err err = {0};

    (void)params; /* has no members */
    if (rooms == NULL) {
        (void)err_set(&err, -ENOMEM, "out of memory");
        reply_error(reply, &err);
        return;
    }
    while (list.regions_count < SHMEM_REGIONS_MAX &&
           guests_shmem(ops->env.guests, list.regions_count, &rooms[list.regions_count],
                        &regions[list.regions_count])) {
        list.regions_count++;
    }
    reply_result(reply, MSG_shmem_list, &list);
}
