/* A host's end of a vdev that may come later, for a qvm alone: `delayed SECONDS|forever`.
 *
 * A running qvm opens nothing. So a process of its own has one end of a socket, whose other end the
 * qvm has instead of the file; it tries to open that, and carries bytes between both from then on.
 * It has nothing else of the qvm's, is nobody's child, and ends with either end. */
#ifndef QVM_WORKER_CONTROL_DELAYED_H
#define QVM_WORKER_CONTROL_DELAYED_H

#include <stdbool.h>
#include <stdint.h>

struct err;

#define DELAYED_FOREVER UINT32_MAX

struct delayed {
    /* In the process: open the host's end, not blocking; its descriptor or a negative errno, with
     * words that begin with their place. */
    int (*open)(const void *context, struct err *err);
    const void *context;
    bool can_read, can_write; /* from the host's end, to it */
    uint32_t seconds; /* that it is tried for, from the guest's first byte on, or, if the guest only
                         hears, from now on; once more when they are over. Or DELAYED_FOREVER. */
};

/* Before the door closes. `fd` is the qvm's end. 0 or -errno. */
int delayed_start(const struct delayed *delayed, int *fd);

#endif
