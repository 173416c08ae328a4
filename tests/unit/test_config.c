/* qvmd.conf: defaults, options, errors with their place. */
#include "daemon/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

static void test_fini(struct config *config)
{
    config_fini(config);
}
#define auto_config __attribute__((cleanup(test_fini)))

static struct config defaults(void)
{
    struct config config;

    ck_assert_int_eq(config_init(&config, NULL), 0);
    return config;
}

START_TEST(without_a_file_everything_is_where_the_manual_says)
{
    auto_config struct config config = defaults();
    auto_free char *socket = config_socket_path(&config);
    auto_free char *store = config_store_path(&config);

    ck_assert_str_eq(socket, "/run/qvm/qvmd.sock");
    ck_assert_str_eq(store, "/var/lib/qvm/qvm.db");
    ck_assert_str_eq(config.log_dir, "/var/log/qvm");
    ck_assert_uint_eq(config.memory_reserve, 256u << 20);
    ck_assert_uint_eq(config.cpus, 0);
    ck_assert_str_eq(config.admin_group, "");
    ck_assert_str_eq(config.cgroup, "auto");
}
END_TEST

START_TEST(options_replace_defaults_and_the_last_one_wins)
{
    auto_config struct config config = defaults();
    struct err err = {0};
    int r = config_parse(&config, "qvmd.conf",
                         "state-dir /srv/a # where\n"
                         "memory-reserve 2G cpus 16\n"
                         "state-dir \"/srv/b c\"\n"
                         "operator-group games\n",
                         &err);

    ck_assert_msg(r == 0, "%s", err.msg);
    ck_assert_str_eq(config.state_dir, "/srv/b c");
    ck_assert_str_eq(config.run_dir, "/run/qvm");
    ck_assert_uint_eq(config.memory_reserve, UINT64_C(2) << 30);
    ck_assert_uint_eq(config.cpus, 16);
    ck_assert_str_eq(config.operator_group, "games");
    ck_assert_int_eq(config_parse(&config, "more", "cpus 17", &err), 0);
    ck_assert_uint_eq(config.cpus, 17);
    ck_assert_str_eq(config.operator_group, "games");
}
END_TEST

START_TEST(what_is_kept_for_the_host_is_less_than_it_has)
{
    auto_config struct config config = defaults();
    struct err err = {0};

    ck_assert_int_eq(config_parse(&config, "qvmd.conf", "cpus 1\nmemory-reserve 1048576G\n", &err),
                     -ENOEXEC);
    ck_assert_msg(strstr(err.msg, "qvmd.conf:2: memory-reserve: this host has ") == err.msg, "%s",
                  err.msg);
    ck_assert_uint_eq(config.memory_reserve, UINT64_C(256) << 20);
}
END_TEST

static void expect_refusal(const char *text, const char *sentence)
{
    auto_config struct config config = defaults();
    struct err err = {0};

    ck_assert_int_eq(config_parse(&config, "qvmd.conf", text, &err), -ENOEXEC);
    ck_assert_msg(strncmp(err.msg, sentence, strlen(sentence)) == 0, "%s", err.msg);
    ck_assert_uint_eq(config.hands, 16);
    ck_assert_str_eq(config.state_dir, "/var/lib/qvm");
}

START_TEST(errors_name_the_line_and_change_nothing)
{
    expect_refusal("hands 8\n\nhamds 4\n", "qvmd.conf:3: ");
    expect_refusal("hands 0", "qvmd.conf:1: ");
    expect_refusal("hands 257", "qvmd.conf:1: ");
    expect_refusal("hands many", "qvmd.conf:1: ");
    expect_refusal("spares 17", "qvmd.conf:1: ");
    expect_refusal("guest-nice 20", "qvmd.conf:1: ");
    expect_refusal("hands 8\nstate-dir", "qvmd.conf:2: ");
    expect_refusal("hands 8\nstate-dir\n  var/lib",
                   "qvmd.conf:3: 'var/lib' is not an absolute path");
    expect_refusal("hands 8 state-dir \"\"", "qvmd.conf:1: '' is not an absolute path");
    expect_refusal("hands 8\nmetrics here.sock",
                   "qvmd.conf:2: 'here.sock' is not an absolute path");
    expect_refusal("viewer-group \"\"\nadmin-group no-such-group",
                   "qvmd.conf:2: there is no group 'no-such-group' in /etc/group");
}
END_TEST

