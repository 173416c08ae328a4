/* The guests: what they are, where they are in their life, and what can be asked of them.
 *
 * Everything here answers at once; what takes time ends in a callback (guest_done_fn), which is
 * called exactly once, possibly before the function returns, and whether or not whoever asked is
 * still there. Only guest_life.c changes a guest's state. Loop thread. */
#ifndef QVM_DAEMON_GUEST_H
#define QVM_DAEMON_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/reserve.h"
#include "proto/msg.h"

struct err;
struct events;
struct guest;
struct guests;
struct hands;
struct store;
struct uv_loop_s;

#define GUEST_STOP_MS      60000 /* how long a guest may take to stop unless said otherwise */
#define GUEST_STUCK_MS     10000 /* how long SIGKILL may take */
#define GUEST_BUILD_MS     10000 /* how long a qvm may take to ask for what it needs */
#define GUEST_DENIED_MS    2000  /* how long a qvm may take to end after it was refused */
#define GUEST_RECONCILE_MS 60000 /* between two looks at everything */
#define GUEST_LOG_MS       5000  /* between two looks at the size of logs */
#define GUEST_ASK_MAX      256   /* things that one qvm may ask for */
#define GUEST_WAITERS_MAX  4096  /* calls that may wait for a state of one guest */

/* What guests stand on; all of it borrowed. */
struct guests_env {
    struct uv_loop_s *loop;
    struct store *store;
    struct hands *hands;
    struct events *events;
    struct reserve_limits limits;
    uint64_t guests_max;
    uid_t uid_first;
    uint64_t uid_count;
    int run_fd, log_fd;                  /* directories of instance directories and of logs */
    const char *qvm_path;                /* the program that hosts one guest */
    const char *vdev_dir;                /* where vdev-NAME.so lie */
    bool (*is_wanted)(const void *data); /* is there still somebody who waits for that call? */
};

/* Who asks. */
struct guest_caller {
    uid_t uid;
    bool is_admin;
};

/* Read all guests from the store. Nothing is done to any of them before guests_adopt(). */
int guests_create(const struct guests_env *env, struct guests **guests, struct err *err);

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

const char *guest_name(const struct guest *guest);
const char *guest_definition(const struct guest *guest); /* JSON text */
int64_t guest_instance(const struct guest *guest);       /* 0: never ran */

/* -EPERM: neither its owner nor an admin. */
int guest_check_caller(const struct guest *guest, const struct guest_caller *caller,
                       struct err *err);

/* As the API shows it; the texts are borrowed from the guest and from `times`. */
struct guest_times {
    char started[40], ended[40];
};
void guest_describe(const struct guest *guest, struct guest_times *times, struct msg_guest *info);

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

/* Forget it. -EALREADY: it has a process. */
int guest_undefine(struct guest *guest, const struct guest_caller *caller, struct err *err);

/* ---- life ---- */

/* `err` NULL: done; `note` may be NULL. */
typedef void (*guest_done_fn)(void *data, const struct guest *guest, const char *note,
                              const struct err *err);

/* Done when it runs; fails when it has failed. `timeout_ms` 0: none. */
void guest_start(struct guest *guest, const struct guest_caller *caller, int64_t timeout_ms,
                 guest_done_fn done, void *data);

/* Done when its process is gone. */
void guest_stop(struct guest *guest, const struct guest_caller *caller, int64_t timeout_ms,
                bool kill, guest_done_fn done, void *data);
void guest_kill(struct guest *guest, const struct guest_caller *caller, guest_done_fn done,
                void *data);

/* Done when it is in `state`. */
void guest_wait(struct guest *guest, enum guest_state state, int64_t timeout_ms, guest_done_fn done,
                void *data);

/* ---- its qvm and its console ---- */

/* Ask its qvm for its state; `state` is NULL if it does not answer in GUEST_QUERY_MS. */
#define GUEST_QUERY_MS 300
typedef void (*guest_query_fn)(void *data, const struct guest *guest,
                               const struct msg_state *state);
void guest_query(struct guest *guest, guest_query_fn done, void *data);

/* One end of a stream socket that is its console, for the caller. */
int guest_attach(struct guest *guest, const struct msg_attach *attach, int *fd, struct err *err);

int guest_type(struct guest *guest, const uint8_t *data, size_t size, struct err *err);

/* What it said; `buffer` is filled up to `size`. -EALREADY: nothing is kept of it. */
int guest_console_read(const struct guest *guest, uint64_t offset, uint8_t *buffer, size_t size,
                       struct msg_console_data *data, struct err *err);

/* The end of its log, on the heap. -ENOENT: it never ran. */
int guest_read_log(const struct guest *guest, size_t size, char **data, size_t *data_size,
                   struct err *err);

#endif
