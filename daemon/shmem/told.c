#include "daemon/shmem/told.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "daemon/host/anon.h"

/* A memfd of that size, sealed as ours are. */
static bool is_memory(int fd, uint64_t size)
{
    struct stat stat;

    return fd >= 0 && fcntl(fd, F_GET_SEALS) == SHMEM_SEALS && fstat(fd, &stat) == 0 &&
           S_ISREG(stat.st_mode) && (uint64_t)stat.st_size == size;
}

bool shmem_is_same(int one, int other)
{
    struct stat a, b;

    return fstat(one, &a) == 0 && fstat(other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

bool shmem_are_of_region(const int fds[SHMEM_FD_COUNT], uint64_t size)
{
    bool are =
        is_memory(fds[SHMEM_FD_MEMORY], size) && is_memory(fds[SHMEM_FD_BOARD], SHMEM_BOARD_SIZE);

    for (size_t i = SHMEM_FD_BELLS; are && i < SHMEM_FD_COUNT; i++) {
        are = anon_is(fds[i], "[eventfd]");
    }
    return are;
}