START_TEST(a_private_instance_moves_state_run_and_log)
{
    auto_config struct config config = defaults();
    auto_free char *socket = NULL;
    struct err err = {0};

    ck_assert_int_eq(config_make_private(&config, "relative", &err), -EINVAL);
    ck_assert_int_eq(config_make_private(&config, "/tmp/x", &err), 0);
    socket = config_socket_path(&config);
    ck_assert_str_eq(socket, "/tmp/x/qvmd.sock");
    ck_assert_str_eq(config.state_dir, "/tmp/x/state");
    ck_assert_str_eq(config.log_dir, "/tmp/x/log");
    ck_assert_str_eq(config.cgroup, "none"); /* the system's are not for everybody */
}
END_TEST

/* On a host with the CPUs 0-7 and a GiB for guests. */
static int settle(struct config *config, struct err *err)
{
    struct partition_host host = {.memory = INT64_C(1) << 30};

    ck_assert_int_eq(cpu_list_parse("0-7", &host.online), 0);
    return partitions_settle(&config->partitions, &host, err);
}

static const char *cpus_of(const cpu_set_t *cpus)
{
    static char text[CPU_LIST_TEXT_SIZE];

    return cpu_list_print(cpus, text, sizeof(text));
}

START_TEST(without_partitions_there_is_one_that_has_all)
{
    auto_config struct config config = defaults();
    const struct partition *host = partition_find(&config.partitions, "host");
    struct err err = {0};

    ck_assert_int_eq(settle(&config, &err), 0);
    ck_assert_ptr_nonnull(host);
    ck_assert_int_eq(host->pool, INT64_C(1) << 30);
    ck_assert_int_eq(host->vcpus_most, 8 * 32);
    ck_assert_str_eq(cpus_of(&host->shared), "0-7");
    ck_assert(!config.partitions.divides_cpus);
    ck_assert_ptr_null(partition_find(&config.partitions, "rt"));
}
END_TEST

/* What the words say, before a host is looked at: CPUs that this one may not have. */
static void declare(struct config *config, const char *exclusive, const char *shared)
{
    struct partition *rt = &config->partitions.list[config->partitions.count];

    ck_assert_int_eq(config_parse(config, "qvmd.conf", "\npartition rt memory 64M", NULL), 0);
    ck_assert_int_eq(cpu_list_parse(exclusive, &rt->exclusive), 0);
    ck_assert_int_eq(cpu_list_parse(shared, &rt->said_shared), 0);
    rt->has_shared = shared[0] != '\0';
}

START_TEST(what_one_partition_has_the_default_one_has_not)
{
    auto_config struct config config = defaults();
    const struct partition *host = &config.partitions.list[0];
    struct err err = {0};

    declare(&config, "6-7", "4");
    ck_assert_int_eq(settle(&config, &err), 0);
    ck_assert(config.partitions.divides_cpus);
    ck_assert_int_eq(host->pool, (INT64_C(1) << 30) - (INT64_C(64) << 20));
    ck_assert_str_eq(cpus_of(&host->shared), "0-3,5");
    ck_assert_str_eq(cpus_of(&config.partitions.housekeeping), "0-5");
    ck_assert_str_eq(cpus_of(&partition_find(&config.partitions, "rt")->shared), "4");
    ck_assert_ptr_eq(partition_of_cpu(&config.partitions, 6),
                     partition_find(&config.partitions, "rt"));
    ck_assert_ptr_null(partition_of_cpu(&config.partitions, 5));
}
END_TEST

