/* Where the guest finds a device, for <qvm/vdev.h>: ports and addresses, or a function of a PCI bus
 * and what that is; and what a device is made of. Same rules of the contract: what is there never
 * changes, only more comes. */
#ifndef QVM_VDEV_PLACE_H
#define QVM_VDEV_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#define VDEV_LINES_MAX    32u /* interrupt lines of one device */
#define VDEV_VECTORS_MAX  64u /* MSI-X vectors of one device */
#define VDEV_BARS_MAX     6u  /* PCI 3.0, 6.2.5.1 */
#define VDEV_CAPS_MAX     16u /* capabilities of one PCI function */
#define VDEV_CAP_SIZE_MAX 64u /* bytes of one, its id and link included */

enum vdev_space { VDEV_SPACE_IO, VDEV_SPACE_MEMORY };

/* Where the guest finds a device. */
enum vdev_place {
    VDEV_PLACE_BUS, /* at ports and addresses of its own */
    VDEV_PLACE_PCI, /* as a function of a PCI bus; its regions are what its BARs show */
};

/* A range of ports or addresses that belongs to the device. */
struct vdev_region {
    enum vdev_space space;
    uint64_t start; /* guest-physical address or port */
    uint64_t size;  /* bytes */
};

/* One base address register of a PCI function (PCI 3.0, 6.2.5). */
struct vdev_bar {
    uint8_t index; /* 0-5; a 64-bit one has the next one, too */
    enum vdev_space space;
    bool is_64bit, is_prefetchable; /* memory alone */
    uint64_t size;                  /* a power of two, at least 4 (ports) or 16 (memory) */
    uint32_t region;                /* accesses arrive as those of this region */
};

/* One capability of a PCI function (PCI 3.0, 6.7), without the header of id and link. */
struct vdev_cap {
    uint8_t id;
    uint8_t size;        /* of `data`, at most VDEV_CAP_SIZE_MAX - 2 */
    const uint8_t *data; /* copied; as it stands at power-on */
    const uint8_t *mask; /* bits that the guest may write; NULL: none */
    bool is_live;        /* accesses go to config_read and config_write */
};

/* What a device on PCI is. The qvm owns configuration space, the BARs' places, MSI-X's table. */
struct vdev_pci_function {
    uint32_t size; /* sizeof(struct vdev_pci_function) of the module */
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint32_t class_code; /* base class << 16 | subclass << 8 | interface */
    uint8_t revision;
    bool has_intx;
    uint16_t vector_count; /* of MSI-X, at most VDEV_VECTORS_MAX; 0: it has none */
    uint8_t vector_bar;    /* a BAR that no row of `bars` has: table and pending bits live there */
    const struct vdev_bar *bars;
    uint32_t bar_count;
    const struct vdev_cap *caps;
    uint32_t cap_count;
    uint8_t msi_count;  /* of MSI: 1, 2, 4, 8, 16 or 32, beside MSI-X or alone; 0: it has none */
    bool has_msi_masks; /* and a mask and a pending bit for each */
};

struct vdev_value; /* <qvm/vdev.h> */

/* What create is told of the device and its VM. */
struct vdev_config {
    uint32_t size; /* sizeof(struct vdev_config) of the qvm */
    const char *name;
    const struct vdev_value *values; /* fallbacks, then what the configuration gives, in its order;
                                        one of an option that may not repeat: its last */
    uint32_t value_count;
    const struct vdev_region *regions; /* from `loc`, or the module's default */
    uint32_t region_count;
    enum vdev_place place;
    uint32_t intr_count;            /* lines that it has; on PCI there is one, INTx */
    uint32_t intrs[VDEV_LINES_MAX]; /* GSI of each, from `intr PIC:LINE` or the module's defaults;
                                        QVM_VDEV_NO_INTR on PCI, where the slot decides */
    uint32_t cpu_count;
    uint64_t ram_below_4g, ram_above_4g; /* bytes */
    const char *system;                  /* the VM's name */
};

#endif
