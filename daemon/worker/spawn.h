/* Making a qvm process: confined from its first instruction, with its descriptors and no others.
 *
 * What it is born with stands in proto/spawn_fds.h. Nothing here waits for the new process. */
#ifndef QVM_DAEMON_WORKER_SPAWN_H
#define QVM_DAEMON_WORKER_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct msg_definition;
struct partitions;
struct spares;

#define SPAWN_EXIT_FAILED 64 /* exit status of a child that never became a qvm */

struct spawn_request {
    const char *guest;
    int64_t instance;
    const char *nonce;
    const struct msg_definition *definition;
    const struct partitions *partitions; /* that it is told of; NULL: none */
    bool ends_on_reboot;                 /* whatever the configuration says */
    uid_t uid;  /* of the process, and its gid; ignored unless we are root */
    int dir_fd; /* of the instance, see instance_dir.h */
    int log_fd; /* where the log is written to, and the socket's other end */
    int log_end_fd;
    int cgroup_fd;         /* the group that it is born in, see cgroup.h; -1: ours */
    int qvm_fd, vdev_fd;   /* the program, and the directory of the vdevs */
    int kvm_fd;            /* KVM_DEVICE; -1: there is none */
    struct spares *spares; /* one of which may have `uid`; NULL: there are none */
};

struct spawned {
    pid_t pid;
    bool is_spare;
    int pidfd;    /* the caller's */
    int ready_fd; /* read end of the readiness pipe, non-blocking, the caller's: what it reads is
                   * why the process could not become a qvm; without a word, it listens */
};

/* Find out what children can be given. Our own limit of open files is raised to the hard one. To be
 * called once. */
void spawn_init(void);

/* Permit a core file of so many bytes of each qvm from now on; before the first is made. */
void spawn_allow_core(uint64_t size);

/* Whether each qvm has namespaces of its own: not unless we are root, and the kernel lets us. */
bool spawn_has_namespaces(void);

int spawn_qvm(const struct spawn_request *request, struct spawned *spawned, struct err *err);

#endif
