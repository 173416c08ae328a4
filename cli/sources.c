/* A guest's definition from files and words of the command line. */
#include "cli/sources.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define SUFFIX ".qvmconf"

static bool ends_in(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);

    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

bool sources_is_file(const char *argument)
{
    struct stat stat_;

    return strchr(argument, '/') != NULL || ends_in(argument, SUFFIX) ||
           (stat(argument, &stat_) == 0 && !S_ISDIR(stat_.st_mode));
}

/* The limit of messages.def for one member. */
static const struct msg_field *field(enum msg_struct type, const char *name)
{
    for (size_t i = 0; i < msg_types[type].field_count; i++) {
        if (strcmp(msg_types[type].fields[i].name, name) == 0) {
            return &msg_types[type].fields[i];
        }
    }
    abort(); /* a name that messages.def does not have: a bug of ours */
}

static int out_of_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "out of memory");
}

/* All bytes up to the end, at most `most`; `*text` is NUL-ended and owned by the caller. */
static int read_all(const char *name, int fd, size_t most, char **text, size_t *size,
                    struct err *err)
{
    auto_free char *buffer = malloc(most + 2); /* one byte more tells too long from just right */
    ssize_t got;

    *size = 0;
    if (buffer == NULL) {
        return out_of_memory(err);
    }
    do {
        got = read(fd, buffer + *size, most + 1 - *size);
        *size += got > 0 ? (size_t)got : 0;
    } while ((got > 0 && *size <= most) || (got < 0 && errno == EINTR));
    if (got < 0) {
        return err_set(err, -EIO, "'%s' cannot be read: %s", name, strerrordesc_np(errno));
    }
    if (*size > most) {
        return err_set(err, -EMSGSIZE, "'%s' is longer than %zu bytes", name, most);
    }
    buffer[*size] = '\0';
    *text = take_ptr(buffer);
    return 0;
}

/* The absolute directory that holds `name`. */
static char *directory_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    auto_free char *path = slash == NULL   ? strdup(".")
                           : slash == name ? strdup("/")
                                           : strndup(name, (size_t)(slash - name));

    return path != NULL ? realpath(path, NULL) : NULL;
}

static int check_text(const struct msg_source *source, size_t size, struct err *err)
{
    size_t at, line = 1;

    if (text_is_utf8(source->text, size, &at)) {
        return 0;
    }
    for (size_t i = 0; i < at; i++) {
        line += source->text[i] == '\n';
    }
    return err_set(err, -ENOEXEC, "%s:%zu: byte 0x%02x is not UTF-8 text", source->name, line,
                   (unsigned char)source->text[at]);
}

static int read_source(const char *name, struct msg_source *source, struct conf_part *part,
                       struct err *err)
{
    auto_close int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    size_t size = 0;
    int r;

    if (fd < 0) {
        return err_set(err, errno == EACCES ? -EACCES : -EIO, "'%s' cannot be opened: %s", name,
                       strerrordesc_np(errno));
    }
    if ((int64_t)strlen(name) > field(MSG_source, "name")->max) {
        return err_set(err, -EMSGSIZE, "the name of a file is longer than %lld bytes",
                       (long long)field(MSG_source, "name")->max);
    }
    r = read_all(name, fd, (size_t)field(MSG_source, "text")->max, &source->text, &size, err);
    if (r != 0) {
        return r;
    }
    source->name = strdup(name);
    source->directory = directory_of(name);
    if (source->name == NULL || source->directory == NULL) {
        return err_set(err, -EIO, "the directory of '%s' cannot be found: %s", name,
                       strerrordesc_np(errno));
    }
    *part = (struct conf_part){source->name, source->directory, source->text, size};
    return check_text(source, size, err);
}

/* One word of the command line: itself, or @N for the file that it names. */
static int read_word(struct sources *sources, const char *word, bool is_file, struct err *err)
{
    struct msg_definition *definition = &sources->definition;
    struct conf_part *part = &sources->parts[definition->words_count];
    const char *name = word[0] == '@' ? word + 1 : word;
    char reference[16];
    size_t at;
    int r = 0;

    if (!is_file && word[0] != '@') {
        if ((int64_t)strlen(word) > field(MSG_definition, "words")->max) {
            return err_set(err, -EMSGSIZE, "a word is longer than %lld bytes",
                           (long long)field(MSG_definition, "words")->max);
        }
        if (!text_is_utf8(word, strlen(word), &at)) {
            return err_set(err, -ENOEXEC, "word %zu is not UTF-8 text", definition->words_count);
        }
        definition->words[definition->words_count] = strdup(word);
        *part = (struct conf_part){.text = word, .size = strlen(word)};
    } else {
        if ((int64_t)definition->sources_count == field(MSG_definition, "sources")->max) {
            return err_set(err, -EMSGSIZE, "a guest has at most %zu files",
                           definition->sources_count);
        }
        (void)snprintf(reference, sizeof(reference), "@%zu", definition->sources_count);
        definition->words[definition->words_count] = strdup(reference);
        r = read_source(name, &definition->sources[definition->sources_count++], part, err);
    }
    if (r == 0 && definition->words[definition->words_count] == NULL) {
        r = out_of_memory(err);
    }
    definition->words_count++;
    return r;
}

