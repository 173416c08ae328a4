/* qvmd.conf: where things are and what guests may have. */
#include "daemon/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/config_inside.h"
#include "daemon/host/memory.h"
#include "daemon/host/users.h"
#include "daemon/worker/spare.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/span.h"
#include "proto/conf/option.h"

/* What the members of a config point into. */
struct config_texts {
    struct config_texts *next;
    struct conf_words words;
    struct conf_part part;
    char *text;
};

#define TEXT(name, member, fallback, doc)                                                          \
    CONF_TEXT(name, CONF_ANYWHERE, struct config, member, fallback, doc)
#define NUMBER(name, member, min, max, fallback, doc)                                              \
    CONF_NUMBER(name, CONF_ANYWHERE, struct config, member, min, max, fallback, doc)

#define MEMORY_RESERVE "memory-reserve"

/* The row of that user, or a fresh one. NULL: there is no room. */
static struct quota *quota_row(struct quotas *quotas, const struct quota *wanted)
{
    for (size_t i = 0; i < quotas->count; i++) {
        struct quota *row = &quotas->list[i];

        if (row->is_anybody == wanted->is_anybody && (row->is_anybody || row->uid == wanted->uid)) {
            return row;
        }
    }
    return quotas->count < QUOTAS_MAX ? &quotas->list[quotas->count++] : NULL;
}

static int on_quota(struct conf_scope *scope, const struct conf_word *option)
{
    struct config *config = scope->root;
    const struct conf_word *user = conf_argument(scope, option);
    struct quota quota = {
        .guests = QUOTA_NO_BOUND, .vcpus = QUOTA_NO_BOUND, .memory = QUOTA_NO_BOUND};
    struct quota *row;

    if (user == NULL) {
        return -ENOEXEC;
    }
    quota.user = user->text;
    quota.is_anybody = strcmp(user->text, QUOTA_ANYBODY) == 0;
    if (!quota.is_anybody && users_find(user->text, &quota.uid) < 0) {
        return conf_fail(scope->err, user, "there is no user '%s' in /etc/passwd", user->text);
    }
    row = quota_row(&config->quotas, &quota);
    if (row == NULL) {
        return conf_fail(scope->err, option, "more than %d times 'quota'", QUOTAS_MAX);
    }
    *row = quota;
    scope->context = CONFIG_IN_QUOTA;
    scope->object = row;
    return 0;
}

#define OF_USER(name, member, max, doc)                                                            \
    CONF_NUMBER(name, CONFIG_IN_QUOTA, struct quota, member, 0, max, NULL, doc)

#define OF_PARTITION(name, handler, doc) CONF_HANDLER(name, CONFIG_IN_PARTITION, handler, doc)
#define OF_PARTITION_NUMBER(name, member, min, max, fallback, doc)                                 \
    CONF_NUMBER(name, CONFIG_IN_PARTITION, struct partition, member, min, max, fallback, doc)

#define CONFIG_SPAN_MAX INT64_C(86400000) /* a day, in milliseconds */
#define STAGGER_MS      100

/* The next word as a span of time. */
static int read_span(struct conf_scope *scope, const struct conf_word *option, int64_t *ms)
{
    const struct conf_word *word = conf_argument(scope, option);

    if (word == NULL) {
        return -ENOEXEC;
    }
    if (!span_parse(word->text, CONFIG_SPAN_MAX, ms)) {
        return conf_fail(scope->err, word,
                         "%s wants seconds, or a number with ms, s, m, h or d, at most a day, "
                         "not '%s'",
                         option->text, word->text);
    }
    return 0;
}

static int read_backoff(struct conf_scope *scope, const struct conf_word *option)
{
    struct config *config = scope->root;
    struct policy_rules fresh = config->restarts;
    int r = read_span(scope, option, &fresh.first_ms);

    if (r == 0) {
        r = read_span(scope, option, &fresh.most_ms);
    }
    if (r == 0 && fresh.first_ms > fresh.most_ms) {
        r = conf_fail(scope->err, option, "%s: the first wait is longer than the longest",
                      option->text);
    }
    if (r == 0) {
        config->restarts = fresh;
    }
    return r;
}

static int read_reset(struct conf_scope *scope, const struct conf_word *option)
{
    struct config *config = scope->root;

    return read_span(scope, option, &config->restarts.reset_ms);
}

static int read_stagger(struct conf_scope *scope, const struct conf_word *option)
{
    struct config *config = scope->root;

    return read_span(scope, option, &config->stagger_ms);
}

