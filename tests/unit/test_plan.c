/* Configurations of tests/data/conf: pass/NAME.qvmconf becomes the plan of NAME.expect, and
 * fail/NAME.qvmconf is refused with the sentence of NAME.expect. A new case is a new file. */
#include "qvm-worker/plan/plan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/conf/regions.h"
#include "qvm-worker/plan/json_out.h"
#include "qvm-worker/vdev/host.h"
#include "tests/unit/unit.h"

static struct plan plan;
static struct conf_regions regions;
static const char iomem[] = "00000000-00000fff : Reserved\n"
                            "00100000-bfffffff : System RAM\n"
                            "  01000000-022090c7 : Kernel code\n"
                            "e0000000-e00fffff : Reserved\n"
                            "100000000-13fffffff : Guest memory";
static struct vdev_host *vdevs;
static int modules; /* their folder */
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
    static const struct plan_cluster clusters[] = {{"fast", {{0x6}}}, {"slow", {{0x9}}}};
    static const struct plan_host host = {.env = env,
                                          .regions = &regions,
                                          .clusters = clusters,
                                          .cluster_count = ARRAY_LEN(clusters)};

    conf_regions_fini(&regions);
    ck_assert_int_eq(conf_regions_add_iomem(&regions, iomem), 0);
    modules = open(VDEV_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(modules, 0);
    ck_assert_int_eq(vdev_host_create(modules, &vdevs, &err), 0);
    err.msg[0] = '\0';
    memset(&plan, 0, sizeof(plan));
    return plan_read(&plan, parts, count, &host, vdevs, &err);
}

