/* Hands: short-lived children of qvmd that do what may block, as the guest's owner.
 *
 * A hand is forked, closes every descriptor that is not its own, becomes the owner (groups too;
 * looking them up may block and happens in the hand), does one step, sends back result and
 * descriptors, and ends; it dies with qvmd. It is watched by pidfd and has a deadline: then it is
 * killed, and if it outlives that by HAND_KILL_MS it is reported as stuck. qvmd never waits.
 *
 * qvmd's thread alone. Each function that starts a hand either fails at once (then its callback is
 * never called) or calls its callback exactly once, from the loop, unless cancelled. */
#ifndef QVM_DAEMON_HAND_H
#define QVM_DAEMON_HAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/base/err.h"

struct hand;
struct hands;
struct uv_loop_s;

#define HAND_KILL_MS   1000 /* how long SIGKILL may take before a hand is called stuck */
#define HAND_QUEUE_MAX 1024 /* hands that wait for their turn */
#define HAND_FILES_MAX 256  /* files of one hand */
#define HAND_ID_SIZE   48   /* an identity with its NUL */

/* All hands of a qvmd: at most `most` at once (stuck ones do not count), the others wait. */
int hands_create(struct uv_loop_s *loop, size_t most, struct hands **hands, struct err *err);

/* Kill all hands; no callback of theirs is called any more. `on_closed` (may be NULL) is called
 * when nothing of them is left in the loop, perhaps at once; stuck ones are left to themselves. Not
 * from a hand's callback. */
void hands_destroy(struct hands *hands, void (*on_closed)(void *data), void *data);

/* Hands that outlived SIGKILL and are not gone yet. */
size_t hands_stuck(const struct hands *hands);

/* Forget a hand whose callback was not called yet: it is killed, and never will be called. */
void hand_cancel(struct hand *hand);

struct hand_file {
    const char *path;  /* absolute */
    const char *where; /* FILE:LINE, put before messages; NULL: none */
    bool is_readable, is_writable;
    bool is_stream; /* false: a regular file or block device; true: character device, FIFO, file */
};

struct hand_opened {
    int fd;                /* O_CLOEXEC, taken away by the callback (take_fd) or closed after it */
    char id[HAND_ID_SIZE]; /* identity: `file:DEV:INODE`, `block:MAJOR:MINOR`, `char:...` */
    int64_t size;          /* bytes of a file or block device; 0 for streams */
    bool is_exclusive;     /* what reserve_claim() is to be told */
};

struct hand_result {
    struct err err;            /* code 0: success; -ETIMEDOUT: the deadline */
    bool is_stuck;             /* with -ETIMEDOUT: and it does not die either */
    size_t bad;                /* index of the file that failed */
    struct hand_opened *files; /* as many and in the order as asked for; owned by the hand */
    size_t count;              /* 0 on failure */
};

typedef void (*hand_fn)(void *data, struct hand_result *result);

/* Open files as user `owner`. Everything is copied. Files (not streams) are locked on the very
 * open file description that comes back, at the bytes at which QEMU's tools lock raw images: for
 * writing against everybody, for reading against writers; the lock lasts until the last copy of
 * the descriptor is closed. Relative paths, directories and what is of another type are refused.
 * Result codes: -EACCES -ENOENT ... as of open(2), -EBUSY locked by another program (named by its
 * pid where the kernel knows it), -EINVAL of the wrong type. `*hand` (may be NULL) is for
 * hand_cancel(). -EAGAIN: HAND_QUEUE_MAX wait already. */
int hand_open_files(struct hands *hands, uid_t owner, const struct hand_file *files, size_t count,
                    unsigned deadline_ms, hand_fn on_done, void *data, struct hand **hand,
                    struct err *err);

/* Wait until nobody holds a lock on the file at `path` whose identity was `id` (hand_opened), that
 * is until the last copy of a dead qvm's descriptor is gone. A path that names another file by
 * now, or nothing, is free: nobody can be granted the old one by it. -ETIMEDOUT: still locked. */
int hand_await_unlocked(struct hands *hands, uid_t owner, const char *path, const char *id,
                        unsigned deadline_ms, hand_fn on_done, void *data, struct hand **hand,
                        struct err *err);

#endif
