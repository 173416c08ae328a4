/* Adaptive coalescing: how long a disk's I/O thread lets requests gather, what network cards
 * have as interrupt moderation.
 *
 * Who is woken up looks at once, as a rule. But a guest that has many small requests under way and
 * computes between them is slowed down by a device that is quicker than itself: each request has a
 * doorbell then, and an interrupt, and these are exits. With a delay between waking up and looking,
 * several requests share one of each. Whether that pays depends on the guest, on how many requests
 * it has under way and on the host's disk, and is visible in one thing alone: how many requests
 * there are in a time. So it is tried: some requests with another delay, and the better one stays.
 * Not with a guest that has one request at a time; one that goes on so has delays that bring no
 * second request, and is noticed at once. Nor where requests are large: an exit more or less is
 * nothing beside what they move.
 *
 * Threads: the caller's; nothing here waits. */
#ifndef QVM_WORKER_VDEV_COALESCE_H
#define QVM_WORKER_VDEV_COALESCE_H

#include <stdbool.h>
#include <stdint.h>

struct coalesce {           /* all zeroes: a device that has just been made */
    uint32_t level, before; /* how long they are; what it was before a trial */
    bool is_trial;
    uint32_t next;          /* level that is tried next, or was last */
    uint64_t begin_ns;      /* of what is being measured; 0: nothing is */
    uint32_t count;         /* its requests, */
    uint64_t bytes;         /* and what they move */
    bool is_deep;           /* two of them came at once */
    uint64_t cost_ns;       /* of a request, without the trial */
    uint32_t lonely;        /* delays in a row that brought no second request */
    uint32_t penalty, left; /* measurements without a trial; those that are left */
};

/* A round is over, and began `begun` requests of so many bytes in all. `now_ns` is of any clock
 * that only grows. */
void coalesce_round(struct coalesce *coalesce, uint64_t now_ns, uint32_t begun, uint64_t bytes);

/* The delay before the next look; 0: none. At most 1 ms. */
uint64_t coalesce_delay_ns(const struct coalesce *coalesce);

#endif
