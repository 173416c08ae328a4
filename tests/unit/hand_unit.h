/* A pool of hands in a loop of its own and a directory to open files in; after each test nothing
 * of it may be left. */
#ifndef QVM_TESTS_HAND_UNIT_H
#define QVM_TESTS_HAND_UNIT_H

#include "daemon/hand/hand.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <uv.h>

#include "proto/base/cleanup.h"
#include "tests/unit/unit.h"

#define DEADLINE_MS 20000 /* not waited for: a hand answers in milliseconds */

static char directory[64];
static uv_loop_t loop;
static struct hands *hands;

struct answer {
    int calls;
    struct hand_result result; /* its files are taken over */
    struct hand_opened files[5];
};

static inline void setup(void)
{
    struct err err = {0};

    /* where files are closed at once, whatever /tmp lies on */
    (void)snprintf(directory, sizeof(directory), "%s/test_hand-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_int_eq(hands_create(&loop, 2, &hands, &err), 0);
}

static inline void run(void)
{
    (void)uv_run(&loop, UV_RUN_DEFAULT);
}

/* Nothing may be left: no handle, no child, no file. */
static inline void teardown(void)
{
    char command[128];

    hands_destroy(hands, NULL, NULL);
    run();
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", directory);
    ck_assert_int_eq(system(command), 0);
}

static inline const char *path_of(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % ARRAY_LEN(paths)];

    (void)snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
    return path;
}

static inline const char *make_file(const char *name, const char *text)
{
    const char *path = path_of(name);
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
    return path;
}

static inline void on_done(void *data, struct hand_result *result)
{
    struct answer *answer = data;

    answer->calls++;
    answer->result = *result;
    ck_assert_uint_le(result->count, ARRAY_LEN(answer->files));
    for (size_t i = 0; i < result->count; i++) {
        answer->files[i] = result->files[i];
        result->files[i].fd = -1; /* ours now */
    }
}

static inline void release(struct answer *answer)
{
    for (size_t i = 0; i < answer->result.count; i++) {
        cleanup_close(&answer->files[i].fd);
    }
}

/* Ask, and run the loop until the hand is gone. */
static inline struct answer open_files(const struct hand_file *files, size_t count)
{
    struct answer answer = {0};
    struct err err = {0};

    ck_assert_msg(hand_open_files(hands, geteuid(), files, count, DEADLINE_MS, on_done, &answer,
                                  NULL, &err) == 0,
                  "%s", err.msg);
    run();
    ck_assert_int_eq(answer.calls, 1);
    return answer;
}

#define OPEN(...)                                                                                  \
    open_files((const struct hand_file[]){__VA_ARGS__},                                            \
               ARRAY_LEN(((const struct hand_file[]){__VA_ARGS__})))

static inline struct hand_file reading(const char *path)
{
    return (struct hand_file){.path = path, .where = "web.qvmconf:14", .is_readable = true};
}

static inline struct hand_file writing(const char *path)
{
    return (struct hand_file){
        .path = path, .where = "web.qvmconf:15", .is_readable = true, .is_writable = true};
}

static inline struct hand_file stream(const char *path, bool is_readable, bool is_writable)
{
    return (struct hand_file){
        .path = path, .is_readable = is_readable, .is_writable = is_writable, .is_stream = true};
}

#endif
