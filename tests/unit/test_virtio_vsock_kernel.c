/* A vsock whose packets the host's kernel works off: when it is asked to, with what, and what is
 * left for the device. */
#include "tests/unit/virtio_driver_unit.h"
#include "vdevs/virtio_vsock.h"

extern const struct vdev_module *const vdev_virtio_vsock_module;

enum { CID = 7, NONSENSE = EVENT_KERNEL + VIRTIO_KERNEL_QUEUES_MAX, PACKED = 3 };
#define SEQPACKET  FEATURE(F_SEQPACKET)
#define INDIRECT   FEATURE(28)
#define KERNEL     (INDIRECT | EVENT_IDX | VERSION_1 | SEQPACKET | FEATURE(26))
#define EVENT_DATA DATA

static int make(uint64_t kernel, bool is_required, uint32_t option)
{
    const struct vdev_value values[] = {{.option = 0, .number = {CID}},
                                        {.option = option, .boolean = true}};

    slot.tap.offered = kernel;
    slot.tap.is_required = is_required;
    return create(vdev_virtio_vsock_module, values, option != 0 ? 2 : 1);
}

static void set_up(uint64_t features)
{
    ck_assert_int_eq(make(KERNEL, true, 0), 0);
    drive(VERSION_1 | features);
}

static void expect_state(const char *line)
{
    ck_assert_msg(strstr(fake_slot_state(&slot), line) != NULL, "%s", slot.state);
}

static void event(uint32_t number)
{
    slot.module->ops->event(slot.device, number);
}

START_TEST(vsock_offers_what_both_have)
{
    ck_assert_int_eq(make(KERNEL, true, 0), 0); /* without any socket of the host's file system */
    ck_assert_uint_eq(slot.tap.event, EVENT_KERNEL);
    ck_assert_uint_eq(get(0x100), CID);
    ck_assert_uint_eq(offered(), FEATURE(F_STREAM) | (KERNEL & ~FEATURE(26)));
    expect_state("back-end=vhost-vsock, at rest\n");
    fake_slot_destroy(&slot);
    ck_assert_int_eq(make(VERSION_1, true, 0), 0); /* one of before packets of whole messages */
    ck_assert_uint_eq(offered(), FEATURE(F_STREAM) | VERSION_1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_the_kernel_cannot_is_refused_in_words)
{
    ck_assert_int_ne(make(KERNEL, true, PACKED), 0);
    ck_assert_ptr_nonnull(strstr(slot.failure, "packed rings"));
    ck_assert_ptr_nonnull(strstr(slot.failure, "take 'vhost off'"));
    ck_assert_int_ne(make(INDIRECT, true, 0), 0);
    ck_assert_ptr_nonnull(strstr(slot.failure, "this kernel's vhost-vsock is too old"));
}
END_TEST

START_TEST(kernel_is_told_of_both_rings_when_the_driver_is_ready_and_not_before)
{
    set_up(SEQPACKET);
    ck_assert_uint_eq(slot.tap.runs, 1);
    ck_assert_uint_eq(slot.tap.pairs, 1);
    ck_assert_uint_eq(slot.tap.features, VERSION_1 | SEQPACKET);
    for (uint32_t i = QUEUE_RECEIVE; i <= QUEUE_TRANSMIT; i++) {
        const struct vdev_tap_queue *queue = &slot.tap.queues[i];

        ck_assert_uint_eq(queue->place.index, i);
        ck_assert_uint_eq(queue->place.descriptors, rings[i].table);
        ck_assert_uint_eq(queue->place.driver, rings[i].available);
        ck_assert_uint_eq(queue->place.device, rings[i].used);
        ck_assert_uint_eq(queue->base, 0);
    }
    expect_state("back-end=vhost-vsock\ncid=7\n");
    set(0x70, 0);
    ck_assert(!slot.tap.is_running);
    expect_state("back-end=vhost-vsock, at rest\n");
    set(0x70, 11); /* not yet DRIVER_OK */
    ck_assert_uint_eq(slot.tap.runs, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(nothing_of_the_driver_is_worked_off_here)
{
    uint32_t id, size;

    set_up(0);
    ring_describe(&rings[QUEUE_TRANSMIT], 0, DATA, sizeof(struct vsock_header), 0, 0);
    ring_offer(&rings[QUEUE_TRANSMIT], 0);
    kick(QUEUE_TRANSMIT);
    event(EVENT_SOCKETS); /* nobody is accepted, either */
    ck_assert(!ring_take(&rings[QUEUE_TRANSMIT], &id, &size));
    event(EVENT_KERNEL + QUEUE_RECEIVE);
    ck_assert_uint_eq(get(0x60) & 1, 1); /* the device interrupts for it */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(nonsense_that_the_kernel_found_ends_in_a_reset)
{
    set_up(0);
    event(NONSENSE);
    ck_assert(!slot.tap.is_running);
    ck_assert_uint_ne(get(0x70) & VIRTIO_NEEDS_RESET, 0);
    drive(VERSION_1);
    ck_assert(slot.tap.is_running);
    event(NONSENSE + 1); /* none of ours */
    ck_assert(slot.tap.is_running);
    slot.tap.is_running = false;
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_was_saved_goes_on_where_the_kernel_stopped_and_hears_of_a_transport_reset)
{
    struct fields_writer saved = {0};
    uint32_t id, size;

    set_up(0);
    slot.tap.queues[QUEUE_RECEIVE].base = 5;
    slot.tap.queues[QUEUE_TRANSMIT].base = 6;
    ck_assert_int_eq(fake_slot_save(&slot, &saved), 0);
    slot.tap.is_running = false;
    ck_assert_int_eq(fake_slot_restore(&slot, saved.bytes, saved.size), 0);
    ck_assert(slot.tap.is_running);
    ck_assert_uint_eq(slot.tap.queues[QUEUE_RECEIVE].base, 5);
    ck_assert_uint_eq(slot.tap.queues[QUEUE_TRANSMIT].base, 6);
    ring_describe(&rings[QUEUE_EVENT], 0, EVENT_DATA, 4, RING_WRITE, 0);
    ring_offer(&rings[QUEUE_EVENT], 0);
    kick(QUEUE_EVENT);
    ck_assert(ring_take(&rings[QUEUE_EVENT], &id, &size));
    ck_assert_uint_eq(size, 4);
    ck_assert_mem_eq(memory(EVENT_DATA), "\0\0\0\0", 4);
    fields_discard(&saved);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("virtio_vsock_kernel", vsock_offers_what_both_have,
          what_the_kernel_cannot_is_refused_in_words,
          kernel_is_told_of_both_rings_when_the_driver_is_ready_and_not_before,
          nothing_of_the_driver_is_worked_off_here, nonsense_that_the_kernel_found_ends_in_a_reset,
          what_was_saved_goes_on_where_the_kernel_stopped_and_hears_of_a_transport_reset)
