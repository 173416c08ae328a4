#include "daemon/server/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/host/clock.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/lend.h"
#include "proto/base/log.h"
#include "proto/msg.h"

#define NS_PER_MS 1000000

struct audit {
    int dir_fd; /* borrowed */
    int fd;     /* -1: it could not be opened again */
    int64_t size;
    bool is_broken; /* that it cannot be written was told */
    struct audit_pace pace;
};

static const char *const role_words[] = {"nobody", "viewer", "operator", "admin"};

/* The host may have gone down in the middle of a line: the next one begins a line all the same. */
static void end_line(struct audit *audit)
{
    char last = '\n';

    if (audit->size > 0 && pread(audit->fd, &last, 1, audit->size - 1) == 1 && last != '\n' &&
        write(audit->fd, "\n", 1) == 1) { /* a full disk costs that line, and not the start */
        audit->size++;
    }
}

static int open_file(struct audit *audit)
{
    struct stat status;

    audit->fd = openat(audit->dir_fd, AUDIT_FILE,
                       O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (audit->fd < 0 || fstat(audit->fd, &status) < 0) {
        return -errno;
    }
    audit->size = status.st_size;
    end_line(audit);
    return 0;
}

int audit_open(int log_fd, struct audit **result, struct err *err)
{
    auto_free struct audit *audit = calloc(1, sizeof(*audit));
    int r;

    if (audit == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    audit->dir_fd = log_fd;
    r = open_file(audit);
    if (r < 0) {
        return err_sys(err, r, "cannot open the audit log '" AUDIT_FILE "'");
    }
    *result = take_ptr(audit);
    return 0;
}

void audit_close(struct audit *audit)
{
    if (audit != NULL) {
        cleanup_close(&audit->fd);
        free(audit);
    }
}

/* ---- writing ---- */

static int turn_over(struct audit *audit)
{
    if (renameat(audit->dir_fd, AUDIT_FILE, audit->dir_fd, AUDIT_FILE_OLDER) < 0) {
        return -errno;
    }
    cleanup_close(&audit->fd);
    return open_file(audit);
}

/* All of a line or none of it. */
static int append(struct audit *audit, const char *line, size_t size)
{
    ssize_t n;
    int r = 0;

    if (audit->fd < 0 || audit->size + (int64_t)size > AUDIT_FILE_MAX) {
        r = audit->fd < 0 ? open_file(audit) : turn_over(audit);
    }
    if (r < 0) {
        return r;
    }
    n = write(audit->fd, line, size);
    if (n == (ssize_t)size) {
        audit->size += n;
        return 0;
    }
    r = n < 0 ? -errno : -ENOSPC;
    if (n > 0) {
        (void)!ftruncate(audit->fd, audit->size); /* the next line begins a line in any case */
    }
    return r;
}

static void write_record(struct audit *audit, const struct msg_audit_record *record)
{
    auto_free char *json = msg_encode_told(MSG_audit_record, record);
    auto_free char *line = NULL;
    int size = json != NULL ? asprintf(&line, "%s\n", json) : -1;
    int r = size < 0 ? -ENOMEM : append(audit, line, (size_t)size);

    if (r < 0 && !audit->is_broken) {
        log_error("audit: cannot write " AUDIT_FILE " why=\"%s\"", strerror(-r));
    }
    audit->is_broken = r < 0;
}

static const char *result_word(const struct err *refusal)
{
    return refusal == NULL ? "ok" : error_by_code(refusal->code)->name;
}

void audit_tell(struct audit *audit, const struct audit_entry *entry)
{
    const struct peer *peer = entry->peer;
    char time[CLOCK_TEXT_SIZE];
    struct msg_audit_record record = {
        .time = clock_now_text(time),
        .method = lend(entry->method),
        .guest = entry->guest != NULL && entry->guest[0] != '\0' ? lend(entry->guest) : NULL,
        .device = entry->device != NULL && entry->device[0] != '\0' ? lend(entry->device) : NULL,
        .uid = peer->uid,
        .pid = peer->pid,
        .role = lend(role_words[peer->role]),
        .result = lend(result_word(entry->refusal)),
        .message = entry->refusal != NULL ? lend(entry->refusal->msg) : NULL,
    };

    if (audit != NULL && entry->refusal != NULL &&
        !audit_pace_allows(&audit->pace, peer->uid, clock_mono_ns() / NS_PER_MS + 1,
                           &record.left_out)) {
        return;
    }
    if (entry->refusal == NULL) {
        log_info("audit: %s guest=%s uid=%u pid=%d", entry->method,
                 entry->guest != NULL ? entry->guest : "", peer->uid, peer->pid);
    } else {
        log_warn("audit: refused method=%s guest=%s uid=%u pid=%d role=%s why=\"%s\"",
                 entry->method, entry->guest != NULL ? entry->guest : "", peer->uid, peer->pid,
                 record.role, entry->refusal->msg);
    }
    if (audit != NULL) {
        write_record(audit, &record);
    }
}

/* ---- reading ---- */

/* The whole of a file of ours, with a NUL behind it; NULL: there is none. Where the host went down
 * there may be NULs within it, which end no file. */
static char *read_whole(int dir_fd, const char *name)
{
    auto_close int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    char *text = fd >= 0 ? calloc(1, AUDIT_FILE_MAX + 1) : NULL;
    ssize_t size = text != NULL ? read(fd, text, AUDIT_FILE_MAX) : 0;

    if (size < 0) {
        free(text);
        return NULL;
    }
    for (ssize_t i = 0; i < size; i++) {
        if (text[i] == '\0') {
            text[i] = '\n';
        }
    }
    return text;
}

/* The records of the last lines of `text`, before those that are in the list already. */
static void take_last(const char *text, struct msg_audit_record *records, size_t *first)
{
    const char *end = text + strlen(text);

    while (*first > 0 && end > text) {
        const char *line;

        end -= end[-1] == '\n';
        line = memrchr(text, '\n', (size_t)(end - text));
        line = line != NULL ? line + 1 : text;
        if (msg_decode(MSG_audit_record, line, (size_t)(end - line), false, &records[*first - 1],
                       NULL) == 0) {
            (*first)--;
        }
        end = line;
    }
}

int audit_read(const struct audit *audit, size_t limit, struct msg_audit_list *list,
               struct err *err)
{
    size_t most = limit == 0 || limit > AUDIT_LIST_MAX ? AUDIT_LIST_MAX : limit;
    struct msg_audit_record *records = calloc(most, sizeof(*records));
    size_t first = most;
    const char *const names[] = {AUDIT_FILE, AUDIT_FILE_OLDER};

    if (records == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < ARRAY_LEN(names) && first > 0; i++) {
        auto_free char *text = read_whole(audit->dir_fd, names[i]);

        if (text != NULL) {
            take_last(text, records, &first);
        }
    }
    memmove(records, records + first, (most - first) * sizeof(*records));
    *list = (struct msg_audit_list){.records = records, .records_count = most - first};
    return 0;
}
