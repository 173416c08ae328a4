/* Regions of memory that guests share: what qvmd, the qvms and programs of the host have in common.
 *
 * A region is two sealed memfds, made by qvmd: its memory, and its *board* of one page, in which
 * the clients find what concerns them. Each client has a number and a *bell*, an eventfd of qvmd's.
 * Who has something to say sets the bit of its own number in `pending` of each that is meant and
 * rings his bell; nobody else takes part. qvmd writes `attached` alone, and tells each client by
 * `shmem-changed` then: a bell is an open file that all clients share, and whoever of them is
 * hostile can make a write to it wait.
 *
 * Everybody who shares a region can write its board: what stands there is taken as bits and as
 * nothing else. */
#ifndef QVM_PROTO_SHMEM_H
#define QVM_PROTO_SHMEM_H

#include <stdint.h>

#define SHMEM_CLIENTS    16u
#define SHMEM_NAME_MAX   32u /* bytes */
#define SHMEM_PAGE       4096u
#define SHMEM_SIZE_MAX   (UINT64_C(1) << 36) /* bytes of one region */
#define SHMEM_BOARD_SIZE SHMEM_PAGE

/* Descriptors of a client, in this order. */
enum shmem_fd {
    SHMEM_FD_MEMORY,
    SHMEM_FD_BOARD,
    SHMEM_FD_BELLS, /* one for each client number */
    SHMEM_FD_COUNT = SHMEM_FD_BELLS + (int)SHMEM_CLIENTS,
};

struct shmem_board {
    uint32_t attached;               /* bit N: there is a client N */
    uint32_t pending[SHMEM_CLIENTS]; /* bit M of N's: client M has signalled it; read and cleared
                                        by N, atomically */
};

/* What became of a wish: the numbers of the factory page. */
enum shmem_status {
    SHMEM_OK,
    SHMEM_FAILED,         /* for a reason that has no number */
    SHMEM_NO_MEMORY,      /* the host's, or in the guest's window */
    SHMEM_TOO_MANY,       /* SHMEM_CLIENTS are attached */
    SHMEM_ILLEGAL_NAME,   /* see shmem_is_name() */
    SHMEM_NO_PERMISSION,  /* the configuration does not allow it, or it is another owner's */
    SHMEM_DOES_NOT_EXIST, /* and is not to be made */
    SHMEM_STATUS_COUNT
};

/* Words that a qvm asks with (RESOURCE_shmem). */
#define SHMEM_CREATE "create " /* NAME,BYTES */
#define SHMEM_ALLOW  "allow "  /* PATTERN, as of fnmatch(3) */
#define SHMEM_DENY   "deny "

/* Whether that may be the name of a region: 1 to SHMEM_NAME_MAX letters, digits, `.`, `-`, `_`. */
static inline int shmem_is_name(const char *name)
{
    unsigned size = 0;

    for (; name[size] != '\0' && size <= SHMEM_NAME_MAX; size++) {
        char c = name[size];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '-' || c == '_')) {
            return 0;
        }
    }
    return size > 0 && size <= SHMEM_NAME_MAX;
}

#endif
