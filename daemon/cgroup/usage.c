/* What a group has taken, and what became of it. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cgroup/cgroup.h"
#include "daemon/cgroup/inside.h"

#define FILE_SIZE    1024
#define NS_PER_USEC  1000
#define NUMBER_WORTH 24 /* bytes of a number with its line end */

/* The number behind the word `key` in lines `KEY NUMBER`; -1: there is no such line. */
static int64_t find_number(const char *text, const char *key)
{
    size_t size = strlen(key);

    while (text != NULL) {
        if (strncmp(text, key, size) == 0 && text[size] == ' ') {
            return strtoimax(text + size + 1, NULL, 10);
        }
        text = strchr(text, '\n');
        text = text != NULL ? text + 1 : NULL;
    }
    return -1;
}

bool cgroup_was_oom(int fd, bool *by_limit)
{
    char text[FILE_SIZE];

    *by_limit = false;
    if (fd < 0 || cgroup_file_read(fd, "memory.events", text, sizeof(text)) < 0) {
        return false;
    }
    *by_limit = find_number(text, "oom") > 0;
    return find_number(text, "oom_kill") > 0;
}

/* A file that holds one number; -1: there is none. */
static int64_t read_number(int fd, const char *name)
{
    char text[NUMBER_WORTH];

    return cgroup_file_read(fd, name, text, sizeof(text)) == 0 ? strtoimax(text, NULL, 10) : -1;
}

int cgroup_read_usage(int fd, struct cgroup_usage *usage)
{
    char text[FILE_SIZE];
    int64_t all, user, sys;

    if (fd < 0 || cgroup_file_read(fd, "cpu.stat", text, sizeof(text)) < 0) {
        return -ENODEV;
    }
    all = find_number(text, "usage_usec");
    user = find_number(text, "user_usec");
    sys = find_number(text, "system_usec");
    *usage = (struct cgroup_usage){
        .memory = read_number(fd, "memory.current"),
        .memory_peak = read_number(fd, "memory.peak"),
        .cpu_ns = all < 0 ? -1 : all * NS_PER_USEC,
        .cpu_user_ns = user < 0 ? -1 : user * NS_PER_USEC,
        .cpu_sys_ns = sys < 0 ? -1 : sys * NS_PER_USEC,
    };
    return 0;
}
