#include "daemon/worker/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/crash_point.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define HEAD_MAX   160u /* bytes of a file's first line */
#define LINE_MAX_  320u /* bytes of a line of ours */
#define NUMBER_MAX 999u /* files are looked for up to here when they are removed */
#define SCAN_PIECE 16384u

/* One of its files, open. */
struct part {
    int fd;
    uint64_t begin, head, size; /* as in struct log_file */
};

static char *part_name(const char *name, uint64_t number, char text[LOG_FILE_NAME_SIZE])
{
    if (number == 0) {
        (void)snprintf(text, LOG_FILE_NAME_SIZE, "%s", name);
    } else {
        (void)snprintf(text, LOG_FILE_NAME_SIZE, "%.90s.%u", name, (unsigned)number);
    }
    return text;
}

static int format_head(const struct log_file *log, uint64_t begin, char text[HEAD_MAX])
{
    return snprintf(text, HEAD_MAX, "-- qvm: %s from byte %" PRIu64 " --\n", log->name, begin);
}

/* A file without our first line (of an earlier version, or touched by somebody) counts from 0. */
static void read_head(const struct log_file *log, struct part *part)
{
    char text[HEAD_MAX + 1], expected[HEAD_MAX];
    ssize_t n = pread(part->fd, text, HEAD_MAX, 0);
    const char *number;

    part->begin = part->head = 0;
    if (n <= 0) {
        return;
    }
    text[n] = '\0';
    number = strstr(text, " from byte ");
    if (number == NULL || strncmp(text, "-- qvm: ", 8) != 0) {
        return;
    }
    part->begin = strtoull(number + strlen(" from byte "), NULL, 10);
    part->head = (uint64_t)format_head(log, part->begin, expected);
    if (strncmp(text, expected, part->head) != 0) {
        part->begin = part->head = 0;
    }
}

