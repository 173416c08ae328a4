/* The life of a guest: every state meets every event, and what is written, told and answered. */
#include "daemon/guest/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#include "daemon/guest/events.h"
#include "daemon/hand/hand.h"
#include "proto/base/log.h"
#include "tests/unit/unit.h"

#define TOLD_MAX 64

static struct {
    uv_loop_t loop;
    struct store *store;
    struct hands *hands;
    struct events *events;
    struct guests *guests;
    struct guest *guest;
    char directory[64];
    char told[TOLD_MAX][32]; /* states, in the order in which subscribers heard of them */
    size_t told_count;
    const void *gone; /* `data` of calls for which nobody waits any more */
} world;

static const struct guest_caller root = {.uid = 0, .is_admin = true};

static void on_event(void *context, const struct msg_event *event)
{
    (void)context;
    ck_assert_uint_lt(world.told_count, TOLD_MAX);
    (void)snprintf(world.told[world.told_count++], sizeof(world.told[0]), "%s",
                   event->state != NULL ? event->state : event->what);
}

static bool is_wanted(const void *data)
{
    return data == NULL || data != world.gone;
}

static void set_up(void)
{
    struct msg_definition definition = {0};
    struct guests_env env = {.loop = &world.loop,
                             .restarts = {.first_ms = 1000, .most_ms = 300000, .reset_ms = 600000},
                             .guests_max = 2,
                             .uid_first = 1000000,
                             .uid_count = 16,
                             .qvm_path = "/nowhere/qvm",
                             .vdev_dir = "/nowhere",
                             .is_wanted = is_wanted};
    const char *note = NULL;
    struct err err = {0};

    (void)strcpy(world.directory, "/tmp/qvm-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(world.directory));
    ck_assert_int_eq(uv_loop_init(&world.loop), 0);
    ck_assert_int_eq(store_open(NULL, &world.store, &err), 0);
    ck_assert_int_eq(hands_create(&world.loop, 4, &world.hands, &err), 0);
    ck_assert_int_eq(events_create(world.store, on_event, NULL, &world.events, &err), 0);
    env.store = world.store;
    env.hands = world.hands;
    env.events = world.events;
    env.run_fd = env.log_fd = open(world.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(env.run_fd, 0);
    ck_assert_int_eq(guests_create(&env, &world.guests, &err), 0);
    ck_assert_int_eq(guest_define(world.guests, "web", &definition, GUEST_DEFINE_TO_KEEP, &root,
                                  &world.guest, &note, &err),
                     0);
    world.told_count = 0;
}

static void tear_down(void)
{
    int fd = world.guests->env.run_fd;

    guests_destroy(world.guests);
    hands_destroy(world.hands, NULL, NULL);
    (void)uv_run(&world.loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&world.loop), 0);
    events_destroy(world.events);
    store_close(world.store);
    (void)close(fd);
    ck_assert_int_eq(rmdir(world.directory), 0);
}

static int happen(enum guest_event event)
{
    return guest_life(
        world.guest,
        &(struct life_step){
            .event = event, .reason = REASON_poweroff, .message = "so it was", .exit_status = 3},
        NULL);
}

/* By allowed moves alone. */
static void bring_to(enum guest_state state)
{
    static const enum guest_event ways[STATE_COUNT][4] = {
        [STATE_starting] = {EVENT_start},
        [STATE_running] = {EVENT_start, EVENT_up},
        [STATE_paused] = {EVENT_start, EVENT_up, EVENT_pause},
        [STATE_stopping] = {EVENT_start, EVENT_stop},
        [STATE_backoff] = {EVENT_start, EVENT_up, EVENT_retry},
        [STATE_stopped] = {EVENT_start, EVENT_ended},
        [STATE_failed] = {EVENT_start, EVENT_died},
        [STATE_unreachable] = {EVENT_start, EVENT_lose},
        [STATE_stuck] = {EVENT_start, EVENT_stop, EVENT_stick},
    };

    for (size_t i = 0; i < 4 && world.guest->state != state; i++) {
        ck_assert_int_eq(happen(ways[state][i]), 0);
    }
    ck_assert_int_eq(world.guest->state, state);
}

/* What the store says of the last instance; STATE_defined when there is none. */
static enum guest_state stored_state(void)
{
    struct store_instance last;
    int r = store_instance_last(world.store, "web", &last, NULL);

    return r == -ENOENT ? STATE_defined : last.state;
}

/* _i is the number of a pair of state and event. */
START_TEST(every_state_meets_every_event_and_memory_store_and_subscribers_agree)
{
    enum guest_state state = (enum guest_state)(_i / EVENT_COUNT);
    enum guest_event event = (enum guest_event)(_i % EVENT_COUNT);
    int next = state_move(state, event);
    int64_t last_event;
    size_t told;

    set_up();
    bring_to(state);
    last_event = store_event_last(world.store);
    told = world.told_count;
    if (next < 0) {
        ck_assert_int_eq(happen(event), -EALREADY);
        ck_assert_int_eq(world.guest->state, state);
        ck_assert_int_eq(stored_state(), state);
        ck_assert_int_eq(store_event_last(world.store), last_event);
        ck_assert_uint_eq(world.told_count, told);
    } else {
        ck_assert_int_eq(happen(event), 0);
        ck_assert_int_eq(world.guest->state, (enum guest_state)next);
        ck_assert_int_eq(stored_state(), (enum guest_state)next);
        ck_assert_int_eq(store_event_last(world.store), last_event + 1);
        ck_assert_uint_eq(world.told_count, told + 1);
        ck_assert_str_eq(world.told[told], words_name(&words_state, next));
    }
    tear_down();
}
END_TEST

START_TEST(an_end_is_written_with_reason_sentence_and_status)
{
    struct store_instance last;

    set_up();
    bring_to(STATE_stopped);
    ck_assert_int_eq(store_instance_last(world.store, "web", &last, NULL), 0);
    ck_assert_int_eq(last.reason, REASON_poweroff);
    ck_assert_str_eq(last.message, "so it was");
    ck_assert_int_eq(last.exit_status, 3);
    ck_assert_str_ne(last.ended, "");
    tear_down();
}
END_TEST

START_TEST(each_start_is_a_new_instance_with_a_larger_number)
{
    int64_t first;

    set_up();
    bring_to(STATE_stopped);
    first = guest_instance(world.guest);
    ck_assert_int_eq(happen(EVENT_start), 0);
    ck_assert_int_gt(guest_instance(world.guest), first);
    tear_down();
}
END_TEST

START_TEST(what_an_instance_holds_is_freed_with_its_end)
{
    const struct reserve_limits limits = {.memory = 1 << 20, .cpus = 4};
    const struct reserve_item item = {
        .kind = RESOURCE_memory, .id = RESERVE_MEMORY_POOL, .amount = 4096};
    int64_t sum = 0;

    set_up();
    bring_to(STATE_running);
    ck_assert_int_eq(
        reserve_claim(world.store, &limits, guest_instance(world.guest), &item, 1, NULL, NULL), 0);
    ck_assert_int_eq(
        guest_life(world.guest, &(struct life_step){.event = EVENT_ended, .frees_all = true}, NULL),
        0);
    ck_assert_int_eq(reserve_sum(world.store, RESOURCE_memory, RESERVE_MEMORY_POOL, &sum, NULL), 0);
    ck_assert_int_eq(sum, 0);
    tear_down();
}
END_TEST

/* ---- those who wait ---- */

static struct {
    int calls, code;
    char note[64];
    size_t told_before; /* events that subscribers had heard by then */
} answer;

static void on_done(void *data, const struct guest *guest, const char *note, const struct err *err)
{
    (void)data;
    (void)guest;
    answer.calls++;
    answer.code = err != NULL ? err->code : 0;
    answer.told_before = world.told_count;
    (void)snprintf(answer.note, sizeof(answer.note), "%s", note != NULL ? note : "");
}

START_TEST(who_waits_is_answered_after_the_subscribers_and_once)
{
    set_up();
    memset(&answer, 0, sizeof(answer));
    guest_wait(world.guest, STATE_running, false, 0, on_done, NULL);
    ck_assert_int_eq(happen(EVENT_start), 0);
    ck_assert_int_eq(answer.calls, 0);
    ck_assert_int_eq(happen(EVENT_up), 0);
    ck_assert_int_eq(answer.calls, 1);
    ck_assert_int_eq(answer.code, 0);
    ck_assert_uint_eq(answer.told_before, 2);
    ck_assert_int_eq(happen(EVENT_ended), 0);
    ck_assert_int_eq(answer.calls, 1);
    tear_down();
}
END_TEST

START_TEST(who_waits_no_longer_than_until_it_rests_is_refused_when_it_does)
{
    set_up();
    memset(&answer, 0, sizeof(answer));
    guest_wait(world.guest, STATE_running, true, 0, on_done, NULL); /* defined: at rest */
    ck_assert_int_eq(answer.calls, 1);
    ck_assert_int_eq(answer.code, -EALREADY);
    guest_wait(world.guest, STATE_defined, true, 0, on_done, NULL); /* and there already */
    ck_assert_int_eq(answer.calls, 2);
    ck_assert_int_eq(answer.code, 0);
    ck_assert_int_eq(happen(EVENT_start), 0);
    guest_wait(world.guest, STATE_paused, true, 0, on_done, NULL);
    guest_wait(world.guest, STATE_paused, false, 0, on_done, NULL);
    ck_assert_int_eq(happen(EVENT_up), 0);
    ck_assert_int_eq(answer.calls, 2);
    ck_assert_int_eq(happen(EVENT_died), 0);
    ck_assert_int_eq(answer.calls, 3); /* the other one waits on */
    ck_assert_int_eq(answer.code, -EALREADY);
    tear_down();
    ck_assert_int_eq(answer.calls, 4);
}
END_TEST

START_TEST(so_many_may_wait_for_one_guest_and_no_more)
{
    set_up();
    memset(&answer, 0, sizeof(answer));
    for (int i = 0; i < GUEST_WAITERS_MAX; i++) {
        guest_wait(world.guest, STATE_running, false, 0, on_done, NULL);
    }
    ck_assert_int_eq(answer.calls, 0);
    guest_wait(world.guest, STATE_running, false, 0, on_done, NULL);
    ck_assert_int_eq(answer.calls, 1);
    ck_assert_int_eq(answer.code, -EAGAIN);
    tear_down();
    ck_assert_int_eq(answer.calls, 1 + GUEST_WAITERS_MAX);
    ck_assert_int_eq(answer.code, -ECANCELED);
}
END_TEST

START_TEST(who_went_away_makes_room_for_others_who_wait)
{
    static char gone;

    set_up();
    memset(&answer, 0, sizeof(answer));
    world.gone = &gone;
    guest_wait(world.guest, STATE_running, false, 0, on_done, NULL);
    for (int i = 1; i < GUEST_WAITERS_MAX; i++) {
        guest_wait(world.guest, STATE_running, false, 0, on_done, &gone);
    }
    guest_wait(world.guest, STATE_running, false, 0, on_done, NULL);
    ck_assert_int_eq(answer.calls, GUEST_WAITERS_MAX - 1);
    ck_assert_int_eq(happen(EVENT_start), 0);
    ck_assert_int_eq(happen(EVENT_up), 0);
    ck_assert_int_eq(answer.calls, GUEST_WAITERS_MAX + 1);
    ck_assert_int_eq(answer.code, 0);
    tear_down();
}
END_TEST

START_TEST(a_start_without_a_program_is_refused_and_changes_nothing)
{
    set_up();
    memset(&answer, 0, sizeof(answer));
    guest_start(world.guest, &root, 0, on_done, NULL);
    ck_assert_int_eq(answer.code, -EOPNOTSUPP);
    ck_assert_int_eq(world.guest->state, STATE_defined);
    ck_assert_int_eq(guest_instance(world.guest), 0);
    tear_down();
}
END_TEST

START_TEST(what_is_wanted_is_written_before_it_is_done)
{
    struct store_guest row;

    set_up();
    bring_to(STATE_running);
    guest_stop(world.guest, &root, 60000, false, on_done, NULL);
    ck_assert_int_eq(store_guest_get(world.store, "web", &row, NULL), 0);
    ck_assert_int_eq(row.desired, STATE_stopped);
    ck_assert_int_eq(world.guest->state, STATE_stopping);
    store_guest_fini(&row);
    tear_down();
}
END_TEST

/* ---- definitions ---- */

START_TEST(only_its_owner_and_admins_define_a_guest_anew)
{
    const struct guest_caller stranger = {.uid = 4711};
    char word[] = "dryrun", *words[] = {word};
    struct msg_definition other = {.words = words, .words_count = 1};
    struct guest *guest = NULL;
    const char *note = NULL;
    struct err err = {0};

    set_up();
    ck_assert_int_eq(guest_define(world.guests, "web", &other, GUEST_DEFINE_TO_KEEP, &stranger,
                                  &guest, &note, &err),
                     -EEXIST);
    ck_assert_ptr_nonnull(strstr(err.msg, "'web'"));
    ck_assert_int_eq(guest_check_caller(world.guest, &stranger, NULL), -EPERM);
    ck_assert_int_eq(
        guest_define(world.guests, "web", &other, GUEST_DEFINE_TO_KEEP, &root, &guest, &note, &err),
        0);
    ck_assert_int_eq(guest->generation, 2);
    ck_assert_ptr_null(note);
    ck_assert_int_eq(
        guest_define(world.guests, "web", &other, GUEST_DEFINE_TO_KEEP, &root, &guest, &note, &err),
        0);
    ck_assert_int_eq(guest->generation, 2);
    ck_assert_ptr_nonnull(note);
    tear_down();
}
END_TEST

START_TEST(so_many_guests_may_be_defined_and_no_more)
{
    struct msg_definition definition = {0};
    struct guest *guest = NULL;
    const char *note = NULL;

    set_up();
    ck_assert_int_eq(guest_define(world.guests, "db", &definition, GUEST_DEFINE_TO_KEEP, &root,
                                  &guest, &note, NULL),
                     0);
    ck_assert_int_eq(guest_define(world.guests, "x", &definition, GUEST_DEFINE_TO_KEEP, &root,
                                  &guest, &note, NULL),
                     -EAGAIN);
    ck_assert_str_eq(guest_name(guest_next(world.guests, NULL)), "db"); /* by name */
    ck_assert_int_eq(guest_undefine(guest_find(world.guests, "db"), &root, NULL), 0);
    ck_assert_int_eq(guest_define(world.guests, "x", &definition, GUEST_DEFINE_TO_KEEP, &root,
                                  &guest, &note, NULL),
                     0);
    tear_down();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guest_life");
    TCase *grid = tcase_create("grid");
    TCase *others = tcase_create("others");
    SRunner *runner;
    int failed;

    log_to(-1, 0, false);
    tcase_add_loop_test(grid, every_state_meets_every_event_and_memory_store_and_subscribers_agree,
                        0, STATE_COUNT * EVENT_COUNT);
    tcase_add_test(others, an_end_is_written_with_reason_sentence_and_status);
    tcase_add_test(others, each_start_is_a_new_instance_with_a_larger_number);
    tcase_add_test(others, what_an_instance_holds_is_freed_with_its_end);
    tcase_add_test(others, who_waits_is_answered_after_the_subscribers_and_once);
    tcase_add_test(others, who_waits_no_longer_than_until_it_rests_is_refused_when_it_does);
    tcase_add_test(others, so_many_may_wait_for_one_guest_and_no_more);
    tcase_add_test(others, who_went_away_makes_room_for_others_who_wait);
    tcase_add_test(others, a_start_without_a_program_is_refused_and_changes_nothing);
    tcase_add_test(others, what_is_wanted_is_written_before_it_is_done);
    tcase_add_test(others, only_its_owner_and_admins_define_a_guest_anew);
    tcase_add_test(others, so_many_guests_may_be_defined_and_no_more);
    suite_add_tcase(suite, grid);
    suite_add_tcase(suite, others);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
