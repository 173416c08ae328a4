/* What a qvm sends as the descriptors of a region: whether they are. For shmem.c alone. */
#ifndef QVM_DAEMON_SHMEM_TOLD_H
#define QVM_DAEMON_SHMEM_TOLD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>

#include "proto/shmem.h"

#define SHMEM_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) /* of memory and board */

/* Memory of `size` bytes, a board, bells. */
bool shmem_are_of_region(const int fds[SHMEM_FD_COUNT], uint64_t size);

/* Whether both are of the same file. */
bool shmem_is_same(int one, int other);

#endif
