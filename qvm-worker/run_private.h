/* What the files of run.h share; nobody else includes this. */
#ifndef QVM_WORKER_RUN_PRIVATE_H
#define QVM_WORKER_RUN_PRIVATE_H

#include <uv.h>

#include "qvm-worker/control/reset_pace.h"
#include "qvm-worker/machine/machine.h"
#include "qvm-worker/plan/plan.h"
#include "qvm-worker/run.h"
#include "qvm-worker/vm/vcpu_unsupported.h"

#define RUN_CAUSE_SIZE 256 /* as much as qvmd is told */

struct hostmem;
struct ports;
struct vfio_passed;

struct run {
    struct run_spec spec;
    struct machine *machine;
    uv_poll_t poll; /* of the machine's events */
    bool is_watched;
    unsigned closed_count; /* of both handles */
    uv_timer_t pace_timer; /* until a reset that came too early */
    struct reset_pace pace;
    char cause[MACHINE_TEXT_SIZE];    /* of that reset */
    struct unsupported unsupported;   /* the plan's; it is pointed to, too */
    struct machine_spec machine_spec; /* the machine keeps a pointer to it */
    const struct placement *placements[MACHINE_CPUS_MAX];
    struct machine_load loads[MACHINE_LOADS_MAX]; /* the plan's, with descriptors */
    struct vfio_passed *passed;                   /* functions of the host; NULL: none */
    struct ports *ports[PLAN_PORTS_MAX];          /* of the host */
    struct hostmem *memories[PLAN_MEMORIES_MAX];  /* likewise */
    int kvm_fd;
    uint64_t reboots;
    char last_reset[RUN_CAUSE_SIZE];
    uint64_t reboot_until_ms; /* loop time: until then a guest that switches itself off is reset */
    bool is_power_pressed;    /* by a signal: the next one ends it */
    uint64_t pressed_ms;
    bool is_in_trouble; /* paused for what the host could not do */
    bool is_dump_awaited;
    bool has_later; /* what happened while a dump was awaited, and ends the run it is to show */
    struct machine_event later;
    struct exit_record end;
};

/* ---- run_passed.c ---- */

/* What the host gives for this guest alone; `fds` as in plan.h. */
int run_make_passed(struct run *run, int *fds, struct err *err);

/* Ports of the host, before anything that chooses its own. `fds` likewise. */
int run_make_ports(struct run *run, int *fds, struct err *err);

/* Memory of the host that is no RAM; likewise. */
int run_make_memories(struct run *run, int *fds, struct err *err);

/* Whether the host wants some of it back, and lets it go then. */
void run_look_at_passed(struct run *run);

/* ---- run_vdevs.c ---- */

struct machine_chips;

/* Who the interrupt controllers are, as far as the vdevs are made. */
void run_tell_chips(struct run *run, struct machine_chips *to);

/* Make the vdevs, and tell the machine of them. */
int run_make_vdevs(struct run *run, struct err *err);

/* ---- run_events.c ---- */

void run_on_machine_event(void *context, const struct machine_event *event);

struct vdev_host_trouble;

/* Of the vdevs' host: transfers of an image failed. Any thread. */
void run_on_trouble(void *context, const struct vdev_host_trouble *trouble);

#endif
