/* The streams of a device: what it says goes to the console, a file or a command, and what it is
 * typed comes from there. `hostdev <A hostdev >B` are two. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/conf/value.h"
#include "qvm-worker/console/console.h"
#include "qvm-worker/vdev/private.h"

#define BATCH_MAX_US 10000000u
#define DELAY_MAX_S  86400u
#define US_PER_MS    1000u
#define FLUSH_MS     100u /* for who reads slowly what a guest said at its end */

/* The last of each direction counts. */
static void set_stream(struct vdev_slot *slot, enum stream_kind kind,
                       const struct vdev_host_need *need, bool is_fallback)
{
    struct slot_stream *output = &slot->streams[STREAM_OUTPUT];
    struct slot_stream *input = &slot->streams[STREAM_INPUT];

    if (!is_fallback && !slot->has_hostdev) {
        output->kind = STREAM_NONE; /* the fallback */
        slot->has_hostdev = true;
    }
    if (!need->can_write) {
        output->need.can_read = false;
        input->kind = kind;
        input->need = *need;
        return;
    }
    if (need->can_read) {
        input->kind = STREAM_NONE;
    } else if (output->kind != STREAM_NONE && output->need.can_read) {
        *input = *output; /* the other direction of an earlier one */
        input->need.can_write = false;
    }
    output->kind = kind;
    output->need = *need;
}

int vdev_host_read_hostdev(struct vdev_slot *slot, const struct vdev_value *value, bool is_fallback,
                           struct err *err)
{
    const char *text = value->text;
    struct vdev_host_need need = {.can_read = true, .can_write = true, .where = value->where};
    enum stream_kind kind = STREAM_GRANTED;

    if (*text == '<' || *text == '>') {
        need.can_read = *text == '<';
        need.can_write = *text == '>';
        text++;
    }
    if (*text == '|') {
        need.kind = VDEV_HOST_NEED_COMMAND;
        need.can_read = *value->text == '<';
        need.can_write = !need.can_read;
        text++;
    }
    if (*text == '\0') {
        return err_set(err, -EINVAL, "%s: %s '%s' names no %s", value->where,
                       slot->loaded->module.options[value->option].name, value->text,
                       need.kind == VDEV_HOST_NEED_COMMAND ? "command" : "file");
    }
    need.path = text;
    need.device = slot->name;
    if (need.kind == VDEV_HOST_NEED_FILE && strcmp(text, "-") == 0) {
        kind = is_fallback ? STREAM_CONSOLE_BY_DEFAULT : STREAM_CONSOLE;
    }
    set_stream(slot, kind, &need, is_fallback);
    return 0;
}

int vdev_host_read_batch(struct vdev_slot *slot, const struct vdev_host_option *option,
                         struct err *err)
{
    const char *text = option->argument;
    uint64_t us;

    if (conf_parse_number(text, strlen(text), CONF_DECIMAL, &us) != 0 || us > BATCH_MAX_US) {
        return err_set(err, -EINVAL, "%s: batch '%s' is not a number of microseconds up to %u",
                       option->where, text, BATCH_MAX_US);
    }
    slot->batch_ms = (us + US_PER_MS - 1) / US_PER_MS;
    return 0;
}

int vdev_host_read_delayed(struct vdev_slot *slot, const struct vdev_host_option *option,
                           struct err *err)
{
    const char *text = option->argument;
    bool is_forever = strcmp(text, "forever") == 0;
    uint64_t seconds = UINT32_MAX;

    if (!is_forever && (conf_parse_number(text, strlen(text), CONF_DECIMAL, &seconds) != 0 ||
                        seconds > DELAY_MAX_S)) {
        return err_set(err, -EINVAL,
                       "%s: delayed '%s' is neither 'forever' nor a number of seconds up to %u",
                       option->where, text, DELAY_MAX_S);
    }
    free(slot->delayed_where);
    slot->delayed_where = strdup(option->where);
    slot->delay_s = (uint32_t)seconds;
    return slot->delayed_where != NULL ? 0
                                       : err_set(err, -ENOMEM, "no memory for a vdev's options");
}

/* What is there anyway, the console and commands, is not waited for. */
void vdev_host_settle_delayed(struct vdev_slot *slot)
{
    for (uint32_t i = 0; i < STREAM_COUNT; i++) {
        struct slot_stream *stream = &slot->streams[i];

        if (stream->kind == STREAM_GRANTED && stream->need.kind == VDEV_HOST_NEED_FILE) {
            stream->need.delayed_where = slot->delayed_where;
            stream->need.delay_s = slot->delay_s;
        }
    }
}

