/* Log lines of qvmd and qvm: `room: what guest=NAME key=value`, one per event, to stderr.
 *
 * Levels are the filters of `logger` in qvmconf(5): a set, not a threshold. A line goes to
 * every destination whose set holds its level. Libraries (proto/) never log. */
#ifndef QVM_PROTO_BASE_LOG_H
#define QVM_PROTO_BASE_LOG_H

#include <stdbool.h>

/* LEVEL(name, syslog priority) */
#define LOG_LEVELS(LEVEL)                                                                          \
    LEVEL(fatal, 2)                                                                                \
    LEVEL(internal, 2)                                                                             \
    LEVEL(error, 3)                                                                                \
    LEVEL(warn, 4)                                                                                 \
    LEVEL(info, 6)                                                                                 \
    LEVEL(debug, 7)                                                                                \
    LEVEL(verbose, 7)

#define LEVEL(name, priority) LOG_##name,
enum log_level { LOG_LEVELS(LEVEL) LOG_LEVEL_COUNT };
#undef LEVEL

#define LOG_BIT(level) (1u << (level))
#define LOG_DEFAULT_SET                                                                            \
    (LOG_BIT(LOG_fatal) | LOG_BIT(LOG_internal) | LOG_BIT(LOG_error) | LOG_BIT(LOG_warn) |         \
     LOG_BIT(LOG_info))

/* Where lines go: the set of levels that `fd` gets, and whether `<N>` stands before them (for
 * journald). Call before any thread starts. A level set of 0 silences the destination. */
void log_to(int fd, unsigned level_set, bool with_priority);

/* Give a second descriptor its own set (`logger` with two destinations); -1 takes it away. */
void log_also_to(int fd, unsigned level_set);

/* Loggers of the host: daemons that take datagrams at a socket. */
enum log_system {
    LOG_SYSLOG,  /* syslog(3)'s, at LOG_SYSLOG_PATH */
    LOG_JOURNAL, /* systemd's, at LOG_JOURNAL_PATH */
    LOG_SYSTEM_COUNT
};
#define LOG_SYSLOG_PATH  "/dev/log"
#define LOG_JOURNAL_PATH "/run/systemd/journal/socket"

/* A descriptor for lines to the logger whose socket is `path`: it never blocks. -ENOENT,
 * -ECONNREFUSED: there is none. */
int log_connect(const char *path);

/* Give that logger, at `fd`, its set; `name` is who speaks (both are borrowed). -1 takes it away.
 */
void log_to_system(enum log_system system, int fd, unsigned level_set, const char *name);

/* One line to that logger alone, whatever its set is; no other than log_line(). */
void log_system_line(enum log_system system, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The level called `name`, or -1. */
int log_level_find(const char *name);
const char *log_level_name(enum log_level level);

/* Write one line, cut at 1,024 bytes; control characters become '?'. Any thread; one write(2). */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_error, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_warn, __VA_ARGS__)
#define log_info(...)  log_line(LOG_info, __VA_ARGS__)
#define log_debug(...) log_line(LOG_debug, __VA_ARGS__)

#endif
