/* What a helper has acknowledged, and may not have brought to the disk. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "qvm-worker/image/helper_private.h"

#define ROUNDED(size) (((size) + 15u) & ~UINT64_C(15))

static uint64_t size_of(const struct helper_issued *issued)
{
    return sizeof(*issued) + ROUNDED(issued->has_data ? issued->size : 0);
}

int helper_log_init(struct helper_log *log)
{
    for (int i = 0; i < 2; i++) { /* it takes no memory before something is written there */
        void *half = mmap(NULL, HELPER_LOG_HALF, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (half == MAP_FAILED) {
            return -errno;
        }
        log->halves[i] = half;
    }
    log->covering = HELPER_NO_SLOT;
    return 0;
}

void helper_log_fini(struct helper_log *log)
{
    for (int i = 0; i < 2; i++) {
        if (log->halves[i] != NULL) {
            (void)munmap(log->halves[i], HELPER_LOG_HALF); /* cannot fail: it is ours */
            log->halves[i] = NULL;
        }
        log->used[i] = 0;
    }
    log->reserved = 0;
    log->active = 0;
}

bool helper_log_reserve(struct helper_log *log, uint64_t size)
{
    uint64_t all = sizeof(struct helper_issued) + ROUNDED(size);

    if (log->halves[1] == NULL) {
        return true;
    }
    if (log->used[log->active] + log->reserved + all > HELPER_LOG_HALF) {
        return false;
    }
    log->reserved += all;
    return true;
}

void helper_log_release(struct helper_log *log, const struct helper_issued *issued)
{
    if (log->halves[1] != NULL) {
        log->reserved -= size_of(issued);
    }
}

void helper_log_add(struct helper_log *log, const struct helper_issued *issued, const uint8_t *data)
{
    uint64_t *used = &log->used[log->active];

    if (log->halves[1] == NULL) {
        return;
    }
    if (HELPER_LOG_HALF - *used < size_of(issued)) {
        helper_log_fini(log); /* never: there was room for it */
        return;
    }
    memcpy(log->halves[log->active] + *used, issued, sizeof(*issued));
    if (issued->has_data) {
        memcpy(log->halves[log->active] + *used + sizeof(*issued), data, issued->size);
    }
    *used += size_of(issued);
}

void helper_log_cover(struct helper_log *log, uint16_t slot)
{
    if (log->halves[1] == NULL || log->covering != HELPER_NO_SLOT) {
        return; /* another one is on its way; this one counts for nothing here */
    }
    log->covering = slot;
    if (log->used[!log->active] == 0) { /* else that is still to be covered */
        log->active = !log->active;
    }
}

void helper_log_covered(struct helper_log *log, uint16_t slot)
{
    if (log->covering == slot) {
        log->covering = HELPER_NO_SLOT;
        log->used[!log->active] = 0;
    }
}

bool helper_log_wants_flush(const struct helper_log *log)
{
    return log->halves[1] != NULL && log->covering == HELPER_NO_SLOT &&
           log->used[log->active] + log->reserved > HELPER_LOG_HALF / 2 &&
           log->used[log->active] > 0;
}

void helper_log_lose(struct helper_log *log)
{
    log->reserved = 0;
    log->covering = HELPER_NO_SLOT;
}

bool helper_log_rewind(struct helper_log *log)
{
    log->replay_half = !log->active;
    log->replay_at = 0;
    return log->used[0] + log->used[1] > 0;
}

const struct helper_issued *helper_log_next(struct helper_log *log)
{
    const struct helper_issued *issued;

    if (log->replay_at == log->used[log->replay_half] && log->replay_half != log->active) {
        log->replay_half = log->active;
        log->replay_at = 0;
    }
    if (log->replay_at == log->used[log->replay_half]) {
        return NULL;
    }
    issued = (const void *)(log->halves[log->replay_half] + log->replay_at);
    log->replay_at += size_of(issued);
    return issued;
}
