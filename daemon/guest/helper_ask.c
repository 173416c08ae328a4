/* The helpers that a guest asks for: made before its grant. */
#include "daemon/guest/helper.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/guest/ask.h"
#include "daemon/guest/helper_inside.h"
#include "proto/base/cleanup.h"

size_t guest_helpers_asked(const struct guest *guest)
{
    size_t count = 0;

    for (size_t i = 0; guest->ask != NULL && i < guest->ask->count; i++) {
        count += guest->ask->items[i].kind == RESOURCE_helper;
    }
    return count;
}

int guest_helpers_check(const struct guest *guest, size_t *bad, struct err *err)
{
    for (size_t i = 0; i < guest->ask->count; i++) {
        const struct wanted *item = &guest->ask->items[i];

        if (item->kind != RESOURCE_helper || ask_is_user(item)) {
            continue;
        }
        *bad = i;
        if (item->is_kept) {
            return err_set(err, -EINVAL,
                           "'%s' lies on a file system that another program or host serves: %s",
                           ask_path(item),
                           ask_is_folder(item) ? "such folders cannot be shared"
                                               : "only 'format raw' and 'format vhd' can be there");
        }
        if (!ask_is_folder(item) && strncmp(item->identity, "file:", 5) != 0) {
            return err_set(err, -EINVAL, "'%s' is not a regular file", ask_path(item));
        }
    }
    return 0;
}

/* The one that we wait for, or all of them. */
void helper_asked(struct guest *guest, size_t bad, const struct err *why)
{
    const struct helper *helper;

    if (guest->ask == NULL || guest->ask->on_helpers == NULL) {
        return; /* somebody has refused it meanwhile */
    }
    LIST_FOREACH(helper, &guest->helpers, link)
    {
        if (why->code == 0 && helper->is_starting && helper->again == NULL) {
            return;
        }
    }
    take_ptr(guest->ask->on_helpers)(guest, bad, why);
}

static int start_one(struct guest *guest, size_t index, struct err *err)
{
    struct wanted *item = &guest->ask->items[index];
    bool is_image = !ask_is_folder(item) && !ask_is_user(item);
    const char *name = is_image ? ask_path(item) : item->id;
    struct helper *helper = helper_make(guest->all, guest, guest->instance.id, name);
    int socket_fd = -1, r;

    if (helper == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    helper->item = (int64_t)index;
    helper->is_writable = item->is_writable;
    (void)snprintf(helper->vdev, sizeof(helper->vdev), "%s", item->vdev != NULL ? item->vdev : "");
    if (is_image) {
        (void)snprintf(helper->format, sizeof(helper->format), "%.*s",
                       (int)(strchr(item->id, ':') - item->id), item->id);
    }
    r = helper_begin(helper, &item->fd, &socket_fd, err);
    if (socket_fd >= 0) {
        item->fd = socket_fd;
    }
    return r;
}

int guest_helpers_start(struct guest *guest, size_t *bad,
                        void (*done)(struct guest *guest, size_t bad, const struct err *why),
                        struct err *err)
{
    struct guest_ask *ask = guest->ask;
    int r = guest_helpers_asked(guest) == 0 ? 1 : 0;

    if (r == 0) {
        ask->on_helpers = done;
    }
    for (size_t i = 0; r == 0 && i < ask->count; i++) {
        *bad = i;
        r = ask->items[i].kind == RESOURCE_helper ? start_one(guest, i, err) : 0;
        if (r != 0) {
            ask->on_helpers = NULL;
        }
    }
    return r;
}
