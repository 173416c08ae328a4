/* Transfers of an image by a helper: a process outside that knows the format.
 *
 * It is asked as a disk of virtio is ("Block Device", virtio 1.2, 5.2), through a ring of ours by
 * vhost-user. Ring and data lie in a file of memory that is shared with it, and guest memory does
 * not: data is copied. So a helper that an image got the better of has the image, and what is on
 * its way; and a driver that writes nonsense into the guest's ring never reaches it.
 *
 * What it says is a stranger's: what it gave back is checked, and whatever it writes where, it can
 * spoil transfers alone. When it is gone, another one may follow (helper_follow.c): transfers wait
 * for that, what was on its way is asked again, and what was acknowledged and not flushed since is
 * written again (helper_log.c). When none follows, every transfer fails with EIO.
 *
 * One thread hears it; a transfer takes one of HELPER_SLOTS places, and others wait for theirs. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "qvm-worker/image/helper_private.h"

#define SECTOR    512u
#define PUNCH_MAX (16u << 20) /* bytes of one range: helpers refuse more */
/* virtio 1.2: 5.2.3, 5.2.6, 2.7.5, 6 */
#define T_IN           0u
#define T_OUT          1u
#define T_FLUSH        4u
#define T_DISCARD      11u
#define T_WRITE_ZEROES 13u
#define S_OK           0u
#define S_UNSUPP       2u
#define RANGE_UNMAP    1u
#define DESC_NEXT      1u
#define DESC_WRITE     2u

/* ---- steps; the image's lock is held ---- */

/* Copy between the step's pieces and its place. */
static void copy(const struct image_request *request, uint8_t *place, uint32_t size, bool is_in)
{
    for (uint32_t i = request->first; size > 0; i++) {
        const struct iovec *piece = &request->pieces[i];
        uint32_t part = piece->iov_len < size ? (uint32_t)piece->iov_len : size;

        if (is_in) {
            memcpy(piece->iov_base, place, part);
        } else {
            memcpy(place, piece->iov_base, part);
        }
        place += part;
        size -= part;
    }
}

static uint32_t least(uint64_t a, uint32_t b)
{
    return a < b ? (uint32_t)a : b;
}

static uint32_t type_of(const struct image_request *request)
{
    static const uint32_t types[] = {
        [VDEV_IO_READ] = T_IN,           [VDEV_IO_WRITE] = T_OUT,
        [VDEV_IO_FLUSH] = T_FLUSH,       [VDEV_IO_DISCARD] = T_DISCARD,
        [VDEV_IO_ZERO] = T_WRITE_ZEROES, [VDEV_IO_FILL] = T_WRITE_ZEROES};

    return types[request->kind];
}

/* What is asked, as only we can change it; its data is in its place then. */
static void fill_slot(struct helper *helper, uint16_t at, const struct image_request *request)
{
    struct helper_issued *issued = &helper->issued[at];
    uint64_t all = image_is_punch(request) ? request->left : request->step;
    uint32_t size = least(all, image_is_punch(request) ? PUNCH_MAX : HELPER_SLOT_SIZE);

    *issued = (struct helper_issued){.slot = {.type = type_of(request)},
                                     .size = request->kind == VDEV_IO_FLUSH ? 0 : size,
                                     .has_data = request->kind == VDEV_IO_WRITE};
    if (image_is_punch(request) || request->kind == VDEV_IO_FILL) {
        issued->slot.range_sector = request->offset / SECTOR;
        issued->slot.range_count = size / SECTOR;
        issued->slot.range_flags = request->kind == VDEV_IO_ZERO ? RANGE_UNMAP : 0;
    } else if (request->kind != VDEV_IO_FLUSH) {
        issued->slot.sector = request->offset / SECTOR;
    }
    if (request->kind == VDEV_IO_WRITE) {
        copy(request, helper->shared->data[at], size, false);
    }
}

