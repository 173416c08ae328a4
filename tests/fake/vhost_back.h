/* A back end in a thread of the test, at the other end of a socket pair: does what the protocol
 * says, writes down what it was told, and misbehaves as it is told by the test. */
#ifndef QVM_TESTS_FAKE_VHOST_BACK_H
#define QVM_TESTS_FAKE_VHOST_BACK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/vhost/wire.h"

#define VHOST_BACK_HEARD_MAX 64u

/* What it was told: the message, and how many descriptors came with it. */
struct vhost_heard {
    struct wire_message message;
    uint32_t fd_count;
    int fd; /* the first one, kept open; -1: none */
};

struct vhost_back {
    uint64_t features, protocol, queue_count; /* that it offers */
    uint32_t config_size;                     /* of its configuration: bytes 1, 2, 3 ... */
    uint16_t base;                            /* where it stops */

    /* How it answers `bad_request`, if that is not 0. */
    uint32_t bad_request;
    enum {
        VHOST_BACK_OTHER_REQUEST,
        VHOST_BACK_OTHER_VERSION,
        VHOST_BACK_NO_REPLY_FLAG,
        VHOST_BACK_TOO_LONG,
        VHOST_BACK_TOO_SHORT,
        VHOST_BACK_REFUSES, /* by a status, or a base, that makes no sense */
        VHOST_BACK_ENDS,    /* in the middle of it */
    } how;

    int fd; /* the front end's, for the test to take */
    int own_fd;
    pthread_t thread;
    struct vhost_heard heard[VHOST_BACK_HEARD_MAX];
    uint32_t heard_count; /* once it has ended */
};

void vhost_back_start(struct vhost_back *back);

/* Wait for its end, which the front end's brings; then `heard` may be looked at. */
void vhost_back_join(struct vhost_back *back);
void vhost_back_fini(struct vhost_back *back);

/* The message of that kind that came as number `nth`, or NULL. */
const struct vhost_heard *vhost_back_heard(const struct vhost_back *back, uint32_t request,
                                           uint32_t nth);

#endif
