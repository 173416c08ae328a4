/* A driver for virtio over MMIO and PCI: virtio 1.2, 4 and 2.7; random numbers (5.4), disks (5.2),
 * and one that breaks every rule. Rings and buffers lie in RAM from VIRTIO_AREA on. */
#ifndef QVM_TESTS_GUESTS_BARE_VIRTIO_H
#define QVM_TESTS_GUESTS_BARE_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#define VIRTIO_AREA       0x400000ULL /* 4 MiB; above what `mem` and the loader use at first */
#define VIRTIO_BUFFER     0x500000ULL
#define VIRTIO_QUEUE_SIZE 16U

enum { VIRTIO_ID_BLK = 2, VIRTIO_ID_CONSOLE = 3, VIRTIO_ID_RNG = 4 };

/* One piece of a request: what the device reads comes before what it writes. */
struct virtio_piece {
    uint64_t address;
    uint32_t size;
    bool is_written; /* by the device */
};

/* Reset, features, queue 0, DRIVER_OK. `base`: an address, or a device of PCI bus 0 (virtio_find).
 * `gsi`: wait for its interrupts (virtio_listen); 0: poll. False, with a word
 * printed: it is no such device, or it refused. */
bool virtio_open(uint64_t base, uint32_t id, uint8_t gsi);

/* Offer a request, notify, wait for its end. Returns the length that the device tells, or
 * UINT32_MAX when it asks for a reset. */
uint32_t virtio_request(const struct virtio_piece *pieces, unsigned count);

/* Offer requests of one piece list each without waiting, then notify and wait for all. */
void virtio_offer(const struct virtio_piece *pieces, unsigned count);
bool virtio_wait_all(void);

/* Whether the device has used all that was offered. */
bool virtio_is_done(void);

/* Enable the next seven queues, with the rings of queue 0: nobody can be meant by what is in them.
 */
void virtio_open_others(void);

/* Ring the doorbell of queue 0; reset the device, and wait until that is done. */
void virtio_notify(void);
void virtio_stop(void);

uint32_t virtio_config(uint32_t offset);

/* The words of commands.c. */
void virtio_command_rng(const char *arguments);
void virtio_command_blk(const char *arguments);
void virtio_command_master(const char *arguments);
void virtio_command_storm(const char *arguments);

#endif
