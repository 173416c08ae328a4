/* How a process of ours is born; for spawn*.c and spare.c alone. */
#ifndef QVM_DAEMON_WORKER_SPAWN_INSIDE_H
#define QVM_DAEMON_WORKER_SPAWN_INSIDE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "proto/spawn_fds.h"

/* What the new process gets; the fork takes it along. */
struct spawn_birth {
    char *const *argv;
    int fds[SPAWN_FD_COUNT]; /* at these numbers; -1: nothing */
    int talk_fd;             /* the number at which it says why it cannot become a qvm */
    int qvm_fd;              /* the program */
    int vdev_fd;             /* the directory of vdevs, for SPAWN_FD_VDEVS */
    int cgroup_fd;           /* the group that it is born in; -1: ours */
    uid_t uid;               /* and gid; ignored unless we are root */
    bool has_network;        /* the host's, where it has namespaces of its own otherwise */
};

/* What all children get alike; found out by spawn_init(). */
struct spawn_common {
    struct rlimit files;
    struct rlimit core;
    int parent_pidfd; /* our own; -1: none */
    int nice;         /* as we have it; children of who has a real-time priority begin at 0 */
    bool is_root;
    bool has_namespaces; /* of its own for each child */
};

/* Make a process with its pidfd. Negative: errno of clone3. It is confined before it runs the
 * program, or says on `talk_fd` why not, and ends with SPAWN_EXIT_FAILED. */
pid_t spawn_birth(const struct spawn_birth *birth, int *pidfd);

struct msg_spawn;
struct partitions;
struct spawn_host;

/* Put what qvmd.conf declares into `spawn`, in texts of `from` and of `*host`, which is to be
 * freed. -ENOMEM. */
int spawn_tell_host(const struct partitions *from, struct spawn_host **host,
                    struct msg_spawn *spawn);

/* ---- in the child: nothing here allocates, locks or returns ---- */

void __attribute__((noreturn))
spawn_child(const struct spawn_birth *birth, const struct spawn_common *common);

void __attribute__((noreturn)) spawn_child_fail(int talk_fd, const char *step);

/* What a tree holds besides libraries. */
struct spawn_extra {
    int fd;             /* of it, on the host; -1: an empty directory */
    const char *parent; /* a directory that is made for it; NULL: the root */
    const char *name;   /* below the root, with its parent */
    bool is_file;       /* false: a directory */
    bool is_device;     /* a file that is one */
    bool is_writable;
    bool is_proc; /* instead: /proc, with our own processes; `fd` is ignored */
};
#define SPAWN_EXTRAS_MAX 3

/* Leave the host's tree of files for one that is read-only and holds the directories of libraries
 * and `extras`. Returns a descriptor (O_PATH) of the first of these, from which no way leads back.
 * On failure `*step` says at what, errno why, and it returns -1. */
int spawn_child_tree(const struct spawn_extra *extras, size_t count, const char **step);

/* In the child that is a copy of us: default actions for all signals, none blocked. */
void spawn_child_reset_signals(void);

/* Fork for `birth`, of which the group and where it talks count, into namespaces of its own where
 * there are any. 0: we are the child. */
pid_t spawn_fork(const struct spawn_birth *birth, int *pidfd);

#endif
