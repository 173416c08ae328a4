/* Regions of memory that guests share: who made which, who is attached. */
#include "daemon/shmem/shmem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/shmem/inside.h"
#include "daemon/shmem/told.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

struct shmem *shmem_create(const struct shmem_env *env)
{
    struct shmem *shmem = calloc(1, sizeof(*shmem));

    if (shmem != NULL) {
        shmem->env = *env;
    }
    return shmem;
}

/* ---- making a region ---- */

/* Nobody can make it shorter under those who have it mapped. */
static int make_memory(const char *name, uint64_t size)
{
    auto_close int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 || ftruncate(fd, (off_t)size) != 0 || fcntl(fd, F_ADD_SEALS, SHMEM_SEALS) != 0) {
        return -errno;
    }
    return take_fd(&fd);
}

static void close_region(struct region *region)
{
    for (size_t i = 0; i < SHMEM_FD_COUNT; i++) {
        cleanup_close(&region->fds[i]);
    }
}

static void region_free(struct region *region)
{
    close_region(region);
    free(region);
}

/* Its memory comes with the first client. */
static int open_region(struct region *region)
{
    if (region->fds[SHMEM_FD_MEMORY] >= 0) {
        return 0;
    }
    region->fds[SHMEM_FD_MEMORY] = make_memory("shmem", region->size);
    region->fds[SHMEM_FD_BOARD] = make_memory("shmem-board", SHMEM_BOARD_SIZE);
    for (size_t i = SHMEM_FD_BELLS; i < SHMEM_FD_COUNT; i++) {
        region->fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    }
    for (size_t i = 0; i < SHMEM_FD_COUNT; i++) {
        if (region->fds[i] < 0) {
            close_region(region);
            return -ENOSPC;
        }
    }
    return 0;
}

static struct region *new_region(const struct shmem_wish *wish)
{
    struct region *region = calloc(1, sizeof(*region));

    if (region != NULL) {
        (void)snprintf(region->name, sizeof(region->name), "%s", wish->name);
        region->size = wish->size;
        region->owner = wish->owner;
        for (size_t i = 0; i < SHMEM_FD_COUNT; i++) {
            region->fds[i] = -1;
        }
    }
    return region;
}

/* The place of a name: where it is, or where it would be. */
static size_t place_of(const struct shmem *shmem, const char *name)
{
    size_t i = 0;

    while (i < shmem->count && strcmp(shmem->regions[i]->name, name) < 0) {
        i++;
    }
    return i;
}

struct region *shmem_find_region(const struct shmem *shmem, const char *name)
{
    size_t i = place_of(shmem, name);

    return i < shmem->count && strcmp(shmem->regions[i]->name, name) == 0 ? shmem->regions[i]
                                                                          : NULL;
}

static void insert(struct shmem *shmem, struct region *region)
{
    size_t i = place_of(shmem, region->name);

    for (size_t at = shmem->count; at > i; at--) {
        shmem->regions[at] = shmem->regions[at - 1];
    }
    shmem->regions[i] = region;
    shmem->count++;
}

bool shmem_is_size(uint64_t size)
{
    return size > 0 && size <= SHMEM_SIZE_MAX && size % SHMEM_PAGE == 0;
}

static size_t count_of(const struct shmem *shmem, uid_t owner)
{
    size_t count = 0;

    for (size_t i = 0; i < shmem->count; i++) {
        count += shmem->regions[i]->owner == owner;
    }
    return count;
}

/* A new one, without memory so far. NULL: out of memory, or too many. */
struct region *shmem_add_region(struct shmem *shmem, const struct shmem_wish *wish)
{
    bool has_room =
        shmem->count < SHMEM_REGIONS_MAX && count_of(shmem, wish->owner) < SHMEM_OWNER_MAX;
    struct region *region = has_room ? new_region(wish) : NULL;

    if (region != NULL) {
        insert(shmem, region);
    }
    return region;
}

/* Its descriptors are closed by somebody who may wait for that. */
static void leave(const struct shmem *shmem, struct region *region)
{
    if (shmem->env.close != NULL && region->fds[SHMEM_FD_MEMORY] >= 0) {
        shmem->env.close(shmem->env.context, region->fds, SHMEM_FD_COUNT);
        for (size_t i = 0; i < SHMEM_FD_COUNT; i++) {
            region->fds[i] = -1;
        }
    }
}

static void forget_if_unused(struct shmem *shmem, struct region *region)
{
    size_t i = place_of(shmem, region->name);
    bool is_used = region->keeper_count > 0;

    for (size_t client = 0; client < SHMEM_CLIENTS; client++) {
        is_used = is_used || region->clients[client] != 0;
    }
    if (!is_used) {
        shmem->count--;
        for (; i < shmem->count; i++) {
            shmem->regions[i] = shmem->regions[i + 1];
        }
        leave(shmem, region);
        region_free(region);
    }
}

