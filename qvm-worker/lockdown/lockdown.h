/* Closing the door: what a thread of a qvm may still ask the kernel for.
 *
 * The filters are made when the project is built (filters.c, with libseccomp), so that
 * closing costs two system calls. An x86-64 call that no list names kills the process with SIGSYS;
 * opening a file or a socket, running a program, locking and unlocking files (flock, the lock
 * fcntls: the lock of an image must outlive us), mapping anything executable are in no list. A few
 * calls that libraries try and do without answer EPERM instead; each is listed with its reason.
 *
 * Sanitizers map, open and print at will: a build with -DQVM_SANITIZE has NO door, lockdown_close
 * does nothing and lockdown_is_real() says so. Never ship such a build. */
#ifndef QVM_WORKER_LOCKDOWN_H
#define QVM_WORKER_LOCKDOWN_H

#include <stdbool.h>

struct err;

enum lockdown_kind {
    LOCKDOWN_VCPU,    /* KVM_RUN, interrupt lines, eventfds, futex, time */
    LOCKDOWN_IO,      /* interrupts, waiting for doorbells and the disk */
    LOCKDOWN_CONTROL, /* the same, the loop, messages, images read again, vCPU state */
    /* the same where a device of the host is passed through: its registers, its interrupts, where
     * its memory is; the control thread's: its reset */
    LOCKDOWN_VCPU_PASS,
    LOCKDOWN_CONTROL_PASS,
    /* the same where memory is shared with other guests: where it is; the control thread's: mapping
     * it; and with a device of the host as well (vCPUs have that one's door then) */
    LOCKDOWN_VCPU_SHARE,
    LOCKDOWN_CONTROL_SLOTS, /* where a device shows memory of its own */
    LOCKDOWN_CONTROL_SHARE,
    LOCKDOWN_CONTROL_BOTH,
    LOCKDOWN_IO_BACKEND, /* of an I/O thread that talks to a back end as well */
    LOCKDOWN_IO_SOCKETS, /* of one that programs of the host connect to: taking them, closing them
                          */
    LOCKDOWN_IO_VHOST, /* of one that has the kernel work queues off: starting and stopping that */
    LOCKDOWN_PORTS,    /* a process that has ports of the host: reading and writing */
};

/* Close the calling thread's door; threads that it makes inherit it. There is no way back. */
int lockdown_close(enum lockdown_kind kind, struct err *err);

/* Whether this build has doors. */
bool lockdown_is_real(void);

#endif
