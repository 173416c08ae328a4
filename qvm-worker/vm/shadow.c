/* What the processor finds at 0xC0000-0xFFFFF: one memory slot for each segment that is there.
 *
 * KVM changes neither a slot's place nor whether it is read-only: it goes and comes, which waits
 * for a grace period each time, so only segments that differ are touched. */
#include <stddef.h>

#include "proto/base/err.h"
#include "qvm-worker/memory/memory.h"
#include "qvm-worker/vm/private.h"

#define ROM_SEEN (VM_SHADOW_START + 0x20000) /* a PC shows the last 128 KiB of its ROM */
#define MIB      (1ull << 20)
#define GIB_4    (1ull << 32)

static struct vm_shadow find(const struct memory *memory, uint64_t address, uint8_t segment)
{
    struct vm_shadow shadow = {0};

    if ((segment & VM_SHADOW_READ) != 0) {
        shadow.host = memory_span(memory, gpa(address), VM_SHADOW_SEGMENT);
        shadow.is_read_only = (segment & VM_SHADOW_WRITE) == 0;
    } else if (address >= ROM_SEEN) {
        shadow.host = memory_rom_span(memory, gpa(GIB_4 - MIB + address), VM_SHADOW_SEGMENT);
        shadow.is_read_only = true;
    }
    return shadow;
}

static int put(const struct vm *vm, uint32_t i, const struct vm_shadow *shadow, uint64_t size,
               struct err *err)
{
    const struct memory_region region = {.start = VM_SHADOW_START + i * VM_SHADOW_SEGMENT,
                                         .host = shadow->host};

    return vm_set_slot(vm, vm->shadow_slot + i, shadow->is_read_only ? KVM_MEM_READONLY : 0,
                       &region, size, err);
}

int vm_shadow_set(struct vm *vm, const struct memory *memory,
                  const uint8_t segments[VM_SHADOW_SEGMENTS], struct err *err)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < VM_SHADOW_SEGMENTS; i++) {
        struct vm_shadow *old = &vm->shadow[i];
        struct vm_shadow new = find(memory, VM_SHADOW_START + i * VM_SHADOW_SEGMENT, segments[i]);

        if (new.host == old->host &&new.is_read_only == old->is_read_only) {
            continue;
        }
        if (old->host != NULL) {
            r = put(vm, i, old, 0, err);
            *old = (struct vm_shadow){0};
        }
        if (r == 0 && new.host != NULL) {
            r = put(vm, i, &new, VM_SHADOW_SEGMENT, err);
            *old = r == 0 ? new : *old;
        }
    }
    return r;
}
