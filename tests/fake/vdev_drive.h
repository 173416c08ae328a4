/* A guest, a clock and a console that drive one device of a fake slot, by four bytes a step. */
#ifndef QVM_TESTS_FAKE_VDEV_DRIVE_H
#define QVM_TESTS_FAKE_VDEV_DRIVE_H

#include <stdint.h>

#include "tests/fake/vdev_slot.h"

#define VDEV_DRIVE_STEP 4u /* bytes */

/* Take a step; returns what was read, or whatever the device answered. The device has no image; it
 * stands at its usual places. */
uint64_t vdev_drive(struct vdev_slot *slot, const uint8_t step[VDEV_DRIVE_STEP]);

#endif
