/* One KVM virtual machine. */
#include "qvm-worker/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/memory.h"

#define IDENTITY_MAP_ADDRESS 0xfeffc000ull /* one page; the three of the TSS follow */
#define TSS_ADDRESS          0xfeffd000ull
#define IRQCHIP_COUNT        3u /* two 8259, one IOAPIC */

struct vm {
    int fd;
    uint32_t vcpus_max;
    struct kvm_irqchip power_on[IRQCHIP_COUNT];
};

static const struct {
    int capability;
    const char *name;
} needed[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
    {KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"},
    {KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_TSC_DEADLINE_TIMER, "KVM_CAP_TSC_DEADLINE_TIMER"},
};

/* KVM itself is asked, never the processor's CPUID: that one says no on hosts where it works. */
static int check_kvm(int kvm_fd, struct err *err)
{
    int version = ioctl(kvm_fd, KVM_GET_API_VERSION, 0);

    if (version < 0) {
        return err_sys(err, -errno, "the descriptor granted as /dev/kvm is none");
    }
    if (version != KVM_API_VERSION) {
        return err_set(err, -EOPNOTSUPP, "KVM speaks API version %d, not %d", version,
                       KVM_API_VERSION);
    }
    for (uint32_t i = 0; i < ARRAY_LEN(needed); i++) {
        if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, needed[i].capability) <= 0) {
            return err_set(err, -EOPNOTSUPP, "this KVM lacks %s", needed[i].name);
        }
    }
    return 0;
}

static int create_fd(int kvm_fd, struct vm *vm, struct err *err)
{
    do {
        vm->fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
    } while (vm->fd < 0 && errno == EINTR);
    if (vm->fd < 0) {
        return err_sys(err, -errno, "KVM cannot create a VM");
    }
    (void)fcntl(vm->fd, F_SETFD, FD_CLOEXEC); /* KVM sets it already; it cannot fail */
    return 0;
}

static int set_slot(const struct vm *vm, uint32_t slot, const struct memory_region *first,
                    uint64_t size, struct err *err)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot,
        .guest_phys_addr = first->start,
        .memory_size = size,
        .userspace_addr = (uintptr_t)first->host,
    };

    if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) != 0) {
        return err_sys(err, -errno, "KVM refuses guest RAM at 0x%llx",
                       (unsigned long long)first->start);
    }
    return 0;
}

/* One slot for all regions that follow each other, in the guest and here: each slot is a wait. */
static int set_slots(const struct vm *vm, const struct memory *memory, struct err *err)
{
    uint32_t count = 0, slot = 0, i = 0;
    const struct memory_region *regions = memory_regions(memory, &count);
    int r = 0;

    while (r == 0 && i < count) {
        const struct memory_region *first = &regions[i];
        uint64_t size = 0;

        do {
            size += regions[i++].size;
        } while (i < count && regions[i].start == first->start + size &&
                 regions[i].host == first->host + size);
        r = set_slot(vm, slot++, first, size, err);
    }
    return r;
}

static int set_up(struct vm *vm, const struct memory *memory, struct err *err)
{
    uint64_t identity_map = IDENTITY_MAP_ADDRESS;
    int r = set_slots(vm, memory, err);

    if (r != 0) {
        return r;
    }
    if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) != 0 ||
        ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDRESS) != 0) {
        return err_sys(err, -errno, "KVM refuses its pages at 0x%llx", VM_RESERVED_START);
    }
    if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) != 0) {
        return err_sys(err, -errno, "KVM cannot create interrupt controllers");
    }
    for (uint32_t i = 0; i < IRQCHIP_COUNT; i++) {
        vm->power_on[i].chip_id = i;
        if (ioctl(vm->fd, KVM_GET_IRQCHIP, &vm->power_on[i]) != 0) {
            return err_sys(err, -errno, "KVM does not tell the state of interrupt controller %u",
                           i);
        }
    }
    return 0;
}

int vm_create(int kvm_fd, const struct memory *memory, struct vm **vm, struct err *err)
{
    struct vm *new;
    int max;
    int r = check_kvm(kvm_fd, err);

    if (r != 0) {
        return r;
    }
    new = calloc(1, sizeof(*new));
    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    max = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
    new->vcpus_max = max > 0 ? (uint32_t)max : 4; /* 4: what the API promises without it */
    r = create_fd(kvm_fd, new, err);
    if (r == 0) {
        r = set_up(new, memory, err);
    }
    if (r != 0) {
        vm_destroy(new);
        return r;
    }
    *vm = new;
    return 0;
}

void vm_destroy(struct vm *vm)
{
    if (vm != NULL) {
        cleanup_close(&vm->fd);
        free(vm);
    }
}

int vm_fd(const struct vm *vm)
{
    return vm->fd;
}

uint32_t vm_vcpus_max(const struct vm *vm)
{
    return vm->vcpus_max;
}

void vm_irq(struct vm *vm, uint32_t gsi, bool is_high)
{
    struct kvm_irq_level line = {.irq = gsi, .level = is_high};

    if (gsi < VM_GSI_COUNT) {
        (void)ioctl(vm->fd, KVM_IRQ_LINE, &line); /* fails for lines that do not exist alone */
    }
}

int vm_reset(struct vm *vm, struct err *err)
{
    for (uint32_t i = 0; i < IRQCHIP_COUNT; i++) {
        if (ioctl(vm->fd, KVM_SET_IRQCHIP, &vm->power_on[i]) != 0) {
            return err_sys(err, -errno, "KVM does not reset interrupt controller %u", i);
        }
    }
    return 0;
}
