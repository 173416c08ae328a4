/* Control groups (cgroup v2): one for each instance, below a holder that is ours to divide.
 *
 * The holder is a unit of systemd's that is delegated (qvm-guests.service) and has made the group
 * `hold` in itself, or a group that the configuration names. It may come and go while qvmd runs: it
 * is looked for whenever a group is made. Without it instances have no group, and cgroups_lacks()
 * says what nobody enforces then. A group's descriptor is that of its directory (O_CLOEXEC, -1: no
 * group). The kernel answers all of this at once; nothing here waits. Any thread, but one at a
 * time. */
#ifndef QVM_DAEMON_CGROUP_H
#define QVM_DAEMON_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/cpu_list.h"

struct cgroups;
struct err;

#define CGROUP_ROOT   "/sys/fs/cgroup"
#define CGROUP_HOLDER CGROUP_ROOT "/qvm.slice/qvm-guests.service"
#define CGROUP_AUTO   "auto" /* settings of the configuration's option `cgroup` */
#define CGROUP_NONE   "none"

#define CGROUP_LACK_SIZE 256 /* bytes of a sentence of cgroups_lacks() */

/* What an instance may take: its RAM, and beside it what qvm, its kernel objects and the page
 * tables need. docs/design.md says how the figures were found. */
#define CGROUP_MEMORY_BASE       (INT64_C(32) << 20) /* bytes for a VM without RAM and vCPUs */
#define CGROUP_MEMORY_PER_VCPU   (INT64_C(1) << 20)
#define CGROUP_MEMORY_SHARE      64 /* and the 64th part of the RAM: page tables, twice */
#define CGROUP_PIDS_BASE         64 /* threads and processes beside the vCPUs */
#define CGROUP_MEMORY_PER_HELPER (INT64_C(96) << 20) /* its tables of an image, and data */
#define CGROUP_PIDS_PER_HELPER   80
#define CGROUP_WEIGHT_PER_VCPU   100
#define CGROUP_WEIGHT_MAX        10000

/* `setting`: CGROUP_AUTO (CGROUP_HOLDER, when it is there and delegated), CGROUP_NONE, or the
 * absolute path of a group, which is made if it is missing. `err`: the named one cannot be had. */
int cgroups_create(const char *setting, struct cgroups **cgroups, struct err *err);
void cgroups_destroy(struct cgroups *cgroups);

/* What is not enforced and why, as sentences (`has_huge`: some guests have huge pages); returns how
 * many of `most` were filled. */
int cgroups_lacks(struct cgroups *cgroups, bool has_huge, char (*lacks)[CGROUP_LACK_SIZE],
                  int most);

/* Whether the next instance gets a group. */
bool cgroups_has_holder(struct cgroups *cgroups);

/* Make the group `name` for an instance that has no RAM yet. `*fd` is -1 when there is no holder.
 * An empty one of that name is made anew. Negative: there is a holder, and it cannot be done. */
int cgroup_make(struct cgroups *cgroups, const char *name, int *fd, struct err *err);

/* Put the calling process into the group. Safe after a fork: nothing is allocated. */
int cgroup_enter(int fd);

/* The group of that name, or -1; and whether it has not been removed. */
int cgroup_open(const struct cgroups *cgroups, const char *name);
bool cgroup_is_there(int fd);

/* What the instance may take from now on. */
struct cgroup_limits {
    int64_t ram, vcpus;
    int64_t helpers;   /* processes beside the qvm */
    int64_t page_size; /* `ram` is in huge pages (hugetlb) of that size; 0: it is not */
    unsigned weight;   /* of one vCPU's CPU time; CGROUP_WEIGHT_PER_VCPU as others */
};
int cgroup_limit(const struct cgroups *cgroups, int fd, const struct cgroup_limits *limits,
                 struct err *err);

/* The CPUs and the memory node of all its processes, from now on; threads that were bound before
 * may be free afterwards. Where the controller is missing, nothing (see cgroups_lacks()), but for
 * the node: -EOPNOTSUPP. */
int cgroup_set_cpus(const struct cgroups *cgroups, int fd, const cpu_set_t *cpus, struct err *err);
int cgroup_set_node(const struct cgroups *cgroups, int fd, unsigned node, struct err *err);

/* How much memory cgroup_limit() allows. */
int64_t cgroup_memory_max(int64_t ram, int64_t vcpus);

/* SIGKILL to every process in it, forks in the making included. */
void cgroup_kill(int fd);

/* Whether the kernel killed a process of it for want of memory; `*by_limit`: for want of what its
 * own limit leaves it, rather than the host's. */
bool cgroup_was_oom(int fd, bool *by_limit);

/* Remove it; nothing there is success. -EBUSY: a process is still in it. */
int cgroup_remove(const struct cgroups *cgroups, const char *name, struct err *err);

/* Remove the group of every instance for which `is_needed` says no and which is empty. Returns how
 * many of them still hold a process. */
int cgroup_sweep(const struct cgroups *cgroups, int (*is_needed)(void *context, const char *name),
                 void *context);

/* What a group has taken. -1: the kernel does not tell (no controller, an older kernel). */
struct cgroup_usage {
    int64_t memory, memory_peak;             /* bytes, RAM that the guest touched included */
    int64_t cpu_ns, cpu_user_ns, cpu_sys_ns; /* of all its threads, vCPUs included */
};

/* Three small reads, some 0.05 ms in all. -ENODEV: there is no group (any more). */
int cgroup_read_usage(int fd, struct cgroup_usage *usage);

#endif
