/* What the files of guest.h share; nobody else includes this. */
#ifndef QVM_DAEMON_GUEST_INSIDE_H
#define QVM_DAEMON_GUEST_INSIDE_H

#include <sys/queue.h>
#include <uv.h>

#include "daemon/guest.h"
#include "daemon/host/process.h"
#include "daemon/peer.h"
#include "daemon/store.h"
#include "daemon/worker_proc.h"
#include "proto/base/err.h"

struct console_ring;
struct guest_ask;
struct guest_release;
struct waiter;
struct query;

LIST_HEAD(waiter_list, waiter);
LIST_HEAD(query_list, query);
LIST_HEAD(release_list, guest_release);

struct guests {
    struct guests_env env;
    char boot_id[PROCESS_BOOT_ID_SIZE];
    TAILQ_HEAD(, guest) list; /* by name */
    size_t count;
    struct release_list releases; /* of dead instances that still hold something */
    uv_timer_t reconcile, log_timer;
    int open_timers;
    int64_t last_query;
    bool has_strays; /* qvm processes live of which the store knows nothing */
};

struct guest {
    TAILQ_ENTRY(guest) link;
    struct guests *all;
    char name[GUEST_NAME_MAX + 1];
    uid_t owner;
    char owner_name[PEER_NAME_SIZE];
    char *definition; /* JSON text */
    int64_t generation;
    enum guest_state state, desired;
    bool is_desired_unwritten, is_state_unwritten; /* the store could not be written */

    struct store_instance instance; /* the last one; id 0: it never ran */
    int64_t vcpus, memory;          /* of the live one */
    struct worker_proc *worker;     /* while it has a process */
    int dir_fd;
    struct guest_ask *ask; /* its qvm asked and has no answer yet */
    bool was_granted;
    bool is_shot;    /* SIGKILL was sent because somebody wanted that */
    struct err doom; /* code 0: none; why we ended it before it ran */
    enum guest_reason doom_reason;
    uint64_t last_reset_ms; /* loop time of the last reset that was told */
    uv_timer_t timer;       /* one deadline at a time: to build, to go, to die */

    const struct console_ring *ring; /* of ring_instance; stays when that has ended */
    int64_t ring_instance;
    struct waiter_list waiters;
    size_t waiter_count;
    struct query_list queries;
    bool is_gone; /* undefined; freed when its timer is closed */
};

/* ---- guest.c ---- */

/* A guest from its row; put into the list. NULL: no memory. */
struct guest *guest_insert(struct guests *guests, const struct store_guest *row);

/* ---- guest_life.c: the only place where a state changes ---- */

struct life_step {
    enum guest_event event;
    uid_t uid; /* who asked for it */
    /* for `ended` and `died`: */
    enum guest_reason reason;
    const char *message;
    int exit_status; /* -1: none known */
    bool frees_all;  /* nobody has to be waited for: its claims go in the same transaction */
};

/* Move `guest` by an event: write the new state and the event in one transaction, then tell
 * subscribers, then those who wait. -EALREADY: the event is not for this state; -EROFS and the
 * event is `start`: nothing was changed. Everything else happens even if it cannot be written. */
int guest_life(struct guest *guest, const struct life_step *step, struct err *err);

/* Write down what somebody wants, before it is done; kept in memory if it cannot be written. */
void guest_want(struct guest *guest, enum guest_state desired);

/* If the store could not be written, try it, and write then what is missing in it. -EROFS: it
 * still cannot. */
int guests_need_store(struct guests *guests, struct err *err);

/* An event of this guest that changes no state. */
void guest_tell(struct guest *guest, const char *what, const char *message, uid_t uid);

/* ---- guest_wait.c ---- */

enum waiter_kind { WAIT_UP, WAIT_GONE, WAIT_STATE };

/* Wait; or be done at once. `kill`: when the time is over, shoot and go on waiting. */
struct waiter_spec {
    enum waiter_kind kind;
    enum guest_state state;
    int64_t timeout_ms;
    bool kill;
    guest_done_fn done;
    void *data;
};
void guest_wait_for(struct guest *guest, const struct waiter_spec *spec);

/* The state has changed: who has waited for that? */
void guest_wake(struct guest *guest);

/* Nobody needs to wait any longer. */
void guest_wake_all(struct guest *guest, int code, const char *why);

/* ---- guest_start.c ---- */

extern const struct worker_hooks guest_worker_hooks;

/* ---- guest_grant.c ---- */

/* Its qvm asks (more of it); or the earlier instance has let go of everything. */
void guest_on_ask(struct guest *guest, const struct msg_ask *ask);
void guest_ask_again(struct guest *guest);
void guest_ask_drop(struct guest *guest);

/* ---- guest_stop.c ---- */

/* SIGKILL now, and `stuck` when it does not die of it. */
void guest_shoot(struct guest *guest);

/* End a qvm whose guest never ran. */
void guest_doom(struct guest *guest, enum guest_reason reason, const struct err *why);

/* It was refused what it needs, and has some time to end by itself. */
void guest_denied_deadline(struct guest *guest);

void guest_deadline(struct guest *guest, uint64_t timeout_ms, uv_timer_cb on_due);
void guest_no_deadline(struct guest *guest);

/* ---- guest_end.c ---- */

void guest_on_ended(void *context, const struct worker_end *end);

/* Its process is gone: state, waiters, claims, directory. `end` NULL: nobody saw it end. */
void guest_bury(struct guest *guest, const struct worker_end *end);

/* ---- guest_release.c: a dead instance lets go of what it holds ---- */

/* Free its claims, files only when their locks are free. */
void guest_release(struct guests *guests, const char *name, uid_t owner, int64_t instance);

/* Whether an instance holds something that must be found free before its claims may go. */
bool guest_holds_locks(const struct guests *guests, int64_t instance);
bool guest_is_releasing(const struct guests *guests, const char *name);
void guest_release_again(struct guests *guests);
void guest_release_drop_all(struct guests *guests);

/* ---- guest_query.c ---- */

void guest_on_state(struct guest *guest, const struct msg_state *state);
void guest_queries_fail(struct guest *guest);

/* ---- guest_console.c ---- */

void guest_take_ring(struct guest *guest, int ring_fd);

/* ---- adopt.c ---- */

/* What has become of everything: connect again, write again, bound logs. */
void guests_reconcile(struct guests *guests);
void guests_bound_logs(const struct guests *guests);

#endif
