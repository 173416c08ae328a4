/* Shared memory regions, rule by rule: virtio 1.2, 2.10, 4.1.4.7 and 4.2.2. */
#include <errno.h>

#include "tests/unit/virtio_mmio_unit.h"

#define WINDOW UINT64_C(0x1fe000000)
#define SMALL  UINT64_C(0x3000)
#define LARGE  UINT64_C(0x200000000)

enum { FIRST_ID = 7, SECOND_ID = 0, NO_ID = 1, ON_PCI = 2, AT_AN_ADDRESS = 1, CAP_SHARED = 8 };

static struct virtio_shared regions[2];
static struct virtio_type shared_type;
static uint32_t last_row;
static uint64_t last_offset, last_value;
static unsigned access_count;

static uint64_t on_shared_read(void *device, uint32_t index, uint64_t offset, uint32_t size)
{
    (void)device;
    last_row = index;
    last_offset = offset;
    access_count++;
    return size;
}

static void on_shared_write(void *device, uint32_t index, uint64_t offset, uint32_t size,
                            uint64_t value)
{
    (void)on_shared_read(device, index, offset, size);
    last_value = value;
}

static int shared_create(const struct vdev_services *host, struct vdev_slot *of,
                         const struct vdev_config *config, void **device)
{
    static struct made_up new;

    memset(&new, 0, sizeof(new));
    made_up = &new;
    *device = &new;
    shared_type = type;
    shared_type.shared = regions;
    shared_type.shared_count = 2;
    shared_type.shared_read = on_shared_read;
    shared_type.shared_write = on_shared_write;
    return virtio_init(&new.virtio, &shared_type, host, of, config, 0, new.config,
                       sizeof(new.config));
}

static const struct vdev_ops shared_ops = {
    VIRTIO_OPS,
    .create = shared_create,
    .destroy = made_up_destroy,
    .state = virtio_state,
};

static const struct vdev_module shared_module = {.size = sizeof(shared_module), .ops = &shared_ops};

static void say_regions(void)
{
    regions[0] = (struct virtio_shared){FIRST_ID, SMALL};
    regions[1] = (struct virtio_shared){SECOND_ID, LARGE};
    access_count = 0;
}

static int create_shared_at(uint64_t window_size, uint32_t region_count)
{
    struct vdev_region places[] = {{VDEV_SPACE_MEMORY, 0xfeb00000, 512},
                                   {VDEV_SPACE_MEMORY, WINDOW, window_size}};
    struct vdev_config config = {
        .regions = places, .region_count = region_count, .intr_count = 1, .intrs = {16}};

    ring_memory(&slot);
    return fake_slot_build(&slot, &shared_module, &config);
}

static int create_on_pci(void)
{
    struct vdev_config config = {
        .place = VDEV_PLACE_PCI, .intr_count = 1, .intrs = {QVM_VDEV_NO_INTR}};

    ring_memory(&slot);
    return fake_slot_build(&slot, &shared_module, &config);
}

static uint64_t get_wide(uint32_t at)
{
    return get(at) | (uint64_t)get(at + 4) << 32;
}

