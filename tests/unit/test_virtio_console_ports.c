/* A console with several ports, rule by rule: virtio 1.2, 5.3.2 and 5.3.6.2. */
#include <stdio.h>

#include "tests/unit/virtio_driver_unit.h"

extern const struct vdev_module *const vdev_virtio_console_module;

/* 5.3.2, 5.3.3, 5.3.6.2 */
enum { RECEIVE = 0, TRANSMIT = 1, CONTROL_RECEIVE = 2, CONTROL_TRANSMIT = 3, PORT_1 = 4 };
enum { F_MULTIPORT = 1, MAX_PORTS = 0x104, QUEUE_MAX = 0x34, QUEUE_SELECT = 0x30 };
enum {
    DEVICE_READY,
    PORT_ADD,
    PORT_REMOVE,
    PORT_READY,
    CONSOLE_PORT,
    RESIZE,
    PORT_OPEN,
    PORT_NAME
};
enum { OPTION_CONSOLE = 1, OPTION_PORT = 2 };
enum { BUFFER = 64, BUFFERS = 8, LAST_QUEUE = 2 * VDEV_PORTS_MAX + 3 };

#define MANY (VERSION_1 | FEATURE(F_MULTIPORT))

struct control {
    uint32_t port;
    uint16_t event, value;
} __attribute__((packed));

static struct ring *const to_driver = &rings[CONTROL_RECEIVE];
static uint16_t control_count; /* sent by the driver */

static uint64_t buffer_at(unsigned i)
{
    return DATA + 0x1000 + (uint64_t)i * BUFFER;
}

/* As the driver does first: buffers for what it is to hear. */
static void give_control_buffers(uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        ring_describe(to_driver, i, buffer_at(i), BUFFER, RING_WRITE, 0);
        ring_offer(to_driver, i);
    }
    kick(CONTROL_RECEIVE);
    fake_slot_run(&slot);
}

static void say(uint32_t port, uint16_t event, uint16_t value)
{
    struct control control = {port, event, value};
    uint16_t i = control_count++ % QUEUE_SIZE;
    uint64_t at = DATA + 0x800 + i * sizeof(control);

    memcpy(memory(at), &control, sizeof(control));
    ring_describe(&rings[CONTROL_TRANSMIT], i, at, sizeof(control), 0, 0);
    ring_offer(&rings[CONTROL_TRANSMIT], i);
    kick(CONTROL_TRANSMIT);
    fake_slot_run(&slot);
}

/* The next message that the driver hears; returns its size, 0: none. */
static uint32_t hear(struct control *control, const uint8_t **more)
{
    uint32_t id, size;

    if (!ring_take(to_driver, &id, &size)) {
        return 0;
    }
    memcpy(control, memory(buffer_at(id)), sizeof(*control));
    *more = memory(buffer_at(id)) + sizeof(*control);
    ring_offer(to_driver, (uint16_t)id);
    return size;
}

static void check_heard(uint32_t port, uint16_t event)
{
    struct control control;
    const uint8_t *more;

    ck_assert_uint_ge(hear(&control, &more), sizeof(control));
    ck_assert_uint_eq(control.port, port);
    ck_assert_uint_eq(control.event, event);
    ck_assert_uint_eq(control.value, 1);
}

static void check_silence(void)
{
    struct control control;
    const uint8_t *more;

    ck_assert_uint_eq(hear(&control, &more), 0);
}

static void create_port(uint32_t option, const char *name)
{
    struct vdev_value value = {.option = option, .text = name, .number = {1}};

    control_count = 0;
    ck_assert_int_eq(create(vdev_virtio_console_module, &value, 1), 0);
    drive(MANY);
}

/* Up to where both ports were said to be there. */
static void set_up(uint32_t option, const char *name)
{
    create_port(option, name);
    give_control_buffers(BUFFERS);
    say(0, DEVICE_READY, 1);
    check_heard(0, PORT_ADD);
    check_heard(1, PORT_ADD);
    check_silence();
}

static void give(uint32_t queue, uint16_t i, uint64_t at, uint32_t size)
{
    ring_describe(&rings[queue], i, at, size, queue == PORT_1 ? RING_WRITE : 0, 0);
    ring_offer(&rings[queue], i);
    kick(queue);
    fake_slot_run(&slot);
}