START_TEST(partitions_are_refused_that_this_host_cannot_have)
{
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"partition 2x", "q:1: '2x' is no name for a partition: a letter, then letters, digits, "
                         "'.', '-', '_', at most 63"},
        {"partition shared", "q:1: no partition can be called 'shared'"},
        {"partition rt\nexclusive 1000", "q:2: CPU 1000 is not there, or offline; this host has "},
        {"partition rt\nexclusive 1,1",
         "q:2: exclusive: '1,1' is no list of CPUs such as 2-3,5, each once"},
        {"partition rt\nexclusive big",
         "q:2: exclusive: there is no cluster 'big'; it is declared before"},
        {"cluster big 1023", "q:1: cluster 'big' has CPUs that are not there, or offline; "},
        {"housekeeping 0 partition a exclusive 0",
         "q:1: CPU 0 is for housekeeping, and cannot be exclusive"},
        {"partition a shared 0 partition b\nexclusive 0",
         "q:2: CPU 0 belongs to partition 'a' (line 1)"},
        {"partition a shared 0\nexclusive 0", "q:2: CPU 0 is both shared and exclusive in 'a'"},
        {"partition a\nmemory 1048576G", "q:2: partition 'a' wants 1073741824 MiB, and guests may "
                                         "have "},
        {"partition a node 1000", "q:1: node: this host has no memory node 1000"},
        {"partition a page-size 8K", "q:1: page-size: this host has no pages of '8K'"},
        {"partition a user no-such-user", "q:1: there is no user 'no-such-user' in /etc/passwd"},
        {"partition a rt-priority 99", "q:1: rt-priority: '99' is not between 0 and 98"},
        {"exclusive 1", "q:1: 'exclusive' is an option of partition, and none is open here"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_config struct config config = defaults();
        struct err err = {0};

        ck_assert_int_eq(config_parse(&config, "q", cases[i].text, &err), -ENOEXEC);
        ck_assert_msg(strncmp(err.msg, cases[i].sentence, strlen(cases[i].sentence)) == 0,
                      "'%s': %s", cases[i].text, err.msg);
        ck_assert_uint_eq(config.partitions.count, 1);
    }
}
END_TEST

START_TEST(there_are_as_many_partitions_clusters_and_regions_as_there_may_be)
{
    static const struct {
        const char *format;
        unsigned most;
    } kinds[] = {{"partition p%u memory 1M\n", PARTITIONS_MAX - 1},
                 {"cluster c%u 0\n", PARTITION_CLUSTERS_MAX},
                 {"memory-region r%u 1000 1000\n", PARTITION_REGIONS_MAX}};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        auto_config struct config config = defaults();
        char text[8192] = "";
        size_t used = 0;

        for (unsigned n = 0; n < kinds[i].most; n++) {
            used += (size_t)snprintf(text + used, sizeof(text) - used, kinds[i].format, n);
        }
        ck_assert_int_eq(config_parse(&config, "q", text, NULL), 0);
        (void)snprintf(text, sizeof(text), kinds[i].format, kinds[i].most);
        ck_assert_int_eq(config_parse(&config, "q", text, NULL), -ENOEXEC);
    }
}
END_TEST

START_TEST(lists_of_cpus_are_read_and_written)
{
    static const char *const bad[] = {"a", "1-", "3-1", "1,,2", "0,0", "0-3,2", "1024", ",1", "1 "};
    cpu_set_t cpus;
    char tiny[6];

    ck_assert_int_eq(cpu_list_parse("8,0-3,5\n", &cpus), 0);
    ck_assert_str_eq(cpus_of(&cpus), "0-3,5,8");
    ck_assert_str_eq(cpu_list_print(&cpus, tiny, sizeof(tiny)), "0-3..");
    ck_assert_int_eq(cpu_list_parse("", &cpus), 0);
    ck_assert_str_eq(cpus_of(&cpus), "");
    ck_assert_int_eq(cpu_list_parse("1023", &cpus), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(cpu_list_parse(bad[i], &cpus) == -EINVAL, "'%s'", bad[i]);
    }
    ck_assert_str_eq(cpus_of(&cpus), "1023");
}
END_TEST

START_TEST(a_control_group_is_a_path_or_one_of_two_words)
{
    auto_config struct config config = defaults();
    struct err err = {0};

    ck_assert_int_eq(config_parse(&config, "c", "cgroup none\n", &err), 0);
    ck_assert_int_eq(config_parse(&config, "c", "cgroup /sys/fs/cgroup/mine\n", &err), 0);
    ck_assert_int_eq(config_make_private(&config, "/tmp/x", &err), 0);
    ck_assert_str_eq(config.cgroup, "/sys/fs/cgroup/mine");
    ck_assert_int_eq(config_parse(&config, "c", "cgroup mine\n", &err), -ENOEXEC);
    ck_assert_str_eq(err.msg, "c:1: 'mine' is not an absolute path");
}
END_TEST

