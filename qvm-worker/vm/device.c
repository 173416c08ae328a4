/* What a device of the host has of a VM: memory slots, and that KVM knows of it. */
#include <errno.h>
#include <stddef.h>
#include <sys/ioctl.h>

#include "proto/base/err.h"
#include "qvm-worker/vm/private.h"

static int set_slot(struct vm *vm, uint32_t slot, uint32_t flags, uint64_t address, void *host,
                    uint64_t size)
{
    const struct kvm_userspace_memory_region region = {
        .slot = vm->shadow_slot + VM_SHADOW_SEGMENTS + slot, /* behind all others */
        .flags = flags,
        .guest_phys_addr = address,
        .memory_size = size,
        .userspace_addr = (uintptr_t)host,
    };

    return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) == 0 ? 0 : -errno;
}

int vm_device_slot(struct vm *vm, uint32_t slot, uint64_t address, void *host, uint64_t size)
{
    return set_slot(vm, slot, 0, address, host, size);
}

int vm_shown_slot(struct vm *vm, uint32_t slot, uint64_t address, void *host, uint64_t size)
{
    return set_slot(vm, slot, KVM_MEM_READONLY, address, host, size);
}

int vm_add_group(struct vm *vm, int group_fd, struct err *err)
{
    struct kvm_create_device device = {.type = KVM_DEV_TYPE_VFIO};
    struct kvm_device_attr add = {
        .group = KVM_DEV_VFIO_GROUP, .attr = KVM_DEV_VFIO_GROUP_ADD, .addr = (uintptr_t)&group_fd};

    if (vm->vfio_fd < 0) {
        if (ioctl(vm->fd, KVM_CREATE_DEVICE, &device) != 0) {
            return err_sys(err, -errno, "KVM knows nothing of VFIO (CONFIG_KVM_VFIO)");
        }
        vm->vfio_fd = (int)device.fd;
    }
    if (ioctl(vm->vfio_fd, KVM_SET_DEVICE_ATTR, &add) != 0 && errno != EEXIST) {
        return err_sys(err, -errno, "KVM does not take the group of the device");
    }
    return 0;
}
