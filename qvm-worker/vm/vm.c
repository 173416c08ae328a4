/* One KVM virtual machine. */
#include "qvm-worker/vm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/memory/memory.h"
#include "qvm-worker/vm/private.h"
#include "qvm-worker/vm/vm_ahead.h"

#define IDENTITY_MAP_ADDRESS 0xfeffc000ull /* one page; the three of the TSS follow */
#define TSS_ADDRESS          0xfeffd000ull

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
    {KVM_CAP_SYNC_REGS, "KVM_CAP_SYNC_REGS"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM"},
    {KVM_CAP_TSC_DEADLINE_TIMER, "KVM_CAP_TSC_DEADLINE_TIMER"},
    {KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI"},
    {KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
};

/* KVM itself is asked, never the processor's CPUID: that one says no on hosts where it works. */
static int check_kvm(int kvm_fd, struct err *err)
{
    int version = ioctl(kvm_fd, KVM_GET_API_VERSION, 0);

    if (version < 0) {
        return err_set(err, -EOPNOTSUPP,
                       "/dev/kvm is not KVM: another device has its name ('ls -l /dev/kvm'; KVM's "
                       "is 10, 232)");
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

static int create_fd(int kvm_fd, struct vm_ahead *ahead, struct vm *vm, struct err *err)
{
    vm->fd = vm_ahead_take_vm(ahead);
    while (vm->fd < 0) {
        vm->fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
        if (vm->fd < 0 && errno != EINTR) {
            break;
        }
    }
    if (vm->fd < 0) {
        return err_sys(err, -errno, "KVM cannot create a VM");
    }
    (void)fcntl(vm->fd, F_SETFD, FD_CLOEXEC); /* KVM sets it already; it cannot fail */
    return 0;
}

int vm_set_slot(const struct vm *vm, uint32_t slot, uint32_t flags,
                const struct memory_region *first, uint64_t size, struct err *err)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot,
        .flags = flags,
        .guest_phys_addr = first->start,
        .memory_size = size,
        .userspace_addr = (uintptr_t)first->host,
    };

    if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) != 0) {
        return err_sys(err, -errno, "KVM refuses guest memory at 0x%llx",
                       (unsigned long long)first->start);
    }
    return 0;
}

/* One slot for all regions that follow each other, in the guest and here: each slot is a wait. */
static int set_slots(struct vm *vm, const struct memory *memory, bool has_shadow, struct err *err)
{
    static const uint8_t at_power_on[VM_SHADOW_SEGMENTS];
    uint32_t count = 0, slot = 0, i = 0;
    const struct memory_region *regions = memory_regions(memory, &count);
    int r = 0;

    while (r == 0 && i < count) {
        const struct memory_region *first = &regions[i];
        uint64_t size = 0;

        if (has_shadow && first->start >= VM_SHADOW_START && first->start < VM_SHADOW_END) {
            i++;
            continue;
        }
        do {
            size += regions[i++].size;
        } while (i < count && regions[i].start == first->start + size &&
                 regions[i].host == first->host + size &&
                 regions[i].is_read_only == first->is_read_only);
        r = vm_set_slot(vm, slot++, first->is_read_only ? KVM_MEM_READONLY : 0, first, size, err);
    }
    regions = memory_roms(memory, &count);
    for (i = 0; r == 0 && i < count; i++) {
        r = vm_set_slot(vm, slot++, KVM_MEM_READONLY, &regions[i], regions[i].size, err);
    }
    vm->shadow_slot = slot;
    return r == 0 && has_shadow ? vm_shadow_set(vm, memory, at_power_on, err) : r;
}

static int set_up(struct vm *vm, const struct memory *memory, bool has_shadow, struct err *err)
{
    uint64_t identity_map = IDENTITY_MAP_ADDRESS;
    int r = set_slots(vm, memory, has_shadow, err);

    if (r != 0) {
        return r;
    }
    if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) != 0 ||
        ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDRESS) != 0) {
        return err_sys(err, -errno, "KVM refuses its pages at 0x%llx", VM_RESERVED_START);
    }
    return vm_chips_create(vm, err);
}

int vm_create(int kvm_fd, struct vm_ahead *ahead, const struct memory *memory, bool has_shadow,
              const struct vm_chips *chips, struct vm **vm, struct err *err)
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
    new->chips = *chips;
    new->vfio_fd = -1;
    max = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
    new->vcpus_max = max > 0 ? (uint32_t)max : 4; /* 4: what the API promises without it */
    r = create_fd(kvm_fd, ahead, new, err);
    if (r == 0) {
        r = set_up(new, memory, has_shadow, err);
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
        cleanup_close(&vm->vfio_fd);
        cleanup_close(&vm->fd);
        vm_routes_fini(vm);
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

int vm_use_long_ids(struct vm *vm, struct err *err)
{
    const struct kvm_enable_cap cap = {
        .cap = KVM_CAP_X2APIC_API,
        .args = {KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK}};

    return ioctl(vm->fd, KVM_ENABLE_CAP, &cap) == 0
               ? 0
               : err_set(err, -EOPNOTSUPP, "this KVM has no APIC ids of 32 bits");
}

int vm_keep_halted(struct vm *vm, struct err *err)
{
    const struct kvm_enable_cap cap = {.cap = KVM_CAP_X86_DISABLE_EXITS,
                                       .args = {KVM_X86_DISABLE_EXITS_HLT}};
    int exits = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_X86_DISABLE_EXITS);

    return exits > 0 && (exits & KVM_X86_DISABLE_EXITS_HLT) != 0 &&
                   ioctl(vm->fd, KVM_ENABLE_CAP, &cap) == 0
               ? 0
               : err_set(err, -EOPNOTSUPP,
                         "on this host a vCPU that halts always leaves the guest: leave "
                         "'set exit-on-halt off' out");
}

void vm_irq(struct vm *vm, uint32_t gsi, bool is_high)
{
    struct kvm_irq_level line = {.irq = gsi, .level = is_high};

    if (vm->chips.are_own) {
        vm->chips.line(vm->chips.context, gsi, is_high);
    } else if (gsi < VM_GSI_COUNT) {
        (void)ioctl(vm->fd, KVM_IRQ_LINE, &line); /* fails for lines that do not exist alone */
    }
}

void vm_message(struct vm *vm, uint64_t address, uint32_t data)
{
    struct kvm_msi message = {
        .address_lo = (uint32_t)address, .address_hi = (uint32_t)(address >> 32), .data = data};

    if (vm_is_message(address)) {
        (void)ioctl(vm->fd, KVM_SIGNAL_MSI, &message); /* 0: a guest's message may reach nobody */
    }
}

int vm_doorbell(struct vm *vm, int fd, bool is_port, uint64_t address, uint32_t size,
                const uint64_t *value, bool is_there)
{
    struct kvm_ioeventfd bell = {.fd = fd, .addr = address, .len = size};

    bell.datamatch = value != NULL ? *value : 0;
    bell.flags = (value != NULL ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0u) |
                 (is_port ? KVM_IOEVENTFD_FLAG_PIO : 0u) |
                 (is_there ? 0u : KVM_IOEVENTFD_FLAG_DEASSIGN);
    return ioctl(vm->fd, KVM_IOEVENTFD, &bell) == 0 ? 0 : -errno;
}
