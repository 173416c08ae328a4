/* A console: bytes that a device says, kept in a ring, given to sessions; bytes that sessions type,
 * given to the device.
 *
 * A device (any thread) writes into the ring and goes on, whoever reads or does not. Sessions are
 * pumped by the control thread: each has its own place in the ring; one that does not read falls
 * behind and then loses bytes, which a line of ours tells it where they are missing. Any number of
 * sessions up to the limit reads; one writes: the oldest that is not read-only, or the last that
 * came to steal the keyboard. What others type is thrown away, and a line tells them so. When the
 * writer leaves, the next one takes over, and is told. Typed bytes wait until the device has room:
 * a session is not read while it has none.
 *
 * The first byte after silence wakes the control thread (one write to an eventfd) if a session is
 * there; while it is awake further bytes cost no system call. Between two pumps it waits, at first
 * CONSOLE_BATCH_MS, and ever longer (CONSOLE_BATCH_MAX_MS) while the device keeps writing, until
 * somebody types: an echo does not wait. Without a session nothing wakes up in this process.
 *
 * Lines of ours look like CONSOLE_LINE. A guest can write the same: who must be sure looks at
 * qvmd's events.
 *
 * Threads: console_write, console_marker and console_input_resume from any thread; all others are
 * the control thread's. System calls at run time: futex and write (to an eventfd) on vCPU threads;
 * fstat, fcntl, ioctl(FIONBIO), epoll_ctl, poll, recvfrom, sendto, read, write, close on the
 * control thread. The process ignores SIGPIPE. */
#ifndef QVM_WORKER_CONSOLE_H
#define QVM_WORKER_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct console;
struct err;
struct uv_loop_s;

#define CONSOLE_SESSIONS_MAX 16u    /* of one console */
#define CONSOLE_INPUT_MAX    65536u /* typed bytes that wait for the device */
#define CONSOLE_BATCH_MS     2u   /* pause between two pumps while a device keeps writing: first */
#define CONSOLE_BATCH_MAX_MS 10u  /* and later */
#define CONSOLE_IDLE_MS      100u /* the same when no session takes anything */

#define CONSOLE_LINE(text_) "\r\n-- qvm: " text_ " --\r\n"

/* Typed bytes for the device: returns how many it took. After fewer than `count` no more come
 * before console_input_resume. */
typedef size_t (*console_input_fn)(void *context, const uint8_t *data, size_t count);

/* A console with a new ring. */
int console_create(struct uv_loop_s *loop, struct console **console, struct err *err);

/* Ends all sessions. The memory goes when the loop has run the closing of its handles: run it once
 * more (uv_run) before uv_loop_close. Nobody may write any more. NULL is fine. */
void console_destroy(struct console *console);

/* The sealed memfd of the ring (proto/console.h), for qvmd. Borrowed; lives as long as the
 * console. */
int console_ring_fd(const struct console *console);

/* Who gets what is typed; before it is set (and after NULL), sessions are not read. */
void console_set_input(struct console *console, console_input_fn fn, void *context);

/* The device has room again. Any thread. */
void console_input_resume(struct console *console);

/* Ring at `fd` (non-blocking, borrowed) when there is something new, as bell.h says. Before the
 * first write. */
void console_set_bell(struct console *console, int fd);

/* Sessions hear of bytes once the device has been silent for so long (or half of the ring is full),
 * rather than at once; 0 as at the start. Before the first write. */
void console_set_silence(struct console *console, uint64_t ms);

/* Bytes from the device. Any thread, never blocks, never fails. */
void console_write(struct console *console, const uint8_t *data, size_t size);

/* A line of ours between the guest's: CONSOLE_LINE with `text`. */
void console_marker(struct console *console, const char *text);

enum console_flag {
    CONSOLE_READ_ONLY = 1, /* a session that does not type */
    CONSOLE_STEAL = 2,     /* becomes the writer at once; who was it reads on and is told */
    CONSOLE_PLAIN = 4,     /* no lines of ours about lost bytes and writers: files and pipes */
};

/* Where a session begins. */
#define CONSOLE_FROM_OLDEST (UINT64_MAX - 1) /* with all that is still in the ring */
#define CONSOLE_FROM_NOW    UINT64_MAX       /* with what comes next */

/* A session at `fd` (a stream socket's end), which becomes the console's: closed when the peer
 * closes, at an error, or at the end. `flags` is a set of console_flag. -EMFILE:
 * CONSOLE_SESSIONS_MAX are there (`fd` stays the caller's after any failure). */
int console_attach(struct console *console, int fd, unsigned flags, uint64_t from, struct err *err);

/* A line of ours to somebody who gets no session: `fd` is a stream socket, and stays the caller's.
 */
void console_refuse(int fd, const char *why);

/* A session at two descriptors, as a terminal's or a file's: either may be -1 (no input, no
 * output), both may be the same. Pipes and terminals are made non-blocking and get their old flags
 * back at the end. They become the console's like above. */
int console_attach_pair(struct console *console, int in_fd, int out_fd, unsigned flags,
                        uint64_t from, struct err *err);

/* Type from outside a session (`console.write`): returns how many bytes were taken, fewer than
 * `size` when CONSOLE_INPUT_MAX are waiting or no device listens. */
size_t console_type(struct console *console, const uint8_t *data, size_t size);

struct console_stats {
    uint64_t written; /* bytes that the device wrote */
    uint64_t lost;    /* bytes that sessions lost, all together */
    uint32_t session_count;
};

void console_get_stats(const struct console *console, struct console_stats *stats);

/* Give sessions all there is, waiting at most `timeout_ms` for those that read slowly: before the
 * process ends. */
void console_flush(struct console *console, unsigned timeout_ms);

#endif
