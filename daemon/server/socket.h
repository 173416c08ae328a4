/* The socket that the API is reached at. */
#ifndef QVM_DAEMON_SERVER_SOCKET_H
#define QVM_DAEMON_SERVER_SOCKET_H

#include <sys/types.h>

struct err;

/* A socket that listens at `path`, in place of whatever an earlier daemon left there; it is the
 * caller's, non-blocking. -EBUSY: somebody answers there, named by his pid; -ENAMETOOLONG. */
int server_listen(const char *path, mode_t mode, int *fd, struct err *err);

/* A socket that somebody else made and keeps: only who may connect is ours to say. `given_fd` is
 * taken over, also on failure. */
int server_take_over(int given_fd, mode_t mode, int *fd, struct err *err);

#endif
