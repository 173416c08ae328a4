/* What the files of ops.h share; nobody else includes this. */
#ifndef QVM_DAEMON_OPS_INSIDE_H
#define QVM_DAEMON_OPS_INSIDE_H

#include <stdbool.h>
#include <sys/queue.h>

#include "daemon/guest/guest.h"
#include "daemon/ops/ops.h"

struct client;
struct ops_call;
struct sharer;
struct sampling;
struct subscription;

LIST_HEAD(subscription_list, subscription);

LIST_HEAD(sampling_list, sampling);
LIST_HEAD(ops_call_list, ops_call);
LIST_HEAD(sharer_list, sharer);

struct ops {
    struct ops_env env;
    struct subscription_list subscriptions;
    struct sampling_list samplings; /* callers who wait for figures */
    struct ops_call_list calls;     /* with a request_id, under way */
    struct sharer_list sharers;     /* connections of programs that share memory with guests */
    bool is_ending;                 /* answers are those of a qvmd that goes */
};

/* `params` is the struct of the method; `reply` is given back by the function or later. */
typedef void (*op_fn)(struct ops *ops, struct reply *reply, const void *params);

void op_discover(struct ops *ops, struct reply *reply, const void *params);
void op_info(struct ops *ops, struct reply *reply, const void *params);
void op_partitions(struct ops *ops, struct reply *reply, const void *params);
void op_host(struct ops *ops, struct reply *reply, const void *params);
void op_devices(struct ops *ops, struct reply *reply, const void *params);
void op_device_clear(struct ops *ops, struct reply *reply, const void *params);
void op_shmem(struct ops *ops, struct reply *reply, const void *params);
void op_shmem_join(struct ops *ops, struct reply *reply, const void *params);
void op_reload(struct ops *ops, struct reply *reply, const void *params);
void op_define(struct ops *ops, struct reply *reply, const void *params);
void op_set(struct ops *ops, struct reply *reply, const void *params);
void op_undefine(struct ops *ops, struct reply *reply, const void *params);
void op_start(struct ops *ops, struct reply *reply, const void *params);
void op_stop(struct ops *ops, struct reply *reply, const void *params);
void op_kill(struct ops *ops, struct reply *reply, const void *params);
void op_pause(struct ops *ops, struct reply *reply, const void *params);
void op_resume(struct ops *ops, struct reply *reply, const void *params);
void op_reset(struct ops *ops, struct reply *reply, const void *params);
void op_reboot(struct ops *ops, struct reply *reply, const void *params);
void op_dump(struct ops *ops, struct reply *reply, const void *params);
void op_point(struct ops *ops, struct reply *reply, const void *params);
void op_console_size(struct ops *ops, struct reply *reply, const void *params);
void op_balloon(struct ops *ops, struct reply *reply, const void *params);
void op_resize(struct ops *ops, struct reply *reply, const void *params);
void op_helper(struct ops *ops, struct reply *reply, const void *params);
void op_sendkey(struct ops *ops, struct reply *reply, const void *params);
void op_sendbreak(struct ops *ops, struct reply *reply, const void *params);
void op_stats(struct ops *ops, struct reply *reply, const void *params);
void op_start_enabled(struct ops *ops, struct reply *reply, const void *params);
void op_drain(struct ops *ops, struct reply *reply, const void *params);
void op_doctor(struct ops *ops, struct reply *reply, const void *params);
void op_metrics(struct ops *ops, struct reply *reply, const void *params);
void op_list(struct ops *ops, struct reply *reply, const void *params);
void op_show(struct ops *ops, struct reply *reply, const void *params);
void op_wait(struct ops *ops, struct reply *reply, const void *params);
void op_attach(struct ops *ops, struct reply *reply, const void *params);
void op_console_read(struct ops *ops, struct reply *reply, const void *params);
void op_console_write(struct ops *ops, struct reply *reply, const void *params);
void op_log(struct ops *ops, struct reply *reply, const void *params);
void op_events(struct ops *ops, struct reply *reply, const void *params);
void op_audit(struct ops *ops, struct reply *reply, const void *params);
void op_subscribe(struct ops *ops, struct reply *reply, const void *params);

/* Answer as a guest_done_fn; `data` is the reply. */
void ops_on_done(void *data, const struct guest *guest, const char *note, const struct err *err);

/* What becomes of the starts that an earlier qvmd had begun. */
void ops_await_enabled(struct ops *ops, struct reply *reply, const void *params);

/* The same call with the same id is done once: do it, wait with the first, or answer again. */
void ops_request(struct ops *ops, struct reply *reply, const struct msg_request *request,
                 const char *id, op_fn op);

struct guest_caller ops_caller(const struct reply *reply);

/* The guest called `name`, or NULL, and the refusal was sent: `reply` is over then. With
 * `must_own`, only if the caller may act on it. */
struct guest *ops_guest(struct ops *ops, struct reply *reply, const char *name, bool must_own);

/* What guests may have and have: memory, vCPUs. */
#define OPS_POOLS_MAX 64 /* two for each partition */
int ops_pools(const struct ops *ops, struct msg_pool pools[OPS_POOLS_MAX], size_t *count,
              struct err *err);

/* Put the quotas that the caller may see into `info->quotas`, on the heap: free(). */
int ops_quotas(const struct ops *ops, const struct reply *reply, struct msg_info *info,
               struct err *err);

/* Figures of the guests that are wanted, or of all that have a process. `done` is called once,
 * later; `list` is borrowed, NULL: memory is out. */
typedef void (*ops_sample_fn)(struct ops *ops, void *context, const struct msg_stats_list *list);
void ops_sample(struct ops *ops, const struct msg_list_params *wanted, ops_sample_fn done,
                void *context);
void ops_sample_end(struct ops *ops);

/* Forget a client's subscriptions. */
void ops_unsubscribe(struct ops *ops, const struct client *client);

/* A client shares nothing any more: it is gone. Or qvmd goes, and they go on without it. */
void ops_leave_shared(struct ops *ops, const struct client *client);
void ops_end_shared(struct ops *ops);

#endif
