/* A network card whose queues the host's kernel works off: when it is asked to, with what, and what
 * the card is meanwhile and afterwards. */
#include "tests/unit/virtio_net_unit.h"

#define F_CTRL_RX  FEATURE(18)
#define CTRL_VQ    FEATURE(17)
#define MQ         FEATURE(22)
#define INDIRECT   FEATURE(28)
#define KERNEL     (INDIRECT | EVENT_IDX | VERSION_1 | FEATURE(15) | FEATURE(26))
#define PACKED     FEATURE(34)
#define RING_RESET FEATURE(40)

enum { EVENT_NETWORK = 32, EVENT_KERNEL = 40, NONSENSE = EVENT_KERNEL + 16 };
enum { COMMON = 0, STATUS = 20, SELECT = 22, ENABLE = 28, VECTOR = 26 };

static void set_up_kernel(uint64_t pairs, uint64_t features)
{
    const struct vdev_value value = {.option = OPTION_QUEUES, .number = {pairs}};

    slot.tap.offered = KERNEL;
    create_net(&value, 1);
    drive(VERSION_1 | features);
}

static void event(uint32_t number)
{
    slot.module->ops->event(slot.device, number);
}

START_TEST(card_offers_what_both_have_and_filters_nothing)
{
    slot.tap.offered = KERNEL;
    create_net(NULL, 0);
    ck_assert_uint_eq(slot.tap.event, EVENT_KERNEL);
    ck_assert_uint_eq(offered() & (F_CTRL_RX | PACKED | RING_RESET | FEATURE(26)), 0);
    ck_assert_uint_eq(offered() & (INDIRECT | EVENT_IDX | VERSION_1 | FEATURE(15)),
                      INDIRECT | EVENT_IDX | VERSION_1 | FEATURE(15));
    expect_state("back-end=vhost-net, at rest\n");
    fake_slot_destroy(&slot);
    slot.tap.offered = VERSION_1; /* one that merges no buffers and has no event indices */
    create_net(NULL, 0);
    ck_assert_uint_eq(offered() & (INDIRECT | EVENT_IDX | FEATURE(15)), 0);
    ck_assert_uint_ne(offered() & FEATURE(0), 0); /* what the tap knows stays */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(kernel_that_has_no_part_leaves_the_card_as_it_was)
{
    static const uint64_t kernels[] = {0, INDIRECT | EVENT_IDX}; /* none; one before 1.0 */

    for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++) {
        slot.tap.offered = kernels[i];
        create_net(NULL, 0);
        ck_assert_uint_ne(offered() & F_CTRL_RX, 0);
        drive(VERSION_1);
        ck_assert_uint_eq(slot.tap.runs, 0);
        expect_state("back-end=qvm\n");
        fake_slot_destroy(&slot);
    }
}
END_TEST

static int make(uint32_t option, uint64_t kernel, bool is_required)
{
    const struct vdev_value value = {.option = option, .boolean = true};

    slot.has_network = true;
    slot.tap.offered = kernel;
    slot.tap.is_required = is_required;
    return create(vdev_virtio_net_module, &value, option != 0 ? 1 : 0);
}

START_TEST(packed_rings_are_the_cards_own_or_refused_where_the_kernel_must_do_it)
{
    ck_assert_int_ne(make(OPTION_PACKED, KERNEL, true), 0);
    ck_assert_str_eq(slot.failure, "the kernel knows neither packed rings nor the legacy interface "
                                   "nor notification data: leave these out, or take 'vhost auto'");
    ck_assert_int_eq(make(OPTION_PACKED, KERNEL, false), 0);
    ck_assert_uint_ne(offered() & PACKED, 0);
    expect_state("back-end=qvm\n");
    fake_slot_destroy(&slot);
    ck_assert_int_ne(make(0, INDIRECT, true), 0);
    ck_assert_ptr_nonnull(strstr(slot.failure, "this kernel's vhost-net is too old"));
}
END_TEST

