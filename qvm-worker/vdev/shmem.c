/* Memory that a device shares with other guests: regions of qvmd's, as the device's own.
 *
 * A vCPU that wants a region leaves a wish and waits; the control thread sends it to qvmd and takes
 * the answer, maps what came and wakes the vCPU. Signals go from client to client by the board and
 * the bells of proto/shmem.h. What is let go of is unmapped by the control thread, a moment later.
 *
 * Locks: the slot's, then `places`. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/vdev/shmem_private.h"

#define WAIT_S 2 /* for qvmd's answer: a new one looks for all guests first */

/* ---- where the guest finds it ---- */

static int put_slot(const struct shared *shared, bool is_there)
{
    const struct slot_shmem *shmem = shared->slot->shmem;
    const struct vdev_host_env *env = &shared->slot->host->env;
    uint32_t number = (uint32_t)(shared - shmem->shared);

    return env->memory_slot(env->context, number, shmem->starts[shared->region] + shared->offset,
                            shared->memory, is_there ? shared->bytes : 0);
}

/* `places` is held. */
static int update_slot(struct shared *shared)
{
    const struct slot_shmem *shmem = shared->slot->shmem;
    bool is_wanted = shared->is_shown && shmem->are_there[shared->region];
    int r = 0;

    if (is_wanted != shared->is_in_slot) {
        r = put_slot(shared, is_wanted);
        shared->is_in_slot = r == 0 ? is_wanted : shared->is_in_slot;
    }
    return r;
}

void vdev_host_place_shmem(struct vdev_slot *slot, uint32_t region, uint64_t start, bool is_there)
{
    struct slot_shmem *shmem = slot->shmem;

    if (shmem == NULL || region >= SHMEM_PLACES || slot->host->env.is_dry) {
        return;
    }
    (void)pthread_mutex_lock(&shmem->places);
    if (!is_there) {
        shmem->are_there[region] = false; /* gone from where it was */
    }
    for (uint32_t i = 0; !is_there && i < VDEV_SHMEM_MAX; i++) {
        if (shmem->shared[i].region == region) {
            (void)update_slot(&shmem->shared[i]); /* it was there: it can go */
        }
    }
    shmem->starts[region] = start;
    shmem->are_there[region] = is_there;
    for (uint32_t i = 0; is_there && i < VDEV_SHMEM_MAX; i++) {
        if (shmem->shared[i].region == region) {
            (void)update_slot(&shmem->shared[i]); /* over something else: the guest's own doing */
        }
    }
    (void)pthread_mutex_unlock(&shmem->places);
}

uint64_t vdev_host_region_address(struct vdev_slot *slot, uint32_t region)
{
    struct slot_shmem *shmem = slot->shmem;
    uint64_t address = UINT64_MAX;

    if (shmem != NULL && region < SHMEM_PLACES) {
        (void)pthread_mutex_lock(&shmem->places);
        address = shmem->are_there[region] ? shmem->starts[region] : UINT64_MAX;
        (void)pthread_mutex_unlock(&shmem->places);
    }
    return address;
}

/* ---- wishes, on the thread of a vCPU ---- */

static struct shared *find_shared(struct vdev_slot *slot, uint32_t handle)
{
    struct shared *shared =
        slot->shmem != NULL && handle < VDEV_SHMEM_MAX ? &slot->shmem->shared[handle] : NULL;

    return shared != NULL && shared->state == SHARED_THERE ? shared : NULL;
}

static void wake_control(struct slot_shmem *shmem)
{
    if (shmem->has_async && !shmem->is_closed) {
        (void)uv_async_send(&shmem->async); /* cannot fail for an open one */
    }
}

static void wait_for_answer(struct vdev_slot *slot)
{
    struct slot_shmem *shmem = slot->shmem;
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WAIT_S;
    while (!shmem->is_answered && !shmem->is_closed &&
           pthread_cond_timedwait(&shmem->answered, &slot->lock, &until) == 0) {
    }
}

enum vdev_shmem_status vdev_host_shmem_attach(struct vdev_slot *slot, const char *name,
                                              uint64_t bytes, uint64_t most,
                                              struct vdev_shmem *given)
{
    struct slot_shmem *shmem = slot->shmem;

