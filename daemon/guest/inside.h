/* What the files of guest.h share; nobody else includes this. */
#ifndef QVM_DAEMON_GUEST_INSIDE_H
#define QVM_DAEMON_GUEST_INSIDE_H

#include <sys/queue.h>
#include <uv.h>

#include "daemon/guest/guest.h"
#include "daemon/host/process.h"
#include "daemon/host/users.h"
#include "daemon/store/store.h"
#include "daemon/worker/worker_proc.h"
#include "proto/base/cpu_list.h"
#include "proto/base/err.h"
#include "proto/base/pace.h"

struct act;
struct again;
struct cable;
struct dumping;
struct console_ring;
struct dma_watch;
struct exit_watch;
struct feed;
struct guest_ask;
struct helper;
struct guest_figures;
struct guest_release;
struct giving;
struct leavers;
struct many;
struct spares;
struct waiter;
struct query;
struct reader;

LIST_HEAD(waiter_list, waiter);
LIST_HEAD(query_list, query);
LIST_HEAD(act_list, act);
LIST_HEAD(again_list, again);
LIST_HEAD(dumping_list, dumping);
LIST_HEAD(reader_list, reader);
LIST_HEAD(release_list, guest_release);
LIST_HEAD(many_list, many);
LIST_HEAD(cable_list, cable);
LIST_HEAD(leavers_list, leavers);
LIST_HEAD(helper_list, helper);

struct guests {
    struct guests_env env;
    char boot_id[PROCESS_BOOT_ID_SIZE];
    TAILQ_HEAD(, guest) list; /* by name */
    size_t count;
    struct release_list releases; /* of dead instances that still hold something */
    struct shmem *shmem;          /* what guests share; NULL: nothing so far */
    struct giving *sweep;         /* devices that are nobody's go home */
    struct clearing *clearing;    /* one that was set aside is tried again */
    struct dma_watch *dma_watch;  /* NULL: no guest can have a device, or the log cannot be read */
    TAILQ_HEAD(, guests_program) programs; /* of the host, that share regions */
    int64_t last_program;
    uv_timer_t reconcile, record_timer, leave_timer, shmem_timer, program_timer;
    struct leavers_list all_leavers;
    struct leavers *leavers; /* those who go when their timer ends; NULL: nobody */
    struct exit_watch *exit_watch;
    int open_timers;
    struct store_drain drain; /* reason REASON_none: guests may be started */
    struct many *drain_round; /* guests that are being stopped for it; NULL: all are */
    struct many_list manys;
    int64_t last_query;
    int64_t last_act;    /* grows over all qvmds: a qvm may still answer an earlier one */
    int64_t last_dump_s; /* when a dump was made last, and how many before it in that second */
    unsigned dumps_of_second;
    bool has_strays;   /* qvm processes live of which the store knows nothing */
    bool has_leavings; /* control groups that could not be removed yet */
    struct spares *spares;
    struct cable_list cables;
    struct helper_list ending; /* of dead instances */
};

struct guest {
    TAILQ_ENTRY(guest) link;
    struct guests *all;
    char name[GUEST_NAME_MAX + 1];
    uid_t owner;
    char owner_name[USERS_NAME_SIZE];
    char *definition; /* JSON text */
    int64_t generation;
    struct msg_settings settings;
    enum guest_state state, desired;
    bool is_desired_unwritten, is_state_unwritten; /* the store could not be written */

