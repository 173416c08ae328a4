/* One VM from its plan and descriptors to its end: builds it, runs it, decides what follows from
 * what the guest does and from what people ask.
 *
 * Control thread only. */
#ifndef QVM_WORKER_RUN_H
#define QVM_WORKER_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/exit_record.h"

struct console;
struct err;
struct plan;
struct run;
struct uv_loop_s;
struct vdev_host;

struct run_spec {
    const struct plan *plan;
    int *fds; /* of the plan's needs; become the run's (set to -1) */
    struct uv_loop_s *loop;
    struct vdev_host *vdevs; /* what the plan was read with; stays the caller's */
    struct console *console; /* of `hostdev -`; stays the caller's */
    /* The guest has been reset inside the process, for the `reboots`-th time. May be NULL. */
    void (*on_reset)(void *context, uint64_t reboots, const char *cause);
    /* While RAM is populated; may be NULL. */
    void (*on_progress)(void *context, uint64_t done, uint64_t all);
    void *context;
};

/* Build the VM and let it run; the door is closed then. On failure `end` says how the process
 * ends, and *run is half-built or NULL: it is to be destroyed all the same. */
int run_start(const struct run_spec *spec, struct run **run, struct exit_record *end,
              struct err *err);

/* Stops the vCPUs and takes the machine away. The vdev host and the console must be destroyed
 * before: see run_stop. NULL is fine. */
void run_destroy(struct run *run);

/* No vCPU runs any more; nothing more comes from the guest. */
void run_stop(struct run *run);

/* How it ended: the loop was stopped (uv_stop) when this was set. */
const struct exit_record *run_end(const struct run *run);

/* End it now, with that as the reason, unless it has ended. */
void run_finish(struct run *run, enum guest_reason reason, int status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

void run_press_power(struct run *run);
uint64_t run_reboots(const struct run *run);

/* A signal of signals.h, as qvm(8) has it. */
void run_signal(struct run *run, int signal);

/* The state of the VM and of its vdevs, one value at a time. */
typedef void (*run_state_fn)(void *context, const char *device, const char *name,
                             const char *value);
void run_state(struct run *run, run_state_fn add, void *context);

#endif
