/* What of the ports and addresses no vdev can have: KVM answers there itself, or nobody ever does.
 *
 * A device at such a place would never be asked: the bus refuses it instead. */
#ifndef QVM_WORKER_MACHINE_PLACES_H
#define QVM_WORKER_MACHINE_PLACES_H

#include <stdbool.h>

struct bus;
struct err;
struct memory;

/* Claim guest RAM (`has_shadow`: but for that of board.h), the interrupt controllers if they are
 * KVM's, KVM's own pages, and what no processor can address. Before any device is added. */
int machine_places_claim(struct bus *bus, const struct memory *memory, bool has_kernel_chips,
                         bool has_shadow, struct err *err);

#endif
