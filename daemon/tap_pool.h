/* Which network devices of the host's guests may have: `tap` of qvmd.conf.
 *
 * A row names one tap, or all that begin alike, and says in which bridges they may be: names matter
 * to the host's own rules (firewalls, routes), and what is in a bridge reaches what is there. What
 * no row names nobody gets. Any thread, but one at a time. */
#ifndef QVM_DAEMON_TAP_POOL_H
#define QVM_DAEMON_TAP_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct err;

#define TAP_POOL_MAX         64u
#define TAP_POOL_BRIDGES_MAX 16u
#define TAP_POOL_USERS_MAX   16u

struct pool_tap {
    const char *name;                          /* a beginning has '*' behind it */
    unsigned line;                             /* of qvmd.conf */
    const char *bridges[TAP_POOL_BRIDGES_MAX]; /* in which it may be; none: in no bridge */
    size_t bridge_count;
    uid_t users[TAP_POOL_USERS_MAX]; /* whose guests may have it; none: everybody's */
    size_t user_count;
};

struct tap_pool {
    struct pool_tap list[TAP_POOL_MAX];
    size_t count;
};

/* Whose guest wants it. */
struct tap_asker {
    uid_t owner;
    const char *owner_name;
    uid_t daemon_uid; /* its guests, as root's, may have what others may not */
};

/* The row for the tap `name`: that with its name, else that with most of its beginning. NULL: there
 * is none. */
const struct pool_tap *tap_pool_find(const struct tap_pool *pool, const char *name);

/* Whether a guest may have the tap `name` in `bridge` (empty: in none). -EPERM: `err` says why not.
 */
int tap_pool_check(const struct tap_pool *pool, const char *name, const char *bridge,
                   const struct tap_asker *asker, struct err *err);

#endif
