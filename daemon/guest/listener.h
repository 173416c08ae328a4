/* Sockets of a guest's vdevs, to which programs of the host connect.
 *
 * Each is claimed by its path before it is made, by a hand that is the guest's owner, and removed
 * by another one before the claim is freed: so a path that is left behind has somebody who removes
 * it, whoever was killed meanwhile. Its descriptor is the qvm's alone. */
#ifndef QVM_DAEMON_GUEST_LISTENER_H
#define QVM_DAEMON_GUEST_LISTENER_H

#include <stdbool.h>
#include <stddef.h>

struct err;
struct guest;
struct hand;

#define LISTEN "listen:" /* and the path: what a qvm asks for, and what is claimed */

/* Let a hand make them; `done` is called with the item that failed, perhaps at once, or with the
 * hand, which keeps all descriptors. False: there is none, and `done` will not be called. */
bool guest_listeners_take(struct guest *guest,
                          void (*done)(struct guest *guest, size_t bad, struct hand *keeper,
                                       const struct err *err));

/* The path of one that is claimed by that id. */
const char *guest_listener_path(const char *id);

#endif
