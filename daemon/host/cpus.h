/* Which CPUs this machine has. */
#ifndef QVM_DAEMON_HOST_CPUS_H
#define QVM_DAEMON_HOST_CPUS_H

#include "proto/base/cpu_list.h"

struct err;

/* How many CPUs are online. */
int cpus_online(int *count, struct err *err);

/* Which CPUs are online; those from CPU_LIST_MAX on are -EINVAL. */
int cpus_online_set(cpu_set_t *cpus, struct err *err);

/* How many CPUs a list such as "0-3,8,10-11" of /sys/devices/system/cpu names; -EINVAL. */
int cpus_count_list(const char *list, int *count, struct err *err);

#endif