    if (shmem == NULL || !shmem->has_async || shmem->is_wished ||
        slot->host->env.shmem_wish == NULL || given->size < sizeof(*given)) {
        return VDEV_SHMEM_FAILED;
    }
    if (!shmem_is_name(name)) {
        return VDEV_SHMEM_ILLEGAL_NAME;
    }
    if (most < SHMEM_PAGE || most > INT64_MAX || bytes > most) {
        return VDEV_SHMEM_NO_MEMORY;
    }
    shmem->is_wished = true;
    shmem->is_sent = shmem->is_answered = false;
    shmem->serial++;
    shmem->bytes = bytes;
    shmem->most = most;
    shmem->status = VDEV_SHMEM_FAILED;
    (void)snprintf(shmem->name, sizeof(shmem->name), "%s", name);
    wake_control(shmem);
    wait_for_answer(slot);
    shmem->is_wished = false;
    if (shmem->is_answered && shmem->status == VDEV_SHMEM_OK) {
        const struct shared *shared = &shmem->shared[shmem->handle];

        given->handle = shmem->handle;
        given->client = shared->client;
        given->bytes = shared->bytes;
    }
    return shmem->is_answered ? shmem->status : VDEV_SHMEM_FAILED;
}

void vdev_host_shmem_detach(struct vdev_slot *slot, uint32_t handle)
{
    struct shared *shared = find_shared(slot, handle);

    if (shared == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&slot->shmem->places);
    shared->is_shown = false;
    (void)update_slot(shared); /* it was there: it can go */
    (void)pthread_mutex_unlock(&slot->shmem->places);
    shared->state = SHARED_LEAVING;
    wake_control(slot->shmem);
}

int vdev_host_shmem_show(struct vdev_slot *slot, uint32_t handle, uint32_t region, uint64_t offset)
{
    struct shared *shared = find_shared(slot, handle);
    int r = 0;

    if (shared == NULL || region >= SHMEM_PLACES || offset % SHMEM_PAGE != 0) {
        return -EINVAL;
    }
    (void)pthread_mutex_lock(&slot->shmem->places);
    if (shared->is_shown) {
        r = -EINVAL;
    } else {
        shared->region = region;
        shared->offset = offset;
        shared->is_shown = true;
        r = update_slot(shared);
        shared->is_shown = r == 0;
    }
    (void)pthread_mutex_unlock(&slot->shmem->places);
    return r == 0 || r == -EINVAL ? r : -ENOSPC;
}

void vdev_host_shmem_notify(struct vdev_slot *slot, uint32_t handle, uint32_t clients)
{
    const struct shared *shared = find_shared(slot, handle);
    uint64_t one = 1;

    for (uint32_t i = 0; shared != NULL && i < SHMEM_CLIENTS; i++) {
        if ((clients & 1u << i) != 0) {
            (void)__atomic_fetch_or(&shared->board->pending[i], 1u << shared->client,
                                    __ATOMIC_SEQ_CST);
            (void)!write(shared->fds[SHMEM_FD_BELLS + i], &one, sizeof(one)); /* full: it rings */
        }
    }
}

uint32_t vdev_host_shmem_status(struct vdev_slot *slot, uint32_t handle)
{
    const struct shared *shared = find_shared(slot, handle);
    uint32_t pending, attached;

    if (shared == NULL) {
        return 0;
    }
    pending = __atomic_exchange_n(&shared->board->pending[shared->client], 0, __ATOMIC_SEQ_CST);
    attached = __atomic_load_n(&shared->board->attached, __ATOMIC_SEQ_CST);
    return (pending & 0xffff) | attached << 16;
}

/* ---- the control thread ---- */

struct vdev_slot *vdev_host_shmem_slot(const struct vdev_host *host)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        if (host->slots[i]->shmem != NULL) {
            return host->slots[i];
        }
    }
    return NULL;
}

/* Somebody rang; `slot->lock` is held. */
static void tell_device(struct shared *shared)
{
    struct vdev_slot *slot = shared->slot;

    if (slot->is_held) {
        shared->is_missed = true;
    } else {
        slot->loaded->ops.shmem_changed(slot->device, (uint32_t)(shared - slot->shmem->shared));
    }
}

static void on_bell(uv_poll_t *poll, int status UNUSED, int events UNUSED)
{
    struct shared *shared = poll->data;
    uint64_t count;

    (void)pthread_mutex_lock(&shared->slot->lock);
    if (shared->state == SHARED_THERE &&
        read(shared->fds[SHMEM_FD_BELLS + shared->client], &count, sizeof(count)) > 0) {
        tell_device(shared);
    }
    (void)pthread_mutex_unlock(&shared->slot->lock);
}