/* What was issued becomes the ring's next chain. */
static void put(struct helper *helper, uint16_t at)
{
    struct helper_shared *shared = helper->shared;
    struct helper_slot *slot = &shared->slots[at];
    const struct helper_issued *issued = &helper->issued[at];
    struct helper_descriptor *chain = &shared->descriptors[3 * at];
    uint16_t first = (uint16_t)(3 * at);
    bool is_read = issued->slot.type == T_IN, is_data = is_read || issued->has_data;
    uint32_t size = is_data                        ? issued->size
                    : issued->slot.type == T_FLUSH ? 0
                                                   : sizeof(uint64_t) + 2 * sizeof(uint32_t);

    *slot = issued->slot;
    slot->status = UINT8_MAX;
    helper->sizes[at] = issued->size;
    chain[0] = (struct helper_descriptor){helper_address(helper, &slot->type), 2 * sizeof(uint64_t),
                                          DESC_NEXT, (uint16_t)(first + (size > 0 ? 1 : 2))};
    chain[1] = (struct helper_descriptor){
        helper_address(helper, is_data ? (void *)shared->data[at] : (void *)&slot->range_sector),
        size, (uint16_t)(DESC_NEXT | (is_read ? DESC_WRITE : 0)), (uint16_t)(first + 2)};
    chain[2] = (struct helper_descriptor){helper_address(helper, &slot->status), 1, DESC_WRITE, 0};
    shared->driver.ring[helper->driver_index++ % HELPER_QUEUE_SIZE] = first;
    __atomic_store_n(&shared->driver.index, helper->driver_index, __ATOMIC_RELEASE);
    helper->is_filled = true;
}

static uint16_t take_slot(struct helper *helper, uint16_t index)
{
    uint16_t at = helper->unused[--helper->unused_count];

    helper->requests[at] = index;
    helper->is_used[at] = true;
    return at;
}

static void flush_log(struct helper *helper)
{
    uint16_t at = take_slot(helper, HELPER_OWN_FLUSH);

    helper->issued[at] = (struct helper_issued){.slot = {.type = T_FLUSH}};
    helper_log_cover(&helper->log, at);
    put(helper, at);
}

/* One at a time, since later ones may be about the same sectors; false: all are written. */
static bool replay(struct helper *helper)
{
    const struct helper_issued *issued;
    uint16_t at;

    if (helper->unused_count < HELPER_SLOTS) {
        return true;
    }
    issued = helper_log_next(&helper->log);
    if (issued == NULL) {
        return false;
    }
    at = take_slot(helper, HELPER_REPLAY);
    helper->issued[at] = *issued;
    if (issued->has_data) {
        memcpy(helper->shared->data[at], issued + 1, issued->size);
    }
    put(helper, at);
    return true;
}

static bool is_change(const struct image_request *request)
{
    return request->kind != VDEV_IO_READ && request->kind != VDEV_IO_FLUSH;
}

/* Whether the log has room for it. */
static bool has_room(struct helper *helper, const struct image_request *request)
{
    return !is_change(request) ||
           helper_log_reserve(&helper->log, request->kind == VDEV_IO_WRITE
                                                ? least(request->step, HELPER_SLOT_SIZE)
                                                : 0);
}

static void end_step(struct helper *helper, uint16_t index, int64_t n);

void helper_start_waiting(struct helper *helper)
{
    if (helper->is_lost) {
        return;
    }
    if (helper->is_replaying) {
        helper->is_replaying = replay(helper);
    }
    while (!helper->is_replaying && !helper->is_held && helper->waiting.count > 0 &&
           helper->unused_count > 0) {
        uint16_t index = helper->waiting.at[helper->waiting.first], at;
        const struct image_request *request = &helper->image->requests[index];

        if (!has_room(helper, request)) {
            break; /* until it was flushed */
        }
        (void)image_list_pop(&helper->waiting);
        if (request->kind == VDEV_IO_FLUSH && helper->has_failed) {
            helper->has_failed = false;
            end_step(helper, index, -EIO);
            continue;
        }
        at = take_slot(helper, index);
        fill_slot(helper, at, request);
        if (request->kind == VDEV_IO_FLUSH) {
            helper_log_cover(&helper->log, at);
        }
        put(helper, at);
    }
    if (!helper->is_replaying && helper->unused_count > 0 && helper_log_wants_flush(&helper->log)) {
        flush_log(helper);
    }
}

