/* A qvm alone grants to itself. */
#include "qvm-worker/control/grant.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/file_lock.h"
#include "proto/base/log.h"
#include "proto/base/tap.h"
#include "proto/base/vhost_node.h"
#include "qvm-worker/control/command.h"
#include "qvm-worker/control/delayed.h"
#include "qvm-worker/control/listen.h"
#include "qvm-worker/control/spare_memory.h"
#include "qvm-worker/hostmem/hostmem.h"
#include "qvm-worker/plan/plan.h"
#include "qvm-worker/ports/ports.h"
#include "qvm-worker/vdev/host.h"
#include "qvm-worker/vfio/open.h"

#define TAP    "tap:"
#define PEER   "peer:"
#define CID    "cid:"
#define LISTEN "listen:"

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

    int access = need->is_writable ? O_RDWR : O_RDONLY;
    int r;

    *fd = open(need->id, access | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0 || fstat(*fd, &stat) != 0) {
        return err_sys(err, -errno, "%s: cannot open '%s'", need->where, need->id);
    }
    if (!S_ISREG(stat.st_mode) && !(S_ISBLK(stat.st_mode) && need->device != NULL)) {
        return err_set(err, -EINVAL, "%s: '%s' is no regular file", need->where, need->id);
    }
    r = fcntl(*fd, F_SETFL, access) == 0 ? file_lock(*fd, need->is_writable, need->id, err)
                                         : err_sys(err, -errno, "cannot use '%s'", need->id);
    if (r != 0) {
        (void)err_prefix(err, "%s: ", need->where);
    }
    return r;
}