void vdev_host_shmem_changed(struct vdev_host *host, const char *name)
{
    struct vdev_slot *slot = vdev_host_shmem_slot(host);

    if (slot == NULL || !slot->shmem->has_async || slot->shmem->is_closed) {
        return;
    }
    (void)pthread_mutex_lock(&slot->lock);
    for (uint32_t i = 0; i < VDEV_SHMEM_MAX; i++) {
        struct shared *shared = &slot->shmem->shared[i];

        if (shared->state == SHARED_THERE && strcmp(shared->name, name) == 0) {
            tell_device(shared);
        }
    }
    (void)pthread_mutex_unlock(&slot->lock);
}

void vdev_host_ring_missed_shmem(struct vdev_slot *slot)
{
    for (uint32_t i = 0; slot->shmem != NULL && i < VDEV_SHMEM_MAX; i++) {
        struct shared *shared = &slot->shmem->shared[i];

        if (shared->is_missed && shared->state == SHARED_THERE) {
            shared->is_missed = false;
            tell_device(shared);
        }
    }
}

static void unmap(struct shared *shared)
{
    if (shared->memory != NULL) {
        (void)munmap(shared->memory, shared->bytes);
    }
    if (shared->board != NULL) {
        (void)munmap(shared->board, SHMEM_BOARD_SIZE);
    }
    shared->memory = NULL;
    shared->board = NULL;
    for (size_t i = 0; i < SHMEM_FD_COUNT; i++) {
        cleanup_close(&shared->fds[i]);
    }
}

static void on_bell_closed(uv_handle_t *handle)
{
    struct shared *shared = handle->data;

    shared->state = SHARED_FREE;
    vdev_host_closed_handle(shared->slot);
}

/* The guest finds it no more since vdev_host_shmem_detach(). */
static void take_away(struct shared *shared)
{
    shared->state = SHARED_CLOSING;
    uv_close((uv_handle_t *)&shared->poll, on_bell_closed);
    unmap(shared);
}

/* `fds` are taken over in any case. */
static bool map(struct shared *shared, int *fds)
{
    for (size_t i = 0; i < SHMEM_FD_COUNT; i++) {
        shared->fds[i] = take_fd(&fds[i]);
    }
    shared->memory = mmap(NULL, shared->bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                          shared->fds[SHMEM_FD_MEMORY], 0);
    shared->board = mmap(NULL, SHMEM_BOARD_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                         shared->fds[SHMEM_FD_BOARD], 0);
    shared->memory = shared->memory != MAP_FAILED ? shared->memory : NULL;
    shared->board = shared->board != MAP_FAILED ? shared->board : NULL;
    return shared->memory != NULL && shared->board != NULL;
}

/* A new region; NULL: it cannot be had. */
static struct shared *take(struct vdev_slot *slot, uint32_t client, uint64_t bytes, int *fds)
{
    struct slot_shmem *shmem = slot->shmem;
    struct shared *shared = shmem->shared;

    while (shared < &shmem->shared[VDEV_SHMEM_MAX] && shared->state != SHARED_FREE) {
        shared++;
    }
    if (shared == &shmem->shared[VDEV_SHMEM_MAX] || client >= SHMEM_CLIENTS || bytes == 0 ||
        bytes > shmem->most) {
        return NULL;
    }
    shared->slot = slot;
    shared->client = client;
    shared->bytes = bytes;
    shared->is_missed = shared->is_shown = shared->is_in_slot = false;
    memcpy(shared->name, shmem->name, sizeof(shared->name));
    if (!map(shared, fds) || uv_poll_init(slot->host->env.loop, &shared->poll,
                                          shared->fds[SHMEM_FD_BELLS + client]) != 0) {
        unmap(shared);
        return NULL;
    }
    shared->poll.data = shared;
    slot->open_handles++;
    shared->state = SHARED_THERE;
    (void)uv_poll_start(&shared->poll, UV_READABLE, on_bell); /* fails for closed handles alone */
    return shared;
}

bool vdev_host_shmem_given(struct vdev_host *host, int64_t serial, enum vdev_shmem_status status,
                           uint32_t client, uint64_t bytes, int *fds)
{
    struct vdev_slot *slot = vdev_host_shmem_slot(host);
    struct slot_shmem *shmem = slot != NULL ? slot->shmem : NULL;
    const struct shared *shared = NULL;

    if (shmem == NULL || !shmem->has_async || shmem->is_closed) {
        return false;
    }
    (void)pthread_mutex_lock(&slot->lock);
    if (shmem->serial == serial && shmem->is_sent && !shmem->is_answered) {
        shared = status == VDEV_SHMEM_OK && fds != NULL ? take(slot, client, bytes, fds) : NULL;
        if (shared != NULL) {
            shmem->handle = (uint32_t)(shared - shmem->shared);
        }
        shmem->status = shared == NULL && status == VDEV_SHMEM_OK ? VDEV_SHMEM_NO_MEMORY : status;
        shmem->is_answered = true;
        if (shared != NULL && !shmem->is_wished) {
            vdev_host_shmem_detach(slot, shmem->handle); /* too late: nobody waits */
        }
        (void)pthread_cond_signal(&shmem->answered);
    }
    (void)pthread_mutex_unlock(&slot->lock);
    return shared != NULL || status != VDEV_SHMEM_OK;
}

