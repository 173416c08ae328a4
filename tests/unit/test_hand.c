/* Hands: how they wait, end, queue and die. */
#include "tests/unit/hand_unit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>

/* Wait for `disk` in a hand while the test holds it; `*answer` tells. */
static void start_waiting(const char *disk, const char *id, unsigned deadline_ms,
                          struct answer *answer, struct hand **hand)
{
    struct err err = {0};

    ck_assert_msg(hand_await_unlocked(hands, geteuid(), disk, id, deadline_ms, on_done, answer,
                                      hand, &err) == 0,
                  "%s", err.msg);
}

static void on_close_it(uv_timer_t *timer)
{
    release(timer->data);
    uv_close((uv_handle_t *)timer, NULL);
}

START_TEST(waiting_ends_when_the_holder_lets_go)
{
    const char *disk = make_file("disk", "x");
    struct answer first = OPEN(writing(disk));
    struct answer waited = {0};
    uv_timer_t timer = {.data = &first};

    start_waiting(disk, first.files[0].id, DEADLINE_MS, &waited, NULL);
    ck_assert_int_eq(uv_timer_init(&loop, &timer), 0);
    ck_assert_int_eq(uv_timer_start(&timer, on_close_it, 20, 0), 0);
    run();
    ck_assert_int_eq(waited.calls, 1);
    ck_assert_msg(waited.result.err.code == 0, "%s", waited.result.err.msg);
}
END_TEST

START_TEST(waiting_ends_at_its_deadline_when_the_holder_does_not_let_go)
{
    const char *disk = make_file("disk", "x");
    struct answer first = OPEN(writing(disk));
    struct answer waited = {0};
    char expected[256];

    start_waiting(disk, first.files[0].id, 30, &waited, NULL);
    run();
    ck_assert_int_eq(waited.calls, 1);
    ck_assert_int_eq(waited.result.err.code, -ETIMEDOUT);
    (void)snprintf(expected, sizeof(expected), "'%s' is still locked after 30 ms", disk);
    ck_assert_str_eq(waited.result.err.msg, expected);
    ck_assert(!waited.result.is_stuck);
    release(&first);
}
END_TEST

START_TEST(a_path_that_names_another_file_by_now_is_not_waited_for)
{
    const char *disk = make_file("disk", "x");
    struct answer first = OPEN(writing(disk));
    struct answer second;
    struct answer waited = {0};

    ck_assert_int_eq(rename(disk, path_of("old")), 0);
    start_waiting(disk, first.files[0].id, DEADLINE_MS, &waited, NULL);
    run();
    ck_assert_int_eq(waited.result.err.code, 0);
    make_file("disk", "another");
    second = OPEN(writing(disk)); /* it is locked too, but that is another matter */
    start_waiting(disk, first.files[0].id, 1000, &waited, NULL);
    run();
    ck_assert_int_eq(waited.calls, 2);
    ck_assert_msg(waited.result.err.code == 0, "%s", waited.result.err.msg);
    release(&first);
    release(&second);
}
END_TEST

START_TEST(more_hands_than_may_be_at_once_wait_for_their_turn)
{
    const char *disk = make_file("disk", "x");
    struct answer answers[5] = {0};
    const struct hand_file file = reading(disk);

    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        ck_assert_int_eq(hand_open_files(hands, geteuid(), &file, 1, DEADLINE_MS, on_done,
                                         &answers[i], NULL, NULL),
                         0);
    }
    run();
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        ck_assert_int_eq(answers[i].calls, 1);
        ck_assert_int_eq(answers[i].result.err.code, 0);
        release(&answers[i]);
    }
}
END_TEST

START_TEST(a_full_queue_refuses)
{
    const char *disk = make_file("disk", "x");
    struct answer first = OPEN(writing(disk));
    struct answer waited = {0};
    struct err err = {0};

    for (int i = 0; i < 1 + HAND_QUEUE_MAX; i++) { /* one of the two is for other owners */
        start_waiting(disk, first.files[0].id, DEADLINE_MS, &waited, NULL);
    }
    ck_assert_int_eq(hand_await_unlocked(hands, geteuid(), disk, first.files[0].id, DEADLINE_MS,
                                         on_done, &waited, NULL, &err),
                     -EAGAIN);
    ck_assert_str_eq(err.msg, "1024 hands wait for their turn already");
    release(&first);
}
END_TEST