/* The thread hears of what nobody else will end. */
void helper_wake(const struct helper *helper)
{
    uint64_t one = 1;

    (void)!write(helper->work_fd, &one, sizeof(one)); /* full: it is awake */
}

static void helper_start(struct image *image, uint16_t index)
{
    struct helper *helper = image->engine;

    image_list_push(&helper->waiting, index);
    helper_start_waiting(helper);
    if (helper->is_over) {
        helper_wake(helper);
    }
}

static void helper_submit(struct image *image)
{
    struct helper *helper = image->engine;
    uint64_t one = 1;

    if (helper->is_filled) {
        helper->is_filled = false;
        (void)!write(helper->kick_fd, &one, sizeof(one)); /* full: it is told */
    }
}

/* A step is over: more of it, or another one. */
static void end_step(struct helper *helper, uint16_t index, int64_t n)
{
    if (image_stepped(helper->image, index, n)) {
        image_list_push(&helper->waiting, index);
    }
}

/* What the log has to know of it. */
static void note(struct helper *helper, uint16_t at, bool is_done)
{
    const struct helper_issued *issued = &helper->issued[at];
    bool is_change = issued->slot.type != T_IN && issued->slot.type != T_FLUSH;

    if (is_change) {
        helper_log_release(&helper->log, issued);
    }
    if (is_change && is_done) {
        helper_log_add(&helper->log, issued, helper->shared->data[at]);
    }
    if (issued->slot.type == T_FLUSH && is_done) {
        helper_log_covered(&helper->log, at);
    } else if (issued->slot.type == T_FLUSH) {
        helper_log_fini(&helper->log); /* nobody knows what is on the disk */
    }
}

/* One of ours; false: it cannot go on. */
static bool end_own(struct helper *helper, uint16_t at, bool is_done)
{
    if (helper->requests[at] == HELPER_OWN_FLUSH) {
        note(helper, at, is_done);
        helper->has_failed = helper->has_failed || !is_done;
        return true;
    }
    return is_done;
}

static bool end_slot(struct helper *helper, uint16_t at)
{
    const struct helper_shared *shared = helper->shared;
    uint16_t index = helper->requests[at];
    const struct image_request *request;
    uint8_t status = __atomic_load_n(&shared->slots[at].status, __ATOMIC_RELAXED);
    int64_t n = status == S_OK       ? (int64_t)helper->sizes[at]
                : status == S_UNSUPP ? -EOPNOTSUPP
                                     : -EIO;

    helper->is_used[at] = false;
    helper->unused[helper->unused_count++] = at;
    if (index >= VDEV_IO_MAX) {
        return end_own(helper, at, status == S_OK);
    }
    request = &helper->image->requests[index];
    note(helper, at, status == S_OK);
    if (n > 0 && request->kind == VDEV_IO_READ && !request->is_dropped) {
        copy(request, helper->shared->data[at], helper->sizes[at], true);
    }
    end_step(helper, index, n);
    return true;
}

/* What it has given back; false: nonsense. */
static bool reap(struct helper *helper)
{
    const struct helper_shared *shared = helper->shared;
    uint16_t index = __atomic_load_n(&shared->device.index, __ATOMIC_ACQUIRE);

    if ((uint16_t)(index - helper->device_index) > HELPER_SLOTS) {
        return false;
    }
    while (helper->device_index != index) {
        uint32_t id = shared->device.ring[helper->device_index++ % HELPER_QUEUE_SIZE].id;

        if (id % 3 != 0 || id / 3 >= HELPER_SLOTS || !helper->is_used[id / 3]) {
            return false;
        }
        if (!end_slot(helper, (uint16_t)(id / 3))) {
            helper->is_over = true; /* what was acknowledged cannot be written again */
            return false;
        }
    }
    helper_start_waiting(helper);
    helper_submit(helper->image);
    return true;
}

/* What is on its way waits again; what is in its memory is nobody's business from now on. */
static void take_back(struct helper *helper)
{
    helper->unused_count = 0;
    for (uint16_t at = HELPER_SLOTS; at-- > 0;) {
        if (helper->is_used[at] && helper->requests[at] < VDEV_IO_MAX) {
            image_list_push(&helper->waiting, helper->requests[at]);
        }
        helper->is_used[at] = false;
        helper->unused[helper->unused_count++] = at;
    }
    helper_log_lose(&helper->log);
}

