/* Spares: qvm processes born ahead, so that a start need not wait for namespaces, the program and
 * its libraries.
 *
 * A spare is confined as any qvm, runs the program already, and waits to be told which instance it
 * is. It has a uid of its own, holds nothing of any guest, and dies with qvmd. One that was made
 * from a program, vdevs or libraries that have changed since is never used. A program that does
 * not know the word SPARE_ARG makes no spares. Starts work without them in the same way.
 *
 * Loop thread. */
#ifndef QVM_DAEMON_WORKER_SPARE_H
#define QVM_DAEMON_WORKER_SPARE_H

#include <stdbool.h>
#include <sys/types.h>

#include "proto/spawn_fds.h"

struct err;
struct spares;
struct uv_loop_s;

#define SPARES_MAX   16
#define SPARE_NO_UID ((uid_t)-1)

struct spares_env {
    struct uv_loop_s *loop;
    unsigned count; /* that are kept; at most SPARES_MAX; 0: none are made */
    const char *qvm_path, *vdev_dir;
    bool (*are_wanted)(void *context); /* whether anything can be started now */
    uid_t (*pick_uid)(void *context);  /* for the next one; SPARE_NO_UID: there is none */
    /* The control group that one of that uid is born in (O_CLOEXEC, taken over; -1: none), whether
     * that is still the one that an instance gets, and: it is dead, or was an instance. */
    int (*make_group)(void *context, uid_t uid, int *cgroup_fd);
    bool (*is_fit)(void *context, int cgroup_fd);
    void (*drop_group)(void *context, uid_t uid);
    void *context;
};

/* None is made before spares_make_soon(). */
int spares_create(const struct spares_env *env, struct spares **spares, struct err *err);

/* End them all. The memory goes when the loop has run the closing of their handles. */
void spares_destroy(struct spares *spares);

/* Nobody wants them any more, for now. */
void spares_end(struct spares *spares);

/* Make those that are missing when the loop has nothing else to do, or `delay_ms` later. */
void spares_make_soon(struct spares *spares, unsigned delay_ms);

/* The uid of one that runs this very program with these vdevs; SPARE_NO_UID: there is none. */
uid_t spares_offer(struct spares *spares, int qvm_fd, int vdev_fd);

/* Whether one has this uid. */
bool spares_has_uid(const struct spares *spares, uid_t uid);

/* The one with this uid becomes `guest`'s qvm: it gets the descriptors (-1: none) at their numbers
 * and is the caller's, with its pidfd. -ENOENT: it is gone; nothing has happened. */
int spares_take(struct spares *spares, uid_t uid, const char *guest, const int fds[SPAWN_FD_COUNT],
                pid_t *pid, int *pidfd);

#endif
