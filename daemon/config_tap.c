/* qvmd.conf: the host's taps that guests may have. */
#include <errno.h>
#include <string.h>

#include "daemon/config_inside.h"
#include "proto/base/err.h"
#include "proto/base/tap.h"

static bool is_pattern(const char *text)
{
    size_t size = strlen(text);

    return size > 0 && tap_is_name(text, size - (text[size - 1] == '*'));
}

int config_tap(struct conf_scope *scope, const struct conf_word *option)
{
    struct tap_pool *pool = &((struct config *)scope->root)->taps;
    const struct conf_word *name = conf_argument(scope, option);
    struct pool_tap *row = pool->list;

    if (name == NULL) {
        return -ENOEXEC;
    }
    if (!is_pattern(name->text)) {
        return conf_fail(scope->err, name,
                         "tap: '%s' is neither a name of network devices (up to %d bytes, no '/', "
                         "no space) nor the beginning of names and '*'",
                         name->text, TAP_NAME_SIZE - 1);
    }
    while (row < pool->list + pool->count && strcmp(row->name, name->text) != 0) {
        row++;
    }
    if (row == pool->list + TAP_POOL_MAX) {
        return conf_fail(scope->err, option, "more than %u times 'tap'", TAP_POOL_MAX);
    }
    pool->count += row == pool->list + pool->count;
    *row = (struct pool_tap){.name = name->text, .line = option->line};
    scope->context = CONFIG_IN_TAP;
    scope->object = row;
    return 0;
}

int config_tap_bridge(struct conf_scope *scope, const struct conf_word *option)
{
    struct pool_tap *row = scope->object;
    const struct conf_word *name = conf_argument(scope, option);

    if (name == NULL) {
        return -ENOEXEC;
    }
    if (!tap_is_name(name->text, strlen(name->text))) {
        return conf_fail(scope->err, name,
                         "bridge: '%s' is no name of a network device (up to %d bytes, no '/', no "
                         "space)",
                         name->text, TAP_NAME_SIZE - 1);
    }
    if (row->bridge_count == TAP_POOL_BRIDGES_MAX) {
        return conf_fail(scope->err, option, "more than %u times 'bridge' for a tap",
                         TAP_POOL_BRIDGES_MAX);
    }
    row->bridges[row->bridge_count++] = name->text;
    return 0;
}

int config_tap_user(struct conf_scope *scope, const struct conf_word *option)
{
    struct pool_tap *row = scope->object;

    return config_add_user(
        scope, option,
        &(struct config_users){row->users, &row->user_count, TAP_POOL_USERS_MAX, "for a tap"});
}
