/* Making a helper: a process that serves, by vhost-user, an image of a format that we do not read
 * ourselves, as a disk (qemu-storage-daemon), or a folder, as a file system (virtiofsd; both of the
 * package qemu-system-common); or that has a network, as frames over a socket (passt).
 *
 * It belongs to the guest's owner (of root's guests: to the owner of the image or the folder), has
 * no capability, its own namespaces, and a tree of files with libraries and that image or folder
 * alone. virtiofsd is root of a user namespace in which there is nobody but that owner, so its
 * capabilities are over what is his. Where qvms have no namespaces (not root, sanitizers), a helper
 * has none either, but for that one. passt has the host's network, of its files the one that names
 * resolvers, and for guests of root the rights of nobody.
 *
 * Loop thread; nothing here waits for the new process. */
#ifndef QVM_DAEMON_WORKER_HELPER_SPAWN_H
#define QVM_DAEMON_WORKER_HELPER_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

struct err;

enum helper_kind { HELPER_IMAGE, HELPER_FOLDER, HELPER_NETWORK };

struct helper_request {
    enum helper_kind kind;
    const char *format; /* of an image: qcow2, vhdx, vhd-dynamic */
    bool is_writable;
    bool reaches_host; /* a network: the host's loopback, at the router's address */
    uid_t owner;       /* of the guest */
    int source_fd;     /* the image, a regular file, open and not locked; or the folder; borrowed;
                        * of a network -1 */
    int dir_fd;        /* of the instance: nobody else's */
    int cgroup_fd;     /* -1: ours */
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

/* Whether what was read from `talk_fd`, which is spoilt, says that it serves; if not, it may be a
 * complaint, and then the last of these is in `words`. */
bool helper_serves(enum helper_kind kind, char *text, char *words, size_t size);

#endif
