/* Two devices of one kind keep apart: whatever is done to one, the other shows the same as ever. */
#include <stdlib.h>
#include <string.h>

#include "tests/fake/vdev_slot.h"
#include "tests/unit/unit.h"

#define VDEV(name) extern const struct vdev_module *const vdev_##name##_module;
#include "emulated_vdevs.inc"
#undef VDEV

#define STEPS 20000

static struct vdev_slot first, second;
static unsigned seed = 1;

static unsigned next_random(unsigned below)
{
    seed = seed * 1103515245u + 12345u;
    return seed / 65536 % below;
}

static void do_something(struct vdev_slot *slot)
{
    const struct vdev_module *module = slot->module;
    uint32_t region = next_random(module->default_region_count);
    uint64_t offset = next_random((unsigned)module->default_regions[region].size);

    if (next_random(2) == 0) {
        (void)fake_slot_in(slot, region, offset);
    } else {
        fake_slot_out(slot, region, offset, (uint8_t)next_random(256));
    }
}

static void try_module(const struct vdev_module *module)
{
    char before[sizeof(second.state)];
    unsigned rises, requests;

    ck_assert_int_eq(fake_slot_create(&first, module, NULL, 0, NULL, 0), 0);
    ck_assert_int_eq(fake_slot_create(&second, module, NULL, 0, NULL, 0), 0);
    for (int i = 0; i < STEPS / 10; i++) {
        do_something(&second);
    }
    strcpy(before, fake_slot_state(&second));
    rises = second.rise_count;
    requests = second.request_count;
    for (int i = 0; i < STEPS; i++) {
        do_something(&first);
    }
    fake_slot_advance(&first, 1000000);
    fake_slot_reset(&first);
    ck_assert_str_eq(fake_slot_state(&second), before);
    ck_assert_uint_eq(second.rise_count, rises);
    ck_assert_uint_eq(second.request_count, requests);
    fake_slot_destroy(&first);
    ck_assert_str_eq(fake_slot_state(&second), before);
    fake_slot_destroy(&second);
}

START_TEST(what_is_done_to_one_the_other_does_not_see)
{
#define VDEV(name) try_module(vdev_##name##_module);
#include "emulated_vdevs.inc"
#undef VDEV
}
END_TEST

UNIT_MAIN("two of a kind", what_is_done_to_one_the_other_does_not_see)
