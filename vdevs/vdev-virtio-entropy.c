/* A source of random numbers: "Entropy Device", virtio 1.2, 5.4.
 *
 * The bytes are the host kernel's (getrandom). A kick fills what is there, ROUND_MAX bytes at most;
 * the rest waits for a timer, so that one guest cannot keep the thread to itself. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "vdevs/virtio/virtio.h"

#define TYPE_ENTROPY 4u /* 5 */
#define QUEUE_SIZE   64u
#define SEGMENTS_MAX (QUEUE_SIZE + 8u) /* some more where buffers go over borders of RAM */

/* One call of getrandom gives at most 32 MiB - 1, and up to 256 bytes without interruption. */
#define STEP_SIZE 256u
#define ROUND_MAX 65536u
#define ROUND_NS  1000000u /* until the next round */

struct entropy {
    struct virtio virtio;
    struct vdev_piece segments[SEGMENTS_MAX];
    uint64_t byte_count;
};

/* As many bytes as may go into this buffer now. */
static uint32_t fill(const struct virtq_chain *chain, uint64_t most)
{
    uint64_t size = chain->write_size < most ? chain->write_size : most;
    uint64_t done = 0;

    while (done < size) {
        uint8_t bytes[STEP_SIZE];
        size_t step = size - done < STEP_SIZE ? (size_t)(size - done) : STEP_SIZE;

        if (getrandom(bytes, step, 0) != (ssize_t)step) {
            break; /* cannot fail for so few */
        }
        done += virtq_write(chain, done, bytes, step);
    }
    return (uint32_t)done;
}

static void entropy_kick(void *device, uint32_t queue)
{
    struct entropy *entropy = device;
    struct virtq_chain chain = {.segments = entropy->segments, .room = SEGMENTS_MAX};
    uint64_t left = ROUND_MAX;
    bool has_more = true;

    while (left > 0 && (has_more = virtio_take_or_wait(&entropy->virtio, queue, &chain))) {
        uint32_t size = fill(&chain, left);

        virtio_use(&entropy->virtio, queue, &chain, size); /* 5.4.6.2: one byte or more */
        entropy->byte_count += size;
        left -= size < left ? (size > 0 ? size : 1) : left;
    }
    virtio_tell(&entropy->virtio, queue);
    if (has_more) {
        const struct vdev_services *host = entropy->virtio.host;

        host->timer(entropy->virtio.slot, 0, host->now_ns(entropy->virtio.slot) + ROUND_NS);
    }
}

static void entropy_timer(void *device, uint32_t timer)
{
    (void)timer;
    virtio_event(device, 0);
}

static const struct vdev_option options[] = {
    VIRTIO_OPTIONS,
    VIRTIO_LEGACY_OPTION,
    {.name = NULL},
};

static const uint16_t queue_sizes[] = {QUEUE_SIZE};

static const struct virtio_type type = {
    .id = TYPE_ENTROPY,
    .class_code = 0xff0000, /* no class fits */
    .queue_count = 1,
    .queue_sizes = queue_sizes,
    .options = options,
    .kick = entropy_kick,
};

static int entropy_create(const struct vdev_services *host, struct vdev_slot *slot,
                          const struct vdev_config *config, void **device)
{
    struct entropy *entropy = calloc(1, sizeof(*entropy));
    int r;

    if (entropy == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    r = virtio_init(&entropy->virtio, &type, host, slot, config, 0, NULL, 0);
    if (r != 0) {
        free(entropy);
        return r;
    }
    *device = entropy;
    return 0;
}

static void entropy_state(void *device, vdev_state_fn add, void *context)
{
    const struct entropy *entropy = device;
    char text[32];

    virtio_state(device, add, context);
    (void)snprintf(text, sizeof(text), "%" PRIu64, entropy->byte_count);
    add(context, "bytes", text);
}

static const struct vdev_ops ops = {
    VIRTIO_OPS,
    .create = entropy_create,
    .destroy = free,
    .timer = entropy_timer,
    .state = entropy_state,
};

static const struct vdev_module module = {
    VIRTIO_MODULE,
    .name = "virtio-entropy",
    .doc = "random numbers (virtio 1.2, 5.4)",
    .options = options,
    .ops = &ops,
    .timer_count = 1,
};

QVM_VDEV_EXPORT(module);