START_TEST(kernel_is_told_of_both_rings_when_the_driver_is_ready_and_not_before)
{
    set_up_kernel(1, EVENT_IDX);
    ck_assert_uint_eq(slot.tap.runs, 1);
    ck_assert_uint_eq(slot.tap.pairs, 1);
    ck_assert_uint_eq(slot.tap.features, VERSION_1 | EVENT_IDX);
    for (uint32_t i = 0; i < 2; i++) {
        const struct vdev_tap_queue *queue = &slot.tap.queues[i];

        ck_assert_uint_eq(queue->place.index, i);
        ck_assert_uint_eq(queue->place.size, QUEUE_SIZE);
        ck_assert_uint_eq(queue->place.descriptors, rings[i].table);
        ck_assert_uint_eq(queue->place.driver, rings[i].available);
        ck_assert_uint_eq(queue->place.device, rings[i].used);
        ck_assert_int_eq(queue->place.call_fd, -1); /* no PCI: the card interrupts */
        ck_assert_uint_eq(queue->base, 0);
    }
    expect_state("back-end=vhost-net\n");
    set(0x70, 0);
    ck_assert(!slot.tap.is_running);
    expect_state("back-end=vhost-net, at rest\n");
    set(0x70, 11); /* not yet DRIVER_OK */
    ck_assert_uint_eq(slot.tap.runs, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(card_touches_no_ring_that_is_the_kernels_and_goes_on_where_that_stopped)
{
    set_up_kernel(1, 0);
    for (uint16_t i = 0; i < 3; i++) {
        ring_describe(&rings[TRANSMIT], i, DATA, HEADER + SIZE, 0, 0);
        ring_offer(&rings[TRANSMIT], i);
    }
    memset(memory(DATA), 0, HEADER);
    kick(TRANSMIT);
    ring_describe(&rings[RECEIVE], 0, DATA + 0x1000, 1000, RING_WRITE, 0);
    ring_offer(&rings[RECEIVE], 0);
    kick(RECEIVE);
    fake_slot_frame(&slot, bytes, HEADER + SIZE);
    ck_assert_uint_eq(slot.out_count, 0);
    ck_assert(!is_used(TRANSMIT) && !is_used(RECEIVE));
    slot.tap.queues[TRANSMIT].base = 2; /* it has sent two of them */
    event(NONSENSE);
    ck_assert(needs_reset());
    ck_assert(!slot.tap.is_running);
    fake_slot_run(&slot);
    ck_assert_uint_eq(slot.out_count, 0); /* until the reset */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(events_of_the_kernel_interrupt_or_ask_for_a_reset)
{
    set_up_kernel(1, 0);
    slot.rise_count = 0;
    event(EVENT_KERNEL + TRANSMIT);
    ck_assert_uint_eq(slot.rise_count, 1);
    ck_assert_uint_eq(get(0x60), 1);
    event(EVENT_KERNEL + 2); /* of a pair that is not there */
    ck_assert_uint_eq(slot.rise_count, 1);
    event(NONSENSE);
    ck_assert(needs_reset());
    event(NONSENSE);
    event(EVENT_KERNEL + TRANSMIT); /* late ones */
    ck_assert_uint_eq(slot.tap.runs, 1);
    drive(VERSION_1);
    ck_assert(!needs_reset());
    ck_assert_uint_eq(slot.tap.runs, 2);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(kernel_that_refuses_is_a_device_that_needs_a_reset)
{
    slot.tap.offered = KERNEL;
    create_net(NULL, 0);
    slot.tap.refuses = true;
    drive(VERSION_1);
    ck_assert(needs_reset());
    expect_state("back-end=vhost-net, at rest\n");
    slot.tap.refuses = false;
    drive(VERSION_1);
    ck_assert(!needs_reset());
    expect_state("back-end=vhost-net\n");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(pairs_that_the_driver_commands_are_the_kernels_before_it_is_answered)
{
    set_up_kernel(2, CTRL_VQ | MQ);
    ck_assert_uint_eq(slot.tap.pairs, 1);
    slot.tap.queues[RECEIVE].base = 7;
    ck_assert_uint_eq(command_pairs(4, 2), 0);
    ck_assert_uint_eq(slot.tap.runs, 2);
    ck_assert_uint_eq(slot.tap.pairs, 2);
    ck_assert_uint_eq(slot.tap.queues[RECEIVE].base, 7); /* it goes on */
    ck_assert_uint_eq(slot.tap.queues[3].place.descriptors, rings[3].table);
    expect_state("pairs=2 of 2\n");
    ck_assert_uint_eq(command_pairs(4, 3), 1); /* there are not so many: nothing changes */
    ck_assert_uint_eq(slot.tap.runs, 2);
    ck_assert_uint_eq(command_pairs(4, 1), 0);
    ck_assert_uint_eq(slot.tap.pairs, 1);
    fake_slot_destroy(&slot);
}
END_TEST

static void write_while_it_stops(struct vdev_slot *at)
{
    at->tap.on_rest = NULL;
    kick(RECEIVE);
    kick(2);       /* commands */
    set(0x70, 15); /* another vCPU's status */
    event(EVENT_NETWORK);
    event(EVENT_KERNEL);
    event(NONSENSE);
}

START_TEST(nothing_is_begun_while_the_queues_stop)
{
    set_up_kernel(1, CTRL_VQ);
    slot.tap.on_rest = write_while_it_stops;
    set(0x70, 0);
    ck_assert_uint_eq(get(0x70), 0);
    ck_assert_uint_eq(slot.tap.runs, 1);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(link_that_goes_down_is_seen_while_the_kernel_works_and_nothing_begins_without_one)
{
    set_up_kernel(1, FEATURE(16));
    ck_assert_uint_eq(get(CONFIG + 4) >> 16 & 1, 1);
    fake_slot_link(&slot, false);
    ck_assert_uint_eq(get(CONFIG + 4) >> 16 & 1, 0);
    ck_assert(!slot.tap.is_running);
    expect_state("link=down\n");
    drive(VERSION_1 | FEATURE(16));
    ck_assert_uint_eq(slot.tap.runs, 1);
    ck_assert(!needs_reset());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_is_saved_is_where_the_kernel_stopped_and_it_goes_on_there)
{
    struct fields_writer saved = {0};

    set_up_kernel(1, 0);
    slot.tap.queues[RECEIVE].base = 5;
    slot.tap.queues[TRANSMIT].base = 3;
    ck_assert_int_eq(fake_slot_save(&slot, &saved), 0);
    fake_slot_destroy(&slot);
    create_net(NULL, 0);
    ck_assert_int_eq(fake_slot_restore(&slot, saved.bytes, saved.size), 0);
    fields_discard(&saved);
    ck_assert(slot.tap.is_running);
    ck_assert_uint_eq(slot.tap.queues[RECEIVE].base, 5);
    ck_assert_uint_eq(slot.tap.queues[TRANSMIT].base, 3);
    fake_slot_destroy(&slot);
}
END_TEST

/* ---- on PCI ---- */

static void cset(uint32_t at, uint32_t size, uint64_t value)
{
    fake_slot_write(&slot, 0, COMMON + at, size, value);
}

static void set_up_pci(bool has_messages)
{
    struct vdev_config config = {
        .place = VDEV_PLACE_PCI, .intr_count = 1, .intrs = {QVM_VDEV_NO_INTR}};

    slot.tap.offered = KERNEL;
    slot.has_network = true;
    ring_memory(&slot);
    ck_assert_int_eq(fake_slot_build(&slot, vdev_virtio_net_module, &config), 0);
    slot.has_messages = has_messages;
    cset(STATUS, 1, 3);
    cset(8, 4, 1);
    cset(12, 4, 1); /* VERSION_1 */
    cset(STATUS, 1, 11);
    for (uint32_t i = 0; i < 2; i++) {
        struct ring *ring = &rings[i];

        (void)ring_place(ring, &slot, QUEUE_SIZE, RING_MEMORY_START + i * QUEUE_SPACE);
        cset(SELECT, 2, i);
        cset(24, 2, QUEUE_SIZE);
        cset(VECTOR, 2, i + 1);
        cset(32, 4, (uint32_t)ring->table);
        cset(40, 4, (uint32_t)ring->available);
        cset(48, 4, (uint32_t)ring->used);
        cset(ENABLE, 2, 1);
    }
    cset(STATUS, 1, 15);
    ck_assert_uint_eq(slot.tap.runs, 1);
}

START_TEST(kernel_interrupts_by_the_message_of_each_queue_wherever_its_driver_moves_it)
{
    set_up_pci(true);
    ck_assert_int_eq(slot.tap.queues[RECEIVE].place.call_fd, 101);
    ck_assert_int_eq(slot.tap.queues[TRANSMIT].place.call_fd, 102);
    cset(SELECT, 2, RECEIVE);
    cset(VECTOR, 2, 2); /* a driver that is late */
    ck_assert_uint_eq(slot.tap.runs, 2);
    ck_assert_int_eq(slot.tap.queues[RECEIVE].place.call_fd, 102);
    cset(VECTOR, 2, 0xffff); /* none */
    ck_assert_int_eq(slot.tap.queues[RECEIVE].place.call_fd, -1);
    cset(SELECT, 2, TRANSMIT);
    ck_assert_uint_eq(slot.tap.runs, 3); /* nothing else begins anew */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(driver_that_enables_messages_late_gets_the_kernels_from_then_on)
{
    set_up_pci(false);
    ck_assert_int_eq(slot.tap.queues[RECEIVE].place.call_fd, -1);
    slot.has_messages = true;
    event(EVENT_KERNEL + RECEIVE);
    ck_assert_uint_eq(slot.messages[1], 1);
    ck_assert_uint_eq(slot.tap.runs, 2);
    ck_assert_int_eq(slot.tap.queues[RECEIVE].place.call_fd, 101);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("virtio_net_kernel", card_offers_what_both_have_and_filters_nothing,
          kernel_that_has_no_part_leaves_the_card_as_it_was,
          packed_rings_are_the_cards_own_or_refused_where_the_kernel_must_do_it,
          kernel_is_told_of_both_rings_when_the_driver_is_ready_and_not_before,
          card_touches_no_ring_that_is_the_kernels_and_goes_on_where_that_stopped,
          events_of_the_kernel_interrupt_or_ask_for_a_reset,
          kernel_that_refuses_is_a_device_that_needs_a_reset,
          pairs_that_the_driver_commands_are_the_kernels_before_it_is_answered,
          nothing_is_begun_while_the_queues_stop,
          link_that_goes_down_is_seen_while_the_kernel_works_and_nothing_begins_without_one,
          what_is_saved_is_where_the_kernel_stopped_and_it_goes_on_there,
          kernel_interrupts_by_the_message_of_each_queue_wherever_its_driver_moves_it,
          driver_that_enables_messages_late_gets_the_kernels_from_then_on)
