/* What a qvm has asked for, between the question and the answer: for grant.c, claim.c and those
 * below them alone. */
#ifndef QVM_DAEMON_GUEST_ASK_H
#define QVM_DAEMON_GUEST_ASK_H

#include <string.h>

#include "daemon/guest/inside.h"
#include "daemon/guest/place.h"
#include "daemon/hand/hand.h"
#include "daemon/host/pci.h"

struct taking;

struct wanted {
    enum resource_kind kind;
    char *id;
    char *where;
    char *vdev;            /* of a network or helper: whose; NULL: not told */
    enum hand_vhost vhost; /* of a tap */
    bool has_vhost;        /* and its queues have a back end each */
    int64_t amount;
    bool is_writable, is_readable;
    int fd;                      /* to be granted; -1: none */
    bool is_kept;                /* by the hand that opened it, which grants it */
    bool is_granted;             /* and has been told to */
    size_t file;                 /* its number among the files that the hand opened; of a device,
                                  * the first after the container: its group, and then itself; of a
                                  * tap the first of its queues */
    char identity[HAND_ID_SIZE]; /* of a file that was opened, or of a tap; else empty */
    bool is_exclusive;
    struct place_wish wish; /* of vCPUs */
    int other_fd;           /* of a cable, whose `fd` is its own end: the other; -1: none */
    char bdf[PCI_BDF_SIZE]; /* of a device: what it is on the host */
    int group;
};

typedef void (*ask_then_fn)(struct guest *guest);

struct guest_ask {
    struct guest *guest;
    struct wanted items[GUEST_ASK_MAX];
    size_t count;
    bool is_whole; /* no further packet follows */
    struct hand *hand;
    ask_then_fn then;      /* when all of them were */
    struct taking *taking; /* devices; NULL: none */
    void (*on_helpers)(struct guest *guest, size_t bad, const struct err *why);
    void (*on_taken)(struct guest *guest, size_t bad, struct hand *keeper, const struct err *err);
};

/* Of the `id` of a helper: one that serves a folder, whose path follows, and one that has a user's
 * network, for the vdev whose name follows. */
#define ASK_FOLDER "fs:"
#define ASK_USER   "user:"

/* Of that of a network: the address of a vsock that the kernel has, a number. */
#define ASK_CID "cid:"

static inline bool ask_is_user(const struct wanted *item)
{
    return item->kind == RESOURCE_helper && strncmp(item->id, ASK_USER, sizeof(ASK_USER) - 1) == 0;
}

static inline bool ask_is_cid(const struct wanted *item)
{
    return item->kind == RESOURCE_network && strncmp(item->id, ASK_CID, sizeof(ASK_CID) - 1) == 0;
}

/* What a hand opens as the guest's owner. */
static inline bool ask_is_file(const struct wanted *item)
{
    return item->kind == RESOURCE_file || item->kind == RESOURCE_stream ||
           item->kind == RESOURCE_socket || (item->kind == RESOURCE_helper && !ask_is_user(item)) ||
           ask_is_cid(item);
}

static inline bool ask_is_folder(const struct wanted *item)
{
    return item->kind == RESOURCE_helper &&
           strncmp(item->id, ASK_FOLDER, sizeof(ASK_FOLDER) - 1) == 0;
}

/* The path of a file that a hand opens, or the id of whatever else it is. */
static inline const char *ask_path(const struct wanted *item)
{
    return item->kind == RESOURCE_helper ? strchr(item->id, ':') + 1 : item->id;
}

/* Add the items of a packet. -EMSGSIZE, -EINVAL: it asks for too much, or for what nobody has. */
int guest_ask_copy(struct guest_ask *ask, const struct msg_ask *packet, struct err *err);

/* Let `keeper`, in whose callback we are, grant what it keeps, and call `then`; NULL: it keeps
 * nothing, and `then` is called at once. A failure ends the qvm. */
void guest_ask_pass(struct guest *guest, struct hand *keeper, ask_then_fn then);

/* Claim all of it, with the CPUs of the host that belong to one guest at a time, or nothing; `*bad`
 * is the item that cannot be had. Errors as of reserve_claim(), and -EPERM. */
int guest_ask_claim(struct guest *guest, size_t *bad, struct err *err);

/* Limit its control group, and put its threads where they are to run. */
int guest_ask_place(const struct guest *guest, struct err *err);

/* The vCPUs that most probably are to blame when that fails. */
size_t guest_ask_placed(const struct guest_ask *ask);

#endif
