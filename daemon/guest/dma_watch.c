#include "daemon/guest/dma_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "daemon/guest/events.h"
#include "daemon/host/dma_fault.h"
#include "daemon/reserve.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/lend.h"
#include "proto/msg.h"

#define KERNEL_LOG "/dev/kmsg"
#define DEVICES_MAX                                                                                \
    64 /* that are told of at a time; of a further one every fault counts for none */
#define RECORDS_TURN 64 /* records that are read in one turn of the loop */

/* What one device did. */
struct culprit {
    char bdf[PCI_BDF_SIZE];
    uint64_t told_ms; /* loop time */
    uint64_t count;   /* since then */
};

struct dma_watch {
    uv_poll_t poll;
    uv_loop_t *loop;
    struct store *store;
    struct events *events;
    int fd;
    struct culprit culprits[DEVICES_MAX];
    size_t count;
};

static void tell(const struct dma_watch *watch, const struct dma_fault *fault,
                 const struct culprit *culprit)
{
    struct reserve_holder holder = {0};
    char message[256];
    struct msg_event event = {.what = events_what(WHAT_dma_fault), .message = message};
    size_t used;

    used = (size_t)snprintf(message, sizeof(message),
                            "device '%s' tried to reach address %#" PRIx64
                            ", which is no memory for it; the IOMMU refused",
                            fault->bdf, fault->address);
    if (culprit->count > 0) {
        (void)snprintf(message + used, sizeof(message) - used, " (%" PRIu64 " more since the last)",
                       culprit->count);
    }
    if (reserve_find(watch->store, RESOURCE_device, fault->bdf, &holder, NULL) == 0) {
        event.guest = holder.guest;
        event.pid = holder.pid;
    }
    events_tell(watch->events, &event);
}

static struct culprit *find_culprit(struct dma_watch *watch, const char *bdf)
{
    struct culprit *oldest = watch->culprits;

    for (size_t i = 0; i < watch->count; i++) {
        struct culprit *culprit = &watch->culprits[i];

        if (strcmp(culprit->bdf, bdf) == 0) {
            return culprit;
        }
        oldest = culprit->told_ms < oldest->told_ms ? culprit : oldest;
    }
    if (watch->count < DEVICES_MAX) {
        oldest = &watch->culprits[watch->count++];
    } else if (uv_now(watch->loop) - oldest->told_ms < DMA_WATCH_PAUSE_MS) {
        return NULL;
    }
    *oldest = (struct culprit){.told_ms = 0};
    (void)snprintf(oldest->bdf, sizeof(oldest->bdf), "%s", bdf);
    return oldest;
}

static void on_fault(struct dma_watch *watch, const struct dma_fault *fault)
{
    struct culprit *culprit = find_culprit(watch, fault->bdf);
    uint64_t now = uv_now(watch->loop);

    if (culprit == NULL) {
        return;
    }
    if (culprit->told_ms != 0 && now - culprit->told_ms < DMA_WATCH_PAUSE_MS) {
        culprit->count++;
        return;
    }
    tell(watch, fault, culprit);
    culprit->told_ms = now > 0 ? now : 1;
    culprit->count = 0;
}

static void on_log(uv_poll_t *poll, int status, int events)
{
    struct dma_watch *watch = poll->data;
    char record[DMA_FAULT_RECORD_MAX + 1];
    struct dma_fault fault;

    (void)events;
    if (status < 0) {
        (void)uv_poll_stop(poll);
        return;
    }
    for (int i = 0; i < RECORDS_TURN; i++) {
        ssize_t n = read(watch->fd, record, DMA_FAULT_RECORD_MAX);

        if (n < 0 && errno == EPIPE) {
            continue; /* records were overwritten before we came to them */
        }
        if (n <= 0) {
            return;
        }
        record[n] = '\0';
        if (dma_fault_parse(record, &fault)) {
            on_fault(watch, &fault);
        }
    }
}

int dma_watch_create(struct uv_loop_s *loop, struct store *store, struct events *events,
                     struct dma_watch **result, struct err *err)
{
    auto_close int fd = open(KERNEL_LOG, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    auto_free struct dma_watch *watch = calloc(1, sizeof(*watch));
    int r;

    if (watch == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    if (fd < 0 || lseek(fd, 0, SEEK_END) < 0) {
        return err_sys(err, -errno, "cannot follow the kernel's log");
    }
    r = uv_poll_init(loop, &watch->poll, fd);
    if (r < 0) {
        return err_set(err, r, "cannot follow the kernel's log: %s", uv_strerror(r));
    }
    watch->loop = loop;
    watch->store = store;
    watch->events = events;
    watch->poll.data = watch;
    /* Prioritized is what was overwritten: libuv gives up on a descriptor of which nobody wants to
     * hear that. It cannot fail: it was initialized just now. */
    (void)uv_poll_start(&watch->poll, UV_READABLE | UV_PRIORITIZED, on_log);
    watch->fd = take_fd(&fd);
    *result = take_ptr(watch);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct dma_watch *watch = handle->data;

    cleanup_close(&watch->fd);
    free(watch);
}

void dma_watch_destroy(struct dma_watch *watch)
{
    if (watch != NULL) {
        uv_close((uv_handle_t *)&watch->poll, on_closed);
    }
}
