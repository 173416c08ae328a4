/* Frames over a stream: each has its size before it, four bytes in the order of networks. So does
 * passt speak, and QEMU's `-netdev stream`.
 *
 * Frames of the contract begin with virtio's header, which the stream does not have: it is left
 * out, and is empty in what comes. The other end is a stranger: a size that no frame has loses it.
 * System calls: sendto and read, neither of which waits. The slot's lock is held. */
#ifndef QVM_WORKER_VDEV_FRAMES_H
#define QVM_WORKER_VDEV_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct frames;
struct vdev_piece;

/* On the connected socket `fd`, borrowed, which does not wait (O_NONBLOCK). NULL: out of memory. */
struct frames *frames_create(int fd);
void frames_destroy(struct frames *frames);

/* Begin anew on another connection: what was on its way on the last one is lost. */
void frames_restart(struct frames *frames, int fd);

/* As queue_send and queue_receive of vdev.h. What was taken goes out with frames_flush(), which is
 * to be called whenever there is room again. */
int frames_send(struct frames *frames, const struct vdev_piece *pieces, uint32_t count);
size_t frames_receive(struct frames *frames, void *to, size_t size);
void frames_flush(struct frames *frames);

/* The other end has ended, or broke the protocol: nothing comes or goes any more. */
bool frames_are_over(const struct frames *frames);

#endif
