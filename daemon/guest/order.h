/* In which order guests start and stop: who comes after whom. Pure; names alone. */
#ifndef QVM_DAEMON_GUEST_ORDER_H
#define QVM_DAEMON_GUEST_ORDER_H

#include <stddef.h>

struct err;

struct order_guest {
    const char *name;
    char *const *after; /* names, of which some may be unknown */
    size_t after_count;
};

/* `guests` are sorted by name. -EINVAL: the guest at `start` names one that there is not, or comes,
 * over others perhaps, after itself; `err` says over whom. Others of the list are not judged. */
int order_check(const struct order_guest *guests, size_t count, size_t start, struct err *err);

#endif