const struct slot_stream *vdev_host_input(const struct vdev_slot *slot)
{
    const struct slot_stream *output = &slot->streams[STREAM_OUTPUT];

    if (slot->streams[STREAM_INPUT].kind != STREAM_NONE) {
        return &slot->streams[STREAM_INPUT];
    }
    return output->kind != STREAM_NONE && output->need.can_read ? output : NULL;
}

const struct slot_stream *vdev_host_output(const struct vdev_slot *slot)
{
    const struct slot_stream *output = &slot->streams[STREAM_OUTPUT];

    return output->kind != STREAM_NONE && output->need.can_write ? output : NULL;
}

bool vdev_host_has_console(const struct vdev_slot *slot)
{
    return slot->streams[STREAM_OUTPUT].kind == STREAM_CONSOLE ||
           slot->streams[STREAM_INPUT].kind == STREAM_CONSOLE;
}

/* ---- services ---- */

void vdev_host_stream_write(struct vdev_slot *slot, const uint8_t *data, size_t size)
{
    const struct slot_stream *output = vdev_host_output(slot);

    if (output != NULL && output->console != NULL) {
        console_write(output->console, data, size);
    }
}

void vdev_host_stream_resume(struct vdev_slot *slot)
{
    const struct slot_stream *input = vdev_host_input(slot);

    if (input != NULL && input->console != NULL) {
        console_input_resume(input->console);
    }
}

static size_t on_stream(void *context, const uint8_t *data, size_t count)
{
    struct vdev_slot *slot = context;
    size_t n;

    (void)pthread_mutex_lock(&slot->lock);
    n = vdev_host_is_still(slot) ? 0 : slot->loaded->ops.receive(slot->device, data, count);
    (void)pthread_mutex_unlock(&slot->lock);
    return n;
}

/* ---- from build to destroy ---- */

static int attach(struct vdev_slot *slot, struct slot_stream *stream, struct err *err)
{
    int r = console_create(slot->host->env.loop, &stream->console, err);

    if (r != 0) {
        return r;
    }
    stream->is_own = true;
    r = console_attach_pair(stream->console, stream->need.can_read ? stream->fd : -1,
                            stream->need.can_write ? stream->fd : -1, CONSOLE_PLAIN,
                            CONSOLE_FROM_OLDEST, err);
    if (r == 0) {
        stream->fd = -1; /* the session's now */
    } else {
        (void)err_prefix(err, "%s: ", stream->need.where);
    }
    return r;
}

static int open_stream(struct vdev_slot *slot, struct slot_stream *stream, struct err *err)
{
    if (stream->kind == STREAM_CONSOLE) {
        stream->console = slot->host->env.console;
        return 0;
    }
    if (stream->kind != STREAM_GRANTED || (!stream->need.can_read && !stream->need.can_write)) {
        return 0;
    }
    if (stream->fd < 0 && slot->host->env.is_dry) {
        return 0; /* what is said is thrown away, and nobody says anything */
    }
    if (stream->fd < 0) {
        return err_set(err, -ENODEV, "%s: '%s' was not given to vdev '%s'", stream->need.where,
                       stream->need.path, slot->name);
    }
    return attach(slot, stream, err);
}

int vdev_host_open_stream(struct vdev_slot *slot, struct err *err)
{
    const struct slot_stream *output = vdev_host_output(slot);
    int r = 0;

    for (uint32_t i = 0; i < STREAM_COUNT && r == 0; i++) {
        r = open_stream(slot, &slot->streams[i], err);
    }
    if (r == 0 && output != NULL && output->console != NULL) {
        console_set_silence(output->console, slot->batch_ms);
    }
    return r;
}

void vdev_host_listen_stream(struct vdev_slot *slot)
{
    const struct slot_stream *input = vdev_host_input(slot);

    if (input != NULL && input->console != NULL) {
        console_set_input(input->console, on_stream, slot);
    }
}

void vdev_host_close_stream(struct vdev_slot *slot)
{
    const struct slot_stream *input = vdev_host_input(slot);

    for (uint32_t i = 0; i < STREAM_COUNT; i++) {
        struct slot_stream *stream = &slot->streams[i];

        if (stream->is_own) {
            console_flush(stream->console, FLUSH_MS);
            console_destroy(stream->console);
        } else if (stream->console != NULL && stream == input && slot->device != NULL) {
            console_set_input(stream->console, NULL, NULL);
        }
        stream->console = NULL;
        cleanup_close(&stream->fd);
    }
}
