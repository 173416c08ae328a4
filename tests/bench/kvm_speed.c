/* Is KVM here worth a stock operating system? Measured, since CPUID does not tell: a guest counts
 * down in supervisor mode. Prints `hardware` or `emulated` and the million instructions a second;
 * exit status 0, or 1 with a sentence when there is no usable /dev/kvm. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define INSTRUCTIONS 40000u /* two for each of the 0x4e20 rounds below */
#define EMULATED_MS  5.0    /* hardware needs 0.02 ms, the emulator 50 */

/* mov cx,0x4e20; 1: dec cx; jnz 1b; hlt */
static const uint8_t code[] = {0xb9, 0x20, 0x4e, 0x49, 0x75, 0xfd, 0xf4};

static int fail(const char *what)
{
    (void)fprintf(stderr, "kvm_speed: %s: %s\n", what, strerror(errno));
    return 1;
}

static double now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Real mode at 0000:1000. */
static int set_start(int vcpu)
{
    struct kvm_sregs sregs;
    struct kvm_regs regs = {.rip = 0x1000, .rflags = 2};

    if (ioctl(vcpu, KVM_GET_SREGS, &sregs) != 0) {
        return -1;
    }
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    return ioctl(vcpu, KVM_SET_SREGS, &sregs) != 0 || ioctl(vcpu, KVM_SET_REGS, &regs) != 0 ? -1
                                                                                            : 0;
}

int main(void)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int vm = kvm >= 0 ? ioctl(kvm, KVM_CREATE_VM, 0) : -1;
    uint8_t *ram = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct kvm_userspace_memory_region slot = {.memory_size = 1 << 16,
                                               .userspace_addr = (uintptr_t)ram};
    double start, ms;
    int vcpu, run_size;
    struct kvm_run *run;

    if (kvm < 0 || vm < 0 || ram == MAP_FAILED) {
        return fail("/dev/kvm");
    }
    memcpy(ram + 0x1000, code, sizeof(code));
    run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot) != 0 ||
        (vcpu = ioctl(vm, KVM_CREATE_VCPU, 0)) < 0 || set_start(vcpu) != 0 || run_size <= 0) {
        return fail("a VM");
    }
    run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    start = now_ms();
    if (run == MAP_FAILED || ioctl(vcpu, KVM_RUN, 0) != 0 || run->exit_reason != KVM_EXIT_HLT) {
        return fail("KVM_RUN");
    }
    ms = now_ms() - start;
    printf("%s %.1f\n", ms > EMULATED_MS ? "emulated" : "hardware", INSTRUCTIONS / ms / 1e3);
    return 0;
}
