/* Directories, exit records and logs of instances; and the command line of qvmd. */
#include "daemon/worker/instance_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/options.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/msg.h"
#include "tests/unit/unit.h"

static char top[64];

static int make_top(void)
{
    int fd;

    (void)strcpy(top, "/tmp/qvm-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(top));
    fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static void remove_top(int fd)
{
    (void)close(fd);
    ck_assert_int_eq(rmdir(top), 0); /* fails if anything was left */
}

static void put(int dir_fd, const char *name, const char *text, size_t size)
{
    auto_close int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, size), (ssize_t)size);
}

START_TEST(an_instance_s_directory_is_its_own_and_private)
{
    int fd = make_top();
    auto_close int dir_fd = -1, again_fd = -1;
    struct stat status;

    ck_assert_int_eq(instance_dir_make(fd, "web", 7, &dir_fd, NULL), 0);
    ck_assert_int_eq(fstatat(fd, "web.7", &status, 0), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0700);
    ck_assert_int_eq(instance_dir_make(fd, "web", 7, &again_fd, NULL), -EEXIST);
    put(dir_fd, "exit", "", 0);
    put(dir_fd, "control", "", 0);
    ck_assert_int_eq(instance_dir_remove(fd, "web", 7, NULL), 0);
    ck_assert_int_eq(instance_dir_remove(fd, "web", 7, NULL), 0);
    remove_top(fd);
}
END_TEST

static int is_needed(void *context, const char *dir_name)
{
    (void)context;
    return strcmp(dir_name, "web.2") == 0;
}

START_TEST(only_what_looks_like_an_instance_and_is_not_needed_is_swept)
{
    static const char *const stays[] = {"web.2", "web", "web.", "web.2x", ".3", "9.3"};
    int fd = make_top();

    for (size_t i = 0; i < ARRAY_LEN(stays); i++) {
        ck_assert_int_eq(mkdirat(fd, stays[i], 0700), 0);
    }
    ck_assert_int_eq(mkdirat(fd, "web.1", 0700), 0);
    ck_assert_int_eq(symlinkat("web.2", fd, "link.4"), 0);
    instance_dir_sweep(fd, is_needed, NULL);
    ck_assert_int_eq(faccessat(fd, "web.1", F_OK, 0), -1);
    for (size_t i = 0; i < ARRAY_LEN(stays); i++) {
        ck_assert_int_eq(unlinkat(fd, stays[i], AT_REMOVEDIR), 0);
    }
    ck_assert_int_eq(unlinkat(fd, "link.4", 0), 0);
    remove_top(fd);
}
END_TEST

START_TEST(an_exit_record_is_read_as_a_stranger_s)
{
    static const char good[] = "{\"reason\":\"poweroff\",\"status\":0,\"message\":\"off\"}";
    static const char *const bad[] = {"{", "[]", "{\"reason\":\"flew\",\"status\":0}",
                                      "{\"reason\":\"poweroff\"}",
                                      "{\"reason\":\"poweroff\",\"status\":256}"};
    static char much[INSTANCE_EXIT_MAX + 1];
    int fd = make_top();
    struct msg_ending ending = {0};

    ck_assert_int_eq(instance_dir_read_exit(fd, &ending, NULL), -ENOENT);
    put(fd, "exit", "", 0);
    ck_assert_int_eq(instance_dir_read_exit(fd, &ending, NULL), -ENOENT);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        put(fd, "exit", bad[i], strlen(bad[i]));
        ck_assert_int_lt(instance_dir_read_exit(fd, &ending, NULL), 0);
    }
    memset(much, ' ', sizeof(much));
    memcpy(much, good, sizeof(good) - 1);
    put(fd, "exit", much, INSTANCE_EXIT_MAX);
    ck_assert_int_eq(instance_dir_read_exit(fd, &ending, NULL), 0);
    ck_assert_int_eq(ending.reason, REASON_poweroff);
    ck_assert_str_eq(ending.message, "off");
    msg_fini(MSG_ending, &ending);
    put(fd, "exit", much, INSTANCE_EXIT_MAX + 1);
    ck_assert_int_eq(instance_dir_read_exit(fd, &ending, NULL), -EINVAL);
    (void)unlinkat(fd, "exit", 0);
    ck_assert_int_eq(mkfifoat(fd, "exit", 0600), 0); /* and nobody waits for a writer */
    ck_assert_int_lt(instance_dir_read_exit(fd, &ending, NULL), 0);
    (void)unlinkat(fd, "exit", 0);
    remove_top(fd);
}
END_TEST

