/* A sample: a counter that a guest reads and writes, with an option of each kind, an interrupt, a
 * timer, a stream, and its state saved. Begin a vdev of your own with a copy of it; qvm-vdev(3)
 * explains each part.
 *
 *   cc -shared -fPIC -o vdev-sample.so vdev-sample.c
 *
 *   vdev sample loc io:500,4 intr ioapic:5 step 3 cell 0,7f label "two words" hostdev >out.txt */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qvm/vdev.h>
#include <qvm/vdev_fields.h>

#define CELL_COUNT 4u

/* Ports. */
#define COUNTER 0u /* read: counts up by `step`; write: sets it, and tells the stream */
#define ALARM   1u /* write N: raise the interrupt in N ms; read: lower it */
#define INPUT   2u /* read: the last byte that came from the stream, and make room for the next */
#define CELL    3u /* write N: what COUNTER begins with is cell N */

struct sample {
    const struct vdev_services *host;
    struct vdev_slot *slot;
    char label[32];
    bool is_quiet;
    uint8_t step, counter, input;
    bool has_input;
    bool is_high;      /* its interrupt line */
    uint64_t alarm_ns; /* when the timer goes off; 0: it is off */
    uint8_t cells[CELL_COUNT];
    uint64_t alarms;
};

enum option { OPTION_LABEL, OPTION_QUIET, OPTION_STEP, OPTION_CELL, OPTION_HOSTDEV };

static const struct vdev_option options[] = {
    [OPTION_LABEL] = {.name = "label", .kind = VDEV_OPTION_TEXT, .doc = "shown in its state"},
    [OPTION_QUIET] = {.name = "quiet",
                      .kind = VDEV_OPTION_BOOL,
                      .fallback = "no",
                      .doc = "say nothing to the stream"},
    [OPTION_STEP] = {.name = "step",
                     .kind = VDEV_OPTION_NUMBER,
                     .min = 1,
                     .max = 100,
                     .fallback = "1",
                     .doc = "how far it counts at each read"},
    [OPTION_CELL] = {.name = "cell",
                     .kind = VDEV_OPTION_PAIR,
                     .may_repeat = true,
                     .max = 0xff,
                     .doc = "NUMBER,VALUE: a byte that COUNTER may begin with"},
    [OPTION_HOSTDEV] = {.name = "hostdev", .kind = VDEV_OPTION_HOSTDEV, .doc = "who is told"},
    {.name = NULL},
};

static void sample_reset(void *device)
{
    struct sample *sample = device;

    sample->counter = sample->cells[0];
    sample->has_input = false;
    sample->is_high = false;
    sample->alarm_ns = 0;
    sample->host->stream_resume(sample->slot);
}

/* Take one option; returns 0, or what fail() says. */
static int set_option(struct sample *sample, const struct vdev_value *value)
{
    switch (value->option) {
    case OPTION_LABEL:
        if (strlen(value->text) >= sizeof(sample->label)) {
            return sample->host->fail(sample->slot, value, "the label has more than %zu bytes",
                                      sizeof(sample->label) - 1);
        }
        strcpy(sample->label, value->text);
        break;
    case OPTION_QUIET:
        sample->is_quiet = value->boolean;
        break;
    case OPTION_STEP:
        sample->step = (uint8_t)value->number[0];
        break;
    case OPTION_CELL:
        if (value->number[0] >= CELL_COUNT) {
            return sample->host->fail(sample->slot, value, "there are %u cells", CELL_COUNT);
        }
        sample->cells[value->number[0]] = (uint8_t)value->number[1];
        break;
    default: /* the stream is used through the slot */
        break;
    }
    return 0;
}

