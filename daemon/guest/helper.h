/* Helpers of a guest: processes that serve its images and shared folders beside its qvm.
 *
 * One is made between claim and grant, and belongs to the instance: its row is written before it
 * runs its program, so whoever is qvmd finds it again, and it is ended with its qvm. What ends it
 * earlier is told (event `helper-lost`); its qvm then wishes for another one, which follows it
 * (helper_again.c). Loop thread. */
#ifndef QVM_DAEMON_GUEST_HELPER_H
#define QVM_DAEMON_GUEST_HELPER_H

#include <stdbool.h>
#include <stddef.h>

struct err;
struct guest;
struct guests;

/* How many the ask of this guest has. */
size_t guest_helpers_asked(const struct guest *guest);

/* Whether each image that was opened is for a helper to have: a regular file, and no hand keeps it;
 * and each folder, if no hand does.
 * `*bad` is the item that is not. */
int guest_helpers_check(const struct guest *guest, size_t *bad, struct err *err);

/* Make what the ask wants; `done` is called from the loop when all of them serve, or one cannot
 * (`why` has a code, `bad` its item), unless the guest drops its ask. Returns 1, and nothing is
 * called: none is asked for. On failure `*bad` is the item. */
int guest_helpers_start(struct guest *guest, size_t *bad,
                        void (*done)(struct guest *guest, size_t bad, const struct err *why),
                        struct err *err);

/* Find again what an earlier qvmd made for its instance. */
void guest_helpers_adopt(struct guest *guest);

/* And end those of dead instances. */
void guests_helpers_sweep(struct guests *guests);

/* Its qvm has lost one, and the guest could go on with another. What there is of that is forgotten
 * with guest_helpers_end() and guest_helpers_drop(). */
struct msg_helper_wish;
void guest_on_helper_wish(struct guest *guest, const struct msg_helper_wish *wish);
void guest_helpers_again_drop(struct guest *guest);

/* Its qvm is gone: they end, too, and keep their images until then. */
void guest_helpers_end(struct guest *guest);

/* Whether some of its instance still write. */
bool guest_helpers_are_ending(const struct guest *guest);

/* Watch them no more; they live on. And those that are ending, which go on with that. */
void guest_helpers_drop(struct guest *guest);
void guests_helpers_drop(struct guests *guests);

#endif
