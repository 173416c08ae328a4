/* The socket of a vdev of a qvm alone, at which programs of the host connect. */
#ifndef QVM_WORKER_CONTROL_LISTEN_H
#define QVM_WORKER_CONTROL_LISTEN_H

struct err;

/* Make it at `path`, and a process that removes it when this one is gone, however it ends. Errors
 * as of listener_open(). */
int listen_open(const char *path, int *fd, struct err *err);

#endif
