/* The source of random numbers: virtio 1.2, 5.4. */
#include "tests/unit/virtio_driver_unit.h"

extern const struct vdev_module *const vdev_virtio_entropy_module;

static void set_up(void)
{
    ck_assert_int_eq(create(vdev_virtio_entropy_module, NULL, 0), 0);
    drive(VERSION_1);
}

START_TEST(buffer_is_filled_with_bytes_that_differ_5_4_6_2)
{
    static uint8_t zero[64];
    uint32_t id, size;

    set_up();
    for (uint16_t i = 0; i < 2; i++) {
        ring_describe(&rings[0], i, DATA + 64u * i, 64, RING_WRITE, 0);
        ring_offer(&rings[0], i);
    }
    kick(0);
    ck_assert(ring_take(&rings[0], &id, &size));
    ck_assert_uint_eq(size, 64);
    ck_assert(ring_take(&rings[0], &id, &size));
    ck_assert_mem_ne(memory(DATA), zero, 64);
    ck_assert_mem_ne(memory(DATA), memory(DATA + 64), 64);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(one_round_is_bounded_and_the_next_comes_by_itself)
{
    uint32_t id, size, count = 0;

    set_up();
    for (uint16_t i = 0; i < 8; i++) {
        ring_describe(&rings[0], i, DATA, 0x8000, RING_WRITE, 0);
        ring_offer(&rings[0], i);
    }
    kick(0);
    ck_assert_uint_eq(ring_used_index(&rings[0]), 2);
    fake_slot_advance(&slot, 100000000);
    while (ring_take(&rings[0], &id, &size)) {
        count++;
        ck_assert_uint_gt(size, 0);
    }
    ck_assert_uint_eq(count, 8);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("virtio_entropy", buffer_is_filled_with_bytes_that_differ_5_4_6_2,
          one_round_is_bounded_and_the_next_comes_by_itself)
