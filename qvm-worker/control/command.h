/* A command at one end of a pipe, for a qvm alone: `hostdev >"|COMMAND"`, `dump "|COMMAND"`.
 *
 * The shell runs it as whoever runs the qvm, in the folder where the qvm was started and in a
 * process group of its own: keys that end the qvm do not end it. It has its end of the pipe, the
 * qvm's error output and, when it is read from, /dev/null as its input; nothing else of the qvm's.
 * It is nobody's child: it ends when the pipe ends, and the qvm waits for it no more than it can
 * (behind its door it has no call for that). */
#ifndef QVM_WORKER_CONTROL_COMMAND_H
#define QVM_WORKER_CONTROL_COMMAND_H

#include <stdbool.h>

/* Before the door closes. `fd` is the qvm's end, CLOEXEC and non-blocking: for writing, or for
 * reading if `is_read`. 0 or -errno; a command that the shell does not find is told by the shell.
 */
int command_start(const char *command, bool is_read, int *fd);

#endif
