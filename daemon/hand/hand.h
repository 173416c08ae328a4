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

#include "daemon/host/pci_bind.h"
#include "proto/base/err.h"

struct hand;
struct hands;
struct uv_loop_s;

#define HAND_KILL_MS   1000 /* how long SIGKILL may take before a hand is called stuck */
#define HAND_QUEUE_MAX 1024 /* hands that wait for their turn */
#define HAND_STUCK_MAX 32   /* stuck hands of one owner; then he gets none */
#define HAND_FILES_MAX 256  /* files of one hand */
#define HAND_ID_SIZE   48   /* an identity with its NUL */
#define HAND_PASS_MAX  64   /* files that are passed on at once */
#define HAND_TEXT_MAX  8192 /* of the packet that they come with */

/* All hands of a qvmd: at most `most` at once (stuck ones do not count), and half of that for one
 * owner, whose files may hang; the others wait. Those of hands_close() are not among them: as many
 * may close at once, of whomever. */
int hands_create(struct uv_loop_s *loop, size_t most, struct hands **hands, struct err *err);

/* Kill all hands; no callback of theirs is called any more. `on_closed` (may be NULL) is called
 * when nothing of them is left in the loop, perhaps at once; stuck ones are left to themselves. Not
 * from a hand's callback. */
void hands_destroy(struct hands *hands, void (*on_closed)(void *data), void *data);

/* Hands that outlived SIGKILL and are not gone yet. */
size_t hands_stuck(const struct hands *hands);

/* Forget a hand whose callback was not called yet: it is killed, and never will be called. */
void hand_cancel(struct hand *hand);

/* Whether a tap comes with the kernel's back end (proto/base/vhost_node.h) for each of its queues:
 * AUTO: where the host has one. */
enum hand_vhost { HAND_VHOST_OFF, HAND_VHOST_AUTO, HAND_VHOST_ON };

struct hand_file {
    const char *path;  /* absolute */
    const char *where; /* FILE:LINE, put before messages; NULL: none */
    bool is_readable, is_writable;
    bool is_new;      /* a file that is made here, for writing; -EEXIST: it is there already */
    bool is_folder;   /* a directory that can be read, and entered; no lock */
    bool is_socket;   /* one that somebody listens at: `fd` is connected to him, and never waits */
    bool is_kept;     /* of a socket: qvmd never has its descriptor, which is for hand_pass() */
    bool is_listener; /* a Unix socket that is made there (proto/base/listener.h); it is_kept */
    size_t queues;    /* hand_open_taps(): of the first of a tap's queues: how many it has */
    enum hand_vhost vhost; /* and whether as many back ends of the kernel's follow them */
    bool is_stream; /* false: a regular file or block device; true: character device, FIFO, file */
};

struct hand_opened {
    int fd;                /* O_CLOEXEC, taken away by the callback (take_fd) or closed after it */
    bool is_kept;          /* `fd` is -1: close(2) might wait, so qvmd never has it: hand_pass() */
    char id[HAND_ID_SIZE]; /* identity: `file:DEV:INODE`, `folder:...`, `block:MAJOR:MINOR`,
                            * `char:...` */
    int64_t size;          /* bytes of a file or block device; 0 for streams */
    bool is_exclusive;     /* what reserve_claim() is to be told */
    struct pci_config config; /* hand_look_at_devices() */
};

struct hand_result {
    struct err err;                 /* code 0: success; -ETIMEDOUT: the deadline */
    bool is_stuck;                  /* with -ETIMEDOUT: and it does not die either */
    size_t bad;                     /* index of the file that failed */
    struct hand_opened *files;      /* as many and in the order as asked for; owned by the hand */
    size_t count;                   /* 0 on failure, but for hand_look_at_devices() */
    uint64_t failed;                /* hand_give_devices(): bit N: the N-th of them is not well */
    bool is_untouched;              /* hand_take_devices() failed before it changed anything */
    char override[PCI_DRIVER_SIZE]; /* and that is why: the driver_override of `bad` is this, and
                                     * not the one of its home; else empty */
    struct hand *keeper; /* it has what is_kept; NULL: nothing is. Gone after the callback */
};

typedef void (*hand_fn)(void *data, struct hand_result *result);

/* Open files as user `owner`. Everything is copied. Files (not streams) are locked on the very
 * open file description that comes back, at the bytes at which QEMU's tools lock raw images: for
 * writing against everybody, for reading against writers; the lock lasts until the last copy of
 * the descriptor is closed. Relative paths, directories and what is of another type are refused.
 * Result codes: -EACCES -ENOENT ... as of open(2), -EBUSY locked by another program (named by its
 * pid where the kernel knows it), -EINVAL of the wrong type. `*hand` (may be NULL) is for
 * hand_cancel(). -EAGAIN: HAND_QUEUE_MAX wait already, or HAND_STUCK_MAX of that owner are
 * stuck. */
int hand_open_files(struct hands *hands, uid_t owner, const struct hand_file *files, size_t count,
                    unsigned deadline_ms, hand_fn on_done, void *data, struct hand **hand,
                    struct err *err);

