/* How much memory this machine has. */
#ifndef QVM_DAEMON_HOST_MEMORY_H
#define QVM_DAEMON_HOST_MEMORY_H

#include <stdint.h>

struct err;

/* MemTotal of /proc/meminfo in bytes. */
int memory_total(int64_t *bytes, struct err *err);

/* The same from another file of that form: the format is proc(5)'s. -EINVAL: no such line. */
int memory_total_of(const char *path, int64_t *bytes, struct err *err);

#endif
