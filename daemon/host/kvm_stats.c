/* KVM's statistics of a vCPU. */
#include "daemon/host/kvm_stats.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/host/anon.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define ANON_NAME     "kvm-vcpu-stats"
#define NAME_SIZE_MAX 256u
#define STATS_MAX     1024u /* descriptions of one descriptor that are looked at */
#define DATA_SIZE_MAX 4096u /* figures behind this are left out */

const char *const kvm_stats_names[KVM_STATS_COUNT] = {
    "exits",     "io_exits",       "mmio_exits",     "halt_exits",   "signal_exits",
    "irq_exits", "irq_injections", "nmi_injections", "halt_wait_ns", "hypercalls",
    "pf_taken",  "blocking",       "insn_emulation",
};

static void take_one(const struct kvm_stats_desc *one, struct kvm_stats *stats)
{
    for (size_t i = 0; i < KVM_STATS_COUNT; i++) {
        if (strcmp(one->name, kvm_stats_names[i]) == 0 && one->size == 1 &&
            one->offset <= DATA_SIZE_MAX - sizeof(uint64_t)) {
            stats->offsets[i] = one->offset;
        }
    }
}

/* Find the figures that we show among those that this kernel has. */
static int find(int fd, struct kvm_stats *stats)
{
    struct kvm_stats_header header;
    auto_free char *all = NULL;
    size_t step;

    if (pread(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header) || header.name_size == 0 ||
        header.name_size > NAME_SIZE_MAX || header.num_desc > STATS_MAX) {
        return -EPROTO;
    }
    step = sizeof(struct kvm_stats_desc) + header.name_size;
    all = calloc(header.num_desc + 1, step);
    if (all == NULL) {
        return -ENOMEM;
    }
    if (pread(fd, all, header.num_desc * step, header.desc_offset) !=
        (ssize_t)(header.num_desc * step)) {
        return -EPROTO;
    }
    for (uint32_t i = 0; i < header.num_desc; i++) {
        char *at = all + i * step;

        at[step - 1] = '\0';
        take_one((const struct kvm_stats_desc *)(const void *)at, stats);
    }
    stats->data_offset = header.data_offset;
    return 0;
}

int kvm_stats_open(int fd, struct kvm_stats *stats, struct err *err)
{
    struct kvm_stats new = {.fd = fd};
    int r = anon_is(fd, ANON_NAME) ? 0 : -EPROTO;

    memset(new.offsets, 0xff, sizeof(new.offsets));
    if (r == 0) {
        r = find(fd, &new);
    }
    if (r < 0) {
        return err_set(err, r, "the descriptor is not one of KVM's statistics of a vCPU");
    }
    *stats = new;
    return 0;
}

void kvm_stats_close(struct kvm_stats *stats)
{
    cleanup_close(&stats->fd);
}

int kvm_stats_read(const struct kvm_stats *stats, int64_t values[KVM_STATS_COUNT])
{
    char data[DATA_SIZE_MAX];
    ssize_t n = pread(stats->fd, data, sizeof(data), (off_t)stats->data_offset);

    if (n < 0) {
        return -errno;
    }
    for (size_t i = 0; i < KVM_STATS_COUNT; i++) {
        uint64_t value = 0;

        values[i] = -1;
        if (stats->offsets[i] != UINT32_MAX && stats->offsets[i] + sizeof(value) <= (size_t)n) {
            memcpy(&value, data + stats->offsets[i], sizeof(value));
            values[i] = (int64_t)(value & INT64_MAX);
        }
    }
    return 0;
}
