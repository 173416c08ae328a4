/* Stores to test with: `auto_store`, and a guest with an instance in it. */
#ifndef QVM_TESTS_STORE_UNIT_H
#define QVM_TESTS_STORE_UNIT_H

#include <stdio.h>
#include <string.h>

#include "daemon/store/sql.h"
#include "daemon/store/store.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/msg.h"
#include "tests/unit/unit.h"

#define TEST_TIME "2026-05-31T09:08:07.654Z"
#define TEST_BOOT "11111111-2222-3333-4444-555555555555"

static inline void test_store_close(struct store **store)
{
    store_close(*store);
}
#define auto_store __attribute__((cleanup(test_store_close)))

/* A store in the file at `path`; NULL: empty, in memory. */
static inline struct store *test_store(const char *path)
{
    struct store *store = NULL;
    struct err err = {0};

    ck_assert_msg(store_open(path, &store, &err) == 0, "%s", err.msg);
    return store;
}

static inline void test_define(struct store *store, const char *name)
{
    char definition[] = "{\"words\":[]}";
    struct store_guest guest = {.owner = 1000, .definition = definition, .desired = STATE_stopped};
    struct err err = {0};

    (void)snprintf(guest.name, sizeof(guest.name), "%s", name);
    ck_assert_msg(store_guest_put(store, &guest, NULL, &err) == 0, "%s", err.msg);
}

/* A living instance of guest `name`, which need not be defined yet. */
static inline int64_t test_instance(struct store *store, const char *name, pid_t pid)
{
    struct store_instance instance = {
        .boot_id = TEST_BOOT, .nonce = "n", .state = STATE_starting, .started = TEST_TIME};
    struct err err = {0};

    test_define(store, name);
    (void)snprintf(instance.guest, sizeof(instance.guest), "%s", name);
    ck_assert_msg(store_instance_begin(store, &instance, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(store_instance_set_process(store, instance.id, pid, 77, &err), 0);
    return instance.id;
}

static inline void test_end(struct store *store, int64_t instance)
{
    const struct store_end end = {
        .state = STATE_stopped, .reason = REASON_poweroff, .exit_status = 0, .ended = TEST_TIME};

    ck_assert_int_eq(store_instance_end(store, instance, &end, NULL), 0);
}

/* Append an event with this text; its number. */
static inline int64_t test_event(struct store *store, const char *message)
{
    char what[] = "state";
    char time[] = TEST_TIME;
    char text[64];
    struct msg_event event = {.what = what, .time = time, .message = text};
    struct err err = {0};
    int64_t seq = 0;

    (void)snprintf(text, sizeof(text), "%s", message);
    ck_assert_msg(store_event_append(store, &event, &seq, &err) == 0, "%s", err.msg);
    return seq;
}

/* No page more than there are: as on a full disk. 0: as many as it likes again. */
static inline void test_fill_disk(struct store *store, int is_full)
{
    ck_assert_int_eq(
        store_run(store, is_full ? "PRAGMA max_page_count=1" : "PRAGMA max_page_count=1000000",
                  BIND_NONE, NULL, NULL, NULL),
        0);
}

#endif
