/* The kernel's part in the network of a slot for one device: what it was asked for. */
#include <errno.h>
#include <string.h>

#include "tests/fake/vdev_slot.h"

static uint64_t fake_features(struct vdev_slot *slot, uint32_t event, bool *is_required)
{
    slot->tap.event = event;
    *is_required = slot->tap.is_required;
    return slot->tap.offered;
}

static int fake_run(struct vdev_slot *slot, uint64_t features, const struct vdev_tap_queue *queues,
                    uint32_t pairs)
{
    if (slot->tap.refuses || slot->tap.is_running || pairs > VDEV_NETWORK_QUEUES_MAX) {
        return -EINVAL;
    }
    slot->tap.is_running = true;
    slot->tap.runs++;
    slot->tap.features = features;
    slot->tap.pairs = pairs;
    memcpy(slot->tap.queues, queues, 2 * pairs * sizeof(*queues));
    return 0;
}

static void fake_rest(struct vdev_slot *slot)
{
    slot->tap.is_running = false;
    if (slot->tap.on_rest != NULL) {
        slot->tap.on_rest(slot);
    }
}

static uint16_t fake_base(struct vdev_slot *slot, uint32_t queue)
{
    return slot->tap.queues[queue].base;
}

const struct vdev_tap_services fake_slot_tap = {.size = sizeof(fake_slot_tap),
                                                .features = fake_features,
                                                .run = fake_run,
                                                .rest = fake_rest,
                                                .base = fake_base};
