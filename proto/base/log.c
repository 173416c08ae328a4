/* Log lines of qvmd and qvm. */
#include "proto/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE 1024

struct destination {
    int fd;
    unsigned level_set;
    bool with_priority;
};

static struct destination destinations[2] = {{STDERR_FILENO, LOG_DEFAULT_SET, false},
                                             {-1, 0, false}};

#define LEVEL(name, priority) {#name, priority},
static const struct {
    const char *name;
    int priority;
} levels[] = {LOG_LEVELS(LEVEL)};
#undef LEVEL

void log_to(int fd, unsigned level_set, bool with_priority)
{
    destinations[0] = (struct destination){fd, level_set, with_priority};
}

void log_also_to(int fd, unsigned level_set)
{
    destinations[1] = (struct destination){fd, level_set, false};
}

int log_level_find(const char *name)
{
    for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
        if (strcmp(levels[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

static void write_line(const struct destination *to, int priority, char *line, size_t size)
{
    char with_priority[LINE_SIZE + 8];
    ssize_t n;

    if (to->with_priority) {
        int m =
            snprintf(with_priority, sizeof(with_priority), "<%d>%.*s", priority, (int)size, line);

        line = with_priority;
        size = (size_t)m;
    }
    do {
        n = write(to->fd, line, size);
    } while (n < 0 && errno == EINTR);
    (void)n; /* a log that cannot be written has nobody to be told */
}

void log_line(enum log_level level, const char *format, ...)
{
    char line[LINE_SIZE];
    int saved = errno;
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(line, sizeof(line) - 1, format, args);
    va_end(args);
    if (size < 0) {
        return;
    }
    if ((size_t)size > sizeof(line) - 2) {
        size = (int)sizeof(line) - 2;
    }
    for (int i = 0; i < size; i++) {
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f) {
            line[i] = '?';
        }
    }
    line[size++] = '\n';
    for (unsigned i = 0; i < sizeof(destinations) / sizeof(destinations[0]); i++) {
        if (destinations[i].fd >= 0 && (destinations[i].level_set & LOG_BIT(level)) != 0) {
            write_line(&destinations[i], levels[level].priority, line, (size_t)size);
        }
    }
    errno = saved;
}
