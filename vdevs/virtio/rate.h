/* A bound on how much of something happens in a second: a token bucket, kept as the time at which
 * what was taken would be paid for. RATE_BURST_NS worth of it may be taken at once; whoever takes
 * more pays by waiting longer. No part allocates or reads a clock.
 *
 * Threads: the caller's lock is held around every call. */
#ifndef QVM_VDEVS_VIRTIO_RATE_H
#define QVM_VDEVS_VIRTIO_RATE_H

#include <stdint.h>

#define RATE_BURST_NS UINT64_C(100000000)

struct rate {
    uint64_t per_second; /* 0: there is no bound */
    uint64_t paid_ns;    /* of the caller's clock */
};

/* Nanoseconds until something may be taken; 0: now. */
uint64_t rate_wait_ns(const struct rate *rate, uint64_t now_ns);

void rate_take(struct rate *rate, uint64_t now_ns, uint32_t amount);

#endif