START_TEST(a_region_is_found_by_its_id_4_2_2)
{
    say_regions();
    ck_assert_int_eq(create_shared_at(SMALL + LARGE, 2), 0);
    set(SHM_SELECT, FIRST_ID);
    ck_assert_uint_eq(get_wide(SHM_SIZE), SMALL);
    ck_assert_uint_eq(get_wide(SHM_BASE), WINDOW);
    set(SHM_SELECT, SECOND_ID);
    ck_assert_uint_eq(get_wide(SHM_SIZE), LARGE);
    ck_assert_uint_eq(get_wide(SHM_BASE), WINDOW + SMALL);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(one_that_is_not_there_has_all_ones_4_2_2)
{
    say_regions();
    ck_assert_int_eq(create_shared_at(SMALL + LARGE, 2), 0);
    set(SHM_SELECT, NO_ID);
    ck_assert_uint_eq(get_wide(SHM_SIZE), UINT64_MAX);
    ck_assert_uint_eq(get_wide(SHM_BASE), UINT64_MAX);
    set(SHM_SELECT, 0x100 + FIRST_ID);
    ck_assert_uint_eq(get_wide(SHM_SIZE), UINT64_MAX);
    fake_slot_destroy(&slot);
    set_up(); /* a device without any */
    set(SHM_SELECT, 0);
    ck_assert_uint_eq(get_wide(SHM_SIZE), UINT64_MAX);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(at_an_address_it_wants_a_place_for_them)
{
    say_regions();
    ck_assert_int_eq(create_shared_at(SMALL + LARGE, 1), -EINVAL);
    ck_assert_int_eq(create_shared_at(SMALL + LARGE - 1, 2), -EINVAL);
    ck_assert(strstr(slot.failure, "its second 'loc mem:' is shared memory") != NULL);
}
END_TEST

static uint64_t cap_number(uint32_t cap, uint32_t low, uint32_t high)
{
    uint32_t halves[2];

    memcpy(&halves[0], slot.caps[cap] + low, 4);
    memcpy(&halves[1], slot.caps[cap] + high, 4);
    return halves[0] | (uint64_t)halves[1] << 32;
}

START_TEST(on_pci_each_has_a_capability_of_64_bits_4_1_4_7)
{
    uint64_t end = 0;
    uint32_t found = 0;

    say_regions();
    ck_assert_int_eq(create_on_pci(), 0);
    for (uint32_t i = 0; i < slot.function.cap_count; i++) {
        if (slot.caps[i][1] == CAP_SHARED) {
            ck_assert_uint_eq(slot.caps[i][0], 24); /* cap_len */
            ck_assert_uint_eq(slot.caps[i][2], 4);  /* bar */
            ck_assert_uint_eq(slot.caps[i][3], regions[found].id);
            ck_assert_uint_eq(cap_number(i, 6, 14), end);
            ck_assert_uint_eq(cap_number(i, 10, 18), regions[found].size);
            end += regions[found++].size;
        }
    }
    ck_assert_uint_eq(found, 2);
    ck_assert_uint_eq(slot.function.bar_count, 2);
    ck_assert_uint_eq(slot.function.bars[1].index, 4);
    ck_assert(slot.function.bars[1].is_64bit && slot.function.bars[1].is_prefetchable);
    ck_assert_uint_eq(slot.function.bars[1].size, UINT64_C(0x400000000));
    ck_assert_uint_eq(slot.function.bars[1].region, ON_PCI);
    fake_slot_destroy(&slot);
}
END_TEST

static void check_accesses(uint32_t region)
{
    ck_assert_uint_eq(shared_ops.read(made_up, region, SMALL - 8, 8), 8);
    ck_assert_uint_eq(last_row, 0);
    ck_assert_uint_eq(last_offset, SMALL - 8);
    shared_ops.write(made_up, region, SMALL + 16, 4, 99);
    ck_assert_uint_eq(last_row, 1);
    ck_assert_uint_eq(last_offset, 16);
    ck_assert_uint_eq(last_value, 99);
    access_count = 0;
    ck_assert_uint_eq(shared_ops.read(made_up, region, SMALL - 4, 8), 0); /* in two of them */
    ck_assert_uint_eq(shared_ops.read(made_up, region, SMALL + LARGE, 8), 0);
    shared_ops.write(made_up, region, UINT64_MAX - 7, 8, 1);
    ck_assert_uint_eq(access_count, 0);
}

START_TEST(what_is_not_shown_there_is_answered_by_the_device)
{
    say_regions();
    ck_assert_int_eq(create_shared_at(SMALL + LARGE, 2), 0);
    check_accesses(AT_AN_ADDRESS);
    fake_slot_destroy(&slot);
    ck_assert_int_eq(create_on_pci(), 0);
    check_accesses(ON_PCI);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(two_of_one_id_and_parts_of_pages_are_refused_2_10)
{
    say_regions();
    regions[1].id = FIRST_ID;
    ck_assert_int_eq(create_on_pci(), -EINVAL);
    say_regions();
    regions[0].size = 512;
    ck_assert_int_eq(create_on_pci(), -EINVAL);
    regions[0].size = 0;
    ck_assert_int_eq(create_on_pci(), -EINVAL);
}
END_TEST

UNIT_MAIN("virtio_shared", a_region_is_found_by_its_id_4_2_2,
          one_that_is_not_there_has_all_ones_4_2_2, at_an_address_it_wants_a_place_for_them,
          on_pci_each_has_a_capability_of_64_bits_4_1_4_7,
          what_is_not_shown_there_is_answered_by_the_device,
          two_of_one_id_and_parts_of_pages_are_refused_2_10)
