/* The lab's channels as L1 sees them: one virtio-serial port each, named by tests/lab/run.
 * `lab.beat`  a line per second from heartbeat.c, so that the runner knows that L1 lives
 * `lab.run`   frames from run_script.c: output and exit status of the script
 * `lab.ask`   requests of ask.c (device_add, reset, ...) and the runner's answers */
#ifndef QVM_TESTS_LAB_INSIDE_PORT_H
#define QVM_TESTS_LAB_INSIDE_PORT_H

#include <stddef.h>

/* Open the port `name` for reading and writing. Only one process at a time can have it open.
 * Returns the descriptor (close-on-exec) or -errno; -ENOENT: no such port. */
int port_open(const char *name);

/* Write all of it, however often the port is full meanwhile. Returns 0 or -errno. */
int port_write(int fd, const void *data, size_t size);

#endif
