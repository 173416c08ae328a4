/* The descriptors that a qvm is born with under qvmd: these and no others, at these numbers.
 *
 * The first acts of a qvm, in this order: PR_SET_DUMPABLE off, listen(SPAWN_FD_CONTROL),
 * close(SPAWN_FD_READY). qvmd sees the end of that pipe and connects: nobody polls, nobody sleeps.
 * (listen() must be the qvm's own: SO_PEERCRED shows whoever called it.) If nobody is listening
 * when the pipe ends, the process has ended, and its exit record and status say why.
 *
 * Until it is told otherwise the kernel kills a qvm whose qvmd ends (PR_SET_PDEATHSIG), so that
 * none is left behind half built. The qvm switches that off with prctl(PR_SET_PDEATHSIG, 0) right
 * before its vCPUs run for the first time, that is before it sends `running`: from there on it
 * outlives qvmd. (The filter of the running qvm need not allow prctl.)
 *
 * Its environment is empty, its working directory is "/", its arguments "qvm", SPAWN_ARG,
 * the guest's name; everything else stands in SPAWN_FD_START. The console ring is the qvm's own:
 * qvmd gets its descriptor with the qvm's first packet (hello) on each control connection. */
#ifndef QVM_PROTO_SPAWN_FDS_H
#define QVM_PROTO_SPAWN_FDS_H

enum spawn_fd {
    SPAWN_FD_NULL = 0,    /* stdin: /dev/null */
    SPAWN_FD_LOG = 1,     /* stdout: the log of this guest, O_APPEND */
    SPAWN_FD_LOG_TOO = 2, /* stderr: the same open file */
    SPAWN_FD_CONTROL = 3, /* AF_UNIX SOCK_SEQPACKET, bound by qvmd, not listening yet */
    SPAWN_FD_START = 4,   /* sealed memfd: JSON of STRUCT(spawn), from offset 0; read with pread */
    SPAWN_FD_EXIT = 5,    /* regular file, empty, O_WRONLY: JSON of STRUCT(ending), one write */
    SPAWN_FD_VDEVS = 6,   /* O_PATH directory in which vdev-NAME.so lie */
    SPAWN_FD_READY = 7,   /* write end of a pipe; to be closed after listen(), never written */
    SPAWN_FD_COUNT
};

#define SPAWN_ARG "--under-qvmd" /* argv: "qvm", SPAWN_ARG, name of the guest */

#define CONTROL_VERSION        1 /* of the control protocol; a side also speaks the one before */
#define CONTROL_VERSION_OLDEST 1

#endif
