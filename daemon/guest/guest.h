/* The guests: what they are, where they are in their life, and what can be asked of them.
 *
 * Everything here answers at once; what takes time ends in a callback (guest_done_fn), which is
 * called exactly once, possibly before the function returns, and whether or not whoever asked is
 * still there. Only life.c changes a guest's state. Loop thread. */
#ifndef QVM_DAEMON_GUEST_H
#define QVM_DAEMON_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/guest/policy.h"
#include "daemon/reserve.h"
#include "daemon/worker/log_file.h"
#include "proto/base/err.h"
#include "proto/msg.h"

struct device_pool;
struct doctor;
struct err;
struct events;
struct guest;
struct guests;
struct hands;
struct quotas;
struct store;
struct store_helper;
struct uv_loop_s;

#define GUEST_STOP_MS      60000  /* how long a guest may take to stop unless said otherwise */
#define GUEST_STUCK_MS     10000  /* how long SIGKILL may take */
#define GUEST_BUILD_MS     10000  /* how long a qvm may take to ask for what it needs */
#define GUEST_DENIED_MS    2000   /* how long a qvm may take to end after it was refused */
#define GUEST_RECONCILE_MS 60000  /* between two looks at everything */
#define GUEST_RECORD_MS    5000   /* from a write to an exit record to a look at its size */
#define GUEST_ASK_MAX      256    /* things that one qvm may ask for */
#define GUEST_WAITERS_MAX  4096   /* calls that may wait for a state of one guest */
#define GUEST_ACT_MS       10000  /* how long its qvm may take to do what was asked for */
#define GUEST_DUMP_MS      600000 /* how long it may take to write a dump */
#define GUEST_DUMPS_MAX    16     /* dumps that an instance may have made without being asked */
#define GUEST_ACTS_MAX     256    /* calls that may wait for that */
#define GUEST_READERS_MAX  256    /* and for what it says */
#define GUEST_ASKINGS_MAX  256    /* and for another helper of one vdev */

/* What guests stand on; all of it borrowed. */
struct guests_env {
    struct uv_loop_s *loop;
    struct store *store;
    struct hands *hands;
    struct events *events;
    const struct reserve_limits *limits;
    const struct partitions *partitions; /* NULL: nothing is declared */
    const struct device_pool *devices;   /* NULL: there is none */
    const struct tap_pool *taps;         /* NULL: there is none */
    const struct quotas *quotas;
    struct policy_rules restarts;
    int64_t stagger_ms; /* between the starts of enabled guests */
    uint64_t guests_max;
    int guest_nice;         /* of the processes of guests that run */
    bool is_urgent;         /* priorities of real time may be used */
    bool user_network_host; /* user networks begun from now on reach the host's loopback */
    uid_t uid_first;
    uint64_t uid_count;
    int run_fd, log_fd;                  /* directories of instance directories and of logs */
    struct cgroups *cgroups;             /* NULL: instances get no groups */
    struct log_bounds log_bounds;        /* of each log */
    bool is_console_kept;                /* in a log */
    const char *qvm_path;                /* the program that hosts one guest */
    const char *vdev_dir;                /* where vdev-NAME.so lie */
    unsigned spares;                     /* that are kept; see spare.h */
    bool (*is_wanted)(const void *data); /* is there still somebody who waits for that call? */
};

/* Who asks. */
struct guest_caller {
    uid_t uid;
    bool is_admin;
};

/* Read all guests from the store. Nothing is done to any of them before guests_adopt(). */
int guests_create(const struct guests_env *env, struct guests **guests, struct err *err);

/* Whether those that live could go on if the host were divided so. -EBUSY: `err` says which could
 * not. */
int guests_check_partitions(const struct guests *guests, const struct partitions *fresh,
                            struct err *err);

/* Whether those that live could go on with that device pool. -EBUSY: as above. */
int guests_check_devices(const struct guests *guests, const struct device_pool *fresh,
                         struct err *err);

/* Whether nothing is wrong with a function of the host as far as is known. -EBUSY: it is set aside;
 * `err` says why. */
int guests_device_is_well(const struct guests *guests, const char *bdf, struct err *err);

/* Take over what may change while guests run: how they are tried again, bounds, logs. */
void guests_configure(struct guests *guests, const struct guests_env *fresh);

