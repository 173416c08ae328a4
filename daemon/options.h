/* The command line of qvmd. */
#ifndef QVM_DAEMON_OPTIONS_H
#define QVM_DAEMON_OPTIONS_H

#include <stdbool.h>

struct config;
struct err;

struct options {
    const char *config_path; /* NULL: the usual one, which may be missing */
    const char *private_dir; /* NULL: none */
    const char *worker_path; /* NULL: as configured */
    const char *vdev_dir;    /* NULL: as configured */
    int ready_fd;            /* -1: nobody wants to be told that qvmd listens */
    bool wants_help, wants_version, wants_check;
};

extern const char options_usage[];

/* -EINVAL: `err` says which word is wrong. */
int options_parse(int argc, char **argv, struct options *options, struct err *err);

/* The configuration that they lead to; the private directory is made if it is missing. */
int options_read_config(const struct options *options, struct config *config, struct err *err);

#endif
