/* A spare: a qvm that waits to be told which guest it is (proto/spawn_fds.h). */
#ifndef QVM_WORKER_CONTROL_SPARE_H
#define QVM_WORKER_CONTROL_SPARE_H

/* Not to be read or traced by others of our user, and no core file; unless qvmd permitted one
 * (RLIMIT_CORE): a process that may not be read leaves none. */
void spare_hide(void);

/* Wait for the order and put its descriptors at their numbers. `argv` shows the order afterwards.
 * Returns the guest's name; NULL: there is none, or nothing was understood. */
const char *spare_wait(char **argv);

#endif