START_TEST(the_installed_file_says_what_the_defaults_are)
{
    auto_config struct config shipped = defaults();
    auto_config struct config config = defaults();
    auto_free char *text = calloc(1, CONFIG_FILE_MAX + 1);
    auto_free char *path = NULL;
    struct err err = {0};
    unsigned options = 0;
    FILE *file;

    ck_assert_int_gt(asprintf(&path, "%s/etc/qvmd.conf", getenv("QVM_SOURCE")), 0);
    ck_assert_msg(config_read(&shipped, path, &err) == 0, "%s", err.msg);
    file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_gt(fread(text, 1, CONFIG_FILE_MAX, file), 0);
    (void)fclose(file);
    /* take the `# ` away from lines that show an option: these have a second one behind it */
    for (char *line = text; line != NULL; line = strchr(line, '\n')) {
        const char *second;

        line += *line == '\n';
        second = strstr(line, " # ");
        if (strncmp(line, "# ", 2) == 0 && second != NULL && second < line + strcspn(line, "\n")) {
            line[0] = ' ';
            options++;
        }
    }
    ck_assert_uint_eq(options, 36); /* every option there is */
    ck_assert_msg(config_parse(&config, "qvmd.conf", text, &err) == 0, "%s", err.msg);
    ck_assert_str_eq(config.state_dir, shipped.state_dir);
    ck_assert_str_eq(config.run_dir, shipped.run_dir);
    ck_assert_str_eq(config.log_dir, shipped.log_dir);
    ck_assert_str_eq(config.admin_group, shipped.admin_group);
    ck_assert_uint_eq(config.uid_first, shipped.uid_first);
    ck_assert_uint_eq(config.uid_count, shipped.uid_count);
    ck_assert_uint_eq(config.memory_reserve, shipped.memory_reserve);
    ck_assert_uint_eq(config.cpus, shipped.cpus);
    ck_assert_uint_eq(config.guest_nice, shipped.guest_nice);
    ck_assert(config.user_network_host == shipped.user_network_host);
    ck_assert_uint_eq(config.guests, shipped.guests);
    ck_assert_uint_eq(config.connections, shipped.connections);
    ck_assert_uint_eq(config.user_connections, shipped.user_connections);
    ck_assert_uint_eq(config.hands, shipped.hands);
    ck_assert_uint_eq(config.spares, shipped.spares);
    ck_assert_mem_eq(&config.restarts, &shipped.restarts, sizeof(config.restarts));
    ck_assert_int_eq(config.stagger_ms, shipped.stagger_ms);
}
END_TEST

START_TEST(waits_of_restarts_are_spans_and_the_first_is_not_longer_than_the_longest)
{
    auto_config struct config config = defaults();
    struct err err = {0};

    ck_assert_int_eq(config_parse(&config, "q", "restart-backoff 20ms 2m\nrestart-reset 1h", NULL),
                     0);
    ck_assert_int_eq(config.restarts.first_ms, 20);
    ck_assert_int_eq(config.restarts.most_ms, 120000);
    ck_assert_int_eq(config.restarts.reset_ms, 3600000);
    ck_assert_int_eq(config_parse(&config, "q", "\nrestart-backoff 2 1", &err), -ENOEXEC);
    ck_assert_str_eq(err.msg, "q:2: restart-backoff: the first wait is longer than the longest");
    ck_assert_int_eq(config_parse(&config, "q", "restart-backoff 2", &err), -ENOEXEC);
    ck_assert_int_eq(config_parse(&config, "q", "start-stagger later", &err), -ENOEXEC);
    ck_assert_str_eq(err.msg, "q:1: start-stagger wants seconds, or a number with ms, s, m, h or "
                              "d, at most a day, not 'later'");
    ck_assert_int_eq(config_parse(&config, "q", "start-stagger 86401", &err), -ENOEXEC);
    ck_assert_int_eq(config.restarts.first_ms, 20);
}
END_TEST

