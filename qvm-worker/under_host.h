/* What qvmd tells a qvm of the host, for its configuration. */
#ifndef QVM_WORKER_UNDER_HOST_H
#define QVM_WORKER_UNDER_HOST_H

struct err;
struct life;
struct msg_spawn;

/* Put partitions, clusters and memory regions into `life`, whose names stay those of `spawn`.
 * -EINVAL: what qvmd says makes no sense; -ENOMEM. */
int under_host(const struct msg_spawn *spawn, struct life *life, struct err *err);

#endif
