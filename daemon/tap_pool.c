#include "daemon/tap_pool.h"

#include <errno.h>
#include <string.h>

#include "proto/base/err.h"

/* How much of `name` the row tells; 0: it is for others. */
static size_t agrees(const struct pool_tap *row, const char *name)
{
    size_t size = strlen(row->name);

    if (row->name[size - 1] == '*') {
        return strncmp(row->name, name, size - 1) == 0 ? size - 1 : 0;
    }
    return strcmp(row->name, name) == 0 ? size + 1 : 0; /* more than any beginning of it */
}

const struct pool_tap *tap_pool_find(const struct tap_pool *pool, const char *name)
{
    const struct pool_tap *found = NULL;
    size_t most = 0;

    for (size_t i = 0; i < pool->count; i++) {
        size_t size = agrees(&pool->list[i], name);

        if (size > most) {
            most = size;
            found = &pool->list[i];
        }
    }
    return found;
}

static bool takes_owner(const struct pool_tap *row, const struct tap_asker *asker)
{
    if (row->user_count == 0 || asker->owner == 0 || asker->owner == asker->daemon_uid) {
        return true;
    }
    for (size_t i = 0; i < row->user_count; i++) {
        if (row->users[i] == asker->owner) {
            return true;
        }
    }
    return false;
}

static bool takes_bridge(const struct pool_tap *row, const char *bridge)
{
    bool is_found = *bridge == '\0';

    for (size_t i = 0; i < row->bridge_count; i++) {
        is_found = is_found || strcmp(row->bridges[i], bridge) == 0;
    }
    return is_found;
}

int tap_pool_check(const struct tap_pool *pool, const char *name, const char *bridge,
                   const struct tap_asker *asker, struct err *err)
{
    const struct pool_tap *row = tap_pool_find(pool, name);

    if (row == NULL) {
        return err_set(err, -EPERM,
                       "tap '%s' is not for guests: 'tap %s' of qvmd.conf would make it so", name,
                       name);
    }
    if (!takes_owner(row, asker)) {
        return err_set(err, -EPERM, "tap '%s' (qvmd.conf:%u) is not for guests of %s", name,
                       row->line, asker->owner_name);
    }
    if (!takes_bridge(row, bridge)) {
        return err_set(err, -EPERM,
                       "tap '%s' (qvmd.conf:%u) may not be in the bridge '%s': 'bridge %s' there "
                       "would allow it",
                       name, row->line, bridge, bridge);
    }
    return 0;
}