static int sample_create(const struct vdev_services *host, struct vdev_slot *slot,
                         const struct vdev_config *config, void **device)
{
    struct sample *sample = calloc(1, sizeof(*sample));

    if (sample == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    sample->host = host;
    sample->slot = slot;
    for (uint32_t i = 0; i < config->value_count; i++) {
        int r = set_option(sample, &config->values[i]);

        if (r != 0) {
            free(sample);
            return r;
        }
    }
    sample_reset(sample);
    *device = sample;
    return 0;
}

static void sample_destroy(void *device)
{
    free(device);
}

static uint64_t sample_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    struct sample *sample = device;
    uint8_t value = sample->counter;

    (void)region;
    (void)size; /* the lowest byte is all there is */
    if (offset == COUNTER) {
        sample->counter = (uint8_t)(value + sample->step);
        return value;
    }
    if (offset == ALARM) {
        sample->is_high = false;
        sample->host->intr(sample->slot, 0, false);
    }
    if (offset == INPUT && sample->has_input) {
        sample->has_input = false;
        sample->host->stream_resume(sample->slot);
        return sample->input;
    }
    return 0;
}

static void sample_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                         uint64_t value)
{
    struct sample *sample = device;

    (void)region;
    (void)size;
    if (offset == COUNTER) {
        uint8_t byte = (uint8_t)value;

        sample->counter = byte;
        if (!sample->is_quiet) {
            sample->host->stream_write(sample->slot, &byte, 1);
        }
    } else if (offset == ALARM) {
        sample->alarm_ns = sample->host->now_ns(sample->slot) + (value & 0xff) * 1000000;
        sample->host->timer(sample->slot, 0, sample->alarm_ns);
    } else if (offset == CELL) {
        sample->counter = sample->cells[value % CELL_COUNT]; /* a guest's number: bounded */
    }
}

static size_t sample_receive(void *device, const uint8_t *data, size_t count)
{
    struct sample *sample = device;

    if (count == 0 || sample->has_input) {
        return 0;
    }
    sample->input = data[0];
    sample->has_input = true;
    return 1;
}

static void sample_timer(void *device, uint32_t timer)
{
    struct sample *sample = device;

    (void)timer; /* there is one */
    sample->alarms++;
    sample->alarm_ns = 0;
    sample->is_high = true;
    sample->host->intr(sample->slot, 0, true);
}

static void sample_state(void *device, vdev_state_fn add, void *context)
{
    const struct sample *sample = device;
    char text[32];

    add(context, "label", sample->label);
    (void)snprintf(text, sizeof(text), "%u", sample->counter);
    add(context, "counter", text);
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)sample->alarms);
    add(context, "alarms", text);
}

/* What a reset changes. A tag stays what it is, also when its member goes or another comes. */
static const struct vdev_field fields[] = {
    VDEV_NUMBER(1, struct sample, counter, 0), /* 0: any that a byte holds */
    VDEV_NUMBER(2, struct sample, input, 0),
    VDEV_NUMBER(3, struct sample, has_input, 1),
    VDEV_NUMBER(4, struct sample, is_high, 1),
    VDEV_TIME(5, struct sample, alarm_ns),
    {0},
};

static int sample_save(void *device)
{
    const struct sample *sample = device;

    return vdev_put_fields(sample->host, sample->slot, fields, 0, sample);
}

/* The bounds stand in the table; what members mean to the line and the timer is done here. */
static int sample_restore(void *device)
{
    struct sample *sample = device;
    int r = vdev_get_fields(sample->host, sample->slot, fields, 0, sample);

    if (r == 0) {
        sample->host->intr(sample->slot, 0, sample->is_high);
        sample->host->timer(sample->slot, 0, sample->alarm_ns);
    }
    return r;
}

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = sample_create,
    .destroy = sample_destroy,
    .reset = sample_reset,
    .read = sample_read,
    .write = sample_write,
    .receive = sample_receive,
    .timer = sample_timer,
    .state = sample_state,
    .save = sample_save,
    .restore = sample_restore,
};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "sample",
    .doc = "a counter, to copy from",
    .options = options,
    .default_intr = QVM_VDEV_NO_INTR,
    .ops = &ops,
};

QVM_VDEV_EXPORT(module);
