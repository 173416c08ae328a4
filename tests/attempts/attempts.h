/* Things that a qvm must not be able to do. Each function tries one in the calling thread. */
#ifndef TESTS_ATTEMPTS_H
#define TESTS_ATTEMPTS_H

#include <errno.h>
#include <sys/types.h>
#include <unistd.h>

/* Whom it is tried at: numbers and paths as they are on the host. */
struct attempt_target {
    pid_t neighbour, qvmd;
    const char *config, *qvmd_socket, *neighbour_socket, *abstract; /* the last: a name */
};

/* 0 or more: it was possible; otherwise a negative errno. */
typedef long (*attempt_fn)(const struct attempt_target *target);

#define ATTEMPT(name, door, no_door, bare) long attempt_##name(const struct attempt_target *target);
#include "tests/attempts/attempts.def"
#undef ATTEMPT

/* A call of the kernel, with its errno. */
#define attempt_call(...) attempt_result(syscall(__VA_ARGS__))

static inline long attempt_result(long result)
{
    return result < 0 ? -errno : result;
}

#endif
