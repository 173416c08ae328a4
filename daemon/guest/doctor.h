/* What is wrong with the host, the daemon and its guests, and what to do about it. Nothing here
 * changes anything, and nothing waits: what is looked at is memory, /proc and /sys. Loop thread. */
#ifndef QVM_DAEMON_GUEST_DOCTOR_H
#define QVM_DAEMON_GUEST_DOCTOR_H

#include <stddef.h>
#include <stdint.h>

#include "proto/msg.h"

#define DOCTOR_FINDINGS_MAX 1024 /* further ones are counted */

enum doctor_severity {
    DOCTOR_PROBLEM, /* something does not work, or is lost when it is left so */
    DOCTOR_WARNING, /* something is not as it should be */
    DOCTOR_HINT,    /* it could be better; does not count as ill */
};

/* Findings, as they are made. */
struct doctor {
    struct msg_diagnosis diagnosis; /* owned: msg_fini(MSG_diagnosis) */
    size_t room;
};

/* One finding. `what` is its stable name; `where` a guest, a path or a process; `advice` what to
 * do. Without memory it is counted and lost. */
__attribute__((format(printf, 6, 7))) void doctor_find(struct doctor *doctor,
                                                       enum doctor_severity severity,
                                                       const char *what, const char *where,
                                                       const char *advice, const char *format, ...);

/* /dev/kvm, the programs, huge pages for guest RAM, limits, the clock against the newest event. */
struct doctor_host {
    size_t guests;          /* that are defined */
    const char *last_event; /* RFC 3339 time of the newest one; NULL: there is none */
    const char *degraded;   /* why the store cannot be written; NULL: it can */
    const char *store_path;
    const char *qvm_path, *vdev_dir; /* what a guest is started from */
    size_t stuck_hands;
};
void doctor_look_at_host(struct doctor *doctor, const struct doctor_host *host);

#endif
