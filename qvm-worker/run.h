/* One VM from its plan and descriptors to its end: builds it, runs it, decides what follows from
 * what the guest does and from what people ask.
 *
 * Control thread only. */
#ifndef QVM_WORKER_RUN_H
#define QVM_WORKER_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qvm-worker/control/exit_record.h"

struct console;
struct counters;
struct err;
struct plan;
struct run;
struct uv_loop_s;
struct vdev_host;
struct vm_ahead;

struct run_spec {
    const struct plan *plan;
    struct vm_ahead *ahead; /* stays the caller's; NULL: none */
    struct uv_loop_s *loop;
    struct vdev_host *vdevs;   /* what the plan was read with; stays the caller's */
    struct console *console;   /* of `hostdev -`; stays the caller's */
    struct counters *counters; /* shared ones, or NULL; stay the caller's */
    /* The guest has been reset inside the process, for the `reboots`-th time. May be NULL. */
    void (*on_reset)(void *context, uint64_t reboots, const char *cause);
    /* A pause has begun or ended; `why`: it is no operator's. May be NULL. */
    void (*on_pause)(void *context, bool is_paused, const char *why);
    /* Somebody (SIGUSR2, a vdev) wants a dump: have run_dump called, now or later; true: later, and
     * if nothing comes of it, run_dump_over. NULL: none can be had. */
    bool (*want_dump)(void *context);
    /* A vdev wants a region of shared memory (run_shmem_given follows), or lets go of one; see
     * vdev_host_env. NULL: none can be had. */
    int (*wish_shmem)(void *context, int64_t serial, const char *name, uint64_t bytes,
                      uint64_t most);
    void (*leave_shmem)(void *context, const char *name);
    /* A vdev wants to be connected to a program of the host; see vdev_host_env. NULL: none can. */
    int (*wish_connection)(void *context, int64_t serial, const char *path, uint32_t port);
    /* The helper of a vdev is gone, another one is wanted; see vdev_host_env. NULL: none comes. */
    int (*wish_helper)(void *context, const char *device);
    /* While RAM is populated; may be NULL. */
    void (*on_progress)(void *context, uint64_t done, uint64_t all);
    void *context;
};

/* Build of the VM what takes nothing of the host: memory that nobody touched, the VM, its vCPUs.
 * `kvm_fd` is borrowed until this returns, `ahead` until run_start has; on failure, here and there,
 * `end` says how the process ends, and *run is half-built or NULL: it is to be destroyed all the
 * same. */
int run_create(const struct run_spec *spec, int kvm_fd, struct run **run, struct exit_record *end,
               struct err *err);

/* Wait until the threads of vCPUs are there, and have their names. */
int run_await(struct run *run, struct err *err);

/* Build the rest and let it run; the door is closed then. `fds`, of the plan's needs, become the
 * run's (set to -1). */
int run_start(struct run *run, int *fds, struct exit_record *end, struct err *err);

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

/* Press the power button: a paused guest goes on, since it is to hear it. */
void run_press_power(struct run *run);

/* The same, and when the guest switches itself off within `for_ms` (0: ever), that is a reboot. */
void run_reboot(struct run *run, uint64_t for_ms);

/* The reset button; on_reset tells when it is done, which may be later: see reset_pace.h. */
void run_reset(struct run *run);

/* Press keys of the keyboard (proto/keys.h) and release them. -ENODEV: the VM has no keyboard;
 * -ENOBUFS: it has no room, since the guest does not read it. None stays pressed. */
int run_press(struct run *run, const char *keys, struct err *err);

/* A break on the console's serial line. -ENODEV: the VM has none; -ENOBUFS: nobody listens. */
int run_break(struct run *run, struct err *err);

/* Move the pointer. -EOPNOTSUPP: the VM has none; -ENOBUFS: as with keys. */
int run_point(struct run *run, uint16_t x, uint16_t y, struct err *err);

/* Tell the guest the size of the terminal at its console, or at that port. False: that has none. */
bool run_resize(struct run *run, const char *port, uint16_t columns, uint16_t rows);

/* Want so many bytes of the guest's memory. 1: there is no driver yet, which will find it. */
int run_balloon(struct run *run, uint64_t bytes, struct err *err);

/* The image of the vdev of that name may have grown: the guest is told. `remark`: how large it is.
 * -EOPNOTSUPP, -EINVAL: as of vdev_host_resize_disk(). */
int run_resize_disk(struct run *run, const char *vdev, char *remark, size_t size, struct err *err);

uint64_t run_reboots(const struct run *run);

/* What caused the last reset, a line; NULL: there was none. */
const char *run_last_reset(const struct run *run);

/* Hold all vCPUs, also over resets, and let them go on. Repeating either is fine. -ETIMEDOUT: the
 * host is not done with what a disk asked for; the guest goes on. */
int run_pause(struct run *run, struct err *err);
void run_resume(struct run *run);
bool run_is_paused(const struct run *run);

/* Write a core dump (dump.h) to `fd`, which stays the caller's; the guest goes on afterwards. */
int run_dump(struct run *run, int fd, struct err *err);

/* What want_dump said would come has come, or will not. */
void run_dump_over(struct run *run);

/* A signal of signals.h, as qvm(8) has it. */
void run_signal(struct run *run, int signal);

/* Descriptors of KVM's statistics of its vCPUs: see machine.h. */
size_t run_stats_fds(const struct run *run, int *fds, size_t most);

/* The state of the VM and of its vdevs, one value at a time. */
typedef void (*run_state_fn)(void *context, const char *device, const char *name,
                             const char *value);
void run_state(struct run *run, run_state_fn add, void *context);

#endif
