/* The descriptors that a qvm is born with under qvmd: these and no others, at these numbers.
 *
 * The first acts of a qvm, in this order: PR_SET_DUMPABLE off (unless RLIMIT_CORE
 * permits a core file), listen(SPAWN_FD_CONTROL),
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
 * qvmd gets its descriptor with the qvm's first packet (hello) on each control connection.
 *
 * The log is no file but a pair of sockets, so that nothing a qvm does takes room on a disk: what
 * it writes waits in the kernel, which bounds it, until qvmd puts it into the file. Each packet is
 * one piece of the log, mostly a line; a packet of one zero byte is the bell: the console ring has
 * something new. The socket does not block: what finds no room is lost, and the qvm says how many
 * lines that were as soon as there is room. The other end stays open in the qvm, too, so that
 * writing goes on while there is no qvmd; the next one gets it with hello, behind the ring. */
#ifndef QVM_PROTO_SPAWN_FDS_H
#define QVM_PROTO_SPAWN_FDS_H

enum spawn_fd {
    SPAWN_FD_NULL = 0,    /* stdin: /dev/null */
    SPAWN_FD_LOG = 1,     /* stdout: the log, AF_UNIX SOCK_SEQPACKET, O_NONBLOCK */
    SPAWN_FD_LOG_TOO = 2, /* stderr: the same end */
    SPAWN_FD_CONTROL = 3, /* AF_UNIX SOCK_SEQPACKET, bound by qvmd, not listening yet */
    SPAWN_FD_START = 4,   /* sealed memfd: JSON of STRUCT(spawn), from offset 0; read with pread */
    SPAWN_FD_EXIT = 5, /* regular file, empty, O_RDWR: JSON of STRUCT(ending), at most 8192 bytes */
    SPAWN_FD_VDEVS = 6,   /* O_PATH directory in which vdev-NAME.so lie */
    SPAWN_FD_READY = 7,   /* write end of a pipe; to be closed after listen(), never written */
    SPAWN_FD_KVM = 8,     /* /dev/kvm, to make a VM ahead of the grant; without it /dev/null; the
                           * first qvmd gave none */
    SPAWN_FD_LOG_END = 9, /* the log's other end, for the next qvmd; it may be missing */
    SPAWN_FD_COUNT
};

#define SPAWN_ARG "--under-qvmd" /* argv: "qvm", SPAWN_ARG, name of the guest */

/* A spare is a qvm that is born before anybody knows which guest it will be, confined already. Its
 * arguments are "qvm", SPARE_ARG, and room for SPARE_GUEST_SIZE bytes. It has SPAWN_FD_NULL, _LOG
 * and _LOG_TOO, all /dev/null, SPAWN_FD_VDEVS, and its end of a SOCK_SEQPACKET pair at
 * SPAWN_FD_SPARE. There it says SPARE_READY and waits for one packet, a struct spare_order with the
 * other descriptors; it puts them at their numbers and goes on as if it had been born with them.
 * The end of that socket ends it. */
#define SPARE_ARG        "--spare"
#define SPARE_READY      "spare"
#define SPAWN_FD_SPARE   SPAWN_FD_CONTROL /* until it is replaced by that */
#define SPARE_GUEST_SIZE 64

struct spare_order {
    unsigned fds; /* bit N: a descriptor for number N comes along, in ascending order */
    char guest[SPARE_GUEST_SIZE];
};

/* Of the control protocol. qvmd's hello tells the newest that it speaks; the qvm's tells the one
 * that is spoken: the newest of both. Neither sends what the other does not know (the SINCE of
 * proto/messages.def); members that may be left out are added without a new version. */
#define CONTROL_VERSION        6
#define CONTROL_VERSION_OLDEST 1

#endif
