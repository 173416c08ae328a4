/* The port to which firmware writes what it does.
 *
 * As QEMU's isa-debugcon: each byte written is a character; a read gives 0xE9, by which firmware
 * knows that somebody listens (QEMU's hw/char/debugcon; Bochs had it at port 0xE9). Without a
 * `hostdev` each line goes to the vdev's log. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <qvm/vdev.h>
#include <qvm/vdev_fields.h>

#define READBACK  0xe9u
#define LINE_SIZE 160u /* longer ones are cut into several */

struct debugcon {
    const struct vdev_services *host;
    struct vdev_slot *slot;
    bool has_stream;
    uint64_t count; /* bytes since power-on */
    uint32_t used;
    char line[LINE_SIZE + 1];
};

static void debugcon_reset(void *device)
{
    struct debugcon *debugcon = device;

    debugcon->count = 0;
    debugcon->used = 0;
}

static int debugcon_create(const struct vdev_services *host, struct vdev_slot *slot,
                           const struct vdev_config *config, void **device)
{
    struct debugcon *debugcon;

    if (config->regions[0].size != 1) {
        return host->fail(slot, NULL, "debugcon has 1 byte, 'loc' gives %" PRIu64,
                          config->regions[0].size);
    }
    debugcon = calloc(1, sizeof(*debugcon));
    if (debugcon == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    debugcon->host = host;
    debugcon->slot = slot;
    debugcon->has_stream = config->value_count > 0; /* `hostdev` is the one option */
    *device = debugcon;
    return 0;
}

static uint64_t debugcon_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    (void)device;
    (void)region;
    (void)offset;
    (void)size;
    return READBACK;
}

static void end_line(struct debugcon *debugcon)
{
    for (uint32_t i = 0; i < debugcon->used; i++) {
        if (debugcon->line[i] < ' ' || debugcon->line[i] > '~') {
            debugcon->line[i] = '?';
        }
    }
    debugcon->line[debugcon->used] = '\0';
    if (debugcon->used > 0) {
        debugcon->host->log(debugcon->slot, VDEV_LOG_INFO, "%s", debugcon->line);
    }
    debugcon->used = 0;
}

static void add_to_line(struct debugcon *debugcon, uint8_t byte)
{
    if (byte == '\n') {
        end_line(debugcon);
    } else if (byte != '\r') {
        if (debugcon->used == LINE_SIZE) {
            end_line(debugcon);
        }
        debugcon->line[debugcon->used++] = (char)byte;
    }
}

static void debugcon_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                           uint64_t value)
{
    struct debugcon *debugcon = device;
    uint8_t byte = (uint8_t)value;

    (void)region;
    (void)offset;
    (void)size; /* a wider access reaches the ports behind this one as well: they are not ours */
    debugcon->count++;
    if (debugcon->has_stream) {
        debugcon->host->stream_write(debugcon->slot, &byte, 1);
    } else {
        add_to_line(debugcon, byte);
    }
}

/* Nobody is there to read what is typed. */
static size_t debugcon_receive(void *device, const uint8_t *data, size_t count)
{
    (void)device;
    (void)data;
    return count;
}

static void debugcon_state(void *device, vdev_state_fn add, void *context)
{
    const struct debugcon *debugcon = device;
    char text[32];

    (void)snprintf(text, sizeof(text), "%" PRIu64, debugcon->count);
    add(context, "bytes", text);
}

static const struct vdev_field fields[] = {
    VDEV_NUMBER(1, struct debugcon, count, 0),
    VDEV_NUMBER(2, struct debugcon, used, LINE_SIZE),
    VDEV_BYTES(3, struct debugcon, line),
    {0},
};

static int debugcon_save(void *device)
{
    const struct debugcon *debugcon = device;

    return vdev_put_fields(debugcon->host, debugcon->slot, fields, 0, debugcon);
}

static int debugcon_restore(void *device)
{
    struct debugcon *debugcon = device;

    return vdev_get_fields(debugcon->host, debugcon->slot, fields, 0, debugcon);
}

static const struct vdev_option options[] = {
    {.name = "hostdev",
     .kind = VDEV_OPTION_HOSTDEV,
     .doc = "where the bytes go; otherwise lines go to the log"},
    {.name = NULL},
};

static const struct vdev_region default_regions[] = {
    {.space = VDEV_SPACE_IO, .start = 0x402, .size = 1},
};

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = debugcon_create,
    .destroy = free,
    .reset = debugcon_reset,
    .read = debugcon_read,
    .write = debugcon_write,
    .receive = debugcon_receive,
    .state = debugcon_state,
    .save = debugcon_save,
    .restore = debugcon_restore,
};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "debugcon",
    .doc = "the port to which firmware writes what it does",
    .options = options,
    .default_regions = default_regions,
    .default_region_count = 1,
    .default_intr = QVM_VDEV_NO_INTR,
    .ops = &ops,
};

QVM_VDEV_EXPORT(module);
