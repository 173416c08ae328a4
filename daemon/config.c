/* qvmd.conf: where things are and what guests may have. */
#include "daemon/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
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

static const struct conf_option options[] = {
    TEXT("state-dir", state_dir, "/var/lib/qvm", "the database"),
    TEXT("run-dir", run_dir, "/run/qvm", "the API's socket, and a directory for each guest"),
    TEXT("log-dir", log_dir, "/var/log/qvm", "the instances' logs"),
    TEXT("vdev-dir", vdev_dir, QVM_VDEVDIR, "the vdevs: vdev-NAME.so"),
    TEXT("qvm", qvm_path, QVM_LIBEXECDIR "/qvm", "the program that hosts one guest"),
    NUMBER("uid-first", uid_first, 1, 4294967293, "1900000000",
           "first uid of instances, each of which has its own; used when qvmd is root"),
    NUMBER("uid-count", uid_count, 1, 16777216, "65536", "how many uids from there"),
    NUMBER("memory-reserve", memory_reserve, 0, UINT64_C(1) << 52, "256M",
           "memory that guests never get"),
    NUMBER(
        "cpus", cpus, 0, 1048576, "0",
        "vCPUs that guests may have in all; 0: 32 for each host CPU, as they share these in time"),
    NUMBER("guests", guests, 1, 65536, "1024", "guests that may be defined"),
    NUMBER("connections", connections, 1, 65536, "256", "connections to the API in all"),
    NUMBER("user-connections", user_connections, 1, 65536, "64", "connections of one user"),
    NUMBER("hands", hands, 1, 256, "16", "helper processes at once"),
    TEXT("viewer-group", viewer_group, "", "members may look"),
    TEXT("operator-group", operator_group, "", "members may define and run guests of their own"),
    TEXT("admin-group", admin_group, "", "members may do everything"),
};

static const struct conf_grammar grammar = {.options = options, .option_count = ARRAY_LEN(options)};

int config_init(struct config *config, struct err *err)
{
    (void)err; /* the defaults are constants */
    memset(config, 0, sizeof(*config));
    conf_set_fallbacks(&grammar, CONF_ANYWHERE, config);
    return 0;
}

static void texts_free(struct config_texts *texts)
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
        texts_free(config->texts);
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
    const char *const paths[] = {config->state_dir, config->run_dir, config->log_dir,
                                 config->vdev_dir, config->qvm_path};

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        const struct conf_word *word = find_word(words, paths[i]);

        if (word != NULL && word->text[0] != '/') {
            return conf_fail(err, word, "'%s' is not an absolute path", word->text);
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
    if (r != 0) {
        texts_free(texts);
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
