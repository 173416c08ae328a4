/* Regions of memory that guests share (proto/shmem.h): who made which, who is attached.
 *
 * A region lives as long as somebody is attached to it or keeps it. Names are the host's; a region
 * belongs to the owner of the guest that made it, and is shared by his guests alone. What a region
 * takes is counted with all that keep it or are attached to it: together no more than each has of
 * memory anyway, of which the window that shows a region is a part.
 *
 * Holders are instances of guests, and programs of the host, whose numbers are negative: a program
 * has no configuration and no room of its own, and is only ever attached. No I/O but on the memfds
 * that are made here, which never waits. One thread. */
#ifndef QVM_DAEMON_SHMEM_SHMEM_H
#define QVM_DAEMON_SHMEM_SHMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/shmem.h"

struct err;
struct shmem;

#define SHMEM_REGIONS_MAX 64u /* of the host: each takes SHMEM_FD_COUNT descriptors */
#define SHMEM_OWNER_MAX   32u /* of one owner */
#define SHMEM_KEEPERS_MAX 64u /* of one region */

/* What others do for us; NULL: nobody does it. The bells are the clients' own: they share the open
 * file with us, and each can make a write to it wait, so we ring none. */
struct shmem_env {
    /* Tell a client that who is attached to the region has changed. */
    void (*changed)(void *context, int64_t instance, const char *region);
    /* Close these, which are taken over: the last close of a region frees all its memory. */
    void (*close)(void *context, const int *fds, size_t count);
    void *context;
};

struct shmem *shmem_create(const struct shmem_env *env); /* NULL: out of memory */
void shmem_destroy(struct shmem *shmem);                 /* at our end: closes by itself */

struct shmem_wish {
    const char *name;
    uint64_t size; /* bytes of a new one; 0: it must be there */
    uint64_t most; /* bytes that it may have */
    uint64_t room; /* bytes that all may have that the instance keeps or is attached to */
    uid_t owner;
    int64_t instance; /* who wants it */
    ino_t memory;     /* of which it was client number `client` under an earlier qvmd, and wants to
                         be again; 0: of nothing */
    unsigned client;
};

/* What a client gets; the descriptors are borrowed. */
struct shmem_given {
    unsigned client;
    uint64_t size;
    int fds[SHMEM_FD_COUNT];
};

/* Attach; a region that is not there is made if the wish has a size. The others are told.
 * SHMEM_FAILED: it is attached already, or the number that it had is another's by now. */
enum shmem_status shmem_attach(struct shmem *shmem, const struct shmem_wish *wish,
                               struct shmem_given *given);

/* Have the region, made if need be, until shmem_drop(). -EEXIST: it is there with another size;
 * -EPERM: it is another owner's; -ENOSPC: too many regions or keepers; -ENOMEM: it does not fit
 * into the room; -EINVAL: no name or size. */
int shmem_keep(struct shmem *shmem, const struct shmem_wish *wish, struct err *err);

/* The instance is no client of it any more, if it was one; the others are told. */
void shmem_detach(struct shmem *shmem, const char *name, int64_t instance);

/* It is no client of anything any more. */
void shmem_detach_all(struct shmem *shmem, int64_t instance);

/* It has ended: it is no client of anything, and keeps nothing. */
void shmem_drop(struct shmem *shmem, int64_t instance);

/* An earlier qvmd made it a client, and it has sent what it got (taken over on success, by setting
 * to -1). -EBUSY: that number is another's; -EPERM: as above; -EBADF: these are not the descriptors
 * of a region, or not of the one that is known by that name. */
int shmem_adopt(struct shmem *shmem, const struct shmem_wish *wish, unsigned client,
                int fds[SHMEM_FD_COUNT], struct err *err);

/* Whoever was attached under an earlier qvmd and has not come back by now is gone. */
void shmem_stop_awaiting(struct shmem *shmem);

/* Whose region that is; false: there is none. */
bool shmem_owner(const struct shmem *shmem, const char *name, uid_t *owner);

/* For lists. False after the last; names are borrowed. */
struct shmem_info {
    const char *name;
    uint64_t size;
    uid_t owner;
    int64_t clients[SHMEM_CLIENTS]; /* instances; 0: nobody */
    const int64_t *keepers;
    size_t keeper_count;
};
bool shmem_info(const struct shmem *shmem, size_t index, struct shmem_info *info);

/* Whether these rules (SHMEM_CREATE ...; others are passed over) let a guest have that region. */
bool shmem_is_allowed(const char *const *rules, size_t count, const char *name);

/* NAME and BYTES of a rule SHMEM_CREATE. -EINVAL: it is none, or wrong. */
int shmem_read_create(const char *rule, char name[SHMEM_NAME_MAX + 1], uint64_t *size);

#endif
