/* What the IOMMU stopped, as the kernel tells it in its log and nowhere else: lines of the drivers
 * intel-iommu ("DMAR:") and amd-iommu ("AMD-Vi:"). */
#ifndef QVM_DAEMON_HOST_DMA_FAULT_H
#define QVM_DAEMON_HOST_DMA_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/host/pci.h"

#define DMA_FAULT_RECORD_MAX 8192 /* bytes of a record of /dev/kmsg; a shorter buffer loses it */

struct dma_fault {
    char bdf[PCI_BDF_SIZE]; /* who */
    uint64_t address;       /* as the device sees memory */
};

/* Read a record of /dev/kmsg ("PRIORITY,SEQUENCE,TIME,FLAGS;TEXT"). false: it is something else, or
 * not of the kernel itself: whoever is root may write records. */
bool dma_fault_parse(const char *record, struct dma_fault *fault);

#endif
