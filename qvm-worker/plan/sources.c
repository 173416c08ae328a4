/* The parts of a configuration, from a command line or from qvmd. */
#include "qvm-worker/plan/sources.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/msg.h"

#define READ_MAX (CONF_SOURCE_SIZE_MAX + 1) /* one byte too many is refused by the lexer */

static int no_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "no memory left to read the configuration");
}

/* Room for `parts` parts and `texts` owned texts. */
static int make_room(struct sources *sources, size_t parts, size_t texts, struct err *err)
{
    *sources = (struct sources){0};
    sources->parts = calloc(parts + 1, sizeof(*sources->parts));
    sources->texts = calloc(texts + 1, sizeof(*sources->texts));
    return sources->parts != NULL && sources->texts != NULL ? 0 : no_memory(err);
}

/* Own `text` (heap; NULL: memory was out). */
static int own(struct sources *sources, char *text, struct err *err)
{
    if (text == NULL) {
        return no_memory(err);
    }
    sources->texts[sources->text_count++] = text;
    return 0;
}

/* Have room for all that may come and one byte more: as much as the file says, and the most there
 * may be if it is longer, or says nothing. False: no memory. */
static bool grow(const struct stat *stat, size_t used, char **buffer, size_t *room)
{
    bool knows = S_ISREG(stat->st_mode) && stat->st_size < (off_t)READ_MAX;
    char *new;

    *room = knows && used <= (size_t)stat->st_size ? (size_t)stat->st_size + 1 : READ_MAX;
    new = realloc(*buffer, *room + 1);
    *buffer = new != NULL ? new : *buffer;
    return new != NULL;
}

static int read_file(const char *name, char **text, size_t *size, struct err *err)
{
    auto_close int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    auto_free char *buffer = NULL;
    size_t used = 0, room = 0;
    struct stat stat;

    if (fd < 0 || fstat(fd, &stat) != 0) {
        return err_sys(err, -errno, "cannot read the configuration '%s'", name);
    }
    if (S_ISDIR(stat.st_mode)) {
        return err_set(err, -EISDIR, "the configuration '%s' is a folder", name);
    }
    (void)fcntl(fd, F_SETFL, 0); /* a pipe is waited for; opening one that nobody writes was not */
    while (used < READ_MAX) {
        ssize_t n;

        if (used == room && !grow(&stat, used, &buffer, &room)) {
            return no_memory(err);
        }
        n = read(fd, buffer + used, room - used);
        if (n < 0 && errno != EINTR) {
            return err_sys(err, -errno, "cannot read the configuration '%s'", name);
        }
        if (n == 0) {
            break;
        }
        used += n > 0 ? (size_t)n : 0;
    }
    *text = realloc(buffer, used + 1);
    *text = *text != NULL ? *text : buffer;
    (void)take_ptr(buffer);
    *size = used;
    return 0;
}

/* The absolute folder of the file `name`, seen from `cwd`; heap. */
static char *folder_of(const char *cwd, const char *name)
{
    const char *slash = strrchr(name, '/');
    size_t size = slash != NULL ? (size_t)(slash - name) : 0;
    char *folder = NULL;

    if (slash == name) {
        return strdup("/");
    }
    if (name[0] == '/') {
        return strndup(name, size);
    }
    if (asprintf(&folder, "%s%s%.*s", cwd, size > 0 ? "/" : "", (int)size, name) < 0) {
        return NULL;
    }
    return folder;
}

static int add_file(struct sources *sources, const char *cwd, const char *name, struct err *err)
{
    struct conf_part *part = &sources->parts[sources->count];
    char *text = NULL;
    char *folder;
    int r = read_file(name, &text, &part->size, err);

    r = r == 0 ? own(sources, text, err) : r;
    if (r != 0) {
        return r;
    }
    folder = folder_of(cwd, name);
    r = own(sources, folder, err);
    part->name = name;
    part->text = text;
    part->directory = folder;
    sources->count++;
    return r;
}

int sources_from_command_line(struct sources *sources, const char *const *words, size_t count,
                              const char *const *env, struct err *err)
{
    char cwd[PATH_MAX];
    const char *directory;
    int r = make_room(sources, count, 2 * count + 1, err);

    sources->env = env;
    if (r != 0) {
        return r;
    }
    if (getcwd(cwd, sizeof(cwd)) == NULL) {
        return err_sys(err, -errno, "cannot tell the working directory");
    }
    r = own(sources, strdup(cwd), err);
    directory = sources->texts[0];
    for (size_t i = 0; r == 0 && i < count; i++) {
        if (words[i][0] == '@') {
            r = add_file(sources, directory, words[i] + 1, err);
        } else {
            sources->parts[sources->count++] = (struct conf_part){
                .directory = directory, .text = words[i], .size = strlen(words[i])};
        }
    }
    return r;
}

/* "@N": the source, or NULL. */
static const struct msg_source *source_of(const struct msg_definition *definition, const char *word)
{
    size_t number = 0;

    if (word[1] == '\0') {
        return NULL;
    }
    for (const char *at = word + 1; *at != '\0'; at++) {
        if (*at < '0' || *at > '9' || number > definition->sources_count) {
            return NULL;
        }
        number = 10 * number + (size_t)(*at - '0');
    }
    return number < definition->sources_count ? &definition->sources[number] : NULL;
}

static int add_env(struct sources *sources, const struct msg_definition *definition,
                   struct err *err)
{
    int r = 0;

    sources->own_env = calloc(definition->env_count + 1, sizeof(*sources->own_env));
    if (sources->own_env == NULL) {
        return no_memory(err);
    }
    sources->env = sources->own_env;
    for (size_t i = 0; r == 0 && i < definition->env_count; i++) {
        char *entry = NULL;

        if (asprintf(&entry, "%s=%s", definition->env[i].name, definition->env[i].value) < 0) {
            return no_memory(err);
        }
        r = own(sources, entry, err);
        sources->own_env[i] = entry;
    }
    return r;
}

int sources_from_definition(struct sources *sources, const struct msg_definition *definition,
                            struct err *err)
{
    int r = make_room(sources, definition->words_count, definition->env_count + 1, err);

    for (size_t i = 0; r == 0 && i < definition->words_count; i++) {
        const char *word = definition->words[i];
        struct conf_part *part = &sources->parts[sources->count++];
        const struct msg_source *source;

        if (word[0] != '@') {
            *part = (struct conf_part){.text = word, .size = strlen(word)};
            continue;
        }
        source = source_of(definition, word);
        if (source == NULL) {
            return err_set(err, -EINVAL, "'%s' names no source of the definition", word);
        }
        *part =
            (struct conf_part){source->name, source->directory, source->text, strlen(source->text)};
    }
    return r == 0 ? add_env(sources, definition, err) : r;
}

void sources_fini(struct sources *sources)
{
    for (size_t i = 0; i < sources->text_count; i++) {
        free(sources->texts[i]);
    }
    free(sources->texts);
    free(sources->own_env);
    free(sources->parts);
    *sources = (struct sources){0};
}