/* ---- the name ---- */

static int set_name(struct sources *sources, const char *name, size_t size, const char *place,
                    struct err *err)
{
    char copy[GUEST_NAME_MAX + 2];

    (void)snprintf(copy, sizeof(copy), "%.*s", (int)size, name);
    if (!guest_name_is_valid(copy)) {
        return err_set(err, -ENOEXEC,
                       "%s: '%.*s' cannot name a guest: a letter, then letters, digits, '.', '-', "
                       "'_', at most %d",
                       place, (int)size, name, GUEST_NAME_MAX);
    }
    memcpy(sources->name, copy, size + 1);
    return 0;
}

/* The argument of `system`, which stands first; else the first file's name. */
static int find_name(struct sources *sources, const struct conf_words *words, struct err *err)
{
    const char *file = sources->parts[0].name, *slash, *base;
    char place[CONF_PLACE_SIZE];

    assert(file != NULL); /* the first word is always a file */
    if (words->count > 1 && strcmp(words->list[0].text, "system") == 0) {
        const struct conf_word *name = &words->list[1];

        return set_name(sources, name->text, strlen(name->text), conf_place(name, place), err);
    }
    slash = strrchr(file, '/');
    base = slash != NULL ? slash + 1 : file;
    return set_name(sources, base, strlen(base) - (ends_in(base, SUFFIX) ? strlen(SUFFIX) : 0),
                    file, err);
}

/* ---- $env{} ---- */

/* Add the value of one name, once. */
static int on_env_name(void *context, const char *name)
{
    struct msg_definition *definition = context;
    const char *value = getenv(name);
    struct msg_variable *grown;

    for (size_t i = 0; i < definition->env_count; i++) {
        if (strcmp(definition->env[i].name, name) == 0) {
            return 0;
        }
    }
    if ((int64_t)definition->env_count == field(MSG_definition, "env")->max ||
        value == NULL || /* conf_words_read() has refused it */
        (int64_t)strlen(value) > field(MSG_variable, "value")->max) {
        return -EMSGSIZE;
    }
    grown = reallocarray(definition->env, definition->env_count + 1, sizeof(*grown));
    if (grown == NULL) {
        return -ENOMEM;
    }
    definition->env = grown;
    grown[definition->env_count] = (struct msg_variable){strdup(name), strdup(value)};
    definition->env_count++;
    return 0;
}

static int read_env(struct sources *sources, struct err *err)
{
    struct err lexer = {0};
    int r = conf_env_names(sources->parts, sources->definition.words_count, on_env_name,
                           &sources->definition, &lexer);

    if (r == -EMSGSIZE) {
        return err_set(err, r,
                       "at most %lld different $env{} names, with values of at most %lld "
                       "bytes, can be sent",
                       (long long)field(MSG_definition, "env")->max,
                       (long long)field(MSG_variable, "value")->max);
    }
    return r == -ENOMEM ? out_of_memory(err) : r != 0 ? err_set(err, r, "%s", lexer.msg) : 0;
}

int sources_read(struct sources *sources, char **words, int count, struct err *err)
{
    struct msg_definition *definition = &sources->definition;
    struct conf_words list = {0};
    int r = 0;

    *sources = (struct sources){0};
    if (count < 1) {
        return err_set(err, -EINVAL, "a guest wants a file");
    }
    if ((int64_t)count > field(MSG_definition, "words")->most) {
        return err_set(err, -EMSGSIZE, "a guest has at most %lld words on the command line",
                       (long long)field(MSG_definition, "words")->most);
    }
    definition->words = calloc((size_t)count, sizeof(*definition->words));
    definition->sources =
        calloc((size_t)field(MSG_definition, "sources")->max, sizeof(*definition->sources));
    sources->parts = calloc((size_t)count, sizeof(*sources->parts));
    if (definition->words == NULL || definition->sources == NULL || sources->parts == NULL) {
        return out_of_memory(err);
    }
    for (int i = 0; r == 0 && i < count; i++) {
        r = read_word(sources, words[i], i == 0, err);
    }
    if (r != 0) {
        return r;
    }
    r = conf_words_read(&list, sources->parts, definition->words_count,
                        (const char *const *)environ, err);
    if (r == 0) {
        r = find_name(sources, &list, err);
    }
    if (r == 0) {
        r = read_env(sources, err);
    }
    conf_words_fini(&list);
    return r;
}

void sources_fini(struct sources *sources)
{
    msg_fini(MSG_definition, &sources->definition);
    free(sources->parts);
    *sources = (struct sources){0};
}
