/* One helper; for helper*.c alone. Loop thread. */
#ifndef QVM_DAEMON_GUEST_HELPER_INSIDE_H
#define QVM_DAEMON_GUEST_HELPER_INSIDE_H

#include "daemon/guest/inside.h"
#include "daemon/worker/helper_spawn.h"

struct helper {
    LIST_ENTRY(helper) link; /* of its guest, or of those that are ending */
    struct guests *guests;
    struct guest *guest; /* NULL: it is ending */
    int64_t instance;
    char *name;       /* in its row: the path of its image, or ASK_... and what follows */
    const char *path; /* in that: of its image or folder, or the vdev of its network */
    char said[STORE_MESSAGE_SIZE / 2]; /* of what it complained last, where it talks */
    pid_t pid;
    int pidfd, talk_fd, words_fd;
    size_t item; /* of the ask */
    enum helper_kind kind;
    bool is_listed, is_starting, is_late;
    bool is_over; /* it has ended, and its guest may have, too */
    uv_poll_t life, talk;
    uv_timer_t timer;
    int open_handles;
};

/* One without a process yet; `guest` is NULL if it is to end. NULL: out of memory. */
struct helper *helper_make(struct guests *guests, struct guest *guest, int64_t instance,
                           const char *name);

/* Hear of its end, by its pidfd. From here on it frees itself, when its handles are closed. */
int helper_watch(struct helper *helper, struct err *err);

/* Have it end; it is of no guest any more. */
void helper_end(struct helper *helper);

/* The guest goes on without it. */
void helper_tell_lost(struct helper *helper, const char *what);

#endif
