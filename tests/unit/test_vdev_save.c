/* Saved state of each emulated vdev: a fresh one that is restored answers as the saved one does. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/fake/vdev_drive.h"
#include "tests/unit/unit.h"

#define VDEV(name) extern const struct vdev_module *const vdev_##name##_module;
#include "emulated_vdevs.inc"
#undef VDEV

#define SEEDS        25u
#define STEPS_BEFORE 300u
#define STEPS_AFTER  300u
#define LATER_NS     (UINT64_C(30170) * 232019) /* the other clock's distance: see port 0x61 */
#define MEMORY_SIZE  4096u

static struct vdev_slot one, two;
static uint8_t memory_of_one[MEMORY_SIZE], memory_of_two[MEMORY_SIZE];
static const char *at; /* "ser8250, seed 3, step 17" */

static uint32_t random_state;

static uint32_t next_random(void) /* xorshift: the same everywhere */
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

static void next_step(uint8_t step[VDEV_DRIVE_STEP])
{
    uint32_t word = next_random();

    memcpy(step, &word, VDEV_DRIVE_STEP);
    if (step[2] % 4 == 0) {
        step[3] &= 0x07; /* small numbers mean more to devices */
    }
}

static void make(struct vdev_slot *slot, const struct vdev_module *module, uint8_t *memory)
{
    fake_slot_wired_to = 5;
    ck_assert_int_eq(fake_slot_create(slot, module, NULL, 0, NULL, 0), 0);
    slot->memory[0] = (struct fake_memory){0, memory, MEMORY_SIZE};
    slot->file_count = 1;
    slot->files[0].name = "etc/file";
    slot->files[0].bytes = "what is in it";
    slot->files[0].size = 14;
}

/* Counts go on from here. */
static void forget_counts(struct vdev_slot *slot)
{
    slot->rise_count = slot->timer_count = slot->message_count = slot->request_count = 0;
    slot->sent_count = 0;
}

/* As ck_assert_msg, which keeps a note of each call. */
#define expect(is_so, ...)                                                                         \
    do {                                                                                           \
        if (!(is_so)) {                                                                            \
            ck_abort_msg(__VA_ARGS__);                                                             \
        }                                                                                          \
    } while (0)

static void compare(uint64_t from_one, uint64_t from_two)
{
    expect(from_one == from_two, "%s: reads 0x%llx, restored 0x%llx", at,
           (unsigned long long)from_one, (unsigned long long)from_two);
    expect(memcmp(one.lines, two.lines, sizeof(one.lines)) == 0, "%s: lines differ", at);
    for (uint32_t i = 0; i < VDEV_TIMERS_MAX; i++) {
        uint64_t mine = one.deadlines_ns[i], other = two.deadlines_ns[i];

        expect(mine == 0 ? other == 0 : mine - one.now_ns == other - two.now_ns,
               "%s: timer %u in %lld ns, restored in %lld", at, i,
               mine == 0 ? -1 : (long long)(mine - one.now_ns),
               other == 0 ? -1 : (long long)(other - two.now_ns));
    }
    expect(one.sent_count == two.sent_count &&
               memcmp(one.sent, two.sent,
                      one.sent_count < FAKE_SENT_MAX ? one.sent_count : FAKE_SENT_MAX) == 0,
           "%s: they say different things", at);
    expect(one.request_count == two.request_count && one.message_count == two.message_count,
           "%s: %u requests and %u messages, restored %u and %u", at, one.request_count,
           one.message_count, two.request_count, two.message_count);
    expect(one.message_count == 0 ||
               (one.message_address == two.message_address && one.message_data == two.message_data),
           "%s: messages differ", at);
    expect(one.is_cpu_intr == two.is_cpu_intr, "%s: INTR differs", at);
    expect(memcmp(one.is_watched, two.is_watched, sizeof(one.is_watched)) == 0,
           "%s: watched vectors differ", at);
    expect(memcmp(memory_of_one, memory_of_two, MEMORY_SIZE) == 0, "%s: memory differs", at);
}

static void tell_where(const struct vdev_module *module, uint32_t seed, int step)
{
    static char text[128];

    (void)snprintf(text, sizeof(text), "%s, seed %u, step %d", module->name, seed, step);
    at = text;
}