/* Find again the qvm processes that live, and clear up after those that do not. Returns at once;
 * whoever does not answer becomes `unreachable` and is tried again. */
void guests_adopt(struct guests *guests);

/* Forget everything; processes live on. Calls that wait are told so. The memory goes when the loop
 * has run the closing of its handles. */
void guests_destroy(struct guests *guests);

/* NULL: there is none. */
struct guest *guest_find(const struct guests *guests, const char *name);

/* In the order of their names: the first for NULL, NULL after the last. */
struct guest *guest_next(const struct guests *guests, const struct guest *guest);
size_t guests_count(const struct guests *guests);
size_t guests_live_count(const struct guests *guests);
size_t guests_count_of(const struct guests *guests, uid_t owner);

const char *guest_name(const struct guest *guest);
uid_t guest_owner(const struct guest *guest);
const char *guest_definition(const struct guest *guest); /* JSON text */
int64_t guest_instance(const struct guest *guest);       /* 0: never ran */

/* -EPERM: neither its owner nor an admin. */
int guest_check_caller(const struct guest *guest, const struct guest_caller *caller,
                       struct err *err);

const struct msg_settings *guest_settings(const struct guest *guest);

/* As the API shows it; the texts are borrowed from the guest and from `times`. */
struct guest_times {
    char started[40], ended[40], next_start[40];
};
void guest_describe(const struct guest *guest, struct guest_times *times, struct msg_guest *info);

/* Region number `index` of memory that guests share; what it points to is in `room`. False: there
 * are no more. */
struct guests_shmem_room {
    struct msg_shmem_client clients[16];
    char *kept_by[64];
    char owner[65];
};
bool guests_shmem(const struct guests *guests, size_t index, struct guests_shmem_room *room,
                  struct msg_shmem_region *region);

/* A program of the host that shares a region with guests: one for each connection. Admins share
 * everybody's regions, others those of their own guests. */
struct guests_program;
struct guests_program_env {
    pid_t pid;
    uid_t uid;
    bool is_admin;
    /* Who is attached to the region has changed; it may end the program. */
    void (*changed)(void *data, const char *region);
    void *data;
};
struct guests_program *guests_program_create(struct guests *guests,
                                             const struct guests_program_env *env);

/* What it is a client of; the descriptors are borrowed. */
struct guests_joined {
    unsigned client;
    uint64_t size;
    const int *fds;
    size_t fd_count;
};

/* Be a client of a region, once. `done` is called once, now or later: with NULL and why not, or
 * with what it has, and may end the program. -ENODATA: there is no such region (any more), -EPERM:
 * it is another owner's, -EAGAIN: it has all its clients, -EBUSY: the number that it had is
 * another's, -EALREADY: it has one. */
typedef void (*guests_joined_fn)(void *data, const struct guests_joined *joined,
                                 const struct err *err);
void guests_program_join(struct guests_program *program, const struct msg_shmem_join_params *wanted,
                         guests_joined_fn done, void *data);

/* It is gone; with `stays` it is qvmd that goes, and the others are not told. NULL is fine. */
void guests_program_end(struct guests_program *program, bool stays);

/* ---- definitions ---- */

/* When a definition has to be on the disk. */
enum guest_define_for {
    GUEST_DEFINE_TO_KEEP,  /* at once */
    GUEST_DEFINE_TO_START, /* with the claims of the start that follows */
};

/* Define `name` or define it anew. -EEXIST: it is another owner's; -EALREADY: it has a process;
 * -EAGAIN: there are too many guests. `*note` is set when nothing had to be done. */
int guest_define(struct guests *guests, const char *name, const struct msg_definition *definition,
                 enum guest_define_for purpose, const struct guest_caller *caller,
                 struct guest **guest, const char **note, struct err *err);

/* Change how it is looked after, all of `values` or nothing. -EINVAL: no such name or value, or the
 * guests it would come after are not there or come after it. */
int guest_set(struct guest *guest, const struct msg_value *values, size_t count,
              const struct guest_caller *caller, struct err *err);

/* Forget it. -EALREADY: it has a process. */
int guest_undefine(struct guest *guest, const struct guest_caller *caller, struct err *err);

/* ---- life ---- */

/* `err` NULL: done; `note` may be NULL. */
typedef void (*guest_done_fn)(void *data, const struct guest *guest, const char *note,
                              const struct err *err);

