/* Configurations of tests/data/conf: pass/NAME.qvmconf becomes the plan of NAME.expect, and
 * fail/NAME.qvmconf is refused with the sentence of NAME.expect. A new case is a new file. */
#include "qvm-worker/plan.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/vdev_host.h"
#include "tests/unit/unit.h"

static struct plan plan;
static struct vdev_host *vdevs;
static struct err err;

static void cleanup_file(FILE **file)
{
    if (*file != NULL) {
        (void)fclose(*file);
    }
}
#define auto_file __attribute__((cleanup(cleanup_file)))

static char *read_file(const char *path)
{
    auto_file FILE *file = fopen(path, "r");
    char *text = calloc(1, CONF_SOURCE_SIZE_MAX + 2);

    ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
    ck_assert_ptr_nonnull(text);
    text[fread(text, 1, CONF_SOURCE_SIZE_MAX + 1, file)] = '\0';
    return text;
}

static int read_parts(const struct conf_part *parts, size_t count)
{
    static const char *const env[] = {"DISKS=/srv/disks", NULL};

    ck_assert_int_eq(vdev_host_create(-1, &vdevs, &err), 0);
    err.msg[0] = '\0';
    return plan_read(&plan, parts, count, env, vdevs, &err);
}

static void end(void)
{
    plan_fini(&plan);
    vdev_host_destroy(vdevs);
}

static int read_text(const char *text)
{
    static struct conf_part part;

    part = (struct conf_part){
        .name = "t.qvmconf", .directory = "/etc/qvm", .text = text, .size = strlen(text)};
    return read_parts(&part, 1);
}

/* What came of `text`: the plan, or the refusal. */
static char *outcome_of(const char *text)
{
    char *printed = NULL;
    size_t size = 0;
    int r = read_text(text);
    FILE *out = open_memstream(&printed, &size);

    ck_assert_ptr_nonnull(out);
    if (r == 0) {
        plan_print(&plan, out);
    } else {
        ck_assert_int_eq(r, -ENOEXEC);
        (void)fprintf(out, "%s\n", err.msg);
    }
    (void)fclose(out);
    end();
    return printed;
}

static void check_case(const char *folder, const char *name, bool *is_good)
{
    char path[4096];
    auto_free char *conf = NULL;
    auto_free char *expected = NULL;
    auto_free char *got = NULL;

    (void)snprintf(path, sizeof(path), "%s/%s.qvmconf", folder, name);
    conf = read_file(path);
    (void)snprintf(path, sizeof(path), "%s/%s.expect", folder, name);
    expected = read_file(path);
    got = outcome_of(conf);
    if (strcmp(got, expected) != 0) {
        (void)fprintf(stderr, "%s: expected\n%sgot\n%s", path, expected, got);
        *is_good = false;
    }
}

static void check_folder(const char *kind, size_t least)
{
    const char *source = getenv("QVM_SOURCE");
    char folder[2048];
    struct dirent *entry;
    bool is_good = true;
    size_t count = 0;
    DIR *dir;

    (void)snprintf(folder, sizeof(folder), "%s/tests/data/conf/%s", source != NULL ? source : ".",
                   kind);
    dir = opendir(folder);
    ck_assert_msg(dir != NULL, "%s: %s", folder, strerror(errno));
    while ((entry = readdir(dir)) != NULL) {
        char *suffix = strstr(entry->d_name, ".qvmconf");

        if (suffix != NULL) {
            *suffix = '\0';
            check_case(folder, entry->d_name, &is_good);
            count++;
        }
    }
    (void)closedir(dir);
    ck_assert_msg(is_good, "some cases of %s differ", folder);
    ck_assert_uint_ge(count, least);
}

START_TEST(good_configurations_become_their_plans)
{
    check_folder("pass", 5);
}
END_TEST

START_TEST(bad_configurations_are_refused_in_their_words)
{
    check_folder("fail", 30);
}
END_TEST

static char *repeated(const char *head, const char *piece, size_t times)
{
    char *text = malloc(strlen(head) + strlen(piece) * times + 1);

    ck_assert_ptr_nonnull(text);
    strcpy(text, head);
    for (size_t i = 0; i < times; i++) {
        strcat(text + strlen(head) + i * strlen(piece), piece);
    }
    return text;
}

/* `piece` may stand `limit` times behind `head`; once more gives `refusal`. */
static void check_limit(const char *head, const char *piece, size_t limit, const char *refusal)
{
    auto_free char *most = repeated(head, piece, limit);
    auto_free char *more = repeated(head, piece, limit + 1);

    ck_assert_msg(read_text(most) == 0, "%s", err.msg);
    end();
    ck_assert_int_eq(read_text(more), -ENOEXEC);
    ck_assert_str_eq(err.msg, refusal);
    end();
}

