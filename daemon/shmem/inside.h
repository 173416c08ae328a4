/* What shmem.c and adopt.c share; nobody else includes this. */
#ifndef QVM_DAEMON_SHMEM_INSIDE_H
#define QVM_DAEMON_SHMEM_INSIDE_H

#include "daemon/shmem/shmem.h"

struct region {
    char name[SHMEM_NAME_MAX + 1];
    uint64_t size;
    uid_t owner;
    int fds[SHMEM_FD_COUNT];
    int64_t clients[SHMEM_CLIENTS]; /* holders; 0: nobody */
    uint32_t awaited;               /* bit N: client N of an earlier qvmd may come back */
    int64_t keepers[SHMEM_KEEPERS_MAX];
    size_t keeper_count;
};

struct shmem {
    struct shmem_env env;
    struct region *regions[SHMEM_REGIONS_MAX]; /* by name, without gaps */
    size_t count;
};

bool shmem_is_size(uint64_t size);

/* NULL: there is none. */
struct region *shmem_find_region(const struct shmem *shmem, const char *name);

/* A new one, without memory so far. NULL: out of memory, or too many. */
struct region *shmem_add_region(struct shmem *shmem, const struct shmem_wish *wish);

bool shmem_is_attached(const struct region *region, int64_t holder);

/* Say on the board who is attached, and tell all of them. */
void shmem_tell(const struct shmem *shmem, const struct region *region);

/* Whether the wish is that of a client that the region had, and that comes back. */
enum shmem_status shmem_check_back(const struct region *region, const struct shmem_wish *wish);

#endif
