/* Interrupt controllers of a VM: KVM's own, or what it takes to have them in this process. */
#include <errno.h>
#include <sys/ioctl.h>

#include "proto/base/err.h"
#include "qvm-worker/vm/private.h"

static int create_timer(struct vm *vm, struct err *err)
{
    struct kvm_pit_config config = {.flags = KVM_PIT_SPEAKER_DUMMY}; /* and port 0x61 */
    struct kvm_reinject_control late = {.pit_reinject = 0};          /* ticks are not made up for */

    if (ioctl(vm->fd, KVM_CREATE_PIT2, &config) != 0 ||
        ioctl(vm->fd, KVM_GET_PIT2, &vm->timer_power_on) != 0) {
        return err_sys(err, -errno, "KVM cannot create an interval timer");
    }
    (void)ioctl(vm->fd, KVM_REINJECT_CONTROL, &late); /* an older KVM makes up for them */
    return 0;
}

static int create_in_kernel(struct vm *vm, struct err *err)
{
    int r = 0;

    if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) != 0) {
        return err_sys(err, -errno, "KVM cannot create interrupt controllers");
    }
    for (uint32_t i = 0; i < VM_IRQCHIP_COUNT; i++) {
        vm->power_on[i].chip_id = i;
        if (ioctl(vm->fd, KVM_GET_IRQCHIP, &vm->power_on[i]) != 0) {
            return err_sys(err, -errno, "KVM does not tell the state of interrupt controller %u",
                           i);
        }
    }
    if (vm->chips.has_timer) {
        r = create_timer(vm, err);
    }
    if (r == 0 && vm->chips.uses_line_0 && vm->chips.timer_pin != 0) {
        r = vm_routes_wire(vm, err);
    }
    return r;
}

int vm_chips_create(struct vm *vm, struct err *err)
{
    struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {VM_WATCH_LINES}};

    (void)pthread_mutex_init(&vm->routes.lock, NULL); /* cannot fail for a plain one */
    if (!vm->chips.are_own) {
        return create_in_kernel(vm, err);
    }
    if (ioctl(vm->fd, KVM_ENABLE_CAP, &split) != 0) {
        return err_sys(err, -errno,
                       "KVM does not leave the interrupt controllers to us: keep 'ioapic' and "
                       "'8259' at their usual places");
    }
    return 0;
}

int vm_reset(struct vm *vm, struct err *err)
{
    for (uint32_t i = 0; i < VM_IRQCHIP_COUNT && !vm->chips.are_own; i++) {
        if (ioctl(vm->fd, KVM_SET_IRQCHIP, &vm->power_on[i]) != 0) {
            return err_sys(err, -errno, "KVM does not reset interrupt controller %u", i);
        }
    }
    if (vm->chips.has_timer && ioctl(vm->fd, KVM_SET_PIT2, &vm->timer_power_on) != 0) {
        return err_sys(err, -errno, "KVM does not reset its interval timer");
    }
    return 0;
}
