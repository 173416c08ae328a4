/* Giving up the host: what a qvm could still reach by a name (landlock).
 *
 * Works on the calling thread and those that it makes from then on. There is no way back. */
#ifndef QVM_WORKER_LOCKDOWN_CONFINE_H
#define QVM_WORKER_LOCKDOWN_CONFINE_H

struct err;

/* From here on no file can be opened, made or changed by its path, no TCP port be used, no abstract
 * socket of others be connected to and no process outside be signalled, each as far as this kernel
 * can refuse it. Descriptors that are open already stay what they are. A kernel without landlock
 * refuses nothing, and that is no failure: namespaces, uid and seccomp stand there alone. */
int confine_from_host(struct err *err);

/* The version of landlock that this kernel has; 0: none. */
int confine_landlock_version(void);

#endif