START_TEST(several_ports_are_offered_where_the_configuration_has_them_5_3_3)
{
    ck_assert_int_eq(create(vdev_virtio_console_module, NULL, 0), 0);
    ck_assert_uint_eq(offered() & FEATURE(F_MULTIPORT), 0);
    ck_assert_uint_eq(get(MAX_PORTS), 1);
    fake_slot_destroy(&slot);
    set_up(OPTION_PORT, "agent");
    ck_assert_uint_ne(offered() & FEATURE(F_MULTIPORT), 0);
    ck_assert_uint_eq(get(MAX_PORTS), 2);
    fake_slot_destroy(&slot);
}
END_TEST

/* As many as there may be. */
static void create_all(void)
{
    struct vdev_value values[VDEV_PORTS_MAX];
    char names[VDEV_PORTS_MAX][8];

    for (uint32_t i = 0; i < VDEV_PORTS_MAX; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "p%u", i + 1);
        values[i] = (struct vdev_value){.option = OPTION_PORT, .text = names[i], .number = {i + 1}};
    }
    ck_assert_int_eq(create(vdev_virtio_console_module, values, VDEV_PORTS_MAX), 0);
}

START_TEST(thirty_more_ports_have_two_queues_each_5_3_2)
{
    create_all();
    ck_assert_uint_eq(get(MAX_PORTS), VDEV_PORTS_MAX + 1);
    set(QUEUE_SELECT, 63);
    ck_assert_uint_ne(get(QUEUE_MAX), 0);
    set(QUEUE_SELECT, 64);
    ck_assert_uint_eq(get(QUEUE_MAX), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_port_is_presented_once_the_driver_is_ready_for_it_5_3_6_2)
{
    struct control control;
    const uint8_t *more;

    set_up(OPTION_PORT, "agent");
    say(1, PORT_READY, 1);
    ck_assert_uint_eq(hear(&control, &more), sizeof(control) + 5); /* without a NUL */
    ck_assert_uint_eq(control.event, PORT_NAME);
    ck_assert_uint_eq(control.port, 1);
    ck_assert_mem_eq(more, "agent", 5);
    check_heard(1, PORT_OPEN);
    check_silence();
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_console_is_one_before_it_is_anything_else_5_3_6_2)
{
    struct control control;
    const uint8_t *more;
    uint16_t size[2];

    set_up(OPTION_CONSOLE, "shell");
    slot.module->ops->port_resize(slot.device, 1, 80, 25);
    check_silence(); /* the driver has no such port yet */
    say(1, PORT_READY, 1);
    check_heard(1, CONSOLE_PORT);
    check_heard(1, PORT_NAME);
    check_heard(1, PORT_OPEN);
    ck_assert_uint_eq(hear(&control, &more), sizeof(control) + sizeof(size));
    ck_assert_uint_eq(control.event, RESIZE);
    memcpy(size, more, sizeof(size));
    ck_assert_uint_eq(size[0], 80); /* columns, rows: virtio_console_resize */
    ck_assert_uint_eq(size[1], 25);
    slot.module->ops->port_resize(slot.device, 1, 80, 25);
    fake_slot_run(&slot);
    check_silence();
    slot.module->ops->port_resize(slot.device, 1, 81, 25);
    fake_slot_run(&slot);
    check_heard(1, RESIZE);
    fake_slot_destroy(&slot);
}
END_TEST

/* Events wait while the VM is paused, and people's wishes do not. */
START_TEST(a_size_is_told_with_an_event_and_lost_in_no_save)
{
    struct fields_writer saved = {0};

    set_up(OPTION_CONSOLE, "shell");
    say(1, PORT_READY, 1);
    check_heard(1, CONSOLE_PORT);
    check_heard(1, PORT_NAME);
    check_heard(1, PORT_OPEN);
    slot.module->ops->port_resize(slot.device, 1, 80, 25);
    check_silence();
    ck_assert_uint_eq(slot.rung, FEATURE(CONTROL_RECEIVE));
    ck_assert_int_eq(fake_slot_save(&slot, &saved), 0);
    check_silence();
    fake_slot_reset(&slot);
    slot.rung = 0;
    ck_assert_int_eq(fake_slot_restore(&slot, saved.bytes, saved.size), 0);
    check_silence();
    fake_slot_run(&slot);
    check_heard(1, RESIZE);
    check_silence();
    fields_discard(&saved);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_the_guest_says_at_a_port_goes_to_its_stream)
{
    set_up(OPTION_PORT, "agent");
    memcpy(memory(DATA), "hello", 5);
    give(PORT_1 + 1, 0, DATA, 5);
    ck_assert_uint_eq(slot.ports[1].sent_count, 5);
    ck_assert_mem_eq(slot.ports[1].sent, "hello", 5);
    ck_assert_uint_eq(slot.sent_count, 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_is_typed_waits_until_the_guest_has_the_port_open_5_3_6_2)
{
    uint32_t id, size;

    set_up(OPTION_PORT, "agent");
    give(PORT_1, 0, DATA, 8);
    ck_assert_uint_eq(slot.module->ops->port_receive(slot.device, 1, (const uint8_t *)"abc", 3), 0);
    say(1, PORT_OPEN, 1);
    ck_assert_uint_eq(slot.ports[1].resume_count, 1);
    ck_assert_uint_eq(slot.module->ops->port_receive(slot.device, 1, (const uint8_t *)"abc", 3), 3);
    ck_assert(ring_take(&rings[PORT_1], &id, &size));
    ck_assert_uint_eq(size, 3);
    ck_assert_mem_eq(memory(DATA), "abc", 3);
    say(1, PORT_OPEN, 0);
    give(PORT_1, 1, DATA, 8);
    ck_assert_uint_eq(slot.module->ops->port_receive(slot.device, 1, (const uint8_t *)"d", 1), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(what_has_no_buffer_yet_is_told_when_there_is_one)
{
    create_port(OPTION_PORT, "agent");
    say(0, DEVICE_READY, 1);
    check_silence();
    give_control_buffers(1);
    check_heard(0, PORT_ADD);
    check_silence();
    kick(CONTROL_RECEIVE); /* the buffer was given back */
    fake_slot_run(&slot);
    check_heard(1, PORT_ADD);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(nonsense_in_control_messages_is_passed_over)
{
    set_up(OPTION_PORT, "agent");
    say(2, PORT_READY, 1);
    say(UINT32_MAX, PORT_OPEN, 1);
    say(1, PORT_READY, 0); /* the driver could not take it */
    say(1, PORT_NAME, 1);
    say(1, 99, 1);
    ring_describe(&rings[CONTROL_TRANSMIT], 9, DATA, 3, 0, 0); /* shorter than a message */
    ring_offer(&rings[CONTROL_TRANSMIT], 9);
    kick(CONTROL_TRANSMIT);
    fake_slot_run(&slot);
    check_silence();
    ck_assert(!needs_reset());
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_driver_that_knows_of_one_port_has_one_5_3_3)
{
    struct vdev_value value = {.option = OPTION_PORT, .text = "agent", .number = {1}};

    ck_assert_int_eq(create(vdev_virtio_console_module, &value, 1), 0);
    drive(VERSION_1);
    control_count = 0;
    give_control_buffers(BUFFERS);
    say(0, DEVICE_READY, 1);
    check_silence();
    ring_describe(&rings[RECEIVE], 0, DATA, 8, RING_WRITE, 0);
    ring_offer(&rings[RECEIVE], 0);
    ck_assert_uint_eq(fake_slot_type(&slot, "abc", 3), 3); /* it never says that it is open */
    ck_assert_uint_eq(slot.module->ops->port_receive(slot.device, 1, (const uint8_t *)"abc", 3), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(a_reset_forgets_what_the_driver_said_5_3_5)
{
    set_up(OPTION_PORT, "agent");
    say(1, PORT_OPEN, 1);
    fake_slot_reset(&slot);
    drive(MANY);
    ring_describe(&rings[PORT_1], 0, DATA, 8, RING_WRITE, 0);
    ring_offer(&rings[PORT_1], 0);
    ck_assert_uint_eq(slot.module->ops->port_receive(slot.device, 1, (const uint8_t *)"abc", 3), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(ports_are_as_they_were_after_a_restore)
{
    struct fields_writer saved = {0};

    set_up(OPTION_CONSOLE, "shell");
    say(1, PORT_OPEN, 1);
    slot.module->ops->port_resize(slot.device, 1, 80, 25);
    ck_assert_int_eq(fake_slot_save(&slot, &saved), 0);
    fake_slot_reset(&slot);
    ck_assert_int_eq(fake_slot_restore(&slot, saved.bytes, saved.size), 0);
    ck_assert_uint_ge(slot.ports[1].resume_count, 1);
    give(PORT_1, 0, DATA, 8);
    ck_assert_uint_eq(slot.module->ops->port_receive(slot.device, 1, (const uint8_t *)"abc", 3), 3);
    fields_discard(&saved);
    fake_slot_destroy(&slot);
}
END_TEST

/* Queue 63, which a driver places beside those of drive(). */
static void place_last(struct ring *ring)
{
    (void)ring_place(ring, &slot, QUEUE_SIZE, RING_MEMORY_BORDER);
    set(QUEUE_SELECT, LAST_QUEUE);
    set(0x38, QUEUE_SIZE);
    set(0x80, (uint32_t)ring->table);
    set(0x90, (uint32_t)ring->available);
    set(0xa0, (uint32_t)ring->used);
    set(0x44, 1);
    ck_assert_uint_eq(get(0x44), 1);
}

static uint16_t saved_number(const struct fields_writer *saved, uint32_t tag)
{
    static struct fields_reader reader;
    uint16_t number = 0;

    ck_assert_int_eq(fields_open(&reader, saved->bytes, saved->size, 0, NULL), 0);
    ck_assert_int_eq(fields_get(&reader, tag, VDEV_FIELD_NUMBER, &number, sizeof(number), 0, NULL),
                     0);
    return number;
}

START_TEST(thirty_more_ports_are_as_they_were_after_a_restore)
{
    struct fields_writer saved = {0};
    struct ring last;

    create_all();
    drive(MANY);
    place_last(&last);
    slot.module->ops->resize(slot.device, 80, 25);
    ck_assert_int_eq(fake_slot_save(&slot, &saved), 0);
    ck_assert_uint_eq(saved_number(&saved, 64 + 1), QUEUE_SIZE); /* as always: sizes of queues */
    ck_assert_uint_eq(saved_number(&saved, 64 * 63 + 1), 64);
    ck_assert_uint_eq(saved_number(&saved, 0x1000), 80);
    fake_slot_reset(&slot);
    slot.module->ops->resize(slot.device, 1, 1);
    ck_assert_int_eq(fake_slot_restore(&slot, saved.bytes, saved.size), 0);
    ck_assert_uint_eq(get(0x100), 80 | 25 << 16);
    memcpy(memory(DATA), "hello", 5);
    ring_describe(&last, 0, DATA, 5, 0, 0);
    ring_offer(&last, 0);
    kick(LAST_QUEUE);
    ck_assert_uint_eq(slot.ports[VDEV_PORTS_MAX].sent_count, 5);
    fields_discard(&saved);
    fake_slot_destroy(&slot);
}
END_TEST

UNIT_MAIN("virtio_console_ports", several_ports_are_offered_where_the_configuration_has_them_5_3_3,
          thirty_more_ports_have_two_queues_each_5_3_2,
          a_port_is_presented_once_the_driver_is_ready_for_it_5_3_6_2,
          a_console_is_one_before_it_is_anything_else_5_3_6_2,
          what_the_guest_says_at_a_port_goes_to_its_stream,
          what_is_typed_waits_until_the_guest_has_the_port_open_5_3_6_2,
          what_has_no_buffer_yet_is_told_when_there_is_one,
          nonsense_in_control_messages_is_passed_over,
          a_driver_that_knows_of_one_port_has_one_5_3_3, a_reset_forgets_what_the_driver_said_5_3_5,
          ports_are_as_they_were_after_a_restore, a_size_is_told_with_an_event_and_lost_in_no_save,
          thirty_more_ports_are_as_they_were_after_a_restore)
