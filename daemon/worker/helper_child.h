/* A helper's child; for helper_spawn.c alone. */
#ifndef QVM_DAEMON_WORKER_HELPER_CHILD_H
#define QVM_DAEMON_WORKER_HELPER_CHILD_H

struct helper_request;

/* What it takes along, wherever that is. */
struct helper_fds {
    int talk, words;
    int listen;  /* a socket that listens; for passt its connection */
    int source;  /* the image or the folder; -1: none */
    int program; /* O_PATH */
};

/* Give up one thing after the other, wait until it is let go, and become the program. */
_Noreturn void helper_child(const struct helper_request *request, const struct helper_fds *fds);

#endif
