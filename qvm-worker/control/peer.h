/* One connection of the control socket: packets in and out, bounded. For control.c alone. */
#ifndef QVM_WORKER_CONTROL_PEER_H
#define QVM_WORKER_CONTROL_PEER_H

#include <stdbool.h>
#include <stddef.h>

struct control_peer;
struct uv_loop_s;

struct control_peer_events {
    void (*on_packet)(void *context, struct control_peer *peer, const char *packet, size_t size,
                      int *fds, size_t fd_count);
    /* It has ended by itself or was cut for its conduct; not called after control_peer_cut. */
    void (*on_end)(void *context, struct control_peer *peer, const char *why);
};

/* NULL: no memory. `fd` (non-blocking) becomes the peer's on success. `buffer` of MSG_PACKET_MAX
 * bytes may be shared by all peers of a thread. */
struct control_peer *control_peer_create(struct uv_loop_s *loop, int fd, char *buffer,
                                         const struct control_peer_events *events, void *context);

/* Close. Its memory goes later, with the loop. */
void control_peer_cut(struct control_peer *peer);

/* Send or queue; `text` (heap) becomes the peer's; the descriptors (at most CONTROL_FDS_MAX) are
 * borrowed until the peer is cut, and sent with it. When the queue is full the peer ends (on_end).
 */
void control_peer_send(struct control_peer *peer, char *text, const int *fds, size_t fd_count);

#endif
