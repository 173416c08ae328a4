/* A slot for one device without a qvm around it: its clock stands still until a test moves it. */
#ifndef QVM_TESTS_FAKE_VDEV_SLOT_H
#define QVM_TESTS_FAKE_VDEV_SLOT_H

#include <qvm/vdev.h>

#define FAKE_SENT_MAX 4096u

struct vdev_slot {
    const struct vdev_module *module;
    void *device;

    bool is_high;
    unsigned rise_count; /* of the interrupt line */

    uint64_t now_ns, wall_ns, deadline_ns;
    unsigned timer_count; /* calls of the timer operation */

    uint8_t sent[FAKE_SENT_MAX]; /* to the stream; the count goes on beyond */
    uint64_t sent_count;
    unsigned resume_count;

    unsigned request_count;
    enum vdev_request request;
    uint32_t request_value;

    char failure[256];
    char state[2048]; /* NAME=VALUE lines */
};

/* Make the module's device with its default regions, or with `regions`. Returns what create said;
 * `slot` is set up anew. */
int fake_slot_create(struct vdev_slot *slot, const struct vdev_module *module,
                     const struct vdev_value *values, uint32_t value_count,
                     const struct vdev_region *regions, uint32_t region_count);
void fake_slot_destroy(struct vdev_slot *slot);

/* One byte at offset `at` of a region. */
uint8_t fake_slot_in(struct vdev_slot *slot, uint32_t region, uint64_t at);
void fake_slot_out(struct vdev_slot *slot, uint32_t region, uint64_t at, uint8_t value);

size_t fake_slot_type(struct vdev_slot *slot, const void *data, size_t count);

/* Let time go by, both clocks; the timer fires on its way. */
void fake_slot_advance(struct vdev_slot *slot, uint64_t ns);

/* As the vdev host resets a device. */
void fake_slot_reset(struct vdev_slot *slot);

/* Fill slot->state and return it. */
const char *fake_slot_state(struct vdev_slot *slot);

#endif
