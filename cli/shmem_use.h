/* qvmctl shmem, as far as it is a client of a region itself: <qvm/shmem.h> for scripts. */
#ifndef QVM_CLI_SHMEM_USE_H
#define QVM_CLI_SHMEM_USE_H

#include <stdbool.h>
#include <stdint.h>

struct cli;

/* What the command's options say. */
struct shmem_use {
    uint64_t create; /* bytes of the region if it is not there; 0: it must be there */
    bool follows;
};

/* `arguments`: the region, and what is behind it. Each returns the exit status. */
int shmem_use_read(const struct cli *cli, const struct shmem_use *use, int count, char **arguments);
int shmem_use_write(const struct cli *cli, const struct shmem_use *use, int count,
                    char **arguments);
int shmem_use_notify(const struct cli *cli, const struct shmem_use *use, int count,
                     char **arguments);
int shmem_use_wait(const struct cli *cli, const struct shmem_use *use, int count, char **arguments);

#endif
