/* Between a hand and who watches it: for hand*.c alone. */
#ifndef QVM_DAEMON_HAND_INSIDE_H
#define QVM_DAEMON_HAND_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/hand.h"

/* What a hand is to do; the fork takes it along. */
struct hand_order {
    enum { HAND_OPEN_FILES, HAND_AWAIT_UNLOCKED } step;
    uid_t owner;
    struct hand_file *files;
    size_t count;
    char **texts; /* what they point to, owned */
    size_t text_count;
    char id[HAND_ID_SIZE]; /* HAND_AWAIT_UNLOCKED */
    unsigned deadline_ms;
};

/* Copy the files; on failure -ENOMEM, and hand_order_fini() all the same. */
int hand_order_copy(struct hand_order *order, const struct hand_file *files, size_t count);
void hand_order_fini(struct hand_order *order);

/* What a hand sends: one packet per opened file with its descriptor, then the end. */
struct hand_packet {
    bool is_end;
    bool is_exclusive;
    char id[HAND_ID_SIZE];
    int64_t size;
    size_t bad;
    struct err err; /* in the end packet alone */
};
#define HAND_PACKET_FILE_SIZE offsetof(struct hand_packet, err)

struct hand_child {
    pid_t pid;
    int pidfd;
    int socket; /* SOCK_SEQPACKET, our end */
};

/* Fork a hand for `order`. */
int hand_child_start(const struct hand_order *order, struct hand_child *child, struct err *err);

/* One packet from a hand: 1; 0 its end is closed; -EAGAIN nothing there yet; or another negative
 * errno. `*fd` gets the packet's descriptor, -1 if there is none. */
int hand_child_receive(int socket, struct hand_packet *packet, int *fd);

/* In the hand: become user `uid`, and tell its name for messages. */
#define HAND_USER_SIZE 64
int hand_become(uid_t uid, char user[HAND_USER_SIZE], struct err *err);

/* In the hand: open one file. */
int hand_open(const struct hand_file *file, const char *user, struct hand_opened *opened,
              struct err *err);

/* In the hand: wait until nobody has the file open for writing. */
int hand_await(const char *path, const char *id, const char *user, struct err *err);

/* Lock an image as QEMU's tools do, without waiting. */
int hand_lock(int fd, bool is_writable, const char *path, struct err *err);

/* Wait for as long as it takes until no lock for writing is left. `fd` is open for writing. */
int hand_lock_wait(int fd, const char *path, struct err *err);

#endif