START_TEST(each_list_may_have_its_limit_and_not_one_more)
{
    check_limit("system a ram 1M ", "cpu ", MACHINE_CPUS_MAX, "t.qvmconf:1: more than 255 vCPUs");
    check_limit("system a ", "ram 1M ", MEMORY_RANGES_MAX, "t.qvmconf:1: more than 32 times 'ram'");
    check_limit("system a ram 1M ", "load x ", MACHINE_LOADS_MAX,
                "t.qvmconf:1: more than 64 times 'load'");
    check_limit("system a ram 1M ", "vdev ser8250 ", VDEV_HOST_DEVICES_MAX,
                "t.qvmconf:1: more than 256 vdevs");
    check_limit("system a ram 1M vdev ser8250 ", "delayed 1 ", VDEV_HOST_OPTIONS_MAX,
                "t.qvmconf:1: more than 256 options of one vdev");
    check_limit("system a ram 1M ", "vdev ser8250 hostdev /x ", PLAN_NEEDS_MAX - 3,
                "t.qvmconf:1: the VM asks for more than 256 things");
}
END_TEST

START_TEST(later_words_of_the_command_line_override_the_file)
{
    const char *file = "system web\nram 1M cmdline old set populate on";
    struct conf_part parts[] = {
        {.name = "a", .directory = "/d", .text = file, .size = strlen(file)},
        {.text = "cmdline", .size = 7},
        {.text = "new words", .size = 9},
        {.text = "set", .size = 3},
        {.text = "populate", .size = 8},
        {.text = "off", .size = 3},
        {.directory = "/here", .text = "load", .size = 4},
        {.directory = "/here", .text = "k", .size = 1},
    };

    ck_assert_msg(read_parts(parts, ARRAY_LEN(parts)) == 0, "%s", err.msg);
    ck_assert_str_eq(plan.cmdline, "new words");
    ck_assert_str_eq(plan.cmdline_where, "command line:2");
    ck_assert(!plan.settings.is_populated);
    ck_assert_str_eq(plan.loads[0].path, "/here/k");
    end();
}
END_TEST

START_TEST(a_relative_path_without_a_folder_is_refused)
{
    struct conf_part parts[] = {{.text = "system", .size = 6},
                                {.text = "a", .size = 1},
                                {.text = "load", .size = 4},
                                {.text = "k", .size = 1}};

    ck_assert_int_eq(read_parts(parts, ARRAY_LEN(parts)), -ENOEXEC);
    ck_assert_str_eq(err.msg, "command line:4: path 'k' is relative, and there is no folder that "
                              "it could start from: give it from '/' on");
    end();
}
END_TEST

START_TEST(set_question_mark_lists_the_variables_and_asks_for_nothing)
{
    auto_free char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    ck_assert_int_eq(read_text("set ? nonsense"), 0);
    ck_assert(plan.wants_settings);
    ck_assert_uint_eq(plan.need_count, 0);
    end();
    plan_list_settings(out);
    (void)fclose(out);
    ck_assert_ptr_nonnull(strstr(text, "populate     boolean  vm"));
}
END_TEST

START_TEST(an_empty_configuration_says_what_comes_first)
{
    ck_assert_int_eq(read_text("# nothing\n"), -ENOEXEC);
    ck_assert_str_eq(err.msg, "the configuration is empty: 'system NAME' comes first");
    end();
}
END_TEST

/* The names in rows CONF_...("NAME", of a source file; each must stand in `page` as a macro's word.
 */
static size_t check_rows(const char *source, const char *page)
{
    size_t count = 0;

    for (const char *at = source; (at = strstr(at, "    CONF_")) != NULL; at++) {
        const char *quote = strchr(at, '"');
        char word[64];
        const char *found;
        size_t size;

        ck_assert_ptr_nonnull(quote);
        size = strcspn(quote + 1, "\"");
        (void)snprintf(word, sizeof(word), "%.*s", (int)size, quote + 1);
        for (found = page; (found = strstr(found, word)) != NULL; found++) {
            if (found[-1] == ' ' && strchr(" \n", found[size]) != NULL) {
                break;
            }
        }
        ck_assert_msg(found != NULL, "qvmconf.5 does not name '%s'", word);
        count++;
    }
    return count;
}

START_TEST(the_manual_names_every_option_and_variable)
{
    const char *root = getenv("QVM_SOURCE") != NULL ? getenv("QVM_SOURCE") : ".";
    static const char *const sources[] = {"plan.c", "plan_set.c"};
    char path[2048];
    auto_free char *page = NULL;
    size_t count = 0;

    (void)snprintf(path, sizeof(path), "%s/qvm-worker/qvmconf.5", root);
    page = read_file(path);
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        auto_free char *source = NULL;

        (void)snprintf(path, sizeof(path), "%s/qvm-worker/%s", root, sources[i]);
        source = read_file(path);
        count += check_rows(source, page);
    }
    ck_assert_uint_ge(count, 35);
}
END_TEST

UNIT_MAIN("plan", the_manual_names_every_option_and_variable,
          good_configurations_become_their_plans, bad_configurations_are_refused_in_their_words,
          each_list_may_have_its_limit_and_not_one_more,
          later_words_of_the_command_line_override_the_file,
          a_relative_path_without_a_folder_is_refused,
          set_question_mark_lists_the_variables_and_asks_for_nothing,
          an_empty_configuration_says_what_comes_first)
