/* How a guest is looked after: its settings. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/guest/events.h"
#include "daemon/guest/inside.h"
#include "daemon/guest/order.h"
#include "proto/base/cleanup.h"
#include "proto/base/lend.h"
#include "proto/settings.h"

static bool is_same_order(const struct msg_settings *one, const struct msg_settings *other)
{
    if (one->after_count != other->after_count) {
        return false;
    }
    for (size_t i = 0; i < one->after_count; i++) {
        if (strcmp(one->after[i], other->after[i]) != 0) {
            return false;
        }
    }
    return true;
}

/* May `guest` come after those? */
static int check_order(const struct guest *guest, const struct msg_settings *fresh, struct err *err)
{
    auto_free struct order_guest *list = calloc(guest->all->count + 1, sizeof(*list));
    const struct guest *one;
    size_t count = 0, start = 0;

    if (list == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    TAILQ_FOREACH(one, &guest->all->list, link)
    {
        const struct msg_settings *settings = one == guest ? fresh : &one->settings;

        if (one == guest) {
            start = count;
        }
        list[count++] = (struct order_guest){
            .name = one->name, .after = settings->after, .after_count = settings->after_count};
    }
    return order_check(list, count, start, err);
}

/* The row and the event, in one transaction. */
static int write_settings(const struct guest *guest, const struct msg_settings *fresh,
                          const char *told, uid_t uid, struct err *err)
{
    struct store *store = guest->all->env.store;
    auto_free char *text = msg_encode(MSG_settings, fresh);
    auto_tx struct store_tx tx = {0};
    struct msg_event event = {.what = events_what(WHAT_settings),
                              .guest = lend(guest->name),
                              .message = lend(told),
                              .uid = uid};
    char time[EVENTS_TIME_SIZE];
    int r = text != NULL ? store_begin(store, &tx, err) : err_set(err, -ENOMEM, "out of memory");

    if (r == 0) {
        r = store_guest_set_settings(store, guest->name, text, err);
    }
    if (r == 0) {
        r = events_write(guest->all->env.events, &event, time, err);
    }
    if (r == 0) {
        r = store_commit(&tx, err);
    }
    if (r == 0) {
        events_publish(guest->all->env.events, &event);
    }
    return r;
}

/* "restart=always after=db,net", cut where it becomes too long. */
static void tell_values(const struct msg_value *values, size_t count, char *told)
{
    size_t used = 0;

    told[0] = '\0';
    for (size_t i = 0; i < count && used < STORE_MESSAGE_SIZE; i++) {
        int n = snprintf(told + used, STORE_MESSAGE_SIZE - used, "%s%s=%s", i > 0 ? " " : "",
                         values[i].name, values[i].value);

        used += n > 0 ? (size_t)n : 0;
    }
}

int guest_set(struct guest *guest, const struct msg_value *values, size_t count,
              const struct guest_caller *caller, struct err *err)
{
    struct msg_settings fresh = {0};
    char told[STORE_MESSAGE_SIZE];
    int r =
        settings_copy(&guest->settings, &fresh) == 0 ? 0 : err_set(err, -ENOMEM, "out of memory");

    for (size_t i = 0; i < count && r == 0; i++) {
        r = settings_set(&fresh, values[i].name, values[i].value, err);
    }
    if (r == 0 && !is_same_order(&fresh, &guest->settings)) {
        r = check_order(guest, &fresh, err);
    }
    if (r == 0) {
        tell_values(values, count, told);
        r = write_settings(guest, &fresh, told, caller->uid, err);
    }
    if (r == 0) {
        msg_fini(MSG_settings, &guest->settings);
        guest->settings = fresh;
        guest_retry_check(guest);
    } else {
        msg_fini(MSG_settings, &fresh);
    }
    return r;
}