static const struct conf_option options[] = {
    TEXT("state-dir", state_dir, "/var/lib/qvm", "the database"),
    TEXT("run-dir", run_dir, "/run/qvm", "the API's socket, and a directory for each guest"),
    TEXT("log-dir", log_dir, "/var/log/qvm", "the instances' logs"),
    TEXT("vdev-dir", vdev_dir, QVM_VDEVDIR, "the vdevs: vdev-NAME.so"),
    TEXT("qvm", qvm_path, QVM_LIBEXECDIR "/qvm", "the program that hosts one guest"),
    TEXT("cgroup", cgroup, "auto",
         "whose control groups instances get: auto: those of qvm-guests.service; none; or a path"),
    NUMBER("uid-first", uid_first, 1, 4294967293, "1900000000",
           "first uid of instances, each of which has its own; used when qvmd is root"),
    NUMBER("uid-count", uid_count, 1, 16777216, "65536", "how many uids from there"),
    NUMBER(MEMORY_RESERVE, memory_reserve, 0, UINT64_C(1) << 52, "256M",
           "memory that guests never get"),
    NUMBER(
        "cpus", cpus, 0, 1048576, "0",
        "vCPUs that guests may have in all; 0: 32 for each host CPU, as they share these in time"),
    NUMBER("guest-nice", guest_nice, 0, 19, "10",
           "how far guests that run stand back behind other processes"),
    CONF_BOOL("real-time", CONF_ANYWHERE, struct config, real_time, "yes",
              "qvmd itself has the lowest real-time priority, where it may"),
    CONF_BOOL("user-network-host", CONF_ANYWHERE, struct config, user_network_host, "no",
              "guests at a user's network reach the host's own 127.0.0.1 and ::1"),
    NUMBER("guests", guests, 1, 65536, "1024", "guests that may be defined"),
    CONF_HANDLER("restart-backoff", CONF_ANYWHERE, read_backoff,
                 "how long a guest that ended waits before it is tried again: first, and at most"),
    CONF_HANDLER("restart-reset", CONF_ANYWHERE, read_reset,
                 "how long a guest must have run for the waits to begin anew"),
    CONF_HANDLER("start-stagger", CONF_ANYWHERE, read_stagger,
                 "between the starts of two enabled guests"),
    NUMBER("connections", connections, 1, 65536, "256", "connections to the API in all"),
    NUMBER("user-connections", user_connections, 1, 65536, "64", "connections of one user"),
    NUMBER("hands", hands, 1, 256, "16", "helper processes at once"),
    NUMBER("spares", spares, 0, SPARES_MAX, "1",
           "processes made ahead, so that guests start sooner"),
    NUMBER("log-size", log_size, 65536, UINT64_C(1) << 40, "1M",
           "bytes of one file of a log; then the next is begun"),
    NUMBER("log-count", log_count, 0, 99, "3", "files of a log besides the newest"),
    NUMBER("core-size", core_size, 0, UINT64_C(1) << 40, "0",
           "bytes of a core file of a qvm that crashes, without its guest's RAM; 0: none"),
    CONF_BOOL("console-log", CONF_ANYWHERE, struct config, console_log, "yes",
              "write down what guests say at their consoles"),
    TEXT("viewer-group", viewer_group, "", "members may look"),
    TEXT("operator-group", operator_group, "", "members may define and run guests of their own"),
    TEXT("admin-group", admin_group, "", "members may do everything"),
    TEXT("metrics", metrics_path, "", "socket that answers an HTTP GET with figures"),
    CONF_HANDLER("quota", CONF_ANYWHERE, on_quota, "what a user's guests may have"),
    OF_USER("max-guests", guests, 65536, "guests that the user may define"),
    OF_USER("max-vcpus", vcpus, 1048576, "vCPUs of his living guests"),
    OF_USER("max-memory", memory, UINT64_C(1) << 52, "their RAM"),
    CONF_HANDLER("cluster", CONF_ANYWHERE, config_cluster, "host CPUs that have a name"),
    CONF_HANDLER("housekeeping", CONF_ANYWHERE, config_housekeeping,
                 "host CPUs of qvmd and of all threads of guests that are no vCPU"),
    CONF_HANDLER("memory-region", CONF_ANYWHERE, config_region,
                 "host memory that has a name: start and size"),
    CONF_HANDLER("partition", CONF_ANYWHERE, config_partition, "a part of the host for guests"),
    OF_PARTITION("memory", config_memory, "RAM of the partition's guests"),
    OF_PARTITION("page-size", config_page_size, "of that RAM"),
    OF_PARTITION("node", config_node, "that it is of"),
    OF_PARTITION("shared", config_shared, "host CPUs that vCPUs share in time"),
    OF_PARTITION("exclusive", config_exclusive, "host CPUs that belong to one guest at a time"),
    OF_PARTITION_NUMBER("vcpus", vcpus, 0, 1048576, "0", "vCPUs; 0: 32 for each CPU"),
    OF_PARTITION_NUMBER("weight", weight, 1, PARTITION_WEIGHT_MAX, "100", "share of CPU time"),
    OF_PARTITION_NUMBER("rt-priority", rt_priority, 0, PARTITION_PRIORITY_MAX, "0",
                        "highest real-time priority of vCPUs; 0: none"),
    CONF_BOOL("deadline", CONFIG_IN_PARTITION, struct partition, has_deadline, "no",
              "vCPUs may have budgets"),
    OF_PARTITION("user", config_user, "whose guests may be in it; without: everybody's"),
    CONF_HANDLER("device", CONF_ANYWHERE, config_device, "a PCI function for guests"),
    CONF_HANDLER("id", CONFIG_IN_DEVICE, config_device_id, "vendor and device that it must have"),
    CONF_HANDLER("serial", CONFIG_IN_DEVICE, config_device_serial,
                 "device serial number that it must have"),
    CONF_BOOL("keep", CONFIG_IN_DEVICE, struct pool_device, is_kept, "no",
              "between guests it stays VFIO's"),
    CONF_BOOL("pause", CONFIG_IN_DEVICE, struct pool_device, is_pausing, "no",
              "its guest is paused when it vanishes"),
    CONF_HANDLER("user", CONFIG_IN_DEVICE, config_device_user,
                 "whose guests may have it; without: everybody's"),
    CONF_HANDLER("tap", CONF_ANYWHERE, config_tap,
                 "a network device for guests, or all whose names begin so"),
    CONF_HANDLER("bridge", CONFIG_IN_TAP, config_tap_bridge, "in which it may be"),
    CONF_HANDLER("user", CONFIG_IN_TAP, config_tap_user,
                 "whose guests may have it; without: everybody's"),
};