START_TEST(a_quota_is_of_one_user_and_the_rest_share_a_row)
{
    auto_config struct config config = defaults();
    const struct quota *quota;
    struct err err = {0};
    int r = config_parse(&config, "qvmd.conf",
                         "quota * max-guests 4 max-memory 1G\n"
                         "quota daemon max-vcpus 2\n"
                         "quota 12345 max-guests 0 hands 7\n",
                         &err);

    ck_assert_msg(r == 0, "%s", err.msg);
    ck_assert_uint_eq(config.hands, 7);
    quota = quota_of(&config.quotas, 4711, 3);
    ck_assert_uint_eq(quota->guests, 4);
    ck_assert_uint_eq(quota->memory, UINT64_C(1) << 30);
    ck_assert_uint_eq(quota->vcpus, QUOTA_NO_BOUND);
    quota = quota_of(&config.quotas, 1, 3);
    ck_assert_str_eq(quota->user, "daemon");
    ck_assert_uint_eq(quota->guests, QUOTA_NO_BOUND);
    ck_assert_uint_eq(quota->vcpus, 2);
    ck_assert_uint_eq(quota_of(&config.quotas, 12345, 3)->guests, 0);
    ck_assert_ptr_null(quota_of(&config.quotas, 0, 3));
    ck_assert_ptr_null(quota_of(&config.quotas, 3, 3));
    ck_assert_ptr_nonnull(quota_of(&config.quotas, 1, 1)); /* qvmd's own user, but named */
}
END_TEST

START_TEST(quotas_that_cannot_be_are_refused_with_their_line)
{
    auto_config struct config config = defaults();
    auto_free char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    expect_refusal("hands 8\nquota nobody-of-that-name max-guests 1",
                   "qvmd.conf:2: there is no user 'nobody-of-that-name' in /etc/passwd");
    expect_refusal("max-guests 4", "qvmd.conf:1: ");
    expect_refusal("quota root max-guests -1", "qvmd.conf:1: ");
    for (int i = 0; i < QUOTAS_MAX; i++) {
        (void)fprintf(file, "quota %d max-guests 1\n", 1000 + i);
    }
    (void)fflush(file);
    ck_assert_int_eq(config_parse(&config, "qvmd.conf", text, NULL), 0);
    (void)fprintf(file, "quota 1000 max-guests 2\n");
    (void)fflush(file);
    ck_assert_int_eq(config_parse(&config, "qvmd.conf", text, NULL), 0);
    ck_assert_uint_eq(quota_of(&config.quotas, 1000, 3)->guests, 2);
    (void)fprintf(file, "quota 999 max-guests 1\n");
    (void)fclose(file);
    ck_assert_int_eq(config_parse(&config, "qvmd.conf", text, NULL), -ENOEXEC);
}
END_TEST

START_TEST(a_file_that_is_missing_too_long_or_binary_is_refused)
{
    auto_config struct config config = defaults();
    static char text[CONFIG_FILE_MAX + 1];
    char path[] = "/tmp/test_config-XXXXXX";
    auto_close int fd = mkstemp(path);
    struct err err = {0};

    ck_assert_int_eq(config_read(&config, "/nowhere/qvmd.conf", &err), -ENOENT);
    ck_assert_str_eq(err.msg, "cannot open '/nowhere/qvmd.conf': No such file or directory");
    memset(text, ' ', sizeof(text));
    ck_assert_int_eq(pwrite(fd, text, CONFIG_FILE_MAX, 0), CONFIG_FILE_MAX);
    ck_assert_int_eq(config_read(&config, path, &err), 0);
    ck_assert_int_eq(pwrite(fd, text, CONFIG_FILE_MAX + 1, 0), CONFIG_FILE_MAX + 1);
    ck_assert_int_eq(config_read(&config, path, &err), -ENOEXEC);
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    ck_assert_int_eq(pwrite(fd, "hands\0 7", 8, 0), 8);
    ck_assert_int_eq(config_read(&config, path, &err), -ENOEXEC);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

UNIT_MAIN("config", without_a_file_everything_is_where_the_manual_says,
          options_replace_defaults_and_the_last_one_wins,
          what_is_kept_for_the_host_is_less_than_it_has, errors_name_the_line_and_change_nothing,
          a_private_instance_moves_state_run_and_log, without_partitions_there_is_one_that_has_all,
          what_one_partition_has_the_default_one_has_not,
          partitions_are_refused_that_this_host_cannot_have,
          there_are_as_many_partitions_clusters_and_regions_as_there_may_be,
          lists_of_cpus_are_read_and_written, a_control_group_is_a_path_or_one_of_two_words,
          the_installed_file_says_what_the_defaults_are,
          a_quota_is_of_one_user_and_the_rest_share_a_row,
          quotas_that_cannot_be_are_refused_with_their_line,
          waits_of_restarts_are_spans_and_the_first_is_not_longer_than_the_longest,
          a_file_that_is_missing_too_long_or_binary_is_refused)