    struct store_instance instance; /* the last one; id 0: it never ran */
    int64_t vcpus, memory, devices; /* of the live one */
    cpu_set_t own_cpus;             /* of the host, that nobody else has meanwhile */
    char own_cpus_text[CPU_LIST_TEXT_SIZE];
    struct worker_proc *worker;      /* while it has a process */
    char down_why[WORKER_TEXT_SIZE]; /* why there was no conversation the last time */
    int dir_fd, cgroup_fd;           /* of the instance; -1: none */
    struct guest_ask *ask;           /* its qvm asked and has no answer yet */
    struct helper_list helpers;      /* of the live instance */
    struct again_list agains;        /* that follow them */
    struct pace wishes;              /* for those */
    struct hand *receiver;           /* that receives what its qvm sent */
    struct {
        struct hand *hand; /* that connects; NULL: none does */
        int64_t serial;    /* of the wish */
        struct pace pace;
    } connecting;
    bool was_granted;
    bool is_wary;      /* of what its qvm sends: guest_be_wary() */
    bool knows_cables; /* we know which its qvm has */
    bool is_of_spare;  /* its process was a spare, and has not said who it is yet */
    bool has_turn;     /* enabled, and still to be started: as the store knows */
    bool is_shot;      /* SIGKILL was sent because somebody wanted that */
    struct err doom;   /* code 0: none; why we ended it before it ran */
    enum guest_reason doom_reason;
    uint64_t last_reset_ms; /* loop time of the last reset that was told */
    char last_reset[256];   /* what caused the last one of the live instance; empty: unknown */
    uv_timer_t timer;       /* one deadline at a time: to build, to go, to die, to be tried again */

    const struct console_ring *ring; /* of ring_instance; stays when that has ended */
    int64_t ring_instance;
    struct guest_figures *figures; /* NULL: there are none (yet) */
    struct feed *feed;             /* while its qvm may have something to say */
    uint64_t console_offset;       /* of the ring: so far it stands in the file */
    struct log_file log, console;
    struct reader_list readers;
    size_t reader_count;
    struct waiter_list waiters;
    size_t waiter_count;
    struct query_list queries;
    struct act_list acts;
    size_t act_count;
    struct guest_shmem *shmem; /* what it may share; NULL: nothing */
    int64_t shmem_awaited;     /* regions of which its qvm is still to say that it has them */
    struct dumping_list dumpings;
    int64_t dump_instance; /* whose own_dumps are counted */
    unsigned own_dumps;    /* that its qvm wanted by itself */
    bool is_gone;          /* undefined; freed when its timer is closed */
};

/* ---- guest.c ---- */

/* A guest from its row; put into the list. NULL: no memory. */
struct guest *guest_insert(struct guests *guests, const struct store_guest *row);

/* Take it out of memory; its process, if it has one, lives on. Whoever waits hears `why`. */
void guest_forget(struct guest *guest, int code, const char *why);

/* ---- life.c: the only place where a state changes ---- */

struct life_step {
    enum guest_event event;
    uid_t spare_uid; /* for `start`: the instance gets this one; 0: one is picked */
    uid_t uid;       /* who asked for it */
    bool is_wanted;  /* for `stop`: somebody wants that from now on, and it is written with it */
    /* for `ended` and `died`; for `stop`, `killed`: SIGKILL follows */
    enum guest_reason reason;
    const char *message;
    int exit_status; /* -1: none known */
    bool frees_all;  /* nobody has to be waited for: its claims go in the same transaction */
    /* for `retry`, and where a row of tries ends: */
    int64_t tries, retry_ms;
};

/* Move `guest` by an event: write the new state and the event in one transaction, then tell
 * subscribers, then those who wait. -EALREADY: the event is not for this state; -EROFS and the
 * event is `start`: nothing was changed. Everything else happens even if it cannot be written. */
int guest_life(struct guest *guest, const struct life_step *step, struct err *err);

/* A uid for an instance that nobody has, in the order of instances; (uid_t)-1: there is none. */
uid_t guests_pick_uid(const struct guests *guests, int64_t instance);

/* Write down what somebody wants, before it is done; kept in memory if it cannot be written. */
void guest_want(struct guest *guest, enum guest_state desired);

/* If the store could not be written, try it, and write then what is missing in it. -EROFS: it
 * still cannot. */
int guests_need_store(struct guests *guests, struct err *err);

/* An event of this guest that changes no state. */
void guest_tell(struct guest *guest, enum event_what what, const char *message, uid_t uid);

/* ---- wait.c ---- */

enum waiter_kind { WAIT_UP, WAIT_GONE, WAIT_STATE };

/* Wait; or be done at once. `timeout_ms` 0: as long as it takes. */
struct waiter_spec {
    enum waiter_kind kind;
    enum guest_state state;
    bool or_rest; /* WAIT_STATE: no longer than until it rests in another state */
    int64_t timeout_ms;
    guest_done_fn done;
    void *data;
};
void guest_wait_for(struct guest *guest, const struct waiter_spec *spec);