/* Done when it runs; fails when it has failed, also if it is tried again later. `timeout_ms` 0:
 * none. */
void guest_start(struct guest *guest, const struct guest_caller *caller, int64_t timeout_ms,
                 guest_done_fn done, void *data);

/* The same for an instance that was begun before: what became of that start. */
void guest_await_start(struct guest *guest, int64_t instance, int64_t timeout_ms,
                       guest_done_fn done, void *data);

/* Done when its process is gone. `timeout_ms` 0: as long as its settings say. */
void guest_stop(struct guest *guest, const struct guest_caller *caller, int64_t timeout_ms,
                bool kill, guest_done_fn done, void *data);
void guest_kill(struct guest *guest, const struct guest_caller *caller, guest_done_fn done,
                void *data);

/* Done when it is in `state`; with `or_rest` fails when it rests in another one. */
void guest_wait(struct guest *guest, enum guest_state state, bool or_rest, int64_t timeout_ms,
                guest_done_fn done, void *data);

/* ---- what its qvm does to the VM ---- */

enum guest_act_kind {
    GUEST_PAUSE,   /* done when no vCPU runs */
    GUEST_RESUME,  /* done when they run again */
    GUEST_RESET,   /* the reset button: done when it begins anew; a paused guest stays paused */
    GUEST_REBOOT,  /* the power button: done when it has switched itself off and begins anew */
    GUEST_DUMP,    /* done when it is written: see guest_dump */
    GUEST_SENDKEY, /* done when the keyboard has them */
    GUEST_SENDBREAK,
    GUEST_POINT, /* done when the pointer has it */
    GUEST_CONSOLE_SIZE,
    GUEST_BALLOON, /* done when its driver was told */
    GUEST_RESIZE,  /* likewise */
};

struct guest_act_spec {
    enum guest_act_kind kind;
    int64_t timeout_ms;     /* of a reboot; 0: as long as it may take to stop */
    bool force;             /* of a reboot: reset it when the time is over */
    const char *request_id; /* NULL: none; a call that is repeated with it is done once */
    int fd;                 /* of a dump: borrowed */
    const char *note;       /* what is to be told when it is done; NULL: nothing */
    const char *keys;       /* of GUEST_SENDKEY, as proto/keys.h reads them */
    int64_t size;           /* of GUEST_BALLOON: bytes */
    const char *vdev;       /* of GUEST_RESIZE: whose image; of _CONSOLE_SIZE the port */
    int64_t x, y;           /* of GUEST_POINT; columns and rows of GUEST_CONSOLE_SIZE */
};

void guest_act(struct guest *guest, const struct guest_caller *caller,
               const struct guest_act_spec *spec, guest_done_fn done, void *data);

/* Have a core dump written into the directory of its `dump`; the note of `done` is the file's path.
 * -EOPNOTSUPP: its configuration has none. */
void guest_dump(struct guest *guest, const struct guest_caller *caller, const char *request_id,
                guest_done_fn done, void *data);

/* ---- helpers ---- */

/* Have another one for a vdev whose helper is gone, also when it was given up, or is awaited.
 * `done` is called once, perhaps at once: when one serves (its note says which), or with why none
 * does. -EINVAL: no vdev of that name has one; -EALREADY: it lives, or the guest does not run;
 * -EAGAIN, -ETIMEDOUT: it is tried on, or too many wait. */
void guest_helper_ask(struct guest *guest, const char *vdev, guest_done_fn done, void *data);

/* Those of the live instance; texts are of `rows`. Also after a failure to be ended. */
struct guest_helpers {
    struct store_helper *rows;
    struct msg_helper *helpers;
    size_t count;
};
int guest_helpers_describe(const struct guest *guest, struct guest_helpers *list, struct err *err);
void guest_helpers_describe_end(struct guest_helpers *list);

/* ---- devices of the host ---- */

/* What guest `name` had is gone: pause it, if the pool says so of that device. */
void guests_device_vanished(struct guests *guests, const char *name, const char *bdf);

/* Reset a device that is set aside, and give it back, once more: `device` is its BDF, or its name
 * in the pool. `done` is called once, perhaps at once: with its BDF, and a note if it was not set
 * aside; -ENODEV: there is none; -EAGAIN: another is at it; or with why it still cannot be. */
typedef void (*guests_cleared_fn)(void *data, const char *bdf, const char *note,
                                  const struct err *err);