void shmem_destroy(struct shmem *shmem)
{
    for (size_t i = 0; shmem != NULL && i < shmem->count; i++) {
        region_free(shmem->regions[i]);
    }
    free(shmem);
}

/* ---- clients ---- */

/* Say on the board who is attached, and tell all of them. */
void shmem_tell(const struct shmem *shmem, const struct region *region)
{
    uint32_t attached = region->awaited;

    for (unsigned i = 0; i < SHMEM_CLIENTS; i++) {
        attached |= region->clients[i] != 0 ? 1u << i : 0;
    }
    /* the page is there, or the kernel has no memory for it: then nobody is told */
    (void)!pwrite(region->fds[SHMEM_FD_BOARD], &attached, sizeof(attached),
                  offsetof(struct shmem_board, attached));
    for (unsigned i = 0; i < SHMEM_CLIENTS; i++) {
        if (region->clients[i] != 0 && shmem->env.changed != NULL) {
            shmem->env.changed(shmem->env.context, region->clients[i], region->name);
        }
    }
}

/* The lowest number that is free and not among these; SHMEM_CLIENTS: none. */
static unsigned free_but(const struct region *region, uint32_t kept)
{
    unsigned client = 0;

    while (client < SHMEM_CLIENTS && (region->clients[client] != 0 || (kept >> client & 1) != 0)) {
        client++;
    }
    return client;
}

/* Whose number is his again, or which is nobody's. What is awaited stands on a page that others
 * can write: nobody is refused for it. */
static unsigned free_client(const struct region *region, const struct shmem_wish *wish)
{
    unsigned client = free_but(region, region->awaited);

    if (wish->memory != 0) {
        return wish->client;
    }
    return client < SHMEM_CLIENTS ? client : free_but(region, 0);
}

/* Nothing of who had the number before; his bell may ring once more, for nothing. */
static void clear_pending(const struct region *region, unsigned client)
{
    const uint32_t none = 0;

    (void)!pwrite(region->fds[SHMEM_FD_BOARD], &none, sizeof(none),
                  (off_t)(offsetof(struct shmem_board, pending) + client * sizeof(none)));
}

bool shmem_is_attached(const struct region *region, int64_t instance)
{
    for (unsigned i = 0; i < SHMEM_CLIENTS; i++) {
        if (region->clients[i] == instance) {
            return true;
        }
    }
    return false;
}

static bool is_kept_by(const struct region *region, int64_t instance)
{
    for (size_t i = 0; i < region->keeper_count; i++) {
        if (region->keepers[i] == instance) {
            return true;
        }
    }
    return false;
}

/* Whether a region of `size` bytes, with all others that the instance keeps or is attached to, is
 * within its room. */
static bool has_room(const struct shmem *shmem, const struct shmem_wish *wish, uint64_t size)
{
    uint64_t left = wish->room;

    for (size_t i = 0; i < shmem->count; i++) {
        const struct region *region = shmem->regions[i];

        if (strcmp(region->name, wish->name) != 0 &&
            (shmem_is_attached(region, wish->instance) || is_kept_by(region, wish->instance))) {
            left -= region->size < left ? region->size : left;
        }
    }
    return size <= left;
}

/* Why it cannot be had; `region` NULL: it is not there. */
static enum shmem_status refuse(const struct shmem *shmem, const struct region *region,
                                const struct shmem_wish *wish)
{
    if (region == NULL && (wish->size == 0 || wish->memory != 0)) {
        return SHMEM_DOES_NOT_EXIST;
    }
    if (region == NULL) {
        return shmem_is_size(wish->size) && wish->size <= wish->most &&
                       has_room(shmem, wish, wish->size)
                   ? SHMEM_OK
                   : SHMEM_NO_MEMORY;
    }
    if (region->owner != wish->owner) {
        return SHMEM_NO_PERMISSION;
    }
    if (wish->memory != 0) {
        return shmem_check_back(region, wish);
    }
    if (region->size > wish->most || !has_room(shmem, wish, region->size)) {
        return SHMEM_NO_MEMORY;
    }
    return shmem_is_attached(region, wish->instance) ? SHMEM_FAILED : SHMEM_OK;
}

enum shmem_status shmem_attach(struct shmem *shmem, const struct shmem_wish *wish,
                               struct shmem_given *given)
{
    struct region *region = shmem_is_name(wish->name) ? shmem_find_region(shmem, wish->name) : NULL;
    enum shmem_status status =
        shmem_is_name(wish->name) ? refuse(shmem, region, wish) : SHMEM_ILLEGAL_NAME;

