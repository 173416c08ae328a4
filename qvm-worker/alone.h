/* `qvm [word]... [@file]...`: a VM without a daemon, on the terminal that it was started from. */
#ifndef QVM_WORKER_ALONE_H
#define QVM_WORKER_ALONE_H

#include <stddef.h>

/* Returns the exit status. `env` is the environment, for $env{} and QVM_VDEVS. */
int alone_main(const char *const *words, size_t count, const char *const *env);

#endif
