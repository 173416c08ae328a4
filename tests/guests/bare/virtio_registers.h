/* The registers of one virtio device, by their offsets in virtio over MMIO (virtio 1.2, 4.2.2);
 * over PCI the same fields are found in the structures of 4.1.4. */
#ifndef QVM_TESTS_GUESTS_BARE_VIRTIO_REGISTERS_H
#define QVM_TESTS_GUESTS_BARE_VIRTIO_REGISTERS_H

#include <stdbool.h>
#include <stdint.h>

enum { VIRTIO_MAGIC = 0x00, VIRTIO_VERSION = 0x04, VIRTIO_DEVICE = 0x08, VIRTIO_FEATURES = 0x10 };
enum { VIRTIO_FEATURES_SELECT = 0x14, VIRTIO_ACCEPTED = 0x20, VIRTIO_ACCEPTED_SELECT = 0x24 };
enum { VIRTIO_SELECT = 0x30, VIRTIO_SIZE_MAX = 0x34, VIRTIO_SIZE = 0x38, VIRTIO_READY = 0x44 };
enum { VIRTIO_NOTIFY = 0x50, VIRTIO_INTERRUPT_STATUS = 0x60, VIRTIO_INTERRUPT_ACK = 0x64 };
enum { VIRTIO_STATUS = 0x70, VIRTIO_TABLE = 0x80, VIRTIO_DRIVER_AREA = 0x90 };
enum { VIRTIO_DEVICE_AREA = 0xa0, VIRTIO_CONFIG = 0x100 };

#define VIRTIO_MAGIC_VALUE 0x74726976U

/* The device that is talked to from now on: at an address, or, below 32, the device of that number
 * on PCI bus 0. False: there is none. */
bool virtio_find(uint64_t where);

/* On PCI: have it be a bus master, or none. False: it is not on PCI. */
bool virtio_set_master(bool is_master);

uint32_t virtio_get(uint32_t at);
void virtio_set(uint32_t at, uint32_t value);

/* Have `handler` called for interrupts of queue 0, which is not enabled yet: over MMIO of line
 * `gsi`; over PCI of a message if `gsi` is VIRTIO_BY_MESSAGE, or of its own line. A message needs
 * no acknowledgement. */
#define VIRTIO_BY_MESSAGE 1U
void virtio_listen(uint8_t gsi, void (*handler)(void));

/* Access some register, whatever it is; `random` decides. */
void virtio_write_anywhere(uint64_t random, uint32_t value);
void virtio_read_anywhere(uint64_t random);

#endif