void helper_fail_all(struct helper *helper)
{
    helper->is_lost = helper->is_over = true;
    helper->image->is_parked = false;
    take_back(helper);
    while (helper->waiting.count > 0) {
        end_step(helper, image_list_pop(&helper->waiting), -EIO);
    }
}

static bool can_be_followed(const struct helper *helper)
{
    return !helper->is_over && helper->on_lost != NULL &&
           (helper->image->facts.is_read_only || helper->log.halves[1] != NULL);
}

static void lose(struct helper *helper)
{
    bool is_first = !helper->is_lost;

    if (!can_be_followed(helper)) {
        helper_fail_all(helper);
        return;
    }
    helper->is_lost = helper->image->is_parked = true;
    take_back(helper);
    if (is_first) {
        helper->on_lost(helper->context);
    }
}

void helper_tell_ended(struct helper *helper)
{
    uint64_t one = 1;

    (void)!write(helper->image->event_fd, &one, sizeof(one)); /* full: it is readable already */
    (void)pthread_cond_broadcast(&helper->ended);
}

/* ---- the thread ---- */

static void hear(struct helper *helper)
{
    struct epoll_event ready[3];
    uint64_t count;
    uint8_t byte;

    if (epoll_wait(helper->epoll_fd, ready, ARRAY_LEN(ready), -1) < 0) {
        return; /* interrupted */
    }
    (void)!read(helper->call_fd, &count, sizeof(count));
    (void)!read(helper->work_fd, &count, sizeof(count));
    (void)pthread_mutex_lock(&helper->image->lock);
    /* Nothing is due on the socket: whatever comes, it is its end. */
    if (helper->is_over) {
        helper_fail_all(helper);
    } else if (!helper->is_lost &&
               (!reap(helper) || read(helper->vhost.fd, &byte, 1) >= 0 || errno != EAGAIN)) {
        lose(helper);
    }
    helper_tell_ended(helper);
    (void)pthread_mutex_unlock(&helper->image->lock);
}

void *helper_thread_main(void *context)
{
    struct helper *helper = context;
    struct image *image = helper->image;
    struct err err = {0};
    int r = helper->on_thread != NULL ? helper->on_thread(helper->context, &err) : 0;
    bool goes_on = r == 0;

    (void)pthread_mutex_lock(&image->lock);
    helper->is_ready = true;
    helper->err = err;
    (void)pthread_cond_broadcast(&helper->ended);
    (void)pthread_mutex_unlock(&image->lock);
    while (goes_on) {
        hear(helper);
        (void)pthread_mutex_lock(&image->lock);
        goes_on = !helper->is_closing;
        (void)pthread_mutex_unlock(&image->lock);
    }
    return NULL;
}

static bool helper_has_ended(const struct image *image)
{
    (void)image; /* what has ended is in the image's list already */
    return false;
}

static void helper_reap(struct image *image)
{
    struct helper *helper = image->engine;
    uint64_t count;

    (void)!read(image->event_fd, &count, sizeof(count)); /* empty: nothing is new */
    for (uint32_t left = image->is_dropping ? helper->waiting.count : 0; left > 0; left--) {
        uint16_t index = image_list_pop(&helper->waiting);

        if (image->requests[index].is_dropped) { /* there may be no helper for long */
            end_step(helper, index, -EIO);
        } else {
            image_list_push(&helper->waiting, index);
        }
    }
}

static void helper_wait(struct image *image, uint64_t deadline_ns)
{
    struct helper *helper = image->engine;
    const struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                                      .tv_nsec = (long)(deadline_ns % 1000000000u)};

    if (deadline_ns == 0) {
        (void)pthread_cond_wait(&helper->ended, &image->lock);
    } else {
        (void)pthread_cond_clockwait(&helper->ended, &image->lock, CLOCK_MONOTONIC, &deadline);
    }
}

const struct image_engine_ops image_helper_ops = {
    .name = "helper",
    .open = helper_open,
    .close = helper_close,
    .start = helper_start,
    .submit = helper_submit,
    .has_ended = helper_has_ended,
    .reap = helper_reap,
    .wait = helper_wait,
};
