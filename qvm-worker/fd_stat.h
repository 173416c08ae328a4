/* What a descriptor is, behind the closed door: the C library's fstat() is a call that could look
 * at any path, and gets EPERM there. */
#ifndef QVM_WORKER_FD_STAT_H
#define QVM_WORKER_FD_STAT_H

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As fstat(2). */
static inline int fd_stat(int fd, struct stat *st)
{
    return (int)syscall(SYS_fstat, fd, st);
}

#endif
