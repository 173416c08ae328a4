/* Making a helper: a process that serves an image of a format that we do not read ourselves, as a
 * disk, by vhost-user. It is qemu-storage-daemon (package qemu-system-common).
 *
 * It belongs to the guest's owner (of root's guests: to the image's owner), has no capability, its
 * own namespaces, and a tree of files with libraries and that image alone. Where qvms have no
 * namespaces (not root, sanitizers), it has none either.
 *
 * Loop thread; nothing here waits for the new process. */
#ifndef QVM_DAEMON_WORKER_HELPER_SPAWN_H
#define QVM_DAEMON_WORKER_HELPER_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

struct err;

struct helper_request {
    const char *format; /* qcow2, vhdx, vhd-dynamic */
    bool is_writable;
    uid_t owner;   /* of the guest */
    int image_fd;  /* the image, a regular file, open and not locked; borrowed */
    int dir_fd;    /* of the instance: nobody else's */
    int cgroup_fd; /* -1: ours */
};

struct helper_born {
    pid_t pid;
    int pidfd;
    int talk_fd;   /* it waits for a byte, then runs; says something when it serves; non-blocking */
    int words_fd;  /* read end of what it complains of; non-blocking */
    int socket_fd; /* a connection to it, for the qvm: answered when it serves */
};

/* All descriptors are the caller's. It does nothing before helper_let_go(); closed before that,
 * `talk_fd` ends it. */
int helper_spawn(const struct helper_request *request, struct helper_born *born, struct err *err);
int helper_let_go(const struct helper_born *born, struct err *err);

/* The last of its complaints, made fit for a sentence; empty: it had none. */
void helper_read_words(int words_fd, char *words, size_t size);

#endif
