/* The two queues of a card or of sockets: what is received and what is sent, each with a few
 * descriptors of one buffer each. Virtio 1.2, 2.7 and 3.1.1. Rings and buffers lie in RAM from
 * VIRTIO_AREA and VIRTIO_BUFFER on; one device at a time has them. */
#ifndef QVM_TESTS_GUESTS_BARE_QUEUES_H
#define QVM_TESTS_GUESTS_BARE_QUEUES_H

#include <stdbool.h>
#include <stdint.h>

enum { QUEUES_RECEIVE = 0, QUEUES_TRANSMIT = 1, QUEUES_COUNT = 2 };
enum { QUEUES_SIZE = 8, QUEUES_BUFFER = 2048 };

/* Reset, these of the first 32 features and version 1, both queues. False: there is no such device.
 */
bool queues_open(uint64_t place, uint32_t id, uint32_t features);

/* DRIVER_OK, and all buffers are there for what is received. */
void queues_begin(void);

void *queues_buffer(unsigned queue, unsigned i);

/* Make descriptor `i` available, of which the device reads or writes so many bytes. */
void queues_offer(unsigned queue, uint16_t i, uint32_t size);

/* Whether the device has used one more; take it: its descriptor. */
bool queues_has_used(unsigned queue);
uint16_t queues_take(unsigned queue);

#endif
