/* The host's PCI functions, as they are shown. */
#include "cli/devices.h"

#define BASE_BRIDGE 6

const char *device_state(const struct msg_device *device)
{
    if (device->guest != NULL) {
        return "guest";
    }
    if (device->bridge || device->class >> 16 == BASE_BRIDGE) {
        return "bridge";
    }
    if (device->trouble != NULL) {
        return "aside";
    }
    if (device->use != NULL && *device->use != '\0') {
        return "host";
    }
    if (device->iommu_group < 0) {
        return "no-iommu";
    }
    return device->refusal != NULL ? "group" : "free";
}
