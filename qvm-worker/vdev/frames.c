/* Frames over a stream. */
#include "qvm-worker/vdev/frames.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vdevs/include/qvm/vdev.h"

#define SIZE_BYTES sizeof(uint32_t)
#define FRAME_MIN  14u    /* its addresses and its type */
#define FRAME_MOST 65535u /* what the other end takes */

struct frames {
    int fd;
    bool is_over;
    size_t in_start, in_end;   /* of `in`: what was not taken yet */
    size_t out_start, out_end; /* of `out`: what did not go yet */
    uint8_t in[SIZE_BYTES + FRAME_MOST];
    uint8_t out[SIZE_BYTES + FRAME_MOST];
};

struct frames *frames_create(int fd)
{
    struct frames *frames = calloc(1, sizeof(*frames));

    if (frames != NULL) {
        frames->fd = fd;
    }
    return frames;
}

void frames_restart(struct frames *frames, int fd)
{
    frames->fd = fd;
    frames->is_over = false;
    frames->in_start = frames->in_end = frames->out_start = frames->out_end = 0;
}

void frames_destroy(struct frames *frames)
{
    free(frames);
}

bool frames_are_over(const struct frames *frames)
{
    return frames->is_over;
}

void frames_flush(struct frames *frames)
{
    while (!frames->is_over && frames->out_start < frames->out_end) {
        ssize_t n = send(frames->fd, frames->out + frames->out_start,
                         frames->out_end - frames->out_start, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n >= 0) {
            frames->out_start += (size_t)n;
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR) {
            frames->is_over = true;
        }
    }
}

int frames_send(struct frames *frames, const struct vdev_piece *pieces, uint32_t count)
{
    size_t skip = VDEV_FRAME_HEADER, size = 0;
    uint32_t told;

    frames_flush(frames);
    if (frames->is_over) {
        return -EPIPE;
    }
    if (frames->out_start < frames->out_end) {
        return -EAGAIN;
    }
    for (uint32_t i = 0; i < count; i++) {
        size_t left_out = pieces[i].size < skip ? (size_t)pieces[i].size : skip;
        size_t more = (size_t)pieces[i].size - left_out;

        if (more > FRAME_MOST - size) {
            return -EMSGSIZE;
        }
        memcpy(frames->out + SIZE_BYTES + size, (const uint8_t *)pieces[i].base + left_out, more);
        size += more;
        skip -= left_out;
    }
    if (size < FRAME_MIN) {
        return -EMSGSIZE;
    }
    told = htonl((uint32_t)size);
    memcpy(frames->out, &told, sizeof(told));
    frames->out_start = 0;
    frames->out_end = SIZE_BYTES + size;
    frames_flush(frames);
    return 0;
}

/* The size of the frame that is there as a whole; 0: there is none. */
static size_t whole(struct frames *frames)
{
    size_t there = frames->in_end - frames->in_start;
    uint32_t size;

    if (there < SIZE_BYTES) {
        return 0;
    }
    memcpy(&size, frames->in + frames->in_start, sizeof(size));
    size = ntohl(size);
    if (size < FRAME_MIN || size > FRAME_MOST) {
        frames->is_over = true;
        return 0;
    }
    return there - SIZE_BYTES >= size ? size : 0;
}

/* Whether something came. */
static bool take_more(struct frames *frames)
{
    ssize_t n;

    memmove(frames->in, frames->in + frames->in_start, frames->in_end - frames->in_start);
    frames->in_end -= frames->in_start;
    frames->in_start = 0;
    do {
        n = read(frames->fd, frames->in + frames->in_end, sizeof(frames->in) - frames->in_end);
    } while (n < 0 && errno == EINTR);
    frames->in_end += n > 0 ? (size_t)n : 0;
    frames->is_over = n == 0 || (n < 0 && errno != EAGAIN);
    return n > 0;
}

size_t frames_receive(struct frames *frames, void *to, size_t size)
{
    static const uint8_t header[VDEV_FRAME_HEADER];
    uint8_t *at = to;
    size_t frame = whole(frames), room, head;

    while (frame == 0 && !frames->is_over && take_more(frames)) {
        frame = whole(frames);
    }
    if (frame == 0) {
        return 0;
    }
    head = size < sizeof(header) ? size : sizeof(header);
    room = size - head < frame ? size - head : frame;
    memcpy(at, header, head);
    memcpy(at + head, frames->in + frames->in_start + SIZE_BYTES, room);
    frames->in_start += SIZE_BYTES + frame;
    return sizeof(header) + frame;
}
