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
                         "operator-group kvm\n",
                         &err);

    ck_assert_msg(r == 0, "%s", err.msg);
    ck_assert_str_eq(config.state_dir, "/srv/b c");
    ck_assert_str_eq(config.run_dir, "/run/qvm");
    ck_assert_uint_eq(config.memory_reserve, UINT64_C(2) << 30);
    ck_assert_uint_eq(config.cpus, 16);
    ck_assert_str_eq(config.operator_group, "kvm");
    ck_assert_int_eq(config_parse(&config, "more", "cpus 17", &err), 0);
    ck_assert_uint_eq(config.cpus, 17);
    ck_assert_str_eq(config.operator_group, "kvm");
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
    expect_refusal("hands 8\nstate-dir", "qvmd.conf:2: ");
    expect_refusal("hands 8\nstate-dir\n  var/lib",
                   "qvmd.conf:3: 'var/lib' is not an absolute path");
    expect_refusal("hands 8 state-dir \"\"", "qvmd.conf:1: '' is not an absolute path");
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
    ck_assert_uint_eq(options, 16); /* every option there is */
    ck_assert_msg(config_parse(&config, "qvmd.conf", text, &err) == 0, "%s", err.msg);
    ck_assert_str_eq(config.state_dir, shipped.state_dir);
    ck_assert_str_eq(config.run_dir, shipped.run_dir);
    ck_assert_str_eq(config.log_dir, shipped.log_dir);
    ck_assert_str_eq(config.admin_group, shipped.admin_group);
    ck_assert_uint_eq(config.uid_first, shipped.uid_first);
    ck_assert_uint_eq(config.uid_count, shipped.uid_count);
    ck_assert_uint_eq(config.memory_reserve, shipped.memory_reserve);
    ck_assert_uint_eq(config.cpus, shipped.cpus);
    ck_assert_uint_eq(config.guests, shipped.guests);
    ck_assert_uint_eq(config.connections, shipped.connections);
    ck_assert_uint_eq(config.user_connections, shipped.user_connections);
    ck_assert_uint_eq(config.hands, shipped.hands);
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
          options_replace_defaults_and_the_last_one_wins, errors_name_the_line_and_change_nothing,
          a_private_instance_moves_state_run_and_log, the_installed_file_says_what_the_defaults_are,
          a_file_that_is_missing_too_long_or_binary_is_refused)
