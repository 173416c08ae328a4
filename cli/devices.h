/* The host's PCI functions, as `device` and `map` show them. */
#ifndef QVM_CLI_DEVICES_H
#define QVM_CLI_DEVICES_H

#include "proto/msg.h"

/* Whose it is, in a word: free, guest (one has it), host (which uses it), bridge, no-iommu,
 * aside (it is set aside), or group: what is in its IOMMU group keeps it. */
const char *device_state(const struct msg_device *device);

#endif
