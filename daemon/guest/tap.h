/* Taps of the host that a guest asks for.
 *
 * A tap is made for its guest by a hand, and no longer there than the last copy of its descriptor:
 * that is the qvm's alone, so the kernel removes it with the guest, whatever becomes of qvmd. */
#ifndef QVM_DAEMON_GUEST_TAP_H
#define QVM_DAEMON_GUEST_TAP_H

#include <stdbool.h>
#include <stddef.h>

struct err;
struct guest;
struct hand;
struct wanted;

bool guest_asks_tap(const struct wanted *item);

/* Whether it may have all taps that its qvm asks for, which are to be claimed by their names alone.
 * `*bad` is the item that it may not: -EPERM not for this owner, or not in that bridge; -E2BIG. */
int guest_taps_check(struct guest *guest, size_t *bad, struct err *err);

/* Let a hand make them; `done` is called with the item that failed, or with the hand, which keeps
 * all descriptors. 1: there is none, and `done` will not be called. */
int guest_taps_take(struct guest *guest,
                    void (*done)(struct guest *guest, size_t bad, struct hand *keeper,
                                 const struct err *err),
                    struct err *err);

#endif