static void live_twice(const struct vdev_module *module, uint32_t seed)
{
    struct fields_writer saved = {0};
    uint8_t step[VDEV_DRIVE_STEP];

    random_state = seed * 2654435761u + 1;
    memset(memory_of_one, 0, MEMORY_SIZE);
    make(&one, module, memory_of_one);
    for (uint32_t i = 0; i < STEPS_BEFORE; i++) {
        next_step(step);
        (void)vdev_drive(&one, step);
    }
    ck_assert_int_eq(fake_slot_save(&one, &saved), 0);

    memcpy(memory_of_two, memory_of_one, MEMORY_SIZE);
    make(&two, module, memory_of_two);
    two.now_ns = one.now_ns + LATER_NS;
    two.wall_ns = one.wall_ns;
    tell_where(module, seed, -1);
    ck_assert_msg(fake_slot_restore(&two, saved.bytes, saved.size) == 0, "%s: %s", at, two.why.msg);
    fields_discard(&saved);
    forget_counts(&one);
    forget_counts(&two);
    compare(0, 0);
    for (uint32_t i = 0; i < STEPS_AFTER; i++) {
        uint64_t from_one;

        next_step(step);
        tell_where(module, seed, (int)i);
        from_one = vdev_drive(&one, step);
        compare(from_one, vdev_drive(&two, step));
    }
    fake_slot_destroy(&one);
    fake_slot_destroy(&two);
}

#define VDEV(name) vdev_##name##_module,
static const struct vdev_module *const *modules(size_t *count)
{
    static const struct vdev_module *all[32];

    *count = 0;
    const struct vdev_module *const list[] = {
#include "emulated_vdevs.inc"
    };
    for (; *count < sizeof(list) / sizeof(list[0]); (*count)++) {
        all[*count] = list[*count];
    }
    return all;
}
#undef VDEV

START_TEST(a_fresh_device_that_is_restored_answers_as_the_saved_one)
{
    size_t count;
    const struct vdev_module *const *all = modules(&count);

    for (size_t i = 0; i < count; i++) {
        for (uint32_t seed = 1; seed <= SEEDS && all[i]->ops->save != NULL; seed++) {
            live_twice(all[i], seed);
        }
    }
}
END_TEST

START_TEST(nothing_to_restore_is_power_on)
{
    size_t count;
    const struct vdev_module *const *all = modules(&count);

    for (size_t i = 0; i < count; i++) {
        if (all[i]->ops->restore != NULL) {
            make(&one, all[i], memory_of_one);
            make(&two, all[i], memory_of_two);
            fake_slot_reset(&one);
            ck_assert_int_eq(fake_slot_restore(&two, NULL, 0), 0);
            tell_where(all[i], 0, 0);
            compare(0, 0);
            fake_slot_destroy(&one);
            fake_slot_destroy(&two);
        }
    }
}
END_TEST

/* A list that says more than the device knows. */
static int restore_with(const struct vdev_module *module, uint32_t tag)
{
    struct fields_writer saved = {0};
    uint8_t byte = 7;
    int r;

    make(&one, module, memory_of_one);
    ck_assert_int_eq(fake_slot_save(&one, &saved), 0);
    ck_assert_int_eq(fields_put(&saved, tag, VDEV_FIELD_NUMBER, &byte, 1), 0);
    r = fake_slot_restore(&one, saved.bytes, saved.size);
    fields_discard(&saved);
    fake_slot_destroy(&one);
    return r;
}

START_TEST(fields_of_a_newer_module_are_passed_over_unless_they_are_needed)
{
    size_t count;
    const struct vdev_module *const *all = modules(&count);

    for (size_t i = 0; i < count; i++) {
        if (all[i]->ops->restore != NULL) {
            ck_assert_int_eq(restore_with(all[i], 0x70000000), 0);
            ck_assert_int_eq(restore_with(all[i], 0x70000000 | VDEV_FIELD_NEEDED), -ENOTSUP);
        }
    }
}
END_TEST

UNIT_MAIN("vdev_save", a_fresh_device_that_is_restored_answers_as_the_saved_one,
          nothing_to_restore_is_power_on,
          fields_of_a_newer_module_are_passed_over_unless_they_are_needed)