    if (status != SHMEM_OK) {
        return status;
    }
    region = region != NULL ? region : shmem_add_region(shmem, wish);
    if (region == NULL) {
        return SHMEM_NO_MEMORY;
    }
    given->client = free_client(region, wish);
    if (given->client == SHMEM_CLIENTS) {
        return SHMEM_TOO_MANY;
    }
    if (open_region(region) < 0) {
        forget_if_unused(shmem, region);
        return SHMEM_NO_MEMORY;
    }
    region->clients[given->client] = wish->instance;
    region->awaited &= ~(1u << given->client);
    given->size = region->size;
    memcpy(given->fds, region->fds, sizeof(given->fds));
    if (wish->memory == 0) {
        clear_pending(region, given->client);
    }
    shmem_tell(shmem, region);
    return SHMEM_OK;
}

static bool detach(const struct shmem *shmem, struct region *region, int64_t instance)
{
    for (unsigned i = 0; i < SHMEM_CLIENTS; i++) {
        if (region->clients[i] == instance) {
            region->clients[i] = 0;
            shmem_tell(shmem, region);
            return true;
        }
    }
    return false;
}

void shmem_detach(struct shmem *shmem, const char *name, int64_t instance)
{
    struct region *region = shmem_find_region(shmem, name);

    if (region != NULL && detach(shmem, region, instance)) {
        forget_if_unused(shmem, region);
    }
}

void shmem_detach_all(struct shmem *shmem, int64_t instance)
{
    for (size_t i = shmem->count; i-- > 0;) {
        if (detach(shmem, shmem->regions[i], instance)) {
            forget_if_unused(shmem, shmem->regions[i]);
        }
    }
}

void shmem_drop(struct shmem *shmem, int64_t instance)
{
    for (size_t i = shmem->count; i-- > 0;) {
        struct region *region = shmem->regions[i];
        size_t kept = 0;

        for (size_t k = 0; k < region->keeper_count; k++) {
            if (region->keepers[k] != instance) {
                region->keepers[kept++] = region->keepers[k];
            }
        }
        region->keeper_count = kept;
        (void)detach(shmem, region, instance); /* it may have been none */
        forget_if_unused(shmem, region);
    }
}

/* ---- regions that configurations create ---- */

static int check_keep(const struct region *region, const struct shmem_wish *wish, struct err *err)
{
    if (!shmem_is_name(wish->name) || !shmem_is_size(wish->size)) {
        return err_set(err, -EINVAL, "'%.64s' with %llu bytes can be no region of shared memory",
                       wish->name, (unsigned long long)wish->size);
    }
    if (region == NULL) {
        return 0;
    }
    if (region->owner != wish->owner) {
        return err_set(err, -EPERM,
                       "region '%s' of shared memory is another owner's: take another name",
                       wish->name);
    }
    if (region->size != wish->size) {
        return err_set(
            err, -EEXIST,
            "region '%s' of shared memory is there already, with %llu bytes and not %llu",
            wish->name, (unsigned long long)region->size, (unsigned long long)wish->size);
    }
    return 0;
}

int shmem_keep(struct shmem *shmem, const struct shmem_wish *wish, struct err *err)
{
    struct region *region = shmem_is_name(wish->name) ? shmem_find_region(shmem, wish->name) : NULL;
    int r = check_keep(region, wish, err);

    if (r < 0 || (region != NULL && is_kept_by(region, wish->instance))) {
        return r;
    }
    if (!has_room(shmem, wish, wish->size)) {
        return err_set(err, -ENOMEM,
                       "region '%s' of shared memory has %" PRIu64
                       " KiB: all that a guest creates is at most as large as its memory, %" PRIu64
                       " KiB, of which the vdev's own window is a part",
                       wish->name, wish->size >> 10, wish->room >> 10);
    }
    region = region != NULL ? region : shmem_add_region(shmem, wish);
    if (region == NULL) {
        return err_set(err, -ENOSPC,
                       "region '%s' of shared memory cannot be made: the host has %zu of at most "
                       "%u, its owner %zu of at most %u, or no memory is left",
                       wish->name, shmem->count, SHMEM_REGIONS_MAX, count_of(shmem, wish->owner),
                       SHMEM_OWNER_MAX);
    }
    if (region->keeper_count == SHMEM_KEEPERS_MAX) {
        return err_set(err, -ENOSPC, "region '%s' of shared memory is created by %u guests already",
                       wish->name, SHMEM_KEEPERS_MAX);
    }
    region->keepers[region->keeper_count++] = wish->instance;
    return 0;
}

bool shmem_info(const struct shmem *shmem, size_t index, struct shmem_info *info)
{
    const struct region *region = index < shmem->count ? shmem->regions[index] : NULL;

    if (region == NULL) {
        return false;
    }
    *info = (struct shmem_info){.name = region->name,
                                .size = region->size,
                                .owner = region->owner,
                                .keepers = region->keepers,
                                .keeper_count = region->keeper_count};
    memcpy(info->clients, region->clients, sizeof(info->clients));
    return true;
}

bool shmem_owner(const struct shmem *shmem, const char *name, uid_t *owner)
{
    const struct region *region = shmem_find_region(shmem, name);

    if (region != NULL) {
        *owner = region->owner;
    }
    return region != NULL;
}
