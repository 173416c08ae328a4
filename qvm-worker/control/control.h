/* The control socket: the one line between a qvm and qvmd.
 *
 * The qvm listens for its whole life; a new qvmd connects, both say hello, and the proven newcomer
 * replaces the connection in use. Whoever connects must have the daemon's uid, and must know the
 * instance's nonce before anything else he sends is read. A peer that sends garbage, or reads too
 * slowly for a bounded queue, is cut; nothing here ever blocks, and the guest goes on.
 *
 * Control thread only. System calls at run time: accept4 getsockopt recvmsg sendmsg close
 * epoll_ctl. */
#ifndef QVM_WORKER_CONTROL_H
#define QVM_WORKER_CONTROL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/msg.h"

struct control;
struct err;
struct uv_loop_s;

#define CONTROL_QUEUE_MAX 64 /* packets that wait for a slow reader; one more, and he is cut */

#define CONTROL_FDS_MAX 48 /* descriptors of one packet that we send */

/* Texts are borrowed until control_destroy. */
struct control_identity {
    const char *nonce;
    int64_t instance;
    uid_t daemon_uid;
};

/* From callbacks, everything may be called but control_destroy. */
struct control_events {
    /* Add to our hello what changes in a life (is_running, reboots); returns how many descriptors
     * (borrowed) of `fds` are sent with it. */
    size_t (*on_greet)(void *context, struct msg_hello *hello, int fds[CONTROL_FDS_MAX]);
    /* A proven daemon is connected; it has our hello. */
    void (*on_up)(void *context);
    /* A packet of it. Descriptors that are wanted are taken by setting them to -1; the others are
     * closed afterwards. `body` is struct msg_<type of the message>. */
    void (*on_message)(void *context, enum msg_control control, const void *body, int *fds,
                       size_t fd_count);
    /* The connection in use is gone, and no other has replaced it. `why` is for a log line. */
    void (*on_lost)(void *context, const char *why);
};

/* `listen_fd` listens already and is borrowed. */
int control_create(struct uv_loop_s *loop, int listen_fd, const struct control_identity *identity,
                   const struct control_events *events, void *context, struct control **control,
                   struct err *err);

/* Cuts everybody. The memory goes when the loop has run the closing of its handles. NULL is
 * fine. */
void control_destroy(struct control *control);

/* Send to the daemon. -ENOTCONN: there is none; -EOPNOTSUPP: it is of an earlier version, which
 * does not know that message; -EINVAL: it cannot be a packet (longer than MSG_PACKET_MAX, not
 * UTF-8). A daemon that does not read is cut, and that is 0, too. */
int control_send(struct control *control, enum msg_control message, const void *body);

/* The same with descriptors, at most CONTROL_FDS_MAX; borrowed until control_destroy, as those of
 * on_greet are: a packet that waits has no duplicates of them. */
int control_send_fds(struct control *control, enum msg_control message, const void *body,
                     const int *fds, size_t fd_count);

#endif
