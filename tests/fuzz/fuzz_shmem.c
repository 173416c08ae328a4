/* The vdev `shmem` under random accesses, answers, signals and resets; the fake host ends the
 * program when the device asks for what it may not. */
#include <stdint.h>
#include <string.h>

#include "tests/fake/vdev_shmem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEP 6u /* bytes */

static struct vdev_slot slot;

static void access_device(const uint8_t *step)
{
    static const uint32_t factory[] = {24, 24, 28, 60, 20, 8, 0, 32};
    uint32_t region = step[0] >> 7, access = 1u << (step[1] & 3);
    uint64_t offset = region == 0 ? factory[step[2] & 7] + (step[2] >> 6)
                                  : ((uint64_t)step[2] % 32) * 4096 + (step[3] & 0x1c);
    uint64_t value = step[4] | (uint64_t)step[5] << (step[3] >> 3);

    if ((step[0] & 1) != 0) {
        (void)slot.module->ops->read(slot.device, region, offset, access);
    } else {
        slot.module->ops->write(slot.device, region, offset, access, value);
    }
}

static void take_step(const uint8_t *step)
{
    fake_shmem.status = (enum vdev_shmem_status)((step[1] >> 2) % 16 == 0 ? step[1] >> 6 : 0);
    fake_shmem.there = (step[3] & 1) != 0 ? ((uint64_t)step[4] + 1) * 4096 : 0;
    fake_shmem.show = step[5] == 0xff ? -1 : 0;
    switch (step[0] & 0x1e) {
    case 2:
        slot.module->ops->shmem_changed(slot.device, step[1]);
        break;
    case 4:
        (void)fake_slot_state(&slot);
        break;
    case 6:
        if (step[1] < 16) {
            fake_slot_reset(&slot);
        }
        break;
    default:
        access_device(step);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || fake_shmem_create(&slot, (data[0] & 1) != 0) != 0) {
        return 0;
    }
    slot.module->ops->write(slot.device, 0, 28, 1, 'a');
    for (size_t at = 1; at + STEP <= size; at += STEP) {
        take_step(data + at);
    }
    fake_slot_destroy(&slot);
    return 0;
}
