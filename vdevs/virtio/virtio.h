/* One virtio device, whatever carries it: status, features, configuration, queues, interrupts.
 *
 * Source: "Virtual I/O Device (VIRTIO) Version 1.2"; numbers in this folder are its sections. A
 * vdev of the family embeds `struct virtio` as its first member, fills in a `struct virtio_type`,
 * and takes VIRTIO_OPS and VIRTIO_MODULE below into its tables; it knows features, configuration
 * and queues, and nothing of rings or registers. Where it is placed decides the transport: at an
 * address it is virtio-mmio (mmio.c), on a PCI bus virtio-pci (pci.c).
 *
 * The driver is a stranger. Nonsense in a ring or a geometry makes the device ask for a reset
 * (DEVICE_NEEDS_RESET, 2.1), once; until then it does nothing.
 *
 * Threads: the device's lock is held around every call (qvm/vdev.h). */
#ifndef QVM_VDEVS_VIRTIO_VIRTIO_H
#define QVM_VDEVS_VIRTIO_VIRTIO_H

#include <qvm/vdev.h>

#include "vdevs/virtio/queue.h"

#define VIRTIO_QUEUES_MAX VDEV_EVENTS_MAX /* each has a doorbell */
#define VIRTIO_NO_VECTOR  0xffffu

/* 2.1: device status */
#define VIRTIO_ACKNOWLEDGE 0x01u
#define VIRTIO_DRIVER      0x02u
#define VIRTIO_DRIVER_OK   0x04u
#define VIRTIO_FEATURES_OK 0x08u
#define VIRTIO_NEEDS_RESET 0x40u
#define VIRTIO_FAILED      0x80u

/* 6: reserved feature bits, those of rings aside (queue.h); those of device types are 0-23 */
#define VIRTIO_F_VERSION_1         32u
#define VIRTIO_F_NOTIFICATION_DATA 38u /* 2.9: a driver may say where in the queue it is */
#define VIRTIO_F_RING_RESET        40u

/* Why the driver is interrupted: bits of the ISR (4.1.4.5) and of InterruptStatus (4.2.2). */
#define VIRTIO_USED    0x1u
#define VIRTIO_CHANGED 0x2u

/* A shared memory region, 2.10: bytes of the device's that the driver finds by their id. Regions
 * lie in VIRTIO_REGION_SHARED one behind the other, each from a multiple of VIRTIO_SHARED_PAGE on;
 * what is shown there (host->shmem_show) is memory, and the rest is answered by the device. On PCI
 * that is a BAR of its own, at an address the second `loc mem:`. */
#define VIRTIO_REGION_SHARED 2u /* at an address: 1 */
#define VIRTIO_SHARED_MAX    4u
#define VIRTIO_SHARED_PAGE   4096u

struct virtio_shared {
    uint8_t id;
    uint64_t size; /* bytes; a multiple of VIRTIO_SHARED_PAGE */
};

/* What a device type is and does. All operations are called under the device's lock; `device` is
 * the vdev, whose first member is the struct virtio. */
struct virtio_type {
    uint16_t id;         /* section 5 */
    uint32_t class_code; /* on PCI */
    uint32_t queue_count;
    const uint16_t *queue_sizes; /* most descriptors of each */

    /* The module's: rows of VIRTIO_OPTIONS are read by virtio_init. NULL: it has none of them. */
    const struct vdev_option *options;

    /* The driver writes to the configuration space: all inside it. NULL: it is read-only. */
    void (*config_write)(void *device, uint32_t offset, uint32_t size, uint64_t value);

    /* At most VIRTIO_SHARED_MAX regions, and accesses to what is not shown in them: `index` is that
     * of the row, all of the access inside it. NULL: there are none; they read as 0. */
    const struct virtio_shared *shared;
    uint32_t shared_count;
    uint64_t (*shared_read)(void *device, uint32_t index, uint64_t offset, uint32_t size);
    void (*shared_write)(void *device, uint32_t index, uint64_t offset, uint32_t size,
                         uint64_t value);

    /* The driver is ready (DRIVER_OK); the features are settled. NULL: nothing to do. */
    void (*start)(void *device);

    /* Buffers may wait in a queue. Spurious calls happen. On the thread of events alone. */
    void (*kick)(void *device, uint32_t queue);

    /* An event of the vdev's own: its number is queue_count or more. NULL: it has none. */
    void (*event)(void *device, uint32_t event);

    /* A queue stops. When this returns, the device touches nothing that was offered in it; chains
     * that it took are void. NULL: it never keeps any. */
    void (*stop)(void *device, uint32_t queue);

    /* The driver gave the device up, or begins anew; all queues have stopped. NULL: it keeps
     * nothing of what a driver said. */
    void (*reset)(void *device);

    /* The device is again as it was saved; kicks follow. NULL: nothing to do. */
    void (*restored)(void *device);
};

struct virtio {
    const struct virtio_type *type;
    const struct vdev_services *host;
    struct vdev_slot *slot;
    bool is_pci;
    bool can_legacy;     /* it has the legacy interface; over MMIO that alone */
    bool is_legacy;      /* and its driver uses it: legacy.c */
    uint64_t offered;    /* features */
    uint64_t negotiated; /* 0 before FEATURES_OK */
    uint8_t *config;     /* the vdev's, little-endian */
    uint32_t config_size;
    struct virtq queues[VIRTIO_QUEUES_MAX];

