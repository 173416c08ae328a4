/* What every qvm has around its VM, alone or under qvmd: loop, console, vdevs, plan, signals; and
 * the order in which all of it goes at the end.
 *
 * One a process; control thread. */
#ifndef QVM_WORKER_LIFE_H
#define QVM_WORKER_LIFE_H

#include "qvm-worker/exit_record.h"
#include "qvm-worker/plan.h"
#include "qvm-worker/run.h"
#include "qvm-worker/sources.h"

struct console;
struct err;
struct signals;
struct uv_loop_s;
struct vdev_host;

struct life {
    struct uv_loop_s *loop;
    struct console *console;
    struct vdev_host *vdevs;
    struct sources sources;
    struct plan plan;
    struct signals *signals;
    struct run *run;
    struct exit_record end; /* until there is a run; then see life_end */
};

/* Loop, console, vdev host. `vdevs_fd` is borrowed. */
int life_begin(struct life *life, int vdevs_fd, struct err *err);

/* Read the plan from life->sources, and set the log as it says. */
int life_plan(struct life *life, struct err *err);

/* Build and run. `spec` names descriptors and callbacks; the rest is filled in here. */
int life_run(struct life *life, struct run_spec *spec, struct err *err);

/* How it ends: set by us before the run, or by the run. */
const struct exit_record *life_end(const struct life *life);

/* Say how it ended, unless it has been said. */
void life_set_end(struct life *life, enum guest_reason reason, int status, const char *message);

/* The VM has ended: no vCPU runs, sessions have got what they will take. */
void life_quiesce(struct life *life);

/* All goes; handles that others gave to the loop are to be closing by now. */
void life_fini(struct life *life);

#endif
