/* `qvm --under-qvmd NAME`: a VM whose host's resources are qvmd's (proto/spawn_fds.h). */
#ifndef QVM_WORKER_UNDER_H
#define QVM_WORKER_UNDER_H

/* Returns the exit status; the exit record is written. */
int under_main(const char *name);

#endif
