/* A log in numbered files: bounded, rotated, read by offset.
 *
 * `NAME` is written to; `NAME.1` is the one before it, up to `NAME.N`. No file becomes larger than
 * its bound, whatever is written. Only qvmd writes: with O_APPEND, piece by piece, each of which
 * stands in one file whole.
 *
 * Readers go by offset: byte N since the log began, over all files, instances and lives of qvmd.
 * For that each file begins with a line of ours (`-- qvm: NAME from byte N --`), which is no part
 * of what is counted and read. What was rotated away before it was read is counted as lost.
 *
 * What cannot be written (a full disk) is dropped; as soon as there is room again a line says how
 * much that was and why. Nothing is kept open between two calls. Loop thread. */
#ifndef QVM_DAEMON_WORKER_LOG_FILE_H
#define QVM_DAEMON_WORKER_LOG_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

#define LOG_FILE_NAME_SIZE 96         /* bytes of a name, its number and its end */
#define LOG_FILE_PIECE_MAX 16384u     /* bytes of one piece */
#define LOG_FILE_SIZE_MIN  65536u     /* smallest bound of a file */
#define LOG_FILE_SCAN_MAX  (1u << 20) /* bytes in which lines are looked for */

/* How large, and how many. */
struct log_bounds {
    uint64_t size;  /* bytes of a file, its first line included; at least LOG_FILE_SIZE_MIN */
    uint64_t older; /* files besides the one that is written to */
};

/* One log. What is known of its newest file is a guess that each call checks. */
struct log_file {
    int dir_fd; /* borrowed */
    struct log_bounds bounds;
    char name[LOG_FILE_NAME_SIZE];
    uint64_t begin;   /* offset of the newest file's first byte */
    uint64_t head;    /* bytes of its first line */
    uint64_t size;    /* of the file */
    bool is_known;    /* the three above were read or written by us */
    uint64_t dropped; /* bytes since something could be written last */
    int error;        /* why */
};

/* `name` is that of the newest file in `dir_fd`. */
void log_file_init(struct log_file *log, int dir_fd, const char *name,
                   const struct log_bounds *bounds);

/* Append `size` bytes, at most LOG_FILE_PIECE_MAX, whole or not at all. */
void log_file_append(struct log_file *log, const void *data, size_t size);

/* Append a line of ours, `-- qvm: ... --`, at the start of a line. */
void log_file_mark(struct log_file *log, bool is_at_line_start, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Offset behind the last byte, and of the oldest that is still there. */
uint64_t log_file_end(struct log_file *log);
uint64_t log_file_oldest(struct log_file *log);

/* Whether the last byte ends a line; also when there is none. */
bool log_file_is_at_line_start(struct log_file *log);

/* Read up to `size` bytes from *offset on, of one file; 0: there is nothing (more). *offset goes
 * forward behind the last byte; what was gone already is added to *lost. An *offset behind the end
 * is set to the end. A negative errno with a sentence when a file cannot be read. */
ssize_t log_file_read(struct log_file *log, uint64_t *offset, void *buffer, size_t size,
                      uint64_t *lost, struct err *err);

/* Where the last `lines` lines begin, as far as LOG_FILE_SCAN_MAX bytes back. */
uint64_t log_file_find_lines(struct log_file *log, uint64_t lines);

/* The last bytes, at most `size`, on the heap with a NUL behind them. -ENOENT: there is no log. */
int log_file_tail(struct log_file *log, size_t size, char **data, size_t *data_size,
                  struct err *err);

/* Remove all files of `name`, whatever their number. */
void log_file_remove(int dir_fd, const char *name);

#endif
