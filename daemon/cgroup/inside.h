/* What the files of cgroup.h share; nobody else includes this. */
#ifndef QVM_DAEMON_CGROUP_INSIDE_H
#define QVM_DAEMON_CGROUP_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct err;

/* The file `name` of a group, with a NUL behind it; what does not fit is cut. 0 or -errno. */
int cgroup_file_read(int fd, const char *name, char *text, size_t size);
int cgroup_file_write(int fd, const char *name, const char *text);

/* Whether `word` stands in a list of words. */
int cgroup_has_word(const char *list, const char *word);

/* Bits of struct cgroups: the controllers, in the order of their table. */
enum {
    CONTROLLER_memory,
    CONTROLLER_pids,
    CONTROLLER_cpu,
    CONTROLLER_cpuset,
    CONTROLLER_hugetlb /* few need it, and systemd does not give it */
};

/* The holder. */
struct cgroups {
    char *path; /* NULL: there shall be none */
    bool is_auto;
    int fd;               /* of the holder, -1: not there */
    ino_t hold;           /* `is_auto`: of its group HOLD_GROUP */
    unsigned controllers; /* bits of `controllers` that work below it */
    bool counts_huge;     /* its memory limits are about huge pages as well */
    char why[160];        /* fd -1: why */
};

/* limit.c: what a qvm may take before anything was granted to it. */
int cgroup_set_first_limits(const struct cgroups *cgroups, int fd, struct err *err);

#endif
