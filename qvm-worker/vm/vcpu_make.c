/* What KVM has of one vCPU. */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/topology.h"
#include "qvm-worker/vm/cpuid.h"
#include "qvm-worker/vm/vcpu_private.h"
#include "qvm-worker/vm/vm.h"
#include "qvm-worker/vm/vm_ahead.h"

static int set_cpuid(struct vcpu *vcpu, struct err *err)
{
    struct cpuid_topology topology = {.cpus = *vcpu->config.topology,
                                      .apic_id = vcpu->apic_id,
                                      .shows_qnx = vcpu->config.shows_qnx};
    const struct kvm_cpuid2 *base = vcpu->config.cpuid;
    auto_free struct kvm_cpuid2 *table = NULL;
    int khz = ioctl(vm_fd(vcpu->config.vm), KVM_GET_TSC_KHZ, 0); /* Linux 5.18: of all vCPUs */
    int r = base != NULL ? 0 : vm_ahead_cpuid(vcpu->config.ahead, &base, err);

    if (r != 0) {
        return r;
    }
    table = cpuid_copy(base);
    if (table == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    khz = khz > 0 ? khz : ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);
    topology.tsc_khz = khz > 0 ? (uint32_t)khz : 0;
    cpuid_for_vcpu(table, &topology);
    if (ioctl(vcpu->fd, KVM_SET_CPUID2, table) != 0) {
        return err_sys(err, -errno, "KVM refuses the CPUID of vCPU %u", vcpu->index);
    }
    return 0;
}

static int map_run(struct vcpu *vcpu, struct err *err)
{
    size_t size = vcpu_common_run_size(vcpu->config.common);
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);

    if (at == MAP_FAILED) {
        return err_sys(err, -errno, "cannot map vCPU %u", vcpu->index);
    }
    vcpu->run = at;
    vcpu->run_size = size;
    return 0;
}

int vcpu_make(struct vcpu *vcpu, struct err *err)
{
    int r;

    vcpu->fd = ioctl(vm_fd(vcpu->config.vm), KVM_CREATE_VCPU, vcpu->apic_id);
    if (vcpu->fd < 0) {
        return err_sys(err, -errno, "KVM cannot create vCPU %u of %u", vcpu->index, vcpu->count);
    }
    r = map_run(vcpu, err);
    if (r == 0) {
        r = set_cpuid(vcpu, err);
    }
    if (r == 0 && vcpu->config.counters != NULL) {
        vcpu->stats_fd = ioctl(vcpu->fd, KVM_GET_STATS_FD, NULL); /* fails: there are none */
    }
    if (r == 0) {
        r = vcpu_power_on_create(vcpu->fd, vcpu->index == 0, &vcpu->power_on, err);
    }
    if (r == 0 && vcpu->index == 0) {
        r = vcpu_common_read(vcpu->config.common, vcpu->fd, err);
        if (r == 0) {
            r = vcpu_state_begin(vcpu->fd, vcpu->config.common, vcpu->power_on, err);
        }
    }
    return r;
}