/* From the callback of a hand that keeps files, and nowhere else: it sends the packet `text` on
 * `socket` with the descriptors of `files` (indexes of those it was told to open, at most
 * HAND_PASS_MAX), and `on_done` is called as for a hand that opens; from there it can be told to
 * send more. It is let go after a callback that told it nothing. -EMSGSIZE: the text is too long.
 */
int hand_pass(struct hand *keeper, int socket, const char *text, const size_t *files, size_t count,
              hand_fn on_done, void *data, struct err *err);

/* Receive one packet from `socket` (borrowed until the callback), which is there already, and pass
 * back those of its descriptors that close(2) does not wait for, events and files memory is made
 * of, and sockets and KVM's statistics, which are for hands_close(). The others are is_kept, and go
 * with the hand. Its text is lost. */
int hand_receive(struct hands *hands, uid_t owner, int socket, unsigned deadline_ms,
                 hand_fn on_done, void *data, struct hand **hand, struct err *err);

/* Close these descriptors, which are taken over: their last close may wait, for a device's reset or
 * for who knows what lies unread in a socket, and so a hand does it, some time. */
void hands_close(struct hands *hands, const int *fds, size_t count);

/* The same, with somebody who wants to know: `then` is called when it is done, or given up after
 * the time that it may take; perhaps at once, and never after hands_destroy(). */
void hands_close_then(struct hands *hands, const int *fds, size_t count, void (*then)(void *data),
                      void *data);

/* Wait until nobody holds a lock on the file at `path` whose identity was `id` (hand_opened), that
 * is until the last copy of a dead qvm's descriptor is gone. A path that names another file by
 * now, or nothing, is free: nobody can be granted the old one by it. -ETIMEDOUT: still locked. */
int hand_await_unlocked(struct hands *hands, uid_t owner, const char *path, const char *id,
                        unsigned deadline_ms, hand_fn on_done, void *data, struct hand **hand,
                        struct err *err);

/* Remove the socket that was made at `path`, if nobody listens there any more. */
int hand_remove_listener(struct hands *hands, uid_t owner, const char *path, unsigned deadline_ms,
                         hand_fn on_done, void *data, struct hand **hand, struct err *err);

struct hand_tap {
    const char *words; /* NAME or NAME,BRIDGE */
    size_t queues;     /* 1 to TAP_QUEUES_MAX */
    enum hand_vhost vhost;
};

#define HAND_NO_VHOST (-1)

/* Open taps with the right that this takes and no other; the result's files are the queues of the
 * first, unless `vhost` is off the back ends for them (of size HAND_NO_VHOST each: there is none),
 * then those of the next; all of them are kept, for hand_pass(), since the last close of a
 * tap waits until the kernel has removed it. A tap that is in use is waited for some seconds. `bad`
 * is the index of the tap that failed; errors as of tap_open(), and -EPERM: qvmd has no right to
 * taps. */
int hand_open_taps(struct hands *hands, const struct hand_tap *taps, size_t count,
                   unsigned deadline_ms, hand_fn on_done, void *data, struct hand **hand,
                   struct err *err);

/* ---- devices of the host: as root, without following paths that somebody chose ---- */

#define HAND_DEVICES_MAX 64 /* functions of one hand */

struct hand_device {
    char bdf[PCI_BDF_SIZE];
    struct pci_home home;    /* to be given back to it */
    uint16_t vendor, device; /* that it must have; both 0: whatever it is */
    uint64_t serial;         /* Device Serial Number that it must have; 0: any, or none */
    int group;               /* IOMMU group */
    bool is_wanted;          /* taking: it is opened; false: it only goes along with its group */
    bool is_kept;            /* giving back: it stays VFIO's */
};

/* Give functions to VFIO and open those that are wanted: the result's files are the container, then
 * for each wanted one, in their order, its group and itself; all of them are kept, for hand_pass(),
 * since the last close of a device waits until that is reset. Refused before anything was changed:
 * -ENODEV it is not there, or another one; -EBUSY the host uses it; -EOPNOTSUPP no IOMMU; -EINVAL a
 * bridge; -ESTALE an operator has set a driver_override that their home does not tell: what is to
 * be known before it is changed comes back as `override`, to be written down for the next try.
 * Afterwards: -EBUSY another program holds its group; -EIO and others. What was changed then is for
 * hand_give_devices(). `bad` is the index in `devices`. */
int hand_take_devices(struct hands *hands, const struct hand_device *devices, size_t count,
                      unsigned deadline_ms, hand_fn on_done, void *data, struct hand **hand,
                      struct err *err);

/* Wait until nobody holds them any more, reset them, and bring home those that are not kept.
 * `failed` of the result: these could not be reset, and are still VFIO's, or their drivers did not
 * take them back; then `err` has the words of the first. -ETIMEDOUT: somebody holds one still. */
int hand_give_devices(struct hands *hands, const struct hand_device *devices, size_t count,
                      unsigned deadline_ms, hand_fn on_done, void *data, struct hand **hand,
                      struct err *err);

/* Read what configuration space tells of functions, which waits for resets: the result's files are
 * what was told so far, in their order, also after a failure. `root` as of pci.h, for ever. */
int hand_look_at_devices(struct hands *hands, const char *root, const char (*bdfs)[PCI_BDF_SIZE],
                         size_t count, unsigned deadline_ms, hand_fn on_done, void *data,
                         struct hand **hand, struct err *err);

#endif