static const char *const context_names[] = {"quota", "partition", "device", "tap"};

static const struct conf_grammar grammar = {
    .options = options,
    .option_count = ARRAY_LEN(options),
    .context_names = context_names,
    .context_count = ARRAY_LEN(context_names),
};

int config_init(struct config *config, struct err *err)
{
    memset(config, 0, sizeof(*config));
    conf_set_fallbacks(&grammar, CONF_ANYWHERE, config);
    config->restarts = (struct policy_rules){
        .first_ms = POLICY_FIRST_MS, .most_ms = POLICY_MOST_MS, .reset_ms = POLICY_RESET_MS};
    config->stagger_ms = STAGGER_MS;
    partitions_init(&config->partitions);
    return config_settle(config, err);
}

void config_texts_free(struct config_texts *texts)
{
    while (texts != NULL) {
        struct config_texts *next = texts->next;

        conf_words_fini(&texts->words);
        free(texts->text);
        free(texts);
        texts = next;
    }
}

void config_fini(struct config *config)
{
    if (config != NULL) {
        if (config->first != config->texts) {
            config_texts_free(config->first);
        }
        config_texts_free(config->texts);
        memset(config, 0, sizeof(*config));
    }
}

/* ---- reading ---- */

/* The word that a member was set from; NULL: it was not set by these words. */
static const struct conf_word *find_word(const struct conf_words *words, const char *text)
{
    for (size_t i = 0; i < words->count; i++) {
        if (words->list[i].text == text) {
            return &words->list[i];
        }
    }
    return NULL;
}

static int check_paths(const struct config *config, const struct conf_words *words, struct err *err)
{
    bool is_path = strcmp(config->cgroup, "auto") != 0 && strcmp(config->cgroup, "none") != 0;
    bool has_metrics = config->metrics_path[0] != '\0';
    const char *const paths[] = {config->state_dir,
                                 config->run_dir,
                                 config->log_dir,
                                 config->vdev_dir,
                                 config->qvm_path,
                                 is_path ? config->cgroup : NULL,
                                 has_metrics ? config->metrics_path : NULL};

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        const struct conf_word *word = paths[i] != NULL ? find_word(words, paths[i]) : NULL;

        if (word != NULL && word->text[0] != '/') {
            return conf_fail(err, word, "'%s' is not an absolute path", word->text);
        }
    }
    return 0;
}

/* What is kept for the host alone is some of what it has. */
static int check_reserve(const struct config *config, const struct conf_words *words,
                         struct err *err)
{
    const struct conf_word *option = NULL;
    int64_t total = 0;

    for (size_t i = 0; i < words->count; i++) {
        option = strcmp(words->list[i].text, MEMORY_RESERVE) == 0 ? &words->list[i] : option;
    }
    if (option != NULL && memory_total(&total, NULL) == 0 &&
        config->memory_reserve >= (uint64_t)total) {
        return conf_fail(err, option,
                         MEMORY_RESERVE ": this host has %lld MiB, and nothing would be left for "
                                        "guests",
                         (long long)(total >> 20));
    }
    return 0;
}

/* That they are there; who they are is looked up when they are used. */
static int check_groups(const struct config *config, const struct conf_words *words,
                        struct err *err)
{
    const char *const groups[] = {config->viewer_group, config->operator_group,
                                  config->admin_group};

    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        const struct conf_word *word = find_word(words, groups[i]);
        gid_t gid;

