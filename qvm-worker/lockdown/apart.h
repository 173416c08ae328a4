/* A thread that begins on another CPU than its maker's, where there is one.
 *
 * Linux may leave a new thread on its maker's CPU until the maker sleeps, although another one is
 * idle (seen on 6.18): two halves of a start that are to run side by side then follow each other.
 * The thread is bound elsewhere for its first step, and has its maker's CPUs from then on. */
#ifndef QVM_WORKER_LOCKDOWN_APART_H
#define QVM_WORKER_LOCKDOWN_APART_H

#include <pthread.h>

/* pthread_create() with all signals blocked in the new thread. Returns 0 or an errno. */
int apart_create(pthread_t *thread, void *(*thread_main)(void *context), void *context);

#endif
