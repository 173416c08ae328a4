/* Keep KVM's static keys switched on for as long as this process lives.
 *
 * KVM patches its own code when the first VM is created and when the last one goes away, and
 * again for the first and last vCPU without an in-kernel LAPIC. L1's kernel is executed by TCG,
 * which now and then keeps the stale code: L1 freezes after some 20 to 130 such changes. One
 * process that holds a vCPU of either kind from the start to the end makes sure that there is
 * never a last one. It goes to the background as soon as it holds them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int failed(const char *what)
{
    (void)fprintf(stderr, "holdvm: %s: %s\n", what, strerror(errno));
    return 1;
}

/* Make a VM with one vCPU; its descriptors stay open until the process ends. */
static int hold(int kvm, bool has_lapic)
{
    int vm = ioctl(kvm, KVM_CREATE_VM, 0);

    if (vm < 0) {
        return failed("KVM_CREATE_VM");
    }
    if (has_lapic && ioctl(vm, KVM_CREATE_IRQCHIP, 0) < 0) {
        return failed("KVM_CREATE_IRQCHIP");
    }
    if (ioctl(vm, KVM_CREATE_VCPU, 0) < 0) {
        return failed("KVM_CREATE_VCPU");
    }
    return 0;
}

/* Never returns once the VMs are held; `ready` then receives a byte. */
static int hold_for_ever(int ready)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (kvm < 0) {
        return failed("/dev/kvm");
    }
    if (hold(kvm, true) != 0 || hold(kvm, false) != 0) {
        return 1;
    }
    if (setsid() < 0 || write(ready, "", 1) != 1) {
        return failed("cannot say that the VMs are held");
    }
    for (;;) {
        (void)pause(); /* only ever returns for a signal */
    }
}

int main(void)
{
    int ready[2];
    char byte;

    if (pipe(ready) < 0) {
        return failed("pipe");
    }
    switch (fork()) {
    case -1:
        return failed("fork");
    case 0: /* a VM belongs to the process that makes it */
        (void)close(ready[0]);
        return hold_for_ever(ready[1]);
    default:
        (void)close(ready[1]);
        return read(ready[0], &byte, 1) == 1 ? 0 : 1;
    }
}
