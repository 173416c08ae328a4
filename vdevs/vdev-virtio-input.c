/* A keyboard and a pointer in one: "Input Device", virtio 1.2, 5.8.
 *
 * `qvmctl sendkey` presses its keys and its three buttons, `qvmctl point` moves the pointer, which
 * is absolute as a tablet's. What belongs together goes with its EV_SYN or not at all: a driver
 * that gives no buffers hears nothing of it, and who sent it is told so. Numbers are those of
 * Linux' input-event-codes, as the standard has them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qvm/vdev_fields.h>

#include "vdevs/virtio/virtio.h"

#define TYPE_INPUT   18u /* 5 */
#define QUEUE_SIZE   64u
#define SEGMENTS_MAX (QUEUE_SIZE + 8u) /* some more where buffers go over borders of RAM */

/* 5.8.2 */
#define QUEUE_EVENTS 0u
#define QUEUE_STATUS 1u
#define QUEUE_COUNT  2u

/* 5.8.4: what the driver selects */
#define SELECT_NAME     0x01u
#define SELECT_DEVIDS   0x03u
#define SELECT_EVENTS   0x11u
#define SELECT_ABSOLUTE 0x12u

#define DATA_SIZE 128u
struct input_config {
    uint8_t select, subselect, size, reserved[5];
    uint8_t data[DATA_SIZE];
} __attribute__((packed));

struct event {
    uint16_t type, code;
    uint32_t value;
};

#define EV_SYN 0x00u
#define EV_KEY 0x01u
#define EV_ABS 0x03u
#define EV_LED 0x11u

#define SYN_REPORT  0u
#define KEY_FIRST   1u /* KEY_ESC */
#define KEY_LAST    248u
#define BUTTON_LEFT 0x110u
#define BUTTONS     3u /* left, right, middle */
#define AXES        2u /* ABS_X, ABS_Y */
#define AXIS_MAX    32767u
#define LEDS        3u /* num, caps, scroll lock */

#define EVENTS_MAX    4u  /* of one report */
#define STATUS_MAX    16u /* events of one buffer of the status queue */
#define ROUND_BUFFERS (2 * QUEUE_SIZE)

struct input {
    struct virtio virtio;
    struct input_config config;
    char name[DATA_SIZE + 1];
    struct vdev_piece segments[EVENTS_MAX][SEGMENTS_MAX];
    uint32_t leds; /* bit N: LED N is on */
    uint64_t event_count, dropped_count;
};

/* ---- the configuration, 5.8.5 ---- */

static void add_bits(struct input_config *config, uint32_t first, uint32_t count)
{
    for (uint32_t bit = first; bit < first + count; bit++) {
        config->data[bit / 8] |= (uint8_t)(1u << bit % 8);
        config->size = (uint8_t)(bit / 8 + 1);
    }
}

static void add_word(struct input_config *config, uint32_t value, uint8_t size)
{
    memcpy(config->data + config->size, &value, size);
    config->size = (uint8_t)(config->size + size);
}

static void select_events(struct input_config *config)
{
    switch (config->subselect) {
    case EV_KEY:
        add_bits(config, KEY_FIRST, KEY_LAST - KEY_FIRST + 1);
        add_bits(config, BUTTON_LEFT, BUTTONS);
        break;
    case EV_ABS:
        add_bits(config, 0, AXES);
        break;
    case EV_LED:
        add_bits(config, 0, LEDS);
        break;
    default:
        break;
    }
}

/* What the driver asks for; what there is not has the size 0. */
static void fill_config(struct input *input)
{
    struct input_config *config = &input->config;

    config->size = 0;
    memset(config->data, 0, sizeof(config->data));
    if (config->select == SELECT_NAME && config->subselect == 0) {
        config->size = (uint8_t)strlen(input->name);
        memcpy(config->data, input->name, config->size);
    } else if (config->select == SELECT_DEVIDS && config->subselect == 0) {
        add_word(config, 0x06, 2); /* BUS_VIRTUAL */
        add_word(config, 0x1af4, 2);
        add_word(config, 1, 2);
        add_word(config, 1, 2);
    } else if (config->select == SELECT_EVENTS) {
        select_events(config);
    } else if (config->select == SELECT_ABSOLUTE && config->subselect < AXES) {
        add_word(config, 0, 4); /* least */
        add_word(config, AXIS_MAX, 4);
        add_word(config, 0, 4); /* fuzz, flat, resolution */
        add_word(config, 0, 4);
        add_word(config, 0, 4);
    }
}

static void input_config_write(void *device, uint32_t offset, uint32_t size, uint64_t value)
{
    struct input *input = device;

    for (uint32_t i = 0; i < size; i++, value >>= 8) {
        if (offset + i == offsetof(struct input_config, select)) {
            input->config.select = (uint8_t)value;
        } else if (offset + i == offsetof(struct input_config, subselect)) {
            input->config.subselect = (uint8_t)value;
        }
    }
    fill_config(input);
}

/* ---- events ---- */

/* Send the events and what ends them, or nothing at all (5.8.6.2). */
static bool report(struct input *input, const struct event *events, uint32_t count)
{
    struct virtio *virtio = &input->virtio;
    struct virtq_chain chains[EVENTS_MAX];
    uint32_t written[EVENTS_MAX];
    uint32_t taken = 0;

    while (taken < count) {
        chains[taken] =
            (struct virtq_chain){.segments = input->segments[taken], .room = SEGMENTS_MAX};
        if (!virtio_take(virtio, QUEUE_EVENTS, &chains[taken])) {
            break;
        }
        written[taken] =
            (uint32_t)virtq_write(&chains[taken], 0, &events[taken], sizeof(events[taken]));
        if (written[taken++] < sizeof(events[0])) {
            virtio_need_reset(virtio); /* 5.8.6.1: a buffer has room for an event */
        }
    }
    if (taken < count) {
        while (taken > 0) {
            virtq_untake(&virtio->queues[QUEUE_EVENTS], &chains[--taken]);
        }
        input->dropped_count += count;
        return false;
    }
    virtio_use_all(virtio, QUEUE_EVENTS, chains, written, count);
    virtio_tell(virtio, QUEUE_EVENTS);
    input->event_count += count;
    return virtio_is_live(virtio, QUEUE_EVENTS);
}