void guests_device_clear(struct guests *guests, const char *device,
                         const struct guest_caller *caller, guests_cleared_fn done, void *data);

/* ---- figures ---- */

#define GUEST_STATS_FRESH_MS 200 /* a sample that is younger is good enough */
#define GUEST_STATS_KVM_MAX  30  /* vCPUs of which KVM's statistics are kept open */

/* Take a sample unless there is one from `not_before_ns` (clock_mono_ns) on; asks no qvm. True: one
 * was taken, which costs some 0.1 ms. */
bool guest_stats_refresh(struct guest *guest, int64_t not_before_ns);

/* The last sample with what is known without one; texts and lists are borrowed from the guest. */
void guest_stats(const struct guest *guest, struct msg_guest_stats *stats);

/* ---- all of them, in the order of their `after` ---- */

struct guest_result {
    char name[GUEST_NAME_MAX + 1];
    char note[64];
    struct err err; /* code 0: it went well */
};

/* NULL: memory is out. */
typedef void (*guests_done_fn)(void *data, const struct guest_result *results, size_t count);

/* Start those that are enabled, and tell of each, sorted by name, when each runs or has failed, or
 * the time is over (0: none); then it goes on. */
void guests_start_enabled(struct guests *guests, const struct guest_caller *caller,
                          int64_t timeout_ms, guests_done_fn done, void *data);

/* The same for starts that were begun before: wait with them, with the new time, or tell what
 * became of them. */
void guests_await_enabled(struct guests *guests, const struct guest_caller *caller,
                          int64_t timeout_ms, guests_done_fn done, void *data);

struct guests_drain {
    enum guest_reason reason; /* REASON_drain or REASON_host_shutdown */
    bool kill;
    int64_t timeout_ms; /* 0: as long as the guests may take */
};

/* Refuse starts from now on, stop all guests, and tell of each when they are gone or had their
 * time. During a drain: wait for it, with the new time, and with force if either wanted it. */
void guests_drain(struct guests *guests, const struct guest_caller *caller,
                  const struct guests_drain *wanted, guests_done_fn done, void *data);

/* -ESHUTDOWN: nothing may be started. */
int guests_check_drain(const struct guests *guests, struct err *err);

/* Allow starts again; nothing to end is success. */
int guests_drain_end(struct guests *guests, const struct guest_caller *caller, struct err *err);

/* False: there is none. */
bool guests_describe_drain(const struct guests *guests, struct msg_drain *drain);

/* What is wrong with the guests: rows against processes, directories, control groups and claims.
 * Changes nothing. */
void guests_checkup(struct guests *guests, struct doctor *doctor);

/* ---- its qvm and its console ---- */

/* Ask its qvm for its state; `state` is NULL if it does not answer in GUEST_QUERY_MS. */
#define GUEST_QUERY_MS 300
typedef void (*guest_query_fn)(void *data, const struct guest *guest,
                               const struct msg_state *state);
void guest_query(struct guest *guest, guest_query_fn done, void *data);

/* One end of a stream socket that is its console, for the caller. */
int guest_attach(struct guest *guest, const struct msg_attach *attach, int *fd, struct err *err);

int guest_type(struct guest *guest, const uint8_t *data, size_t size, struct err *err);

enum guest_read_kind {
    GUEST_READ_RING,    /* what this instance said last, from memory; -EALREADY: nothing is kept */
    GUEST_READ_CONSOLE, /* what all instances said, from files; -EOPNOTSUPP: it is not kept */
    GUEST_READ_LOG,     /* what their qvms said; -ENOENT, as above: it never ran */
};

struct guest_read {
    enum guest_read_kind kind;
    uint64_t offset; /* first byte wanted; of files 0: the last `lines`, or the last `size` bytes */
    uint64_t lines;
    size_t size;     /* at most so many bytes */
    int64_t wait_ms; /* wait so long for something to come; 0: not at all */
};

struct guest_said {
    uint8_t *data;
    size_t size;
    uint64_t next, lost, end; /* offset behind it; missing before it; of the end there is */
    int64_t instance;
};

/* `said` lives as long as the call; with `err` there is none. */
typedef void (*guest_read_fn)(void *data, const struct guest_said *said, const struct err *err);
void guest_read(struct guest *guest, const struct guest_read *read, guest_read_fn done, void *data);

#endif