/* The state has changed: who has waited for that? */
void guest_wake(struct guest *guest);

/* Nobody needs to wait any longer. */
void guest_wake_all(struct guest *guest, int code, const char *why);

/* ---- hear.c ---- */

extern const struct worker_hooks guest_worker_hooks;

/* ---- start.c ---- */

/* Begin a new instance by the event `start` or `due`. On failure nothing was changed. */
int guest_begin(struct guest *guest, enum guest_event event, uid_t uid, struct err *err);

/* Its qvm has GUEST_BUILD_MS to say what it needs. */
void guest_await_ask(struct guest *guest);

/* Its process, which was a spare, was ended by a signal before it said who it is: make another, in
 * the same instance. */
void guest_launch_again(struct guest *guest);

/* ---- claim.c ---- */

/* Its own CPUs are these; `cpus` NULL: it has none. */
void guest_know_cpus(struct guest *guest, const cpu_set_t *cpus);

/* ---- grant.c ---- */

/* Its qvm asks (more of it); or the earlier instance has let go of everything. */
void guest_on_ask(struct guest *guest, const struct msg_ask *ask);
void guest_ask_again(struct guest *guest);
void guest_ask_drop(struct guest *guest);

/* Why a thing that the configuration names was not given: codes as of open(2) become the API's. */
void guest_file_code(struct err *err);

/* ---- pass.c ---- */

/* Its qvm sent descriptors that we must not receive as they are; -1: not any more. */
void guest_on_loaded(void *context, int socket);

/* Its qvm has, or may have, what qvmd must not have, and not even close: from now on, until its
 * next instance, we take from it through hands alone. */
void guest_be_wary(struct guest *guest);

/* What came from it or was shared with it is to be closed. */
void guest_on_left(void *context, const int *fds, size_t count);

/* ---- retry.c: what its policy makes of an end ---- */

/* Complete `step`, an end with its reason, by what follows from it. `words` (STORE_MESSAGE_SIZE)
 * may be used for its message. */
void guest_judge(const struct guest *guest, struct life_step *step, char *words);

/* It is in backoff: start it when its wait is over. */
void guest_retry_later(struct guest *guest);

/* It was left in backoff by an earlier qvmd: wait for what is left, or leave that state. */
void guest_retry_adopt(struct guest *guest);

/* Its settings or the host's have changed: if it is in backoff, may it stay there? */
void guest_retry_check(struct guest *guest);

/* How long until the next try; only in backoff. */
int64_t guest_retry_left_ms(const struct guest *guest);

/* ---- stop.c ---- */

/* SIGKILL now, and `stuck` when it does not die of it. */
void guest_shoot(struct guest *guest);

/* If force is to follow its stop, as the instance says, let it follow then. */
void guest_force_later(struct guest *guest);

/* The host's own work comes before that of guests; but starts and ends are the host's. */
void guest_stand_back(const struct guest *guest, int nice);

/* End a qvm whose guest never ran. */
void guest_doom(struct guest *guest, enum guest_reason reason, const struct err *why);

/* It was refused what it needs, and has some time to end by itself. */
void guest_denied_deadline(struct guest *guest);

/* How long it may take to stop. */
int64_t guest_stop_ms(const struct guest *guest);

void guest_deadline(struct guest *guest, uint64_t timeout_ms, uv_timer_cb on_due);
void guest_no_deadline(struct guest *guest);

/* ---- spare.c ---- */

int guests_make_spares(struct guests *guests, struct err *err);

/* ---- cgroup.c: the control group of an instance ---- */

/* Make that of the instance that is about to be spawned, or find that of an adopted one. */
int guest_cgroup_make(struct guest *guest, struct err *err);
void guest_cgroup_find(struct guest *guest);

/* Allow it what it was just granted; without a partition (NULL, both) nothing is said of CPUs. */
struct partition;
struct place;
int guest_cgroup_limit(const struct guest *guest, const struct partition *partition,
                       const struct place *place, struct err *err);

/* Its process is gone: end whoever else is in it. */
void guest_cgroup_end(struct guest *guest);

/* Remove what groups an instance had, once its VM is gone, too: threads of KVM's live in them as
 * long as there is one. Not one that a live instance has by now; where somebody is still, it is
 * tried again at the next reconciliation. */
