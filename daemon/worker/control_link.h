/* One control connection to a qvm: packets both ways, with descriptors.
 *
 * The other side is a stranger that may lie: what it sends is bounded, checked by proto/msg.h, and
 * taken a few packets at a time so that a flood leaves the others their turn. What cannot be sent
 * waits here up to a limit; qvmd never waits. Loop thread. */
#ifndef QVM_DAEMON_WORKER_CONTROL_LINK_H
#define QVM_DAEMON_WORKER_CONTROL_LINK_H

#include <stddef.h>
#include <sys/types.h>

#include "proto/msg.h"

struct control_link;
struct err;
struct uv_loop_s;

#define CONTROL_LINK_QUEUE_MAX 64 /* packets that wait to be sent */

struct control_link_hooks {
    /* A packet; `body` and the descriptors are the link's and are gone afterwards (take_fd what is
     * to stay). */
    void (*on_packet)(void *context, enum msg_control control, const void *body, int *fds,
                      size_t fd_count);

    /* Only after control_link_be_wary(): a packet with descriptors is there, which somebody else
     * has to receive from `socket`, that one packet and nothing more. control_link_go_on() then. */
    void (*on_loaded)(void *context, int socket);

    /* Only after control_link_be_wary(): close these, which are taken over, without waiting. The
     * last one of a connection comes from control_link_destroy(). */
    void (*on_left)(void *context, const int *fds, size_t count);

    /* It is over: closed by the other side, broken, or something was sent that is no packet. The
     * link must be destroyed then or later; nothing comes any more. */
    void (*on_lost)(void *context, const char *why);
};

/* Connect to the socket `name` in the directory `dir_fd`. -ECONNREFUSED: nobody listens there;
 * -EAGAIN: too many wait to be accepted. */
int control_link_connect(struct uv_loop_s *loop, int dir_fd, const char *name,
                         const struct control_link_hooks *hooks, void *context,
                         struct control_link **link, struct err *err);

/* Who listens at the other end (SO_PEERCRED: whoever called listen()). */
int control_link_peer(const struct control_link *link, pid_t *pid);

/* Send a packet with up to MSG_PACKET_FDS descriptors, which stay the caller's. -EAGAIN: too many
 * wait already; -EMSGSIZE: larger than a packet may be; -ENOTCONN: the link is over. */
int control_link_send(struct control_link *link, enum msg_control control, const void *body,
                      const int *fds, size_t fd_count, struct err *err);

/* Text of a packet and the socket (the link's) for somebody else who sends it, with descriptors
 * that we never have. Errors as of control_link_send(): -EAGAIN as soon as any packet waits. */
int control_link_lend(struct control_link *link, enum msg_control control, const void *body,
                      char **text, int *socket, struct err *err);

/* From now on no descriptor of the other side's is received here: close(2) of it might wait. */
void control_link_be_wary(struct control_link *link);

/* The packet that was announced was received by somebody else, who lets us have these descriptors
 * of it (-1: not this one); they are the link's as those of on_packet. */
void control_link_go_on(struct control_link *link, int *fds, size_t fd_count);

/* Take what has arrived, at once: for the last words of a process that has ended. */
void control_link_drain(struct control_link *link);

/* Nothing is called any more; NULL is fine. */
void control_link_destroy(struct control_link *link);

#endif
