/* What a qvm has to say, on its way into files: the lines of its log, and what stands in its
 * console ring.
 *
 * The qvm has no file. Its log comes as packets through a socket (proto/spawn_fds.h), in which the
 * kernel keeps what qvmd has not taken; each line gets its time. The console is read from the
 * shared ring when the qvm rings the bell or says a line (behind which a bell may have found no
 * room), and for as long afterwards as it may be silent about more. Both are bounded in what they
 * may write in a time: a qvm that floods fills its socket and its ring, and not the disk or qvmd's
 * day. What is lost by that is counted, in the files too.
 *
 * The other side is a stranger: nothing here blocks on what it sent. A silent qvm wakes nobody.
 * Loop thread. */
#ifndef QVM_DAEMON_WORKER_FEED_H
#define QVM_DAEMON_WORKER_FEED_H

#include <stdint.h>

struct console_ring;
struct err;
struct feed;
struct log_file;
struct uv_loop_s;

#define FEED_TICK_MS     100    /* between two looks at a console that goes on */
#define FEED_BELL_MS     300    /* more than BELL_MS of the qvm: no more is coming without a bell */
#define FEED_LOG_BURST   131072 /* bytes of log that are taken at once */
#define FEED_LOG_PER_MS  64     /* and as a mean */
#define FEED_RING_BURST  1048576 /* bytes of console */
#define FEED_RING_PER_MS 320
#define FEED_PACKET_MAX  8192u /* bytes of a packet; what is longer is cut */

struct feed_hooks {
    void (*on_log)(void *context);     /* the log has grown */
    void (*on_console)(void *context); /* there is something new in the ring, in its file too */

    /* The console has been written down up to this offset of the ring, `end` in its file. */
    void (*on_position)(void *context, uint64_t offset, uint64_t end);

    void (*on_left)(void *context, int fd); /* of feed_be_wary(): close it without waiting */
};

/* `log_fd` becomes the feed's after success (-1: the qvm writes a file of its own, as those of
 * earlier versions did). The files are borrowed; `console` NULL: it is not written down. -EPROTO:
 * `log_fd` is no socket. */
int feed_create(struct uv_loop_s *loop, int log_fd, struct log_file *log, struct log_file *console,
                const struct feed_hooks *hooks, void *context, struct feed **feed, struct err *err);

/* From now on no descriptor is received with the log: close(2) of it might wait. With the first one
 * the log is over. */
void feed_be_wary(struct feed *feed);

/* The ring to read (borrowed until feed_destroy), from `offset` on. */
void feed_set_ring(struct feed *feed, const struct console_ring *ring, uint64_t offset);

/* Take all that is there: its process is gone, and nothing comes any more. */
void feed_finish(struct feed *feed);

/* NULL is fine. */
void feed_destroy(struct feed *feed);

#endif