static void end(void)
{
    plan_fini(&plan);
    vdev_host_destroy(vdevs);
    cleanup_close(&modules);
    conf_regions_fini(&regions);
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

/* `piece` so often behind `head`; each '@' in it becomes a port that no other piece has. */
static char *repeated(const char *head, const char *piece, size_t times)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    ck_assert_ptr_nonnull(out);
    (void)fputs(head, out);
    for (size_t i = 0; i < times; i++) {
        for (const char *c = piece; *c != '\0'; c++) {
            (void)(*c == '@' ? fprintf(out, "io:%zx", 0x1000 + 8 * i) : fputc(*c, out));
        }
    }
    (void)fclose(out);
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
    check_limit("system a ram 1M ", "cpu ", MACHINE_CPUS_MAX, "t.qvmconf:1: more than 512 vCPUs");
    check_limit("system a ", "ram 1M ", MEMORY_RANGES_MAX,
                "t.qvmconf:1: more than 32 times 'ram' and 'rom'");
    check_limit("system a ram 1M ", "load x ", MACHINE_LOADS_MAX,
                "t.qvmconf:1: more than 64 times 'load'");
    check_limit("system a ram 1M ", "vdev ser8250 loc @ ", VDEV_HOST_DEVICES_MAX,
                "t.qvmconf:1: more than 256 vdevs");
    check_limit("system a ram 1M vdev ser8250 ", "name a ", VDEV_HOST_OPTIONS_MAX,
                "t.qvmconf:1: more than 256 options of one vdev");
    check_limit("system a ram 1M ", "vdev ser8250 loc @ hostdev /x ", PLAN_NEEDS_MAX - 3,
                "t.qvmconf:1: the VM asks for more than 256 things");
    check_limit("system a ram 1M ", "vdev ser8250 loc @ hostdev |x ", PLAN_COMMANDS_MAX,
                "t.qvmconf:1: the VM has more than 16 commands at its vdevs");
    check_limit("system a ram 1M ", "reserve intr 1 ", PLAN_RESERVES_MAX,
                "t.qvmconf:1: more than 64 things are reserved");
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

START_TEST(an_option_that_takes_a_wrong_argument_from_behind_its_file_is_named)
{
    static const char file[] = "system web\nram", other[] = "# more\n64M";
    struct conf_part parts[] = {
        {.name = "a", .directory = "/d", .text = file, .size = sizeof(file) - 1},
        {.text = "dryrun", .size = 6},
    };

    ck_assert_int_eq(read_parts(parts, ARRAY_LEN(parts)), -ENOEXEC);
    ck_assert_str_eq(err.msg, "command line:1: ram length: 'dryrun' is not a decimal number; 'ram' "
                              "at a:2, where its file ends, takes it for its argument");
    end();
    parts[1] = (struct conf_part){
        .name = "b", .directory = "/d", .text = other, .size = sizeof(other) - 1};
    ck_assert_msg(read_parts(parts, ARRAY_LEN(parts)) == 0, "%s", err.msg);
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
    ck_assert_str_eq(err.msg, "t.qvmconf:1: the configuration is empty: 'system NAME' comes first");
    end();
    ck_assert_int_eq(read_parts(NULL, 0), -ENOEXEC);
    ck_assert_str_eq(err.msg, "the configuration is empty: 'system NAME' comes first");
    end();
}
END_TEST

/* The JSON summary of what the last reading gave, without the places in it. */
static char *summary(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    struct json_out json = {.out = out};
    char *to;

    ck_assert_ptr_nonnull(out);
    json_out_open_object(&json, NULL);
    plan_json(&plan, &json);
    json_out_close_object(&json);
    (void)fclose(out);
    to = text;
    for (char *at, *line = strtok_r(text, "\n", &at); line != NULL;
         line = strtok_r(NULL, "\n", &at)) {
        size_t length = strlen(line);

        if (strstr(line, "\"where\": ") == NULL && strstr(line, ": no part of") == NULL) {
            memmove(to, line, length);
            to += length;
        }
    }
    *to = '\0';
    return text;
}

/* A word as it may stand in a file. */
static void write_word(FILE *out, const struct conf_word *word, unsigned *random)
{
    bool must_quote = word->text[0] == '\0' || strpbrk(word->text, " \t\n#\"") != NULL;
    bool is_quoted = must_quote || rand_r(random) % 4 == 0;

    (void)fputs(is_quoted ? "\"" : "", out);
    for (const char *c = word->text; *c != '\0'; c++) {
        (void)fputs(is_quoted && *c == '"' ? "\\" : "", out);
        (void)fputc(*c, out);
        if (is_quoted && *c != '\\' && rand_r(random) % 8 == 0) {
            (void)fputs("\\\n", out);
        }
    }
    (void)fputs(is_quoted ? "\"" : "", out);
}

/* The same words, laid out another way: in files and on the command line. */
static char *laid_out(const struct conf_words *words, struct conf_part *parts, size_t *part_count,
                      unsigned *random)
{
    static const char *const spaces[] = {" ",     "\n",    "\t\t", "\r\n", "  # vdev \"x\n",
                                         "\n\n ", "\n#\n", " "};
    char *text = NULL;
    size_t size = 0, starts[CONF_PARTS_MAX];
    FILE *out = open_memstream(&text, &size);

    ck_assert_ptr_nonnull(out);
    *part_count = 0;
    for (size_t i = 0; i < words->count;) {
        struct conf_part *part = &parts[*part_count];
        bool is_file = rand_r(random) % 3 != 0;

        *part = (struct conf_part){.name = is_file ? "f" : NULL, .directory = "/etc/qvm"};
        starts[(*part_count)++] = (size_t)ftell(out);
        if (!is_file) {
            (void)fputs(words->list[i++].text, out);
        }
        while (is_file && i < words->count && rand_r(random) % 16 != 0) {
            write_word(out, &words->list[i++], random);
            (void)fputs(spaces[(unsigned)rand_r(random) % ARRAY_LEN(spaces)], out);
        }
        part->size = (size_t)ftell(out) - starts[*part_count - 1];
    }
    (void)fclose(out);
    for (size_t i = 0; i < *part_count; i++) {
        parts[i].text = text + starts[i];
    }
    return text;
}

static void check_layouts(const char *name, const char *text)
{
    struct conf_part whole = {.name = "t", .text = text, .size = strlen(text)};
    struct conf_part parts[CONF_PARTS_MAX];
    static const char *const env[] = {"DISKS=/srv/disks", NULL};
    struct conf_words words;
    auto_free char *expected = NULL;
    unsigned random = 1;

    ck_assert_int_eq(read_text(text), 0);
    ck_assert_int_eq(conf_words_read_regions(&words, &whole, 1, env, &regions, &err), 0);
    expected = summary();
    end();
    for (int i = 0; i < 20; i++) {
        size_t count = 0;
        auto_free char *layout = laid_out(&words, parts, &count, &random);
        auto_free char *got = NULL;

        ck_assert_msg(read_parts(parts, count) == 0, "%s: %s\n%s", name, err.msg, layout);
        got = summary();
        end();
        ck_assert_msg(strcmp(got, expected) == 0, "%s:\n%s\nbecomes\n%s\nnot\n%s", name, layout,
                      got, expected);
    }
    conf_words_fini(&words);
}

START_TEST(files_that_say_the_same_in_another_layout_give_the_same_machine)
{
    char folder[2048], path[4096];
    struct dirent *entry;
    size_t count = 0;
    DIR *dir;

    (void)snprintf(folder, sizeof(folder), "%s/tests/data/conf/pass",
                   getenv("QVM_SOURCE") != NULL ? getenv("QVM_SOURCE") : ".");
    dir = opendir(folder);
    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (strstr(entry->d_name, ".qvmconf") != NULL) {
            auto_free char *text = NULL;

            (void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
            text = read_file(path);
            check_layouts(entry->d_name, text);
            count++;
        }
    }
    (void)closedir(dir);
    ck_assert_uint_ge(count, 10);
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
    static const char *const sources[] = {"plan.c", "set.c"};
    char path[2048];
    auto_free char *page = NULL;
    size_t count = 0;

    (void)snprintf(path, sizeof(path), "%s/qvm-worker/qvmconf.5", root);
    page = read_file(path);
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        auto_free char *source = NULL;

        (void)snprintf(path, sizeof(path), "%s/qvm-worker/plan/%s", root, sources[i]);
        source = read_file(path);
        count += check_rows(source, page);
    }
    ck_assert_uint_ge(count, 35);
}
END_TEST

UNIT_MAIN("plan", the_manual_names_every_option_and_variable,
          files_that_say_the_same_in_another_layout_give_the_same_machine,
          good_configurations_become_their_plans, bad_configurations_are_refused_in_their_words,
          each_list_may_have_its_limit_and_not_one_more,
          later_words_of_the_command_line_override_the_file,
          an_option_that_takes_a_wrong_argument_from_behind_its_file_is_named,
          a_relative_path_without_a_folder_is_refused,
          set_question_mark_lists_the_variables_and_asks_for_nothing,
          an_empty_configuration_says_what_comes_first)
