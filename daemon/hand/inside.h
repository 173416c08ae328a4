/* Between a hand and who watches it: for hand*.c alone. */
#ifndef QVM_DAEMON_HAND_INSIDE_H
#define QVM_DAEMON_HAND_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <uv.h>

#include "daemon/hand/hand.h"

/* What a hand is to do; the fork takes it along. */
struct hand_order {
    enum {
        HAND_OPEN_FILES,
        HAND_AWAIT_UNLOCKED,
        HAND_REMOVE_LISTENER,
        HAND_RECEIVE,
        HAND_OPEN_TAPS,
        HAND_TAKE_DEVICES,
        HAND_GIVE_DEVICES,
        HAND_LOOK_AT_DEVICES,
        HAND_CLOSE
    } step;
    int socket; /* HAND_RECEIVE: whose; -1: none */
    uid_t owner;
    struct hand_file *files; /* HAND_OPEN_TAPS: their paths are the words of taps */
    size_t count;
    const char *root; /* HAND_LOOK_AT_DEVICES: as of pci.h; not copied */
    struct hand_device *devices;
    size_t device_count;
    int *closing; /* HAND_CLOSE: what is owned, and closed by the hand at last */
    size_t closing_count;
    void (*closed)(void *data); /* HAND_CLOSE: who wants to know; NULL: nobody */
    void *closed_data;
    char **texts; /* what they point to, owned */
    size_t text_count;
    char id[HAND_ID_SIZE]; /* HAND_AWAIT_UNLOCKED */
    unsigned deadline_ms;
};

/* Copy the files; on failure -ENOMEM, and hand_order_fini() all the same. */
int hand_order_copy(struct hand_order *order, const struct hand_file *files, size_t count);
void hand_order_fini(struct hand_order *order);

/* It was not done in its time: -ETIMEDOUT, in words. */
void hand_order_late(const struct hand_order *order, bool is_stuck, struct err *err);

/* Of a connection to somebody who may not answer. */
#define HAND_SOCKET_TYPE (SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)

/* What a hand sends: one packet per opened file with its descriptor (or without, if it keeps that),
 * then the end. One that keeps some waits then, for orders to pass them on or for the end of its
 * socket, and answers each order by another end packet. */
struct hand_packet {
    bool is_end;
    bool is_exclusive;
    bool is_kept;
    char id[HAND_ID_SIZE];
    int64_t size;
    size_t bad;
    uint64_t failed;
    bool is_untouched;
    struct pci_config config;
    struct err err;                 /* in the end packet alone, and what follows */
    char override[PCI_DRIVER_SIZE]; /* of hand_result */
};
#define HAND_PACKET_FILE_SIZE offsetof(struct hand_packet, err)

/* An order to pass kept files on: with it comes the socket to which `text` is to be sent. */
struct hand_pass {
    size_t count, size;
    uint16_t files[HAND_PASS_MAX]; /* indexes of the files, in the order in which they are sent */
    char text[HAND_TEXT_MAX];
};

/* The only descriptor of a hand besides 0, 1 and 2 until it opens files. */
#define HAND_SOCKET 3
#define HAND_OTHER  4 /* HAND_RECEIVE: the socket with the packet */

struct hand_child {
    pid_t pid;
    int pidfd;
    int socket; /* SOCK_SEQPACKET, our end */
};

/* Fork a hand for `order`. */
int hand_child_start(const struct hand_order *order, struct hand_child *child, struct err *err);

/* Send an order with a copy of `fd`. -EAGAIN: the hand does not read. */
int hand_child_send(int socket, const struct hand_pass *pass, int fd);

/* One packet from a hand: 1; 0 its end is closed; -EAGAIN nothing there yet; or another negative
 * errno. `*fd` gets the packet's descriptor, -1 if there is none. */
int hand_child_receive(int socket, struct hand_packet *packet, int *fd);

/* In the hand: whether close(2) of this file waits for nobody, so that qvmd may have it. */
bool hand_closes_at_once(int fd);

/* Send a packet with descriptors; `flags` of sendmsg(2). */
int hand_send(int socket, const void *packet, size_t size, const int *fds, size_t fd_count,
              int flags);

/* In the hand: pass on what it keeps, as it is told, until its socket is closed. `fds` of the
 * files, -1 of those that are not kept. */
void hand_keep(int socket, const int *fds, size_t count);

/* In the hand: receive a packet from `from`, and pass its descriptors back. */
void hand_sift(int from, struct hand_packet *end);

/* In the hand: send the next descriptor to qvmd. */
int hand_tell(const struct hand_packet *packet, int fd);

/* In the hand: close all but `closing`, wait until qvmd has closed its own, and end. */
_Noreturn void hand_close_last(const struct hand_order *order, int socket);