static bool input_key(void *device, uint16_t key, bool is_down)
{
    const struct event events[] = {{EV_KEY, key, is_down}, {EV_SYN, SYN_REPORT, 0}};

    return report(device, events, 2);
}

static bool input_point(void *device, uint16_t x, uint16_t y)
{
    const struct event events[] = {{EV_ABS, 0, x}, {EV_ABS, 1, y}, {EV_SYN, SYN_REPORT, 0}};

    return report(device, events, 3);
}

/* What the driver says: LEDs. */
static void hear(struct input *input, const struct virtq_chain *chain)
{
    struct event event;

    for (uint32_t i = 0; i < STATUS_MAX; i++) {
        if (virtq_read(chain, (uint64_t)i * sizeof(event), &event, sizeof(event)) !=
            sizeof(event)) {
            break;
        }
        if (event.type == EV_LED && event.code < LEDS) {
            input->leds &= ~(1u << event.code);
            input->leds |= event.value != 0 ? 1u << event.code : 0;
        }
    }
}

static void input_kick(void *device, uint32_t queue)
{
    struct input *input = device;
    struct virtq_chain chain = {.segments = input->segments[0], .room = SEGMENTS_MAX};
    uint32_t left = ROUND_BUFFERS;

    if (queue != QUEUE_STATUS) {
        return; /* buffers for events wait until there are some */
    }
    while (left > 0 && virtio_take_or_wait(&input->virtio, queue, &chain)) {
        hear(input, &chain);
        virtio_use(&input->virtio, queue, &chain, 0);
        left--;
    }
    virtio_tell(&input->virtio, queue);
    if (left == 0) {
        input->virtio.host->ring(input->virtio.slot, queue);
    }
}

/* ---- the device ---- */

static void input_stop(void *device, uint32_t queue)
{
    struct input *input = device;

    if (queue == QUEUE_STATUS) {
        input->leds = 0;
    }
}

static void input_reset(void *device)
{
    struct input *input = device;

    virtio_reset(device);
    input->config.select = 0;
    input->config.subselect = 0;
    fill_config(input);
}

/* Beside those of virtio. */
static const struct vdev_field fields[] = {
    VDEV_NUMBER(0x1000, struct input, config.select, 0),
    VDEV_NUMBER(0x1001, struct input, config.subselect, 0),
    VDEV_NUMBER(0x1002, struct input, leds, (1u << LEDS) - 1),
    {0},
};

static int input_save(void *device)
{
    struct input *input = device;
    int r = virtio_save(device);

    return r == 0 ? vdev_put_fields(input->virtio.host, input->virtio.slot, fields, 0, input) : r;
}

static int input_restore(void *device)
{
    struct input *input = device;
    int r = vdev_get_fields(input->virtio.host, input->virtio.slot, fields, 0, input);

    if (r != 0) {
        return r;
    }
    fill_config(input);
    return virtio_restore(device);
}

static const struct vdev_option options[] = {
    VIRTIO_OPTIONS,
    {.name = NULL},
};

static const uint16_t queue_sizes[QUEUE_COUNT] = {QUEUE_SIZE, QUEUE_SIZE};

static const struct virtio_type type = {
    .id = TYPE_INPUT,
    .class_code = 0x098000, /* input device, other */
    .queue_count = QUEUE_COUNT,
    .queue_sizes = queue_sizes,
    .options = options,
    .config_write = input_config_write,
    .kick = input_kick,
    .stop = input_stop,
};

static int input_create(const struct vdev_services *host, struct vdev_slot *slot,
                        const struct vdev_config *config, void **device)
{
    struct input *input = calloc(1, sizeof(*input));
    int r;

    if (input == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    (void)snprintf(input->name, sizeof(input->name), "%s",
                   config->name); /* what is longer is cut */
    r = virtio_init(&input->virtio, &type, host, slot, config, 0, &input->config,
                    sizeof(input->config));
    if (r != 0) {
        free(input);
        return r;
    }
    *device = input;
    return 0;
}

static void input_state(void *device, vdev_state_fn add, void *context)
{
    static const char *const names[LEDS] = {"num-lock", "caps-lock", "scroll-lock"};
    const struct input *input = device;
    char text[32];

    virtio_state(device, add, context);
    (void)snprintf(text, sizeof(text), "%" PRIu64, input->event_count);
    add(context, "events", text);
    (void)snprintf(text, sizeof(text), "%" PRIu64, input->dropped_count);
    add(context, "dropped", text);
    for (uint32_t i = 0; i < LEDS; i++) {
        add(context, names[i], (input->leds & 1u << i) != 0 ? "on" : "off");
    }
}

static const struct vdev_ops ops = {
    VIRTIO_OPS_ACCESS,        .reset = input_reset,   .save = input_save,
    .restore = input_restore, .create = input_create, .destroy = free,
    .key = input_key,         .point = input_point,   .state = input_state,
};

static const struct vdev_module module = {
    VIRTIO_MODULE,
    .name = "virtio-input",
    .doc = "a keyboard and a pointer (virtio 1.2, 5.8)",
    .options = options,
    .ops = &ops,
};

QVM_VDEV_EXPORT(module);
