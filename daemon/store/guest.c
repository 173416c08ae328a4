/* Table `guest`: what is defined, and what was asked for. */
#include "daemon/store/inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"

#define COLUMNS "name, owner, definition, generation, desired, settings"

struct guest_list {
    struct store_guest *guests;
    size_t count, room;
};

static int read_guest(const struct store_row *row, struct store_guest *guest)
{
    int desired = store_row_word(row, 4, &words_state);

    if (desired < 0 || !guest_name_is_valid(store_row_text(row, 0))) {
        return -EIO;
    }
    (void)snprintf(guest->name, sizeof(guest->name), "%s", store_row_text(row, 0));
    guest->owner = (uid_t)store_row_int(row, 1);
    guest->definition = strdup(store_row_text(row, 2));
    guest->generation = store_row_int(row, 3);
    guest->desired = (enum guest_state)desired;
    guest->settings = strdup(store_row_text(row, 5));
    return guest->definition != NULL && guest->settings != NULL ? 0 : -ENOMEM;
}

static int on_guest(void *data, const struct store_row *row)
{
    struct guest_list *list = data;
    int r;

    if (list->count == list->room) {
        size_t room = list->room == 0 ? 16 : 2 * list->room;
        struct store_guest *grown = reallocarray(list->guests, room, sizeof(*grown));

        if (grown == NULL) {
            return -ENOMEM;
        }
        list->guests = grown;
        list->room = room;
    }
    list->guests[list->count] = (struct store_guest){0};
    r = read_guest(row, &list->guests[list->count]);
    if (r == 0) {
        list->count++;
    } else {
        store_guest_fini(&list->guests[list->count]);
    }
    return r;
}

static int fail_unknown(const char *name, struct err *err)
{
    return err_set(err, -ENOENT, "there is no guest '%s'", name);
}

static const char SQL_PUT[] =
    "INSERT INTO guest(" COLUMNS ") VALUES(?1, ?2, ?3, 1, ?4, ?5)"
    " ON CONFLICT(name) DO UPDATE SET owner = ?2, definition = ?3, generation = generation + 1"
    " RETURNING generation";

int store_guest_put(struct store *store, const struct store_guest *guest, int64_t *generation,
                    struct err *err)
{
    auto_tx struct store_tx tx = {0};
    int64_t fresh = 0;
    int r;

    if (!guest_name_is_valid(guest->name)) {
        return err_set(err, -EINVAL, "'%s' cannot be the name of a guest", guest->name);
    }
    r = store_begin(store, &tx, err);
    if (r == 0) {
        r = store_run_int(store, SQL_PUT,
                          BIND(SQL_TEXT(guest->name), SQL_INT(guest->owner),
                               SQL_TEXT(guest->definition), SQL_WORD(state, guest->desired),
                               SQL_TEXT(guest->settings != NULL ? guest->settings : "")),
                          &fresh, err);
    }
    if (r == 0) {
        r = store_commit(&tx, err);
    }
    if (r == 0 && generation != NULL) {
        *generation = fresh;
    }
    return r;
}

int store_guest_get(struct store *store, const char *name, struct store_guest *guest,
                    struct err *err)
{
    struct guest_list list = {0};
    int r = store_run(store, "SELECT " COLUMNS " FROM guest WHERE name = ?1", BIND(SQL_TEXT(name)),
                      on_guest, &list, err);

    if (r == 0 && list.count == 0) {
        r = fail_unknown(name, err);
    }
    if (r == 0) {
        *guest = list.guests[0];
        list.count = 0;
    }
    store_guests_free(list.guests, list.count);
    return r;
}

void store_guest_fini(struct store_guest *guest)
{
    if (guest != NULL) {
        free(guest->definition);
        free(guest->settings);
        guest->definition = guest->settings = NULL;
    }
}

int store_guest_list(struct store *store, struct store_guest **guests, size_t *count,
                     struct err *err)
{
    struct guest_list list = {0};
    int r = store_run(store, "SELECT " COLUMNS " FROM guest ORDER BY name", BIND_NONE, on_guest,
                      &list, err);

    if (r != 0) {
        store_guests_free(list.guests, list.count);
        return r;
    }
    *guests = list.guests;
    *count = list.count;
    return 0;
}

void store_guest_salvage(struct store *store, struct store_guest **guests, size_t *count)
{
    struct guest_list list = {0};

    /* in the order of the table: damage in an index is none here */
    (void)store_run(store, "SELECT " COLUMNS " FROM guest NOT INDEXED", BIND_NONE, on_guest, &list,
                    NULL);
    *guests = list.guests;
    *count = list.count;
}

void store_guests_free(struct store_guest *guests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        store_guest_fini(&guests[i]);
    }
    free(guests);
}

/* An instance that lives, or is over and not yet free of what it held. */
static const char SQL_BUSY[] =
    "SELECT count(*) FROM instance WHERE guest = ?1"
    " AND (ended IS NULL OR EXISTS (SELECT 1 FROM claim WHERE claim.instance = instance.id))";

int store_guest_delete(struct store *store, const char *name, struct err *err)
{
    auto_tx struct store_tx tx = {0};
    int64_t busy = 0;
    int r = store_begin(store, &tx, err);

    if (r == 0) {
        r = store_run_int(store, SQL_BUSY, BIND(SQL_TEXT(name)), &busy, err);
    }
    if (r == 0 && busy != 0) {
        r = err_set(err, -EBUSY, "guest '%s' has a process, or still holds something", name);
    }
    if (r == 0) {
        r = store_run(store, "DELETE FROM instance WHERE guest = ?1", BIND(SQL_TEXT(name)), NULL,
                      NULL, err);
    }
    if (r == 0) {
        r = store_run_one(store, "DELETE FROM guest WHERE name = ?1", BIND(SQL_TEXT(name)), NULL,
                          NULL, err);
        r = r == -ENOENT ? fail_unknown(name, err) : r;
    }
    return r == 0 ? store_commit(&tx, err) : r;
}

int store_guest_set_desired(struct store *store, const char *name, enum guest_state desired,
                            struct err *err)
{
    int r = store_write_one(store, "UPDATE guest SET desired = ?2 WHERE name = ?1",
                            BIND(SQL_TEXT(name), SQL_WORD(state, desired)), err);

    return r == -ENOENT ? fail_unknown(name, err) : r;
}

int store_guest_set_settings(struct store *store, const char *name, const char *settings,
                             struct err *err)
{
    int r = store_write_one(store, "UPDATE guest SET settings = ?2 WHERE name = ?1",
                            BIND(SQL_TEXT(name), SQL_TEXT(settings)), err);

    return r == -ENOENT ? fail_unknown(name, err) : r;
}