void guests_cgroup_remove(struct guests *guests, const char *guest, int64_t instance, uid_t uid);

/* The group of the instance, or the spare, that has this uid: `*cgroup_fd` is -1 when there is to
 * be none. It is dropped if nobody is in it (any more). */
int guests_cgroup_make(struct guests *guests, uid_t uid, int *cgroup_fd, struct err *err);
void guests_cgroup_drop(struct guests *guests, uid_t uid);
/* Whether processes are left in the group of a uid that nobody has: they are about to end, as the
 * spare of a qvmd that was killed, and the uid is theirs so long. */
bool guests_cgroup_is_busy(const struct guests *guests, uid_t uid);

bool guest_cgroup_is_of(const char *group, const char *guest, int64_t instance, uid_t uid);

/* Whether a live instance, one that leaves or a spare has the group of that name; and remove those
 * of nobody. */
bool guests_cgroup_is_needed(const struct guests *guests, const char *group);
void guests_cgroup_sweep(struct guests *guests);

/* ---- end.c ---- */

void guest_on_ended(void *context, const struct worker_end *end);

/* Its process is gone: state, waiters, claims, directory. `end` NULL: nobody saw it end. */
void guest_bury(struct guest *guest, const struct worker_end *end);

/* Remove the directory of a dead instance: when its end is written, and not before. */
void guest_remove_dir(struct guests *guests, const char *name, int64_t instance);

/* ---- release.c: a dead instance lets go of what it holds ---- */

/* Free its claims, files only when their locks are free. */
void guest_release(struct guests *guests, const char *name, uid_t owner, int64_t instance);

/* Whether it holds what must be found free first; whether one (0: any) is at it, not late. */
bool guest_holds_locks(const struct guests *guests, int64_t instance);
bool guest_is_releasing(const struct guests *guests, const char *name, int64_t instance);
void guest_release_again(struct guests *guests);
void guest_release_drop_all(struct guests *guests);

/* ---- rebuild.c ---- */

/* Keep beside the store who the living instance is and what it holds; once is enough. */
int guest_keep_identity(const struct guest *guest, struct err *err);
int guest_keep_identity_anew(const struct guest *guest, struct err *err); /* with its new helper */

/* The instance of that directory is not in the store: write it there as `unreachable`, with its
 * guest if that is missing, too. -ENOENT: nothing is kept of it; -ESRCH: it is over, as the store
 * knows, or of another boot, or (`only_alive`) its process is gone; -EBUSY: its guest has another
 * process; -EEXIST: its number is another's by now; -EROFS. */
int guest_rebuild(struct guests *guests, const char *dir_name, bool only_alive,
                  struct guest **guest, struct err *err);

/* ---- query.c ---- */

void guest_on_state(struct guest *guest, const struct msg_state *state);
void guest_queries_fail(struct guest *guest);

/* ---- act.c ---- */

/* Who wants that just now; 0: nobody, or root. */
uid_t guest_act_uid(const struct guest *guest, enum guest_act_kind kind);

void guest_on_acted(struct guest *guest, const struct msg_acted *acted);

/* There is a conversation again; the instance has ended; nobody can wait any longer. */
void guest_acts_again(struct guest *guest);
void guest_acts_end(struct guest *guest);
void guest_acts_fail(struct guest *guest, int code, const char *why);

/* ---- dump.c ---- */

void guest_on_dump_wanted(struct guest *guest);
void guest_dumps_fail(struct guest *guest, int code, const char *why);

/* ---- console.c ---- */

void guest_take_ring(struct guest *guest, int ring_fd);

/* ---- shmem.c: regions of memory that guests share ---- */

struct msg_shmem_held;
struct msg_shmem_left;
struct msg_shmem_wish;

/* It asked for rules of what it may share (proto/shmem.h), or was granted these by an earlier qvmd:
 * have the regions that they create. `*bad` is the item of the ask that cannot be had. */
int guest_shmem_ask(struct guest *guest, size_t *bad, struct err *err);
void guest_shmem_adopt(struct guest *guest, const struct reserve_held *held, size_t count);

