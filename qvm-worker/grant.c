/* A qvm alone grants to itself. */
#include "qvm-worker/grant.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/plan.h"

static int open_kvm(const struct plan_need *need, int *fd, struct err *err)
{
    *fd = open(need->id, O_RDWR | O_CLOEXEC);
    if (*fd >= 0) {
        return 0;
    }
    switch (errno) {
    case ENOENT:
        return err_set(err, -ENOENT,
                       "there is no %s: load KVM ('modprobe kvm_intel' or 'modprobe kvm_amd'), and "
                       "switch virtualization on in the machine's firmware if that fails",
                       need->id);
    case EACCES:
    case EPERM:
        return err_set(err, -EACCES,
                       "no permission to open %s: run as a user of its group ('ls -l %s'; "
                       "'usermod -aG kvm USER' and log in again), or let qvmd run the guest",
                       need->id, need->id);
    case ENODEV:
    case ENXIO:
        return err_set(err, -ENODEV, "%s has no KVM behind it: load 'kvm_intel' or 'kvm_amd'",
                       need->id);
    default:
        return err_sys(err, -errno, "cannot open %s", need->id);
    }
}

static int open_file(const struct plan_need *need, int *fd, struct err *err)
{
    struct stat stat;

    *fd = open(need->id, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0 || fstat(*fd, &stat) != 0) {
        return err_sys(err, -errno, "%s: cannot open '%s'", need->where, need->id);
    }
    if (!S_ISREG(stat.st_mode)) {
        return err_set(err, -EINVAL, "%s: '%s' is no regular file", need->where, need->id);
    }
    return 0;
}

/* A terminal, FIFO or file for a serial line; a file is made if need be, and has one writer. */
static int open_stream(const struct plan_need *need, int *fd, struct err *err)
{
    int access = !need->is_writable ? O_RDONLY : need->is_readable ? O_RDWR : O_WRONLY;
    int create = need->is_writable && !need->is_readable ? O_CREAT | O_APPEND : 0;
    struct stat stat;

    *fd = open(need->id, access | create | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
    if (*fd < 0 && errno == ENXIO) {
        return err_set(err, -ENXIO, "%s: nobody reads the FIFO '%s'", need->where, need->id);
    }
    if (*fd < 0 || fstat(*fd, &stat) != 0) {
        return err_sys(err, -errno, "%s: cannot open '%s'", need->where, need->id);
    }
    if (S_ISDIR(stat.st_mode) || S_ISBLK(stat.st_mode)) {
        return err_set(err, -EINVAL, "%s: '%s' is neither a character device nor a FIFO or file",
                       need->where, need->id);
    }
    if (S_ISREG(stat.st_mode) && need->is_writable && flock(*fd, LOCK_EX | LOCK_NB) != 0) {
        return err_set(err, -EBUSY, "%s: somebody else writes '%s'", need->where, need->id);
    }
    return 0;
}

static int open_need(const struct plan_need *need, int *fd, struct err *err)
{
    switch (need->kind) {
    case RESOURCE_kvm:
        return open_kvm(need, fd, err);
    case RESOURCE_file:
        return open_file(need, fd, err);
    case RESOURCE_stream:
        return open_stream(need, fd, err);
    case RESOURCE_memory:
    case RESOURCE_cpu:
    case RESOURCE_COUNT:
        break;
    }
    return 0; /* memory and CPUs are taken, not opened */
}

int grant_self(const struct plan *plan, int *fds, struct err *err)
{
    int r = 0;

    for (uint32_t i = 0; i < plan->need_count; i++) {
        fds[i] = -1;
    }
    for (uint32_t i = 0; r == 0 && i < plan->need_count; i++) {
        r = open_need(&plan->needs[i], &fds[i], err);
    }
    for (uint32_t i = 0; r != 0 && i < plan->need_count; i++) {
        cleanup_close(&fds[i]);
    }
    return r;
}
