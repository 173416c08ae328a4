/* qvmd.conf: where things are and what guests may have.
 *
 * The format is the lexer's of .qvmconf: words, `#` comments, sizes with K M G. Every option is in
 * one table in config.c; errors say FILE:LINE. Read once at start. */
#ifndef QVM_DAEMON_CONFIG_H
#define QVM_DAEMON_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/device_pool.h"
#include "daemon/guest/policy.h"
#include "daemon/partition.h"
#include "daemon/quota.h"
#include "daemon/tap_pool.h"

struct config_texts;
struct err;

#define CONFIG_PATH     "/etc/qvm/qvmd.conf"
#define CONFIG_FILE_MAX (256u << 10) /* bytes of a qvmd.conf */

struct config {
    const char *state_dir; /* the database and its lock */
    const char *run_dir;   /* the API's socket, guests' sockets; gone after a boot */
    const char *log_dir;   /* the instances' logs */
    const char *vdev_dir;  /* vdev-NAME.so */
    const char *qvm_path;  /* the program that hosts one guest */
    const char *cgroup;    /* whose groups instances get: cgroups_create() */

    uint64_t uid_first, uid_count; /* uids (and gids) of instances when qvmd is root */

    uint64_t memory_reserve; /* bytes that guests never get */
    uint64_t cpus; /* vCPUs that guests may have in all; 0: PARTITION_CPUS_FACTOR x CPUs */

    struct policy_rules restarts; /* how guests that ended are tried again */
    int64_t stagger_ms;           /* between the starts of enabled guests */

    uint64_t guest_nice;       /* of the processes of guests that run */
    bool real_time;            /* the priority of qvmd's own thread */
    bool user_network_host;    /* guests' user networks reach the host's loopback */
    uint64_t guests;           /* guests that may be defined */
    uint64_t connections;      /* connections to the API in all */
    uint64_t user_connections; /* and of one uid */
    uint64_t hands;            /* hands at once */
    uint64_t spares;           /* qvm processes made ahead */

    uint64_t log_size, log_count; /* bytes of a log's file; files besides the newest */
    bool console_log;             /* consoles are written down, too */
    uint64_t core_size;           /* bytes of a qvm's core file; 0: none */

    const char *viewer_group, *operator_group,
        *admin_group; /* empty: nobody but root and qvmd's uid */

    const char *metrics_path; /* socket for scrapers; empty: none */

    struct quotas quotas;
    struct partitions partitions; /* settled for this host */
    struct device_pool devices;
    struct tap_pool taps;

    struct config_texts *texts; /* what owns the texts */
    struct config_texts *first; /* those of what never changes */
};

/* The defaults, for this host. */
int config_init(struct config *config, struct err *err);
void config_fini(struct config *config);

/* Read the file over what is there; `config` is unchanged on failure.
 * -ENOENT no such file; -ENOEXEC `err` says FILE:LINE: what is wrong. */
int config_read(struct config *config, const char *path, struct err *err);

/* The same from text; `name` is for messages. */
int config_parse(struct config *config, const char *name, const char *text, struct err *err);

/* Take over from `fresh`, which is empty then, all that may change while qvmd runs; the rest stays,
 * and `note` (size bytes) names what of it differs; it ends up empty if nothing does. */
void config_take(struct config *config, struct config *fresh, char *note, size_t size);

/* Move state, run and log directory under `dir` (absolute): a private instance, which leaves the
 * system's holder of control groups alone. */
int config_make_private(struct config *config, const char *dir, struct err *err);

/* Paths made of the above, to be freed; NULL when memory is out. */
char *config_socket_path(const struct config *config);
char *config_store_path(const struct config *config);

#endif
