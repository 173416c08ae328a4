/* Log lines of qvmd and qvm. */
#include "proto/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_SIZE       1024
#define SYSTEM_FRAME    256      /* around a line, with the guest's name */
#define FACILITY_DAEMON (3 << 3) /* RFC 3164, 4.1.1 */

struct destination {
    int fd;
    unsigned level_set;
    bool with_priority;
};

/* A logger of the host. */
struct system {
    int fd;
    unsigned level_set;
    const char *name;
};

static struct system systems[LOG_SYSTEM_COUNT] = {{-1, 0, ""}, {-1, 0, ""}};

static atomic_uint lost_lines; /* that found no room, and were not told of yet */

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

const char *log_level_name(enum log_level level)
{
    return levels[level].name;
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
    if (n < 0 && errno == EAGAIN) {
        (void)atomic_fetch_add(&lost_lines, 1);
    } /* in other cases a log that cannot be written has nobody to be told */
}

/* As soon as there is room again, how many lines found none. */
static void tell_lost(const struct destination *to)
{
    unsigned lost = atomic_exchange(&lost_lines, 0);
    char line[64];
    int size;

    if (lost == 0) {
        return;
    }
    size = snprintf(line, sizeof(line), "log: %u lines lost\n", lost);
    if (write(to->fd, line, (size_t)size) < 0) {
        (void)atomic_fetch_add(&lost_lines, lost);
    }
}

/* The text of a line, which is one. Its size without the newline behind it; -1: it has none. */
static int make_line(char line[LINE_SIZE], const char *format, va_list args)
{
    int size = vsnprintf(line, LINE_SIZE - 1, format, args);

    if (size < 0) {
        return -1;
    }
    if (size > LINE_SIZE - 2) {
        size = LINE_SIZE - 2;
    }
    for (int i = 0; i < size; i++) {
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f) {
            line[i] = '?';
        }
    }
    line[size] = '\n';
    return size;
}

/* A datagram in the words of that logger; what finds no room is lost, as with syslog(3). */
static void write_system(enum log_system system, int priority, const char *line, int size)
{
    const struct system *to = &systems[system];
    char text[LINE_SIZE + SYSTEM_FRAME];
    int n = system == LOG_SYSLOG
                ? snprintf(text, sizeof(text), "<%d>qvm[%s]: %.*s", FACILITY_DAEMON | priority,
                           to->name, size, line)
                : snprintf(text, sizeof(text),
                           "PRIORITY=%d\nSYSLOG_IDENTIFIER=qvm\nQVM_GUEST=%s\nMESSAGE=%.*s\n",
                           priority, to->name, size, line);

    if (n > 0 && n < (int)sizeof(text) && write(to->fd, text, (size_t)n) < 0) {
        (void)atomic_fetch_add(&lost_lines, 1);
    }
}

void log_line(enum log_level level, const char *format, ...)
{
    char line[LINE_SIZE];
    int saved = errno;
    va_list args;
    int size;

    va_start(args, format);
    size = make_line(line, format, args);
    va_end(args);
    for (unsigned i = 0; size >= 0 && i < sizeof(destinations) / sizeof(destinations[0]); i++) {
        if (destinations[i].fd >= 0 && (destinations[i].level_set & LOG_BIT(level)) != 0) {
            tell_lost(&destinations[i]);
            write_line(&destinations[i], levels[level].priority, line, (size_t)size + 1);
        }
    }
    for (unsigned i = 0; size >= 0 && i < LOG_SYSTEM_COUNT; i++) {
        if (systems[i].fd >= 0 && (systems[i].level_set & LOG_BIT(level)) != 0) {
            write_system((enum log_system)i, levels[level].priority, line, size);
        }
    }
    errno = saved;
}

void log_system_line(enum log_system system, enum log_level level, const char *format, ...)
{
    char line[LINE_SIZE];
    int saved = errno;
    va_list args;
    int size;

    va_start(args, format);
    size = make_line(line, format, args);
    va_end(args);
    if (size >= 0 && systems[system].fd >= 0) {
        write_system(system, levels[level].priority, line, size);
    }
    errno = saved;
}

int log_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r;

    if (fd < 0) {
        return -errno;
    }
    if (strlen(path) >= sizeof(address.sun_path)) {
        (void)close(fd);
        return -ENAMETOOLONG;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        r = -errno;
        (void)close(fd);
        return r;
    }
    return fd;
}

void log_to_system(enum log_system system, int fd, unsigned level_set, const char *name)
{
    systems[system] = (struct system){fd, level_set, name};
}
