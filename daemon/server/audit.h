/* The audit log: who asked for which change and how it ended, and every refusal.
 *
 * One JSON object a line (STRUCT(audit_record) of proto/messages.def) in `audit.jsonl` of the log
 * directory, and a line that begins with `audit:` in qvmd's own log. The file is bounded: at
 * AUDIT_FILE_MAX it becomes `audit.jsonl.1`, and an older one of that name goes. Changes are
 * always written. Of the refusals of one user AUDIT_BURST are written at once and AUDIT_PER_SECOND
 * go on; how many were left out is told. Loop thread. */
#ifndef QVM_DAEMON_SERVER_AUDIT_H
#define QVM_DAEMON_SERVER_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/peer.h"

struct audit;
struct err;
struct msg_audit_list;

#define AUDIT_FILE       "audit.jsonl"
#define AUDIT_FILE_OLDER "audit.jsonl.1"
#define AUDIT_FILE_MAX   (4u << 20) /* bytes */
#define AUDIT_BURST      100        /* refusals of one user that are written whatever their pace */
#define AUDIT_PER_SECOND 10         /* and then so many */
#define AUDIT_USERS_MAX  64 /* users whose pace is known; the longest silent one is forgotten */

/* Open the file in `log_fd` (borrowed). What cannot be written later is told in qvmd's log. */
int audit_open(int log_fd, struct audit **audit, struct err *err);
void audit_close(struct audit *audit);

/* What was asked, by whom, and the refusal. */
struct audit_entry {
    const struct peer *peer;
    const char *method;        /* of the API, or what else was wanted: `connect` */
    const char *guest;         /* NULL or empty: about none */
    const char *device;        /* the same of a device of the host */
    const struct err *refusal; /* NULL: it was done */
};

/* Write it down. `audit` may be NULL: then into qvmd's log alone. */
void audit_tell(struct audit *audit, const struct audit_entry *entry);

/* The last `limit` records that are kept (0: AUDIT_LIST_MAX), in their order; msg_fini(). */
#define AUDIT_LIST_MAX 1000
int audit_read(const struct audit *audit, size_t limit, struct msg_audit_list *list,
               struct err *err);

/* ---- the pace of refusals: pure, the clock is the caller's ---- */

struct audit_pace {
    struct {
        uid_t uid;
        int64_t last_ms;  /* 0: unused */
        int64_t credit;   /* thousandths of a line */
        int64_t left_out; /* since the last line */
    } users[AUDIT_USERS_MAX];
};

/* Whether a line of `uid` may be written at `now_ms` (> 0, never smaller than before); then
 * `*left_out` says how many lines of that user were not written before it. */
bool audit_pace_allows(struct audit_pace *pace, uid_t uid, int64_t now_ms, int64_t *left_out);

#endif