START_TEST(how_far_a_console_was_written_down_is_read_back)
{
    int fd = make_top();
    uint64_t offset = 0, end = 0;

    ck_assert_int_eq(instance_dir_read_console(fd, &offset, &end), -ENOENT);
    ck_assert_int_eq(instance_dir_write_console(fd, 18446744073709551615u, 7), 0);
    ck_assert_int_eq(instance_dir_write_console(fd, 262144, 1048576), 0);
    ck_assert_int_eq(instance_dir_read_console(fd, &offset, &end), 0);
    ck_assert_uint_eq(offset, 262144);
    ck_assert_uint_eq(end, 1048576);
    (void)unlinkat(fd, INSTANCE_CONSOLE_FILE, 0);
    remove_top(fd);
}
END_TEST

/* ---- the command line ---- */

#define PARSE(options, err, ...)                                                                   \
    options_parse((int)ARRAY_LEN(((char *[]){__VA_ARGS__})), (char *[]){__VA_ARGS__, NULL},        \
                  options, err)

static char word_qvmd[] = "qvmd", word_private[] = "--private", word_dir[] = "x",
            word_ready[] = "--ready-fd", word_1[] = "1", word_9999[] = "9999", word_two[] = "2x",
            word_fly[] = "--fly", word_version[] = "--version";

START_TEST(options_are_read_and_wrong_ones_named)
{
    struct options options = {0};
    struct err err = {0};

    ck_assert_int_eq(PARSE(&options, &err, word_qvmd, word_private, word_dir, word_ready, word_1),
                     0);
    ck_assert_str_eq(options.private_dir, "x");
    ck_assert_int_eq(options.ready_fd, 1);
    ck_assert_int_eq(PARSE(&options, &err, word_qvmd, word_version), 0);
    ck_assert(options.wants_version);
    ck_assert_int_eq(PARSE(&options, &err, word_qvmd, word_fly), -EINVAL);
    ck_assert_str_eq(err.msg, "unknown option '--fly'");
    ck_assert_int_eq(PARSE(&options, &err, word_qvmd, word_private), -EINVAL);
    ck_assert_str_eq(err.msg, "'--private' needs a value");
    ck_assert_int_eq(PARSE(&options, &err, word_qvmd, word_dir), -EINVAL);
    ck_assert_str_eq(err.msg, "unknown word 'x'");
    ck_assert_int_eq(PARSE(&options, &err, word_qvmd, word_ready, word_9999), -EINVAL);
    ck_assert_int_eq(PARSE(&options, &err, word_qvmd, word_ready, word_two), -EINVAL);
    ck_assert_str_eq(err.msg, "'2x' is not the number of an open descriptor");
}
END_TEST

START_TEST(every_option_stands_in_the_manual)
{
    const char *source = getenv("QVM_SOURCE");
    static char page[65536];
    char path[4096];
    auto_close int fd = -1;

    ck_assert_ptr_nonnull(source);
    (void)snprintf(path, sizeof(path), "%s/daemon/qvmd.8", source);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_gt(read(fd, page, sizeof(page) - 1), 0);
    for (const char *at = strstr(options_usage, "\n  --"); at != NULL; at = strstr(at, "\n  --")) {
        char wanted[64] = ".It Fl -";
        size_t size;

        at += 5; /* behind "\n  --" */
        size = strcspn(at, " \n");
        (void)strncat(wanted, at, size);
        ck_assert_msg(strstr(page, wanted) != NULL, "qvmd(8) does not tell of --%.*s", (int)size,
                      at);
    }
}
END_TEST

UNIT_MAIN("instance", an_instance_s_directory_is_its_own_and_private,
          only_what_looks_like_an_instance_and_is_not_needed_is_swept,
          an_exit_record_is_read_as_a_stranger_s, how_far_a_console_was_written_down_is_read_back,
          options_are_read_and_wrong_ones_named, every_option_stands_in_the_manual)