/* In qvmd: close its own. */
void hand_close_ours(struct hand_order *order);

/* In the hand, as root: the steps with devices. `kept` is what was opened, for hand_keep(). */
#define HAND_TAKEN_MAX (1 + 2 * HAND_DEVICES_MAX)
int hand_take(const struct hand_order *order, int kept[HAND_TAKEN_MAX], struct hand_packet *end);
int hand_give(const struct hand_order *order, struct hand_packet *end);
int hand_look(const struct hand_order *order, struct hand_packet *end);

/* In the hand: make taps, and keep them in `kept`. */
int hand_open_all_taps(const struct hand_order *order, int *kept, struct hand_packet *end);

/* In the hand: become user `uid`, and tell its name for messages. */
#define HAND_USER_SIZE 64
int hand_become(uid_t uid, char user[HAND_USER_SIZE], struct err *err);

/* In the hand, while it is root: no program that it could run would gain anything. */
int hand_bound(struct err *err);

/* In the hand, as the owner: from here on it can open, lock and send files, and end. All else kills
 * it. Its opened files count against HAND_FILES_MAX. */
int hand_confine(struct err *err);

/* The same for one that connects to sockets of the owner's as well; and that makes and removes
 * them. */
int hand_confine_connecting(struct err *err);
int hand_confine_listening(struct err *err);

/* In the hand, as root: it needs its rights, and no program that it could run would gain anything.
 * From here on it can do what hand_take() and hand_give() do, and end. All else kills it. */
int hand_confine_root(struct err *err);

/* In the hand: from here on it can do what tap_open() does, wait, send, and end. All else kills it.
 */
int hand_confine_taps(struct err *err);

/* In the hand: the file that an absolute path leads to, as O_PATH descriptor, or -errno. By the
 * path alone: /proc's links to what other processes have are not followed (-ELOOP), since a user
 * may have mounted there what he likes, in a namespace of his own, and given it the look of the
 * host's file systems. */
int hand_walk(const char *path);

/* In the hand: make a file that is not there yet (-EEXIST), in the directory that its path leads
 * to. */
int hand_make_at(const char *path, int flags, mode_t mode);

/* In the hand: the directory of what an absolute path names, as hand_walk(), and the name in it. */
int hand_walk_parent(const char *path, const char **name);

/* In the hand: remove the socket at a path, if nobody listens there. */
int hand_remove(const char *path, struct err *err);

/* In the hand: open one file. */
int hand_open(const struct hand_file *file, const char *user, struct hand_opened *opened,
              struct err *err);

/* In the hand: wait until nobody has the file open for writing. */
int hand_await(const char *path, const char *id, const char *user, struct err *err);

/* ---- in qvmd ---- */

struct hands {
    uv_loop_t *loop;
    struct hand *first, *last;
    size_t most, running, closers, queued, stuck;
    bool is_closing;
    void (*on_closed)(void *data);
    void *data;
};

struct hand {
    struct hands *hands;
    struct hand *previous, *next; /* in the list of all; the queue is those not started */
    struct hand_order order;
    hand_fn on_done;
    void *data;
    struct hand_result result;

    bool is_started;
    bool is_answered;  /* the end packet came */
    bool is_reported;  /* the callback was called, or must not be */
    bool is_timed_out; /* and was killed therefore */
    bool is_stuck;     /* and did not die */
    bool is_closing;
    bool is_keeper; /* it keeps files */
    bool is_opened; /* all are open: what comes now are ends alone */

    struct hand_child child;
    uv_poll_t answer; /* its socket */
    uv_poll_t death;  /* its pidfd */
    uv_timer_t timer;
    int open_handles;
};

/* Others wait for what a hand closes, a device that is to come home for one: those that close have
 * their turns among themselves. */
bool hand_closes(const struct hand *hand);

/* Among whom it counts while it runs. */
size_t *hand_counter(const struct hand *hand);

/* Whether it may start; and the first of those not started that may. */
bool hand_has_turn(const struct hand *hand);
struct hand *hand_first_queued(const struct hands *hands);

/* Processes of one owner that opened something, and that nobody can end. */
size_t hand_stuck_of(const struct hands *hands, uid_t owner);

/* A hand that is to be submitted, in the list of all; NULL: no memory. */
struct hand *hand_make(struct hands *hands, uid_t owner, const struct hand_file *files,
                       size_t count, unsigned deadline_ms, hand_fn on_done, void *data);

/* One that was not submitted. */
void hand_free(struct hand *hand);

/* Start it, or let it wait for its turn; freed on failure. */
int hand_submit(struct hand *made, struct hand **hand, struct err *err);

/* Hear what it sends. */
void hand_listen(struct hand *hand);

#endif
