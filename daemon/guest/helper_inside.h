/* One helper; for helper*.c alone. Loop thread. */
#ifndef QVM_DAEMON_GUEST_HELPER_INSIDE_H
#define QVM_DAEMON_GUEST_HELPER_INSIDE_H

#include "daemon/guest/inside.h"
#include "daemon/worker/helper_spawn.h"

/* Another one for an item of the ask whose helper is gone, or was. */
struct again {
    LIST_ENTRY(again) link; /* of its guest */
    struct guest *guest;
    struct store_helper row;
    int64_t tries;     /* in a row */
    uint64_t begun_ms; /* when the last one was begun; loop time */
    bool is_wished;    /* its qvm waits for an answer */
    bool is_timed;
    bool is_over;          /* it was given up */
    struct hand *hand;     /* that opens its image or folder */
    struct helper *helper; /* that does not serve yet */
    int socket_fd;         /* the connection to it */
    uv_timer_t timer;
    LIST_HEAD(, asking) askings; /* operators who wait for it, so many */
    int asking_count;
};

struct helper {
    LIST_ENTRY(helper) link; /* of its guest, or of those that are ending */
    struct guests *guests;
    struct guest *guest; /* NULL: it is ending */
    int64_t instance;
    char *name;       /* in its row: the path of its image, or ASK_... and what follows */
    const char *path; /* in that: of its image or folder, or the vdev of its network */
    char format[STORE_FORMAT_SIZE];    /* in its row; empty: not known, and none can follow it */
    char vdev[STORE_VDEV_SIZE];        /* likewise */
    char said[STORE_MESSAGE_SIZE / 2]; /* of what it complained last, where it talks */
    pid_t pid;
    int pidfd, talk_fd, words_fd;
    int64_t item;        /* of the ask */
    struct again *again; /* it follows another one, which waits for it; NULL: it is the first */
    enum helper_kind kind;
    bool is_listed, is_starting, is_late, is_writable;
    bool is_over; /* it has ended, and its guest may have, too */
    uv_poll_t life, talk;
    uv_timer_t timer;
    int open_handles;
};

/* One without a process yet; `guest` is NULL if it is to end. NULL: out of memory. */
struct helper *helper_make(struct guests *guests, struct guest *guest, int64_t instance,
                           const char *name);

/* Take it back: it has no handles. NULL is fine. */
void helper_unmake(struct helper *helper);

/* Have it run: `helper` has all that its row is to have. `*source_fd` is its image or folder (-1:
 * none), which is closed when it was made; `*socket_fd` gets the connection to it. Its end, or that
 * it serves, is told later. On failure it is unmade, and `err` has words without its path. */
int helper_begin(struct helper *helper, int *source_fd, int *socket_fd, struct err *err);

/* Hear of its end, by its pidfd. From here on it frees itself, when its handles are closed. */
int helper_watch(struct helper *helper, struct err *err);

/* Have it end; it is of no guest any more. */
void helper_end(struct helper *helper);

/* The guest goes on without it, and perhaps with another one. */
void helper_tell_lost(const struct helper *helper, const char *what);

/* It is over, and its guest was found to live. */
void helper_tell_now(struct helper *helper);

/* ---- helper_adopt.c ---- */

/* One of that item that lives and is not watched, since there was no room for that when it was to
 * be adopted: watch it, and `*helper` is it; NULL: there is none. */
int helper_adopt_missed(struct guest *guest, int64_t item, struct helper **helper, struct err *err);

/* ---- helper_ask.c: the first ones of a guest ---- */

/* One serves, or (`why` has a code) has ended before. */
void helper_asked(struct guest *guest, size_t item, const struct err *why);

/* ---- helper_again.c: those that follow ---- */

/* What was begun for it serves, or has ended before; `helper` is of no use after the latter. */
void helper_again_serves(struct helper *helper);
void helper_again_failed(struct helper *helper, const struct err *why);

/* It has ended: whoever waited for that goes on. `is_wished`: its qvm knows already. */
void helper_again_gone(struct guest *guest, int64_t item);
bool helper_again_is_wished(const struct guest *guest, int64_t item);

/* Of its image or folder; of a network its vdev. */
const char *helper_again_path(const struct again *again);

/* That item's, made from its row if it has none yet; NULL: it has no row, or memory is out. */
struct again *helper_again_of(struct guest *guest, int64_t item);

/* Begin with the next one now, whatever became of those before. One is on its way: nothing. */
void helper_again_now(struct again *again);

/* The helper of that item that is watched; NULL: none is. */
struct helper *helper_find(const struct guest *guest, int64_t item);

/* ---- helper_command.c: operators who wait ---- */

/* Tell them, and forget them. `err` NULL: it serves, and `note` says which. */
void helper_tell_asking(struct again *again, const char *note, const struct err *err);

#endif
