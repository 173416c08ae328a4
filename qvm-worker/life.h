/* What every qvm has around its VM, alone or under qvmd: loop, console, vdevs, plan, signals; and
 * the order in which all of it goes at the end.
 *
 * One a process; control thread. */
#ifndef QVM_WORKER_LIFE_H
#define QVM_WORKER_LIFE_H

#include "proto/conf/regions.h"
#include "qvm-worker/control/exit_record.h"
#include "qvm-worker/plan/plan.h"
#include "qvm-worker/plan/sources.h"
#include "qvm-worker/run.h"

struct console;
struct err;
struct signals;
struct uv_loop_s;
struct vdev_host;
struct vm_ahead;

struct life {
    struct vm_ahead *ahead; /* set before life_begin, or NULL; the life's then */
    struct uv_loop_s *loop;
    struct console *console;
    struct vdev_host *vdevs;
    struct sources sources;
    struct plan_host host;         /* what the host tells of itself; its env is set by life_plan */
    struct plan_cluster *clusters; /* of `host`; freed with the life, the names are borrowed */
    struct plan_partition *partitions; /* likewise */
    struct conf_regions regions;       /* of `host`, where they are known */
    struct plan plan;
    bool has_loggers; /* those of the plan: before, lines go to stderr */
    struct signals *signals;
    struct run *run;
    struct exit_record end; /* until there is a run; then see life_end */
};

/* Loop, console, vdev host. `vdevs_fd` is borrowed. */
int life_begin(struct life *life, int vdevs_fd, struct err *err);

/* Read the plan from life->sources, and set the log as it says. */
int life_plan(struct life *life, struct err *err);

/* Build what takes nothing of the host, if a VM was made ahead: while others are still at work, be
 * it qvmd at a grant. `spec` names callbacks; the rest is filled in here. */
int life_prepare(struct life *life, const struct run_spec *spec, struct err *err);

/* Build what is not built yet, and run. `fds` belong to the plan's needs: they become the life's.
 */
int life_run(struct life *life, const struct run_spec *spec, int *fds, struct err *err);

/* How it ends: set by us before the run, or by the run. */
const struct exit_record *life_end(const struct life *life);

/* Say how it ended, unless it has been said. */
void life_set_end(struct life *life, enum guest_reason reason, int status, const char *message);

/* The VM has ended: no vCPU runs, sessions have got what they will take. */
void life_quiesce(struct life *life);

/* All goes; handles that others gave to the loop are to be closing by now. */
void life_fini(struct life *life);

#endif