/* A terminal, FIFO or file for a serial line; a file is made if need be, and has one writer. */
static int open_end(const struct plan_need *need, int *fd, struct err *err)
{
    int access = !need->is_writable ? O_RDONLY : need->is_readable ? O_RDWR : O_WRONLY;
    int create = need->is_writable && !need->is_readable ? O_CREAT | O_APPEND : 0;
    struct stat stat;

    *fd = open(need->id, access | create | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
    if (*fd < 0 && errno == ENXIO) { /* a FIFO nobody reads yet */
        *fd = open(need->id, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
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

/* Of struct delayed. */
static int try_end(const void *context, struct err *err)
{
    auto_close int fd = -1;
    int r = open_end(context, &fd, err);

    return r == 0 ? take_fd(&fd) : r;
}

static int open_stream(const struct plan_need *need, int *fd, struct err *err)
{
    const struct delayed delayed = {.open = try_end,
                                    .context = need,
                                    .can_read = need->is_readable,
                                    .can_write = need->is_writable,
                                    .seconds = need->device->delay_s};
    int r;

    if (need->id[0] == '|') {
        r = command_start(need->id + 1, need->is_readable, fd);
        return r == 0 ? 0 : err_sys(err, r, "%s: cannot run '%s'", need->where, need->id + 1);
    }
    if (need->device->delayed_where != NULL) {
        r = delayed_start(&delayed, fd);
        return r == 0 ? 0 : err_sys(err, r, "%s: no process waits for '%s'", need->where, need->id);
    }
    return open_end(need, fd, err);
}

static int open_logger(const struct plan_need *need, int *fd, struct err *err)
{
    bool is_syslog = strcmp(need->id, plan_log_name(PLAN_LOG_SYSLOG)) == 0;
    const char *path = is_syslog ? LOG_SYSLOG_PATH : LOG_JOURNAL_PATH;

    *fd = log_connect(path);
    return *fd >= 0
               ? 0
               : err_sys(err, *fd, "%s: the host has no %s at '%s'", need->where, need->id, path);
}

/* A cable has two ends, and there is nobody here who could give the other guest its own. */
static int open_network(const struct plan_need *need, int *fds, int *fd, struct err *err)
{
    size_t queues = need->amount > 1 ? (size_t)need->amount : 1;
    int taps[TAP_QUEUES_MAX];
    int r;

    if (strncmp(need->id, PEER, sizeof(PEER) - 1) == 0) {
        return err_set(err, -ENOTSUP,
                       "%s: a peer is connected by qvmd: start both guests with qvmctl",
                       need->where);
    }
    r = strncmp(need->id, CID, sizeof(CID) - 1) == 0
            ? vhost_vsock_open(taps, err)
            : tap_open(need->id + sizeof(TAP) - 1, queues, taps, err);
    if (r != 0) {
        (void)err_prefix(err, "%s: ", need->where);
        return r;
    }
    *fd = taps[0];
    for (uint32_t i = 0; i + 1 < queues; i++) {
        fds[PLAN_FD_QUEUE(need->queue + i)] = taps[i + 1];
    }
    if (need->vhost == NULL) {
        return 0;
    }
    r = vhost_net_open(queues, &fds[PLAN_FD_VHOST(need->back_end)], err);
    if (r != 0 && need->device->vhost == VDEV_HOST_VHOST_AUTO) {
        *err = (struct err){0};
        return 0;
    }
    if (r != 0) {
        (void)err_prefix(err, "%s: ", need->where);
    }
    return r;
}

static int open_socket(const struct plan_need *need, int *fd, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    auto_close int new = -1;

    if (strlen(need->id) >= sizeof(address.sun_path)) {
        return err_set(err, -ENAMETOOLONG, "%s: the path '%s' of a socket has more than %zu bytes",
                       need->where, need->id, sizeof(address.sun_path) - 1);
    }
    memcpy(address.sun_path, need->id, strlen(need->id));
    new = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (new < 0 || connect(new, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        return err_sys(err, -errno, "%s: cannot connect to '%s'", need->where, need->id);
    }
    *fd = take_fd(&new);
    return 0;
}

static int open_listener(const struct plan_need *need, int *fd, struct err *err)
{
    int r = listen_open(need->id + sizeof(LISTEN) - 1, fd, err);

    if (r != 0) {
        (void)err_prefix(err, "%s: ", need->where);
    }
    return r;
}

static int open_need(const struct plan_need *need, int *fds, int *fd, struct err *err)
{
    switch (need->kind) {
    case RESOURCE_kvm:
        return open_kvm(need, fd, err);
    case RESOURCE_file:
        return open_file(need, fd, err);
    case RESOURCE_stream:
        return open_stream(need, fd, err);
    case RESOURCE_logger:
        return open_logger(need, fd, err);
    case RESOURCE_shmem:
        return err_set(err, -EOPNOTSUPP,
                       "%s: memory that guests share is qvmd's, which makes it and says who may "
                       "have it: start this guest with qvmctl",
                       need->where);
    case RESOURCE_helper:
        return err_set(err, -EOPNOTSUPP,
                       "%s: '%s' is served by a helper, which qvmd starts and confines: start this "
                       "guest with qvmctl",
                       need->where, strchr(need->id, ':') + 1);
    case RESOURCE_network:
        return open_network(need, fds, fd, err);
    case RESOURCE_socket:
        return open_socket(need, fd, err);
    case RESOURCE_listen:
        return open_listener(need, fd, err);
    case RESOURCE_memory:
        return spare_memory_check(need, err);
    case RESOURCE_directory: /* its opener's */
    case RESOURCE_cpu:
    case RESOURCE_hostcpu:
    case RESOURCE_node:
    case RESOURCE_device: /* open_device: it has several */
    case RESOURCE_COUNT:
        break;
    }
    return 0; /* CPUs are taken, not opened */
}

static int open_device(const struct plan_need *need, struct vfio_open *open, int *fd, int *fds,
                       struct err *err)
{
    int r = vfio_open_device(open, need->id, &fds[PLAN_FD_CONTAINER(need->pass)],
                             &fds[PLAN_FD_GROUP(need->pass)], fd, err);

    if (r != 0) {
        (void)err_prefix(err, "%s: device '%s': ", need->where, need->id);
    }
    return r;
}

static int open_ports(const struct plan_ports *ports, int *fd, struct err *err)
{
    int r = ports_open(ports->start, ports->size, fd, err);

    if (r != 0) {
        (void)err_prefix(err, "%s: %s: ", ports->where, ports->name);
    }
    return r;
}

static int open_memory(const struct plan_memory *memory, int *fd, struct err *err)
{
    int r = hostmem_open_here(memory->host, memory->size, fd, err);

    if (r != 0) {
        (void)err_prefix(err, "%s: %s: ", memory->where, memory->name);
    }
    return r;
}

int grant_self(const struct plan *plan, int *fds, struct err *err)
{
    struct vfio_open open = {0};
    int r = 0;

    for (uint32_t i = 0; i < PLAN_FDS_MAX; i++) {
        fds[i] = -1;
    }
    for (uint32_t i = 0; r == 0 && i < plan->need_count; i++) {
        const struct plan_need *need = &plan->needs[i];

        r = need->kind == RESOURCE_device ? open_device(need, &open, &fds[i], fds, err)
                                          : open_need(need, fds, &fds[i], err);
    }
    for (uint32_t i = 0; r == 0 && i < plan->ports_count; i++) {
        r = open_ports(&plan->ports[i], &fds[PLAN_FD_PORTS(i)], err);
    }
    for (uint32_t i = 0; r == 0 && i < plan->memory_count; i++) {
        r = open_memory(&plan->memories[i], &fds[PLAN_FD_MEMORY(i)], err);
    }
    for (uint32_t i = 0; r != 0 && i < PLAN_FDS_MAX; i++) {
        cleanup_close(&fds[i]);
    }
    return r;
}