    /* private: what the registers say */
    uint8_t status;
    uint8_t generation;
    bool is_changed;    /* since the configuration was read last */
    bool is_high;       /* the line */
    uint8_t interrupts; /* VIRTIO_USED, VIRTIO_CHANGED */
    uint64_t accepted;  /* as the driver writes it */
    uint32_t offered_select, accepted_select, queue_select;
    uint32_t shared_select; /* at an address, where the region of the shared ones begins */
    uint64_t shared_start;
    uint16_t changed_vector, queue_vectors[VIRTIO_QUEUES_MAX];
    uint32_t access_cap; /* on PCI: the capability that reaches into BARs, and what it says */
    uint8_t access_bar;
    uint32_t access_offset, access_length;
    uint32_t page_size, queue_alignment; /* of queues, as a legacy driver says */
    uint64_t reset_count;                /* how often the device asked for one */
};

/* Make the device part of a vdev, and its transport: during the vdev's create, once. `features` are
 * those of the device type; the ring's own are added. `config` of `config_size` bytes is borrowed.
 * -EINVAL: after host->fail(). */
int virtio_init(struct virtio *virtio, const struct virtio_type *type,
                const struct vdev_services *host, struct vdev_slot *slot,
                const struct vdev_config *place, uint64_t features, void *config,
                uint32_t config_size);

static inline bool virtio_has(const struct virtio *virtio, unsigned feature)
{
    return (virtio->negotiated & VIRTIO_BIT(feature)) != 0;
}

/* The next buffer of a queue (virtq_take). False: there is none. */
bool virtio_take(struct virtio *virtio, uint32_t queue, struct virtq_chain *chain);

/* As virtio_take, for who works a queue off: asks for no notifications meanwhile, and for the next
 * one when there is nothing left. */
bool virtio_take_or_wait(struct virtio *virtio, uint32_t queue, struct virtq_chain *chain);

/* Give a buffer back; the driver is told by virtio_tell. */
void virtio_use(struct virtio *virtio, uint32_t queue, const struct virtq_chain *chain,
                uint32_t written);

/* The same for several, which the driver finds all at once: virtq_use_all. */
void virtio_use_all(struct virtio *virtio, uint32_t queue, const struct virtq_chain *chains,
                    const uint32_t *written, uint32_t count);

/* Interrupt the driver, if it wants to know of what was used. */
void virtio_tell(struct virtio *virtio, uint32_t queue);

/* Interrupt it for a queue that somebody else works off, who has looked at what it wants. */
void virtio_tell_used(struct virtio *virtio, uint32_t queue);

/* The configuration space has changed. */
void virtio_config_changed(struct virtio *virtio);

/* The driver did what no driver does: ask for a reset, and do nothing until then. */
void virtio_need_reset(struct virtio *virtio);

/* Whether the device may look at a queue. */
bool virtio_is_live(const struct virtio *virtio, uint32_t queue);

/* ---- for the vdev's table of operations; `device` begins with a struct virtio ---- */

void virtio_reset(void *device); /* registers, features, queues; a vdev with more calls it */
uint64_t virtio_read(void *device, uint32_t region, uint64_t offset, uint32_t size);
void virtio_write(void *device, uint32_t region, uint64_t offset, uint32_t size, uint64_t value);
void virtio_event(void *device, uint32_t event); /* a doorbell: the number of a queue */
void virtio_state(void *device, vdev_state_fn add, void *context);
int virtio_save(void *device);
int virtio_restore(void *device);

uint32_t virtio_config_cap_read(void *device, uint32_t cap, uint32_t offset, uint32_t size);
void virtio_config_cap_write(void *device, uint32_t cap, uint32_t offset, uint32_t size,
                             uint32_t value);

#define VIRTIO_OPS                                                                                 \
    VIRTIO_OPS_ACCESS, .reset = virtio_reset, .save = virtio_save, .restore = virtio_restore

/* For who has more to reset or to save than its driver's words. */
#define VIRTIO_OPS_ACCESS                                                                          \
    .size = sizeof(struct vdev_ops), .read = virtio_read, .write = virtio_write,                   \
    .event = virtio_event, .config_read = virtio_config_cap_read,                                  \
    .config_write = virtio_config_cap_write

/* Options that all have: rows of the module's table. */
#define VIRTIO_OPTION_PACKED   "packed"
#define VIRTIO_OPTION_NOTIFIED "notification-data"
#define VIRTIO_OPTION_LEGACY   "legacy"
#define VIRTIO_OPTIONS                                                                             \
    {                                                                                              \
        .name = VIRTIO_OPTION_PACKED,                                                              \
        .kind = VDEV_OPTION_BOOL,                                                                  \
        .fallback = "off",                                                                         \
        .doc = "offer packed rings (virtio 1.2, 2.8) beside split ones",                           \
    },                                                                                             \
    {                                                                                              \
        .name = VIRTIO_OPTION_NOTIFIED, .kind = VDEV_OPTION_BOOL, .fallback = "off",               \
        .doc = "let the driver say with each notification how far it is (2.9)",                    \
    }

/* And those of the device types that were there before virtio 1.0. */
#define VIRTIO_LEGACY_OPTION                                                                       \
    {                                                                                              \
        .name = VIRTIO_OPTION_LEGACY, .kind = VDEV_OPTION_FLAG,                                    \
        .doc = "with the interface of virtio 0.9.5, on PCI beside the other",                      \
    }

/* What the rows of all modules say alike. */
#define VIRTIO_USUAL_SIZE 0x200u /* of virtio-mmio's registers, as guests are told it elsewhere */
#define VIRTIO_MODULE                                                                              \
    .size = sizeof(struct vdev_module), .abi = QVM_VDEV_ABI, .default_intr = QVM_VDEV_NO_INTR,     \
    .acpi_hid = "LNRO0005", .can_pci = true, .is_pci_usual = true, .has_level_lines = true,        \
    .usual_size = VIRTIO_USUAL_SIZE

#endif
