/* KVM's statistics of a vCPU, through a descriptor of KVM_GET_STATS_FD that its qvm handed over:
 * read with pread, at any time, without waking anybody. */
#ifndef QVM_DAEMON_HOST_KVM_STATS_H
#define QVM_DAEMON_HOST_KVM_STATS_H

#include <stddef.h>
#include <stdint.h>

struct err;

#define KVM_STATS_COUNT 13 /* figures that we show */

/* Where the figures stand behind one descriptor. */
struct kvm_stats {
    int fd; /* owned; -1: none */
    uint32_t data_offset;
    uint32_t offsets[KVM_STATS_COUNT]; /* within the data; UINT32_MAX: this kernel has it not */
};

/* The names, in the order of the values. */
extern const char *const kvm_stats_names[KVM_STATS_COUNT];

/* `fd` came from a stranger: only the kernel's own descriptor of a vCPU's statistics is taken
 * (-EPROTO otherwise), since reading any other may wait for ever. It belongs to `stats` on
 * success. */
int kvm_stats_open(int fd, struct kvm_stats *stats, struct err *err);
void kvm_stats_close(struct kvm_stats *stats);

/* -1 for what is not known. */
int kvm_stats_read(const struct kvm_stats *stats, int64_t values[KVM_STATS_COUNT]);

#endif
