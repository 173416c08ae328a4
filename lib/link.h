/* A connection to qvmd, by which a program is a client of a region: never waits. One thread. */
#ifndef QVM_LIB_LINK_H
#define QVM_LIB_LINK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include "lib/reply.h"
#include "proto/shmem.h"

#define LINK_LINE_MAX 16384u /* bytes of what qvmd says before we read it */

struct link {
    int fd; /* -1: there is none */
    char in[LINK_LINE_MAX];
    size_t taken, used;
    int fds[SHMEM_FD_COUNT]; /* what came, in its order; -1: nothing */
    size_t fd_count;         /* more than SHMEM_FD_COUNT: too many came, and were closed */
};

struct link_wish {
    const char *region;
    uint64_t size;
    ino_t memory; /* that it has of an earlier qvmd; 0: none */
    unsigned client;
};

void link_init(struct link *link);

/* Also closes descriptors that nobody took. */
void link_close(struct link *link);

/* -ENOENT, -ECONNREFUSED, -EACCES ... as of connect(2); -EAGAIN: qvmd has too many who want to. */
int link_open(struct link *link, const struct sockaddr_un *address);

/* Ask to be a client. -ENOTCONN: it has hung up. */
int link_ask(struct link *link, const struct link_wish *wish);

/* The next line, valid until the next call: 1; 0: nothing came so far; -ENOTCONN: it has hung up;
 * -EPROTO: a line without end. */
int link_read(struct link *link, struct reply_value *line);

#endif
