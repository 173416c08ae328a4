/* What an earlier qvmd made: regions that its clients still have. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/shmem/inside.h"
#include "daemon/shmem/told.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

/* Who was attached under the earlier qvmd, if nobody has scribbled on it. */
static uint32_t were_attached(const struct region *region)
{
    uint32_t attached = 0;

    (void)!pread(region->fds[SHMEM_FD_BOARD], &attached, sizeof(attached),
                 offsetof(struct shmem_board, attached)); /* nothing there: nobody */
    return attached & ((1u << SHMEM_CLIENTS) - 1);
}

static int take_over(struct shmem *shmem, struct region *region, const struct shmem_wish *wish,
                     unsigned client, int fds[SHMEM_FD_COUNT], struct err *err)
{
    region = region != NULL ? region : shmem_add_region(shmem, wish);
    if (region == NULL) {
        return err_set(err, -ENOSPC, "there are too many regions");
    }
    if (region->fds[SHMEM_FD_MEMORY] < 0) {
        for (size_t i = 0; i < SHMEM_FD_COUNT; i++) {
            region->fds[i] = take_fd(&fds[i]);
        }
        region->awaited = were_attached(region);
    }
    region->clients[client] = wish->instance;
    region->awaited &= ~(1u << client);
    shmem_tell(shmem, region);
    return 0;
}

int shmem_adopt(struct shmem *shmem, const struct shmem_wish *wish, unsigned client,
                int fds[SHMEM_FD_COUNT], struct err *err)
{
    struct region *region = shmem_is_name(wish->name) ? shmem_find_region(shmem, wish->name) : NULL;

    if (!shmem_is_name(wish->name) || !shmem_is_size(wish->size) || client >= SHMEM_CLIENTS ||
        !shmem_are_of_region(fds, wish->size)) {
        return err_set(err, -EBADF, "these are no descriptors of a region of shared memory");
    }
    if (region != NULL && region->owner != wish->owner) {
        return err_set(err, -EPERM, "region '%s' is another owner's", wish->name);
    }
    if (region != NULL && region->fds[SHMEM_FD_MEMORY] >= 0 &&
        (!shmem_is_same(region->fds[SHMEM_FD_MEMORY], fds[SHMEM_FD_MEMORY]) ||
         !shmem_is_same(region->fds[SHMEM_FD_BOARD], fds[SHMEM_FD_BOARD]))) {
        return err_set(err, -EBADF, "region '%s' is another one by now", wish->name);
    }
    if (region != NULL && (region->size != wish->size || region->clients[client] != 0 ||
                           shmem_is_attached(region, wish->instance))) {
        return err_set(err, -EBUSY, "client %u of region '%s' is another", client, wish->name);
    }
    return take_over(shmem, region, wish, client, fds, err);
}

enum shmem_status shmem_check_back(const struct region *region, const struct shmem_wish *wish)
{
    struct stat stat;

    if (region->fds[SHMEM_FD_MEMORY] < 0 || fstat(region->fds[SHMEM_FD_MEMORY], &stat) != 0 ||
        stat.st_ino != wish->memory) {
        return SHMEM_DOES_NOT_EXIST;
    }
    return wish->client < SHMEM_CLIENTS && region->clients[wish->client] == 0 &&
                   !shmem_is_attached(region, wish->instance)
               ? SHMEM_OK
               : SHMEM_FAILED;
}

void shmem_stop_awaiting(struct shmem *shmem)
{
    for (size_t i = 0; i < shmem->count; i++) {
        if (shmem->regions[i]->awaited != 0) {
            shmem->regions[i]->awaited = 0;
            shmem_tell(shmem, shmem->regions[i]);
        }
    }
}
