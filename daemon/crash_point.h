/* Numbered points at which a test build of qvmd can be killed: its durable steps.
 *
 * A point stands before and after each commit, and after each thing done beside the store that
 * outlives qvmd or that somebody else hears of: a process, a directory, a socket, a signal, a
 * packet. Only what is compiled with QVM_CRASH_POINTS (qvmd_crashing, in tests/integration) has
 * any; elsewhere this is nothing.
 *
 * There, the file that the environment's QVM_CRASH_FILE names says what happens, and is looked at
 * in each point: without it nothing does; with a number N in it, points are counted from then on,
 * each is written as a line to the file `QVM_CRASH_FILE.passed`, and the N-th (0: none) is the
 * last: SIGKILL. With the name of a point in it, the first of that name is. */
#ifndef QVM_DAEMON_CRASH_POINT_H
#define QVM_DAEMON_CRASH_POINT_H

#ifdef QVM_CRASH_POINTS
void crash_point(const char *what);
#else
static inline void crash_point(const char *what)
{
    (void)what;
}
#endif

#endif