/* What vCPUs left to be done: let go first, so that it may be had again. */
static void on_async(uv_async_t *async)
{
    struct vdev_slot *slot = async->data;
    struct slot_shmem *shmem = slot->shmem;
    const struct vdev_host_env *env = &slot->host->env;

    (void)pthread_mutex_lock(&slot->lock);
    for (uint32_t i = 0; i < VDEV_SHMEM_MAX; i++) {
        if (shmem->shared[i].state == SHARED_LEAVING) {
            take_away(&shmem->shared[i]);
            env->shmem_left(env->context, shmem->shared[i].name);
        }
    }
    if (shmem->is_wished && !shmem->is_sent) {
        shmem->is_sent = true;
        if (env->shmem_wish(env->context, shmem->serial, shmem->name, shmem->bytes, shmem->most) !=
            0) {
            shmem->is_answered = true; /* as a failure: there is nobody to ask */
            (void)pthread_cond_signal(&shmem->answered);
        }
    }
    (void)pthread_mutex_unlock(&slot->lock);
}

bool vdev_host_shared(const struct vdev_host *host, uint32_t index, struct vdev_host_shared *shared)
{
    struct vdev_slot *slot = vdev_host_shmem_slot(host);
    bool is_found = false;

    if (slot == NULL || !slot->shmem->has_async) {
        return false;
    }
    (void)pthread_mutex_lock(&slot->lock);
    for (uint32_t i = 0; !is_found && i < VDEV_SHMEM_MAX; i++) {
        const struct shared *one = &slot->shmem->shared[i];

        /* what is left is still ours until our own thread has said so: no number changes between
         * two calls on it */
        if ((one->state == SHARED_THERE || one->state == SHARED_LEAVING) && index-- == 0) {
            *shared = (struct vdev_host_shared){one->name, one->client, one->bytes, one->fds};
            is_found = true;
        }
    }
    (void)pthread_mutex_unlock(&slot->lock);
    return is_found;
}

/* ---- its life ---- */

int vdev_host_open_shmem(struct vdev_slot *slot, struct err *err)
{
    struct slot_shmem *shmem = slot->shmem;
    pthread_condattr_t attributes;

    if (shmem == NULL || slot->host->env.is_dry || slot->host->env.loop == NULL) {
        return 0;
    }
    (void)pthread_condattr_init(&attributes); /* none of these can fail */
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&shmem->answered, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)pthread_mutex_init(&shmem->places, NULL);
    for (uint32_t i = 0; i < VDEV_SHMEM_MAX; i++) {
        shmem->shared[i].slot = slot;
        memset(shmem->shared[i].fds, -1, sizeof(shmem->shared[i].fds));
    }
    if (uv_async_init(slot->host->env.loop, &shmem->async, on_async) != 0) {
        return err_set(err, -ENOMEM, "%s: vdev '%s' cannot share memory", slot->where, slot->name);
    }
    shmem->async.data = slot;
    shmem->has_async = true;
    slot->open_handles++;
    for (uint32_t i = 0; !slot->is_on_pci && i < slot->region_count; i++) {
        vdev_host_place_shmem(slot, i, slot->regions[i].start, true);
    }
    return 0;
}

static void on_async_closed(uv_handle_t *handle)
{
    struct vdev_slot *slot = handle->data;

    vdev_host_closed_handle(slot);
}

/* No vCPU runs. The VM's slots go with the VM. */
void vdev_host_close_shmem(struct vdev_slot *slot)
{
    struct slot_shmem *shmem = slot->shmem;

    if (shmem == NULL || !shmem->has_async) {
        return;
    }
    shmem->is_closed = true;
    for (uint32_t i = 0; i < VDEV_SHMEM_MAX; i++) {
        struct shared *shared = &shmem->shared[i];

        if (shared->state == SHARED_THERE || shared->state == SHARED_LEAVING) {
            shared->state = SHARED_CLOSING;
            uv_close((uv_handle_t *)&shared->poll, on_bell_closed);
            unmap(shared);
        }
    }
    uv_close((uv_handle_t *)&shmem->async, on_async_closed);
}
