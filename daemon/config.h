/* qvmd.conf: where things are and what guests may have.
 *
 * The format is the lexer's of .qvmconf: words, `#` comments, sizes with K M G. Every option is in
 * one table in config.c; errors say FILE:LINE. Read once at start. */
#ifndef QVM_DAEMON_CONFIG_H
#define QVM_DAEMON_CONFIG_H

#include <stdint.h>

struct config_texts;
struct err;

#define CONFIG_PATH        "/etc/qvm/qvmd.conf"
#define CONFIG_FILE_MAX    (256u << 10) /* bytes of a qvmd.conf */
#define CONFIG_CPUS_FACTOR 32           /* vCPUs per host CPU unless `cpus` says otherwise */

struct config {
    const char *state_dir; /* the database and its lock */
    const char *run_dir;   /* the API's socket, guests' sockets; gone after a boot */
    const char *log_dir;   /* the instances' logs */
    const char *vdev_dir;  /* vdev-NAME.so */
    const char *qvm_path;  /* the program that hosts one guest */

    uint64_t uid_first, uid_count; /* uids (and gids) of instances when qvmd is root */

    uint64_t memory_reserve; /* bytes that guests never get */
    uint64_t cpus;           /* vCPUs that guests may have in all; 0: CONFIG_CPUS_FACTOR x CPUs */

    uint64_t guests;           /* guests that may be defined */
    uint64_t connections;      /* connections to the API in all */
    uint64_t user_connections; /* and of one uid */
    uint64_t hands;            /* hands at once */

    const char *viewer_group, *operator_group,
        *admin_group; /* empty: nobody but root and qvmd's uid */

    struct config_texts *texts; /* what owns the texts */
};

/* The defaults. */
int config_init(struct config *config, struct err *err);
void config_fini(struct config *config);

/* Read the file over what is there; `config` is unchanged on failure.
 * -ENOENT no such file; -ENOEXEC `err` says FILE:LINE: what is wrong. */
int config_read(struct config *config, const char *path, struct err *err);

/* The same from text; `name` is for messages. */
int config_parse(struct config *config, const char *name, const char *text, struct err *err);

/* Move state, run and log directory under `dir` (absolute): a private instance. */
int config_make_private(struct config *config, const char *dir, struct err *err);

/* Paths made of the above, to be freed; NULL when memory is out. */
char *config_socket_path(const struct config *config);
char *config_store_path(const struct config *config);

#endif