        if (word != NULL && word->text[0] != '\0' &&
            users_find_group(word->text, &gid) == -ENOENT) {
            return conf_fail(err, word, "there is no group '%s' in /etc/group", word->text);
        }
    }
    return 0;
}

/* Takes `text` over, also on failure. */
static int parse(struct config *config, const char *name, char *text, struct err *err)
{
    struct config_texts *texts = calloc(1, sizeof(*texts));
    struct config fresh = *config;
    struct conf_scope scope = {.grammar = &grammar, .root = &fresh, .err = err};
    int r;

    if (texts == NULL) {
        free(text);
        return err_set(err, -ENOMEM, "out of memory");
    }
    texts->text = text;
    texts->part = (struct conf_part){.name = name, .text = text, .size = strlen(text)};
    r = conf_words_read(&texts->words, &texts->part, 1, NULL, err);
    if (r == 0) {
        scope.words = &texts->words;
        r = conf_read(&scope);
    }
    if (r == 0) {
        r = check_paths(&fresh, &texts->words, err);
    }
    if (r == 0) {
        r = check_reserve(&fresh, &texts->words, err);
    }
    if (r == 0) {
        r = check_groups(&fresh, &texts->words, err);
    }
    if (r == 0) {
        r = config_settle(&fresh, err);
    }
    if (r != 0) {
        config_texts_free(texts);
        return r;
    }
    texts->part.name = NULL; /* the caller's; not needed for words that were read */
    texts->next = config->texts;
    *config = fresh;
    config->texts = texts;
    return 0;
}

int config_parse(struct config *config, const char *name, const char *text, struct err *err)
{
    char *copy = strdup(text);

    return copy != NULL ? parse(config, name, copy, err) : err_set(err, -ENOMEM, "out of memory");
}

/* The file's text with a NUL behind it, into `text` of CONFIG_FILE_MAX + 2 bytes. */
static int read_file(const char *path, char *text, struct err *err)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    ssize_t n;

    if (fd < 0) {
        return err_sys(err, -errno, "cannot open '%s'", path);
    }
    do {
        n = read(fd, text + used, CONFIG_FILE_MAX + 1 - used);
        if (n < 0) {
            return err_sys(err, -errno, "cannot read '%s'", path);
        }
        used += (size_t)n;
    } while (n > 0 && used <= CONFIG_FILE_MAX);
    if (used > CONFIG_FILE_MAX) {
        return err_set(err, -ENOEXEC, "'%s' is longer than %u bytes", path, CONFIG_FILE_MAX);
    }
    text[used] = '\0';
    if (strlen(text) != used) {
        return err_set(err, -ENOEXEC, "'%s' holds a NUL byte", path);
    }
    return 0;
}

int config_read(struct config *config, const char *path, struct err *err)
{
    char *text = malloc(CONFIG_FILE_MAX + 2);
    int r;

    if (text == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    r = read_file(path, text, err);
    if (r != 0) {
        free(text);
        return r;
    }
    return parse(config, path, text, err);
}

/* ---- a private instance ---- */

/* Where `directory`/`name` is kept for as long as the config lives. */
static const char *keep_path(struct config_texts **list, const char *directory, const char *name)
{
    struct config_texts *texts = calloc(1, sizeof(*texts));

    if (texts == NULL ||
        asprintf(&texts->text, "%s%s%s", directory, name[0] != '\0' ? "/" : "", name) < 0) {
        free(texts);
        return NULL;
    }
    texts->next = *list;
    *list = texts;
    return texts->text;
}

int config_make_private(struct config *config, const char *dir, struct err *err)
{
    struct config fresh = *config;

    if (dir[0] != '/') {
        return err_set(err, -EINVAL, "'%s' is not an absolute path", dir);
    }
    fresh.state_dir = keep_path(&fresh.texts, dir, "state");
    fresh.run_dir = keep_path(&fresh.texts, dir, ""); /* the socket is DIR/qvmd.sock */
    fresh.log_dir = keep_path(&fresh.texts, dir, "log");
    if (strcmp(fresh.cgroup, "auto") == 0) {
        fresh.cgroup = "none"; /* qvm-guests.service is the system's */
    }
    config->texts = fresh.texts;
    if (fresh.state_dir == NULL || fresh.run_dir == NULL || fresh.log_dir == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    *config = fresh;
    return 0;
}

/* ---- paths ---- */

static char *join(const char *directory, const char *name)
{
    char *path = NULL;

    return asprintf(&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

char *config_socket_path(const struct config *config)
{
    return join(config->run_dir, "qvmd.sock");
}

char *config_store_path(const struct config *config)
{
    return join(config->state_dir, "qvm.db");
}
