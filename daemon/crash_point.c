#include "daemon/crash_point.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"

#define PATH_SIZE 512
#define LAST_SIZE 64

/* Which point is to be the last, by its number or its name; false: nobody wants to know. */
static bool is_armed(const char *path, char last[LAST_SIZE])
{
    auto_close int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    memset(last, 0, LAST_SIZE);
    return fd >= 0 && read(fd, last, LAST_SIZE - 1) > 0;
}

static void write_down(const char *path, const char *what)
{
    char name[PATH_SIZE], line[128];
    auto_close int fd = -1;

    (void)snprintf(name, sizeof(name), "%s.passed", path);
    (void)snprintf(line, sizeof(line), "%s\n", what);
    fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    (void)!write(fd, line, strlen(line)); /* the test misses it */
}

void crash_point(const char *what)
{
    static long passed;
    const char *path = getenv("QVM_CRASH_FILE");
    char last[LAST_SIZE];

    if (!is_armed(path, last)) {
        passed = 0;
        return;
    }
    write_down(path, what);
    if (++passed == strtol(last, NULL, 10) || strcmp(what, last) == 0) {
        (void)raise(SIGKILL);
    }
}
