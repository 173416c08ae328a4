/* Where the threads of an instance run: the CPUs that its configuration wants, those that its
 * partition has, and how the kernel is told.
 *
 * The threads of vCPUs are known by the names that they give themselves (vcpu0, vcpu1 ...). A qvm
 * that lies about that moves its own threads about, within what its guest may have. Any thread. */
#ifndef QVM_DAEMON_GUEST_PLACE_H
#define QVM_DAEMON_GUEST_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/base/cpu_list.h"

struct err;
struct msg_resource;
struct partition;
struct partitions;
struct store_instance;

enum place_policy { PLACE_NORMAL, PLACE_ROUND_ROBIN, PLACE_FIFO, PLACE_DEADLINE };

/* What is wanted for some vCPUs. */
struct place_wish {
    uint32_t first, count;
    bool has_cpus;
    cpu_set_t cpus;
    enum place_policy policy;
    uint32_t priority;
    uint64_t period_ns, budget_ns;
};

/* What an item of the ask wants. -EINVAL: it makes no sense. */
int place_read(const struct msg_resource *item, struct place_wish *wish, struct err *err);

/* Whether vCPUs of this partition may run so. Refusals: -EINVAL, -EPERM. */
int place_check(const struct partitions *partitions, const struct partition *partition,
                const struct place_wish *wish, struct err *err);

/* The CPUs that only one guest can have, of those that are wanted. */
cpu_set_t place_exclusive(const struct partition *partition, const struct place_wish *wish);

/* All of it for one instance. */
struct place {
    const struct place_wish *wishes;
    size_t count;
    cpu_set_t shared, housekeeping; /* without a wish; of other threads */
    bool divides_cpus;              /* otherwise only what was wished for is done */
};

/* Whether there is anything to tell the kernel. */
bool place_matters(const struct place *place);

/* The CPUs that any of its threads may use. */
cpu_set_t place_all(const struct place *place);

/* Tell the kernel about the threads of the instance's process, which is a child that was not
 * reaped. Scheduling takes CAP_SYS_NICE, CPUs do not. -EPERM, -EBUSY: the kernel does not want
 * that; -ESRCH: there are not all threads, as when it is just ending. */
int place_apply(const struct place *place, const struct store_instance *instance, struct err *err);

#endif
