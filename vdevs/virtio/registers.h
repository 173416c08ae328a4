/* What both transports do with their registers: for mmio.c and pci.c alone. */
#ifndef QVM_VDEVS_VIRTIO_REGISTERS_H
#define QVM_VDEVS_VIRTIO_REGISTERS_H

#include "vdevs/virtio/virtio.h"

/* Status as written by the driver: 0 resets; FEATURES_OK and DRIVER_OK are set where they may be.
 */
void virtio_set_status(struct virtio *virtio, uint8_t value);

/* 32 feature bits; words from the third on do not exist. */
uint32_t virtio_offered_word(const struct virtio *virtio);
uint32_t virtio_accepted_word(const struct virtio *virtio);
void virtio_accept_word(struct virtio *virtio, uint32_t value); /* lost after FEATURES_OK */

/* The selected queue, or NULL. */
struct virtq *virtio_selected(struct virtio *virtio);

/* Half (0 low, 1 high) of an address, and the size, of a queue: frozen while it is enabled. */
void virtio_set_size(struct virtq *queue, uint32_t value);
void virtio_set_half(const struct virtq *queue, uint64_t *address, unsigned half, uint32_t value);

/* Enable the selected queue; stop it (the geometry stays); reset it (2.6.1). */
void virtio_enable_queue(struct virtio *virtio);
void virtio_disable_queue(struct virtio *virtio);
void virtio_reset_queue(struct virtio *virtio);

/* Configuration space: bytes outside it read as 0. */
uint64_t virtio_config_read(struct virtio *virtio, uint64_t offset, uint32_t size);
void virtio_config_write(struct virtio *virtio, uint64_t offset, uint32_t size, uint64_t value);
uint8_t virtio_generation(struct virtio *virtio);

/* How many messages there are on PCI: one for each queue and one more, as far as there are so many.
 * The driver that wants more shares them. */
static inline uint32_t virtio_vector_count(const struct virtio *virtio)
{
    uint32_t wanted = virtio->type->queue_count + 1;

    return wanted < VDEV_VECTORS_MAX ? wanted : VDEV_VECTORS_MAX;
}

/* Why the driver was interrupted; reading says that it was handled (4.1.4.5). */
uint8_t virtio_take_interrupts(struct virtio *virtio);

/* 4.1.5.1.2.1: what there is no vector for reads as none. */
static inline uint16_t virtio_known_vector(const struct virtio *virtio, uint32_t vector)
{
    return vector < virtio_vector_count(virtio) ? (uint16_t)vector : VIRTIO_NO_VECTOR;
}

/* The driver is ready (DRIVER_OK). */
void virtio_start(struct virtio *virtio);

/* The legacy interface (legacy.c): what is offered there; after a reset; status, other than 0;
 * features; where the selected queue is, in pages (0: nowhere). */
#define VIRTIO_LEGACY_PAGE   4096u
#define VIRTIO_LEGACY_SIZE   24u /* of the registers in BAR 0, configuration aside */
#define VIRTIO_LEGACY_NOTIFY 16u
uint32_t virtio_legacy_offered(const struct virtio *virtio);
void virtio_legacy_reset(struct virtio *virtio);
void virtio_legacy_set_status(struct virtio *virtio, uint8_t value);
void virtio_legacy_accept(struct virtio *virtio, uint32_t value);
uint32_t virtio_legacy_page(const struct virtio *virtio, const struct virtq *queue);
void virtio_legacy_set_page(struct virtio *virtio, uint32_t page);
void virtio_legacy_set_page_size(struct virtio *virtio, uint32_t size);

/* Accesses to BAR 0 of a transitional device. */
#define VIRTIO_REGION_LEGACY 1u
uint64_t virtio_legacy_read(struct virtio *virtio, uint64_t offset, uint32_t size);
void virtio_legacy_write(struct virtio *virtio, uint64_t offset, uint32_t size, uint64_t value);

/* Interrupts that were handled: the line falls with the last. */
void virtio_acknowledge(struct virtio *virtio, uint8_t bits);

/* Shared memory regions (shared.c): bytes from the first to the end of the last; where row `index`
 * begins among them; accesses. -EINVAL: after host->fail(), what the type says makes no sense. */
int virtio_shared_check(const struct virtio *virtio);
uint64_t virtio_shared_size(const struct virtio *virtio);
uint64_t virtio_shared_offset(const struct virtio *virtio, uint32_t index);
uint64_t virtio_shared_read(struct virtio *virtio, uint64_t offset, uint32_t size);
void virtio_shared_write(struct virtio *virtio, uint64_t offset, uint32_t size, uint64_t value);

/* The row with that id, or NULL. */
const struct virtio_shared *virtio_shared_find(const struct virtio *virtio, uint32_t id);

/* virtio-mmio, 4.2 */
#define VIRTIO_MMIO_CONFIG 0x100u
int virtio_mmio_init(struct virtio *virtio, const struct vdev_config *place);
uint64_t virtio_mmio_read(struct virtio *virtio, uint64_t offset, uint32_t size);
void virtio_mmio_write(struct virtio *virtio, uint64_t offset, uint32_t size, uint64_t value);

/* virtio-pci, 4.1 */
int virtio_pci_init(struct virtio *virtio);
uint64_t virtio_pci_read(struct virtio *virtio, uint64_t offset, uint32_t size);
void virtio_pci_write(struct virtio *virtio, uint64_t offset, uint32_t size, uint64_t value);

#endif
