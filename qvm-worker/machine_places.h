/* What of the ports and addresses no vdev can have: KVM answers there itself, or nobody ever does.
 *
 * A device at such a place would never be asked: the bus refuses it instead. */
#ifndef QVM_WORKER_MACHINE_PLACES_H
#define QVM_WORKER_MACHINE_PLACES_H

struct bus;
struct err;
struct memory;

/* Claim guest RAM, the interrupt controllers, KVM's own pages, and what no processor can address.
 * Before any device is added. */
int machine_places_claim(struct bus *bus, const struct memory *memory, struct err *err);

#endif
