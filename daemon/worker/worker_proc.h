/* One qvm process: whether it lives, and the conversation with it.
 *
 * The process is known by a verified pidfd and nothing else. A connection counts as up when the
 * process behind it is that very one and has proven to know the instance's nonce; only then do
 * its packets reach anybody. Loop thread. */
#ifndef QVM_DAEMON_WORKER_WORKER_PROC_H
#define QVM_DAEMON_WORKER_WORKER_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/msg.h"

struct err;
struct uv_loop_s;
struct worker_proc;

#define WORKER_HELLO_MS  2000 /* time to answer our hello */
#define WORKER_SOCKET    "control"
#define WORKER_TEXT_SIZE 256

struct worker_identity {
    pid_t pid;
    int64_t instance;
    const char *nonce; /* copied */
};

/* How a process ended. */
struct worker_end {
    bool is_child;           /* status is known: of waitid(2), as in siginfo_t */
    int code;                /* CLD_EXITED, CLD_KILLED, CLD_DUMPED */
    int status;              /* exit status, or signal */
    const char *spawn_error; /* it never became a qvm; NULL: it did */
};

struct worker_hooks {
    /* The conversation has begun. The descriptors that came are the worker's; take_fd to keep one.
     */
    void (*on_up)(void *context, const struct msg_hello *hello, int *fds, size_t fd_count);

    void (*on_packet)(void *context, enum msg_control control, const void *body, int *fds,
                      size_t fd_count);

    /* As of control_link_hooks; `socket` -1: that packet is no longer wanted. */
    void (*on_loaded)(void *context, int socket);

    /* As that of control_link_hooks. */
    void (*on_left)(void *context, const int *fds, size_t count);

    /* No conversation (any more), and why; the process may live. May come repeatedly. */
    void (*on_down)(void *context, const char *why);

    /* The process is gone. Destroy the worker in it or later. */
    void (*on_ended)(void *context, const struct worker_end *end);
};

/* Watch the process behind `pidfd` (the worker's after success). `dir_fd` holds its socket
 * (borrowed). `ready_fd` (the worker's after success; -1: none): the read end of its readiness
 * pipe, upon whose end we connect; without it, call worker_connect(). */
int worker_create(struct uv_loop_s *loop, const struct worker_identity *identity, int pidfd,
                  int ready_fd, int dir_fd, const struct worker_hooks *hooks, void *context,
                  struct worker_proc **worker, struct err *err);

/* Begin the conversation; on_up or on_down follows within WORKER_HELLO_MS, unless it ends. */
void worker_connect(struct worker_proc *worker);

bool worker_is_up(const struct worker_proc *worker);

/* Whether a conversation is up, or was begun and may still come up. */
bool worker_is_connected(const struct worker_proc *worker);

/* As control_link_send(); -ENOTCONN while it is not up, -EOPNOTSUPP when the qvm speaks an earlier
 * version of the protocol that does not have this packet. */
int worker_send(struct worker_proc *worker, enum msg_control control, const void *body,
                const int *fds, size_t fd_count, struct err *err);

/* As control_link_lend(), and errors as of worker_send(). */
int worker_lend(struct worker_proc *worker, enum msg_control control, const void *body, char **text,
                int *socket, struct err *err);

/* As control_link_be_wary() and control_link_go_on(), for this connection and all that follow. */
void worker_be_wary(struct worker_proc *worker);
void worker_go_on(struct worker_proc *worker, int *fds, size_t fd_count);

/* What was announced cannot be received: the connection is broken off. */
void worker_break(struct worker_proc *worker, const char *why);

/* Through the pidfd. -ESRCH: it is gone. */
int worker_signal(struct worker_proc *worker, int signal, struct err *err);

/* As process_set_nice(). -ESRCH: it is gone. */
int worker_set_nice(const struct worker_proc *worker, int nice, struct err *err);

/* As process_hurry(), for one that was sent SIGKILL. -ECHILD: it is not a child, whose pid nobody
 * else can have yet. */
int worker_hurry(const struct worker_proc *worker, struct err *err);

/* Forget the process, which lives on if it lives. NULL is fine. */
void worker_destroy(struct worker_proc *worker);

#endif
