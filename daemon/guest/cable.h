/* Cables: a network of two guests' vdevs and nothing else, a pair of sockets of whole frames.
 *
 * Whoever comes first has the pair made; the other gets its end when it comes. Each qvm has both
 * ends (its own to use, the other to keep), so a cable lives as long as one of two qvms and a qvmd
 * does: a guest that comes back finds its end, and a new qvmd is told by hello. Two guests are
 * connected only if each names the other, so there is nothing that one could do to who does not
 * want it. Frames that nobody read are lost with who should have. Who has an end is told whether
 * there is a guest at the other one (the link). */
#ifndef QVM_DAEMON_GUEST_CABLE_H
#define QVM_DAEMON_GUEST_CABLE_H

#include <stddef.h>

struct err;
struct guest;
struct guests;
struct msg_hello;

/* The descriptors of all cables that its qvm asks for, into the ask; `*bad` is the item that cannot
 * be had. -EINVAL: its other end is the guest itself, is no name, or runs without such a vdev;
 * -ENOENT: there is no such guest; -EBUSY: nobody knows what the other end's qvm has. */
int guest_cables_take(struct guest *guest, size_t *bad, struct err *err);

/* They were granted: tell those whose cable ends at a vdev that this guest does not have. */
void guest_cables_granted(struct guest *guest);

/* Its qvm has these, as its hello says; `fds`, two each, are taken where they are new. */
void guest_cables_adopt(struct guest *guest, const struct msg_hello *hello, int *fds, size_t count);

/* Its instance is over. */
void guest_cables_drop(struct guest *guest);

/* Close all; they live on in the qvms. */
void guests_cables_close(struct guests *guests);

#endif
