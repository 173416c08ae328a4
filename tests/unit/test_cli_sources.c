/* qvmctl: a guest's definition from files and words. */
#include "cli/sources.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

static char directory[] = "/tmp/qvm-cli-XXXXXX"; /* each test runs in a process of its own */

static void enter_directory(void)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chdir(directory), 0);
}

/* Make the file; its whole content is `size` bytes. */
static void put(const char *name, const char *text, size_t size)
{
    FILE *file = fopen(name, "we");

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

static void leave_directory(void)
{
    char command[64];

    (void)snprintf(command, sizeof(command), "rm -rf %s", directory);
    ck_assert_int_eq(system(command), 0);
}

static int read_words(struct sources *sources, struct err *err, char **words)
{
    int count = 0;

    while (words[count] != NULL) {
        count++;
    }
    return sources_read(sources, words, count, err);
}

#define WORDS(...) ((char *[]){__VA_ARGS__, NULL})
#define W(word)    ((char[]){word})
#define TEXT(t)    t, sizeof(t) - 1

/* Read these words and expect this refusal. */
static void expect_refused(char **words, int code, const char *sentence)
{
    struct sources sources;
    struct err err = {0};

    ck_assert_int_eq(read_words(&sources, &err, words), code);
    ck_assert_str_eq(err.msg, sentence);
    sources_fini(&sources);
}

START_TEST(a_file_and_words_become_a_definition_in_the_order_of_the_command_line)
{
    struct sources sources;
    struct err err = {0};
    const struct msg_definition *definition = &sources.definition;

    enter_directory();
    ck_assert_int_eq(mkdir("sub", 0700), 0);
    ck_assert_int_eq(setenv("QVM_TEST_SIZE", "64M", 1), 0);
    put("sub/a.qvmconf", TEXT("system web\nram $env{QVM_TEST_SIZE} # $env{QVM_TEST_NOT_SET}\n"));
    put("b.qvmconf", TEXT("cpu # $env{X}\ncmdline $env{QVM_TEST_SIZE}\n"));
    ck_assert_int_eq(
        read_words(&sources, &err, WORDS(W("sub/a.qvmconf"), W("dump"), W("-"), W("@b.qvmconf"))),
        0);
    ck_assert_str_eq(sources.name, "web");
    ck_assert_uint_eq(definition->words_count, 4);
    ck_assert_str_eq(definition->words[0], "@0");
    ck_assert_str_eq(definition->words[1], "dump");
    ck_assert_str_eq(definition->words[2], "-");
    ck_assert_str_eq(definition->words[3], "@1");
    ck_assert_uint_eq(definition->sources_count, 2);
    ck_assert_str_eq(definition->sources[0].name, "sub/a.qvmconf");
    ck_assert_str_eq(definition->sources[0].directory + strlen(directory), "/sub");
    ck_assert_str_eq(definition->sources[1].directory, directory);
    ck_assert_str_eq(definition->sources[1].text, "cpu # $env{X}\ncmdline $env{QVM_TEST_SIZE}\n");
    ck_assert_uint_eq(definition->env_count, 1); /* once; not those of comments */
    ck_assert_str_eq(definition->env[0].name, "QVM_TEST_SIZE");
    ck_assert_str_eq(definition->env[0].value, "64M");
    sources_fini(&sources);
    leave_directory();
}
END_TEST

START_TEST(without_system_the_file_names_the_guest)
{
    struct sources sources;
    struct err err = {0};

    enter_directory();
    put("db-1.qvmconf", TEXT("ram 64M\n"));
    ck_assert_int_eq(read_words(&sources, &err, WORDS(W("./db-1.qvmconf"))), 0);
    ck_assert_str_eq(sources.name, "db-1");
    sources_fini(&sources);
    put("1db.qvmconf", TEXT("ram 64M\n"));
    expect_refused(WORDS(W("1db.qvmconf")), -ENOEXEC,
                   "1db.qvmconf: '1db' cannot name a guest: a letter, then letters, digits, '.', "
                   "'-', '_', at most 63");
    leave_directory();
}
END_TEST

START_TEST(what_is_wrong_in_a_file_is_said_with_file_and_line)
{
    enter_directory();
    put("a.qvmconf", TEXT("system web\n\nram $env{QVM_TEST_NOT_SET}\n"));
    expect_refused(WORDS(W("a.qvmconf")), -ENOEXEC,
                   "a.qvmconf:3: environment variable 'QVM_TEST_NOT_SET' is not set");
    put("a.qvmconf", TEXT("system we/b\n"));
    expect_refused(WORDS(W("a.qvmconf")), -ENOEXEC,
                   "a.qvmconf:1: 'we/b' cannot name a guest: a letter, then letters, digits, '.', "
                   "'-', '_', at most 63");
    put("a.qvmconf", TEXT("system web\ncmdline \"\xff\"\n"));
    expect_refused(WORDS(W("a.qvmconf")), -ENOEXEC, "a.qvmconf:2: byte 0xff is not UTF-8 text");
    put("a.qvmconf", TEXT("system web\n\n\n\0"));
    expect_refused(WORDS(W("a.qvmconf")), -ENOEXEC, "a.qvmconf:4: byte 0x00 is not UTF-8 text");
    leave_directory();
}
END_TEST

START_TEST(a_file_that_cannot_be_read_is_named)
{
    enter_directory();
    expect_refused(WORDS(W("none.qvmconf")), -EIO,
                   "'none.qvmconf' cannot be opened: No such file or directory");
    expect_refused(WORDS(W("/")), -EIO, "'/' cannot be read: Is a directory");
    leave_directory();
}
END_TEST

START_TEST(limits_hold_at_one_more_and_not_before)
{
    enum { TEXT_MAX = 262144, FILES_MAX = 16, WORDS_MAX = 256, WORD_MAX = 4095 };
    auto_free char *text = malloc(TEXT_MAX + 1);
    char *many[WORDS_MAX + 2] = {NULL}, *files[FILES_MAX + 2] = {NULL};
    char file[] = "a.qvmconf", at_file[] = "@a.qvmconf", word[] = "x", long_word[WORD_MAX + 2];
    struct sources sources;
    struct err err = {0};

    enter_directory();
    ck_assert_ptr_nonnull(text);
    memset(text, '\n', TEXT_MAX + 1);
    memcpy(text, TEXT("system web"));
    put(file, text, TEXT_MAX);
    ck_assert_int_eq(read_words(&sources, &err, WORDS(file)), 0);
    sources_fini(&sources);
    put(file, text, TEXT_MAX + 1);
    expect_refused(WORDS(file), -EMSGSIZE, "'a.qvmconf' is longer than 262144 bytes");

    put(file, TEXT("system web\n"));
    for (int i = 0; i <= FILES_MAX; i++) {
        files[i] = at_file;
    }
    expect_refused(files, -EMSGSIZE, "a guest has at most 16 files");
    files[FILES_MAX] = NULL;
    ck_assert_int_eq(read_words(&sources, &err, files), 0);
    sources_fini(&sources);

    for (int i = 0; i <= WORDS_MAX; i++) {
        many[i] = i == 0 ? file : word;
    }
    expect_refused(many, -EMSGSIZE, "a guest has at most 256 words on the command line");
    many[WORDS_MAX] = NULL;
    ck_assert_int_eq(read_words(&sources, &err, many), 0);
    sources_fini(&sources);

    memset(long_word, 'x', sizeof(long_word));
    long_word[WORD_MAX + 1] = '\0';
    expect_refused(WORDS(file, long_word), -EMSGSIZE, "a word is longer than 4095 bytes");
    long_word[WORD_MAX] = '\0';
    ck_assert_int_eq(read_words(&sources, &err, WORDS(file, long_word)), 0);
    sources_fini(&sources);
    leave_directory();
}
END_TEST

START_TEST(the_rule_that_tells_files_from_names)
{
    enter_directory();
    put("plain", TEXT(""));
    ck_assert_int_eq(mkdir("folder", 0700), 0);
    ck_assert(sources_is_file("./web"));
    ck_assert(sources_is_file("web.qvmconf")); /* also when it does not exist: then it is missed */
    ck_assert(sources_is_file("plain"));
    ck_assert(!sources_is_file("folder"));
    ck_assert(!sources_is_file("web"));
    leave_directory();
}
END_TEST

UNIT_MAIN("cli_sources", a_file_and_words_become_a_definition_in_the_order_of_the_command_line,
          without_system_the_file_names_the_guest,
          what_is_wrong_in_a_file_is_said_with_file_and_line, a_file_that_cannot_be_read_is_named,
          limits_hold_at_one_more_and_not_before, the_rule_that_tells_files_from_names)
