/* Making a qvm process: confined from its first instruction, with its descriptors and no others.
 *
 * What it is born with stands in proto/spawn_fds.h. Nothing here waits for the new process. */
#ifndef QVM_DAEMON_SPAWN_H
#define QVM_DAEMON_SPAWN_H

#include <stdint.h>
#include <sys/types.h>

struct err;
struct msg_definition;

#define SPAWN_EXIT_FAILED 64 /* exit status of a child that never became a qvm */

struct spawn_request {
    const char *guest;
    int64_t instance;
    const char *nonce;
    const struct msg_definition *definition;
    uid_t uid;           /* of the process, and its gid; ignored unless we are root */
    int dir_fd;          /* of the instance, see instance_dir.h */
    int log_fd;          /* the instance's log, O_APPEND */
    int qvm_fd, vdev_fd; /* the program, and the directory of the vdevs */
};

struct spawned {
    pid_t pid;
    int pidfd;    /* the caller's */
    int ready_fd; /* read end of the readiness pipe, non-blocking, the caller's: what it reads is
                   * why the process could not become a qvm; without a word, it listens */
};

/* Remember what children are to get back: the signals that we ignore, and the limit of open files,
 * of which our own is raised to the hard one. To be called once, after signals were ignored. */
void spawn_init(void);

int spawn_qvm(const struct spawn_request *request, struct spawned *spawned, struct err *err);

#endif