START_TEST(more_files_than_one_hand_carries_are_refused)
{
    struct hand_file files[HAND_FILES_MAX + 1] = {0};
    struct err err = {0};

    ck_assert_int_eq(hand_open_files(hands, geteuid(), files, ARRAY_LEN(files), DEADLINE_MS,
                                     on_done, NULL, NULL, &err),
                     -EMSGSIZE);
}
END_TEST

static size_t many_count;

static void on_many(void *data, struct hand_result *result)
{
    (void)data;
    ck_assert_msg(result->err.code == 0, "%s", result->err.msg);
    many_count = result->count;
}

START_TEST(as_many_files_as_one_hand_carries_come_back)
{
    const char *kernel = make_file("kernel", "x");
    struct hand_file files[HAND_FILES_MAX];

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        files[i] = reading(kernel);
    }
    ck_assert_int_eq(hand_open_files(hands, geteuid(), files, ARRAY_LEN(files), DEADLINE_MS,
                                     on_many, NULL, NULL, NULL),
                     0);
    run();
    ck_assert_uint_eq(many_count, HAND_FILES_MAX);
}
END_TEST

START_TEST(a_cancelled_hand_is_killed_and_never_calls)
{
    const char *disk = make_file("disk", "x");
    struct answer first = OPEN(writing(disk));
    struct answer waited[3] = {0};
    struct hand *list[3];

    for (size_t i = 0; i < ARRAY_LEN(list); i++) { /* the last one is queued */
        start_waiting(disk, first.files[0].id, DEADLINE_MS, &waited[i], &list[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        hand_cancel(list[i]);
    }
    run();
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        ck_assert_int_eq(waited[i].calls, 0);
    }
    release(&first);
}
END_TEST

START_TEST(destroying_kills_all_hands_and_calls_nobody)
{
    const char *disk = make_file("disk", "x");
    struct answer first = OPEN(writing(disk));
    struct answer waited = {0};

    for (int i = 0; i < 4; i++) {
        start_waiting(disk, first.files[0].id, DEADLINE_MS, &waited, NULL);
    }
    hands_destroy(hands, NULL, NULL);
    run(); /* ends, so nothing is left in the loop */
    hands = NULL;
    ck_assert_int_eq(waited.calls, 0);
    release(&first);
}
END_TEST

static void on_kill_self(uv_timer_t *timer)
{
    (void)timer;
    (void)raise(SIGKILL);
}

START_TEST(a_hand_dies_with_its_maker)
{
    const char *disk = make_file("disk", "x");
    struct answer first = OPEN(writing(disk));
    uid_t owner = geteuid() == 0 ? 65533 : geteuid();
    int status;
    pid_t maker;

    ck_assert_int_eq(chmod(directory, 0755), 0);
    ck_assert_int_eq(chown(disk, owner, (gid_t)-1), 0);
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* whoever is left becomes ours */
    maker = fork();
    if (maker == 0) {
        uv_loop_t own;
        uv_timer_t timer;

        if (uv_loop_init(&own) == 0 && hands_create(&own, 1, &hands, NULL) == 0 &&
            hand_await_unlocked(hands, owner, disk, first.files[0].id, DEADLINE_MS, on_done, NULL,
                                NULL, NULL) == 0 &&
            uv_timer_init(&own, &timer) == 0 && uv_timer_start(&timer, on_kill_self, 50, 0) == 0) {
            (void)uv_run(&own, UV_RUN_DEFAULT); /* 50 ms: the hand waits for the lock by then */
        }
        _exit(1);
    }
    ck_assert_int_eq(waitpid(maker, &status, 0), maker);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_ne(waitpid(-1, &status, 0), -1); /* the hand; by itself it waits for 20 s */
    release(&first);
}
END_TEST

START_TEST(a_hand_holds_no_descriptor_of_its_maker)
{
    const char *disk = make_file("disk", "x");
    const char *lock = make_file("lock", "");
    struct answer first = OPEN(writing(disk));
    struct answer waited = {0};
    int held = open(lock, O_RDWR | O_CLOEXEC);
    auto_close int other = open(lock, O_RDWR | O_CLOEXEC);
    int ends[2];
    char byte;

    /* the hand hangs; a lock and a pipe of ours must be free as soon as we let go of them */
    ck_assert_int_eq(flock(held, LOCK_EX), 0);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    start_waiting(disk, first.files[0].id, 300, &waited, NULL);
    ck_assert_int_eq(close(ends[1]), 0);
    ck_assert_int_eq(read(ends[0], &byte, 1), 0); /* ends when the hand has let go */
    ck_assert_int_eq(close(held), 0);
    ck_assert_int_eq(flock(other, LOCK_EX), 0); /* likewise */
    ck_assert_int_eq(waited.calls, 0);
    ck_assert_int_eq(close(ends[0]), 0);
    run();
    release(&first);
}
END_TEST

#define LOOK_MS 3000 /* in which a hand begins, and then waits for ever */

/* Of a prepared machine, with a configuration space of so many bytes; 0: it waits for ever. */
static void make_function(const char *bdf, size_t size)
{
    char command[512];

    (void)snprintf(command, sizeof(command),
                   "d='%s/sys/bus/pci/devices/%s'; mkdir -p $d && if [ %zu = 0 ]; then mkfifo "
                   "$d/config; else head -c %zu /dev/zero > $d/config; fi",
                   directory, bdf, size, size);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(what_was_told_before_a_device_that_waits_is_known)
{
    const char bdfs[][PCI_BDF_SIZE] = {"0000:00:01.0", "0000:00:02.0", "0000:00:03.0"};
    struct answer answer = {0};
    struct err err = {0};

    make_function(bdfs[0], 64);
    make_function(bdfs[1], 0);
    make_function(bdfs[2], 64);
    ck_assert_int_eq(hand_look_at_devices(hands, directory, bdfs, ARRAY_LEN(bdfs), LOOK_MS, on_done,
                                          &answer, NULL, &err),
                     0);
    run();
    ck_assert_int_eq(answer.calls, 1);
    ck_assert_int_eq(answer.result.err.code, -ETIMEDOUT);
    ck_assert_str_eq(answer.result.err.msg,
                     "looking at '0000:00:01.0' and others took longer than 3000 ms");
    ck_assert_uint_eq(answer.result.count, 1);
    ck_assert(answer.files[0].config.is_known);
    ck_assert_int_eq(hand_look_at_devices(hands, directory, &bdfs[2], 1, DEADLINE_MS, on_done,
                                          &answer, NULL, &err),
                     0);
    run();
    ck_assert_int_eq(answer.calls, 2);
    ck_assert_int_eq(answer.result.err.code, 0);
    ck_assert_ptr_null(answer.result.keeper);
    ck_assert_int_eq(
        hand_look_at_devices(hands, directory, bdfs, 0, DEADLINE_MS, on_done, &answer, NULL, &err),
        -EMSGSIZE);
}
END_TEST

UNIT_MAIN_WITH("hand", setup, teardown, what_was_told_before_a_device_that_waits_is_known,
               waiting_ends_when_the_holder_lets_go,
               waiting_ends_at_its_deadline_when_the_holder_does_not_let_go,
               a_path_that_names_another_file_by_now_is_not_waited_for,
               more_hands_than_may_be_at_once_wait_for_their_turn, a_full_queue_refuses,
               more_files_than_one_hand_carries_are_refused,
               as_many_files_as_one_hand_carries_come_back,
               a_cancelled_hand_is_killed_and_never_calls,
               destroying_kills_all_hands_and_calls_nobody, a_hand_dies_with_its_maker,
               a_hand_holds_no_descriptor_of_its_maker)