static int open_part(const struct log_file *log, uint64_t number, int flags, struct part *part)
{
    char name[LOG_FILE_NAME_SIZE];
    struct stat status;

    *part = (struct part){.fd = -1};
    part->fd = openat(log->dir_fd, part_name(log->name, number, name),
                      flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (part->fd < 0) {
        return -errno;
    }
    if (fstat(part->fd, &status) < 0 || !S_ISREG(status.st_mode)) {
        cleanup_close(&part->fd);
        return -EINVAL;
    }
    part->size = (uint64_t)status.st_size;
    read_head(log, part);
    return 0;
}

static void learn(struct log_file *log, const struct part *part)
{
    log->begin = part->begin;
    log->head = part->head;
    log->size = part->size;
    log->is_known = true;
}

static uint64_t part_end(const struct part *part)
{
    return part->begin + part->size - part->head;
}

void log_file_init(struct log_file *log, int dir_fd, const char *name,
                   const struct log_bounds *bounds)
{
    *log = (struct log_file){.dir_fd = dir_fd, .bounds = *bounds};
    (void)snprintf(log->name, sizeof(log->name), "%s", name);
}

/* ---- writing ---- */

/* All of it or nothing: what went half goes again. */
static int write_whole(int fd, uint64_t size_before, const void *data, size_t size)
{
    ssize_t n = write(fd, data, size);

    if (n == (ssize_t)size) {
        return 0;
    }
    if (n >= 0) {
        (void)!ftruncate(fd, (off_t)size_before); /* then the piece stays cut */
        return -ENOSPC;
    }
    return -errno;
}

static void shift(const struct log_file *log)
{
    char from[LOG_FILE_NAME_SIZE], to[LOG_FILE_NAME_SIZE];

    if (log->bounds.older == 0) {
        (void)unlinkat(log->dir_fd, log->name, 0); /* then opening the new one fails */
        return;
    }
    for (uint64_t number = log->bounds.older; number > 0; number--) {
        (void)renameat(log->dir_fd, part_name(log->name, number - 1, from), log->dir_fd,
                       part_name(log->name, number, to)); /* there may be fewer */
        crash_point("log put aside");
    }
}

/* A new file, which begins where the last one ended. */
static int make_part(struct log_file *log, uint64_t begin, struct part *part)
{
    char head[HEAD_MAX];
    int size = format_head(log, begin, head);
    int r;

    part->fd =
        openat(log->dir_fd, log->name, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (part->fd < 0) {
        return -errno;
    }
    r = write_whole(part->fd, 0, head, (size_t)size);
    if (r < 0) {
        (void)unlinkat(log->dir_fd, log->name, 0); /* without its first line it would lie */
        cleanup_close(&part->fd);
        return r;
    }
    part->begin = begin;
    part->head = part->size = (uint64_t)size;
    return 0;
}

/* Where the log goes on when there is no newest file: a qvmd ended between two of its steps, or
 * somebody took it away. */
static uint64_t end_without_newest(const struct log_file *log)
{
    struct part part;

    if (log->is_known) {
        return log->begin + log->size - log->head;
    }
    if (open_part(log, 1, O_RDONLY, &part) < 0) {
        return 0;
    }
    cleanup_close(&part.fd);
    return part_end(&part);
}

/* The newest file, with room for `size` bytes. */
static int open_to_write(struct log_file *log, size_t size, struct part *part)
{
    int r = open_part(log, 0, O_RDWR | O_APPEND, part);
    uint64_t end = r < 0 ? end_without_newest(log) : part_end(part);

    if (r == 0 && part->size == 0) {
        (void)unlinkat(log->dir_fd, log->name, 0); /* then making it fails */
        cleanup_close(&part->fd);
        r = -ENOENT;
    }
    if (r == 0 && part->size + size > log->bounds.size) {
        cleanup_close(&part->fd);
        shift(log);
        r = -ENOENT;
    }
    return r == -ENOENT ? make_part(log, end, part) : r;
}

static int append(struct log_file *log, const void *data, size_t size)
{
    struct part part = {.fd = -1};
    int r = open_to_write(log, size, &part);

    if (r == 0) {
        r = write_whole(part.fd, part.size, data, size);
        part.size += r == 0 ? size : 0;
        learn(log, &part);
    }
    cleanup_close(&part.fd);
    return r;
}

/* Tell what found no room; false: there is none yet. */
static bool tell_dropped(struct log_file *log)
{
    char line[LINE_MAX_];
    int size;

    if (log->dropped == 0) {
        return true;
    }
    size = snprintf(line, sizeof(line), "\n-- qvm: %" PRIu64 " bytes lost: %s --\n", log->dropped,
                    strerrordesc_np(log->error));
    if (append(log, line, (size_t)size) < 0) {
        return false;
    }
    log->dropped = 0;
    return true;
}

void log_file_append(struct log_file *log, const void *data, size_t size)
{
    int r = -ENOSPC;

    if (size > LOG_FILE_PIECE_MAX) {
        size = LOG_FILE_PIECE_MAX;
    }
    if (tell_dropped(log)) {
        r = append(log, data, size);
    }
    if (r < 0) {
        log->error = log->dropped == 0 ? -r : log->error;
        log->dropped += size;
    }
}

void log_file_mark(struct log_file *log, bool is_at_line_start, const char *format, ...)
{
    char text[LINE_MAX_ - 32], line[LINE_MAX_];
    va_list args;
    int size;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    size = snprintf(line, sizeof(line), "%s-- qvm: %s --\n", is_at_line_start ? "" : "\n", text);
    log_file_append(log, line, (size_t)size);
}

/* ---- reading ---- */

static void look(struct log_file *log)
{
    struct part part;

    if (open_part(log, 0, O_RDONLY, &part) == 0) {
        learn(log, &part);
        cleanup_close(&part.fd);
    } else {
        log->begin = end_without_newest(log);
        log->head = log->size = 0;
    }
}

uint64_t log_file_end(struct log_file *log)
{
    look(log);
    return log->begin + log->size - log->head;
}

uint64_t log_file_oldest(struct log_file *log)
{
    uint64_t oldest;
    struct part part;

    look(log);
    oldest = log->begin;
    for (uint64_t number = 1; number <= log->bounds.older; number++) {
        if (open_part(log, number, O_RDONLY, &part) < 0) {
            break;
        }
        cleanup_close(&part.fd);
        if (part.begin >= oldest || part_end(&part) > oldest) {
            break; /* of another count: not to be reached by offset */
        }
        oldest = part.begin;
    }
    return oldest;
}

bool log_file_is_at_line_start(struct log_file *log)
{
    struct part part;
    char last = '\n';

    if (open_part(log, 0, O_RDONLY, &part) < 0) {
        return true;
    }
    if (part.size > 0 && pread(part.fd, &last, 1, (off_t)part.size - 1) != 1) {
        last = '\0';
    }
    cleanup_close(&part.fd);
    return last == '\n';
}

/* The file that holds `offset`, or the oldest that lies behind it; -ENOENT: none. */
static int find_part(const struct log_file *log, uint64_t offset, struct part *found)
{
    int r = open_part(log, 0, O_RDONLY, found);

    for (uint64_t number = 1; r == 0 && number <= log->bounds.older && offset < found->begin;
         number++) {
        struct part older;

        if (open_part(log, number, O_RDONLY, &older) < 0) {
            break;
        }
        if (part_end(&older) > found->begin || part_end(&older) <= offset) {
            cleanup_close(&older.fd);
            break;
        }
        cleanup_close(&found->fd);
        *found = older;
    }
    return r;
}

ssize_t log_file_read(struct log_file *log, uint64_t *offset, void *buffer, size_t size,
                      uint64_t *lost, struct err *err)
{
    uint64_t end = log_file_end(log);
    struct part part;
    ssize_t n;
    int r;

    if (*offset >= end) {
        *offset = end;
        return 0;
    }
    r = find_part(log, *offset, &part);
    if (r < 0) {
        return err_sys(err, r, "cannot open the log '%s'", log->name);
    }
    if (*offset < part.begin) {
        *lost += part.begin - *offset;
        *offset = part.begin;
    }
    n = pread(part.fd, buffer, size, (off_t)(part.head + (*offset - part.begin)));
    r = -errno;
    cleanup_close(&part.fd);
    if (n < 0) {
        return err_sys(err, r, "cannot read the log '%s'", log->name);
    }
    *offset += (uint64_t)n;
    return n;
}

uint64_t log_file_find_lines(struct log_file *log, uint64_t lines)
{
    auto_free char *piece = malloc(SCAN_PIECE);
    uint64_t end = log_file_end(log), oldest = log_file_oldest(log);
    uint64_t from = end, lost = 0, found = 0;
    uint64_t limit = end - oldest > LOG_FILE_SCAN_MAX ? end - LOG_FILE_SCAN_MAX : oldest;

    while (piece != NULL && from > limit) {
        uint64_t start = from - limit > SCAN_PIECE ? from - SCAN_PIECE : limit;
        uint64_t at = start;
        ssize_t n = log_file_read(log, &at, piece, (size_t)(from - start), &lost, NULL);

        if (n <= 0) {
            break;
        }
        if (at < from) { /* the end of an older file: the rest first */
            uint64_t rest = at;

            start = at;
            n = log_file_read(log, &rest, piece, (size_t)(from - start), &lost, NULL);
        }
        for (ssize_t i = n; i-- > 0;) {
            bool is_last_byte = start + (uint64_t)i + 1 == end;

            if (piece[i] == '\n' && !is_last_byte && ++found == lines) {
                return start + (uint64_t)i + 1;
            }
        }
        from = start;
    }
    return from;
}

int log_file_tail(struct log_file *log, size_t size, char **data, size_t *data_size,
                  struct err *err)
{
    uint64_t end = log_file_end(log), oldest = log_file_oldest(log);
    uint64_t offset = end - oldest > size ? end - size : oldest;
    auto_free char *text = malloc(size + 1);
    size_t used = 0;
    uint64_t lost = 0;
    ssize_t n = 1;

    if (end == 0) {
        return err_set(err, -ENOENT, "there is no log '%s'", log->name);
    }
    if (text == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    while (n > 0 && used < size) {
        n = log_file_read(log, &offset, text + used, size - used, &lost, err);
        used += n > 0 ? (size_t)n : 0;
    }
    if (n < 0) {
        return (int)n;
    }
    text[used] = '\0';
    *data = take_ptr(text);
    *data_size = used;
    return 0;
}

void log_file_remove(int dir_fd, const char *name)
{
    char text[LOG_FILE_NAME_SIZE];

    for (uint64_t number = 0; number <= NUMBER_MAX; number++) {
        if (unlinkat(dir_fd, part_name(name, number, text), 0) < 0 && number > 0) {
            return;
        }
    }
}