void guest_on_shmem_wish(struct guest *guest, const struct msg_shmem_wish *wish);
void guest_on_shmem_left(struct guest *guest, const struct msg_shmem_left *left);

/* Its qvm says hello, and then so many times what it has: nothing else is its. */
void guest_shmem_found(struct guest *guest, int64_t count);
void guest_on_shmem_held(struct guest *guest, const struct msg_shmem_held *held, int *fds,
                         size_t fd_count);

/* Its qvm was found again, is lost, or has ended: wishes may have waited for what it has. */
void guests_shmem_go_on(struct guests *guests);

/* The instance has ended; qvmd ends. */
void guest_shmem_end(struct guest *guest);
void guests_shmem_destroy(struct guests *guests);

/* ---- connect.c ---- */

/* Its guest wants to talk to a program of the host; its qvm has ended, or qvmd does. */
struct msg_connect_wish;
void guest_on_connect_wish(struct guest *guest, const struct msg_connect_wish *wish);
void guest_connect_drop(struct guest *guest);

/* ---- stats.c ---- */

/* What came with a hello or with `running`: taken if it is what it should be. */
void guest_take_counters(struct guest *guest, int fd);
void guest_take_kvm_stats(struct guest *guest, int *fds, size_t count);
/* A descriptor of KVM's statistics holds the VM, also when its qvm is gone: whoever closes the last
 * one takes the VM apart, which takes a while. So they can be taken away (returned: how many); the
 * others are closed at the end, by a hand if its guest `is_wary`. NULL is fine. */
size_t guest_figures_take(struct guest_figures *figures, int fds[GUEST_STATS_KVM_MAX]);
void guest_figures_destroy(struct guests *guests, struct guest_figures *figures, bool is_wary);

/* ---- leave.c ---- */

struct guest_leaving {
    const char *guest;
    int64_t instance;
    uid_t uid;
    int fds[GUEST_STATS_KVM_MAX]; /* taken over */
    size_t fd_count;
    bool is_wary;
};

/* The instance has ended and is written down: close what keeps its VM, and then remove its group,
 * some time soon. */
void guests_leave(struct guests *guests, const struct guest_leaving *who);
bool guests_are_leaving(const struct guests *guests, const char *group);
void guests_leave_now(struct guests *guests); /* qvmd ends */

/* ---- drain.c ---- */

/* Whether a drain was begun before qvmd was; and, when the guests are known, go on with it. */
int guests_drain_read(struct guests *guests, struct err *err);
void guests_drain_adopt(struct guests *guests);

/* ---- enabled.c ---- */

/* Starts that were not over when an earlier qvmd ended: go on with them. */
void guests_enabled_adopt(struct guests *guests);

/* Somebody stopped it before its turn came; or the host is drained. In the store the turns end with
 * the wish. */
void guests_leave_turn(struct guest *guest);
void guests_leave_turns(struct guests *guests);

/* ---- log.c ---- */

void guest_logs_init(struct guest *guest);
void guest_logs_remove(const struct guests *guests, const char *name);

/* For a new instance: the end that its qvm writes to (the caller's), and the other one (borrowed).
 */
int guest_logs_begin(struct guest *guest, int *qvm_fd, int *end_fd, struct err *err);

/* A qvm of an earlier qvmd sent that end (-1: it has none); taken over. */
void guest_logs_adopt(struct guest *guest, int *end_fd);

/* Its process is gone: take what it left, then say so. */
void guest_logs_drain(struct guest *guest);
void guest_logs_end(struct guest *guest, const char *reason);

/* ---- read.c ---- */

/* There is more; there will be no more, so nobody has to wait; nobody can wait any longer. */
void guest_readers_wake(struct guest *guest, enum guest_read_kind kind);
void guest_readers_end(struct guest *guest, enum guest_read_kind kind);
void guest_readers_fail(struct guest *guest, int code, const char *why);

/* ---- adopt.c ---- */

/* What has become of the database, for people: once. */
void guests_tell_of_store(struct guests *guests);

/* What has become of everything: connect again, write again. */
void guests_reconcile(struct guests *guests);

/* Whatever a qvm writes into its exit record: what is too long is emptied, and all are watched. */
void guests_bound_records(const struct guests *guests);

#endif
