/* The lexer of .qvmconf and qvmd.conf. */
#include "proto/conf/words.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/conf/regions.h"

#define ENV_OPEN    "$env{"
#define ASINFO_OPEN "$asinfo_"
#define START_OPEN  "$asinfo_start{"
#define LENGTH_OPEN "$asinfo_length{"
#define UTF8_MARK   "\xef\xbb\xbf" /* some editors begin a text with it */

/* Where the lexer stands. `line` counts the lines of a text and the words of a command line. */
struct lexer {
    const struct conf_part *part;
    const char *at, *end;
    uint32_t line;
    struct conf_words *words;
    struct conf_word word; /* the one that is being read */
    size_t word_start;     /* its first byte in the arena */
    const char *const *env;
    const struct conf_regions *regions;
    conf_env_name_fn on_name; /* not NULL: names are told, and their values are empty */
    void *context;
    struct err *err;
};

const char *conf_place(const struct conf_word *word, char place[CONF_PLACE_SIZE])
{
    const char *name = word->part->name != NULL ? word->part->name : "command line";

    (void)snprintf(place, CONF_PLACE_SIZE, "%s:%u", name, word->line);
    return place;
}

int conf_fail(struct err *err, const struct conf_word *word, const char *format, ...)
{
    char place[CONF_PLACE_SIZE];
    va_list args;

    va_start(args, format);
    (void)err_vset(err, -ENOEXEC, format, args);
    va_end(args);
    (void)err_prefix(err, "%s: ", conf_place(word, place));
    conf_one_line(err);
    return -ENOEXEC;
}

void conf_one_line(struct err *err)
{
    for (char *at = err != NULL ? err->msg : NULL; at != NULL && *at != '\0'; at++) {
        if (*at == '\n' || *at == '\t') {
            *at = '?';
        }
    }
}

static int reserve_text(struct lexer *lexer, size_t more)
{
    struct conf_words *words = lexer->words;
    size_t room = words->arena_room;
    char *arena;

    if (more > CONF_TOTAL_MAX - words->arena_used) {
        return conf_fail(lexer->err, &lexer->word, "more than %u bytes in all words together",
                         CONF_TOTAL_MAX);
    }
    if (words->arena_used + more <= room) {
        return 0;
    }
    room = room == 0 ? 512 : room;
    while (room < words->arena_used + more) {
        room *= 2;
    }
    arena = realloc(words->arena, room);
    if (arena == NULL) {
        return err_set(lexer->err, -ENOMEM, "no memory left to read the configuration");
    }
    words->arena = arena;
    words->arena_room = room;
    return 0;
}

/* Append bytes to the word that is being read. */
static int push(struct lexer *lexer, const char *text, size_t size)
{
    struct conf_words *words = lexer->words;
    int r;

    if (size > CONF_WORD_MAX - (words->arena_used - lexer->word_start)) {
        return conf_fail(lexer->err, &lexer->word, "a word is longer than %d bytes", CONF_WORD_MAX);
    }
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];

        if ((c < ' ' && c != '\t' && c != '\n') || c == 0x7f) {
            return conf_fail(lexer->err, &lexer->word, "control character 0x%02x in a word", c);
        }
    }
    r = reserve_text(lexer, size + 1);
    if (r == 0) {
        assert(words->arena != NULL);
        memcpy(words->arena + words->arena_used, text, size);
        words->arena_used += size;
    }
    return r;
}

static void word_begin(struct lexer *lexer)
{
    lexer->word = (struct conf_word){.part = lexer->part, .line = lexer->line};
    lexer->word_start = lexer->words->arena_used;
}

static int word_end(struct lexer *lexer)
{
    struct conf_words *words = lexer->words;
    int r = reserve_text(lexer, 1);

    if (r != 0) {
        return r;
    }
    if (words->count == CONF_WORDS_MAX) {
        return conf_fail(lexer->err, &lexer->word, "more than %d words", CONF_WORDS_MAX);
    }
    if (words->count == words->list_room) {
        size_t room = words->list_room == 0 ? 64 : words->list_room * 2;
        struct conf_word *list = reallocarray(words->list, room, sizeof(*list));

        if (list == NULL) {
            return err_set(lexer->err, -ENOMEM, "no memory left to read the configuration");
        }
        words->list = list;
        words->list_room = room;
    }
    assert(words->arena != NULL);
    words->arena[words->arena_used++] = '\0';
    words->list[words->count++] = lexer->word; /* its text is set when the arena stands still */
    return 0;
}

static const char *env_find(const char *const *env, const char *name)
{
    size_t size = strlen(name);

    for (; env != NULL && *env != NULL; env++) {
        if (strncmp(*env, name, size) == 0 && (*env)[size] == '=') {
            return *env + size + 1;
        }
    }
    return NULL;
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* At "$env{": replace it. */
static int read_env(struct lexer *lexer)
{
    const char *start = lexer->at + strlen(ENV_OPEN);
    const char *stop = start;
    char name[CONF_ENV_NAME_MAX + 1];
    const char *value;

    while (stop < lexer->end && is_name_char(*stop)) {
        stop++;
    }
    if (stop == lexer->end || *stop != '}' || stop == start) {
        return conf_fail(lexer->err, &lexer->word,
                         "'$env{' wants a name of letters, digits and '_', and a '}'");
    }
    if ((size_t)(stop - start) > CONF_ENV_NAME_MAX) {
        return conf_fail(lexer->err, &lexer->word,
                         "the name of an environment variable is longer than %d bytes",
                         CONF_ENV_NAME_MAX);
    }
    (void)snprintf(name, sizeof(name), "%.*s", (int)(stop - start), start);
    lexer->at = stop + 1;
    if (lexer->on_name != NULL) {
        return lexer->on_name(lexer->context, name);
    }
    value = env_find(lexer->env, name);
    if (value == NULL) {
        return conf_fail(lexer->err, &lexer->word, "environment variable '%s' is not set", name);
    }
    return push(lexer, value, strlen(value));
}

static bool stands_here(const struct lexer *lexer, const char *text)
{
    size_t size = strlen(text);

    return (size_t)(lexer->end - lexer->at) >= size && memcmp(lexer->at, text, size) == 0;
}

/* At "$asinfo_": replace it. */
static int read_asinfo(struct lexer *lexer)
{
    static const struct conf_regions none;
    bool is_start = stands_here(lexer, START_OPEN);
    const char *from = lexer->at + strlen(is_start ? START_OPEN : LENGTH_OPEN);
    const char *stop = NULL;
    const struct conf_region *region = NULL;
    char name[CONF_REGION_NAME_SIZE], number[32];
    struct err words = {0};

    if (is_start || stands_here(lexer, LENGTH_OPEN)) {
        stop = memchr(from, '}', (size_t)(lexer->end - from));
    }
    if (stop == NULL || stop == from || (size_t)(stop - from) >= sizeof(name) ||
        memchr(from, '\n', (size_t)(stop - from)) != NULL) {
        return conf_fail(lexer->err, &lexer->word,
                         "'$asinfo_' wants to be '$asinfo_start{NAME}' or '$asinfo_length{NAME}', "
                         "with the name of a memory region of the host");
    }
    lexer->at = stop + 1;
    if (lexer->on_name != NULL) {
        return push(lexer, "0", 1); /* only names are looked for */
    }
    (void)snprintf(name, sizeof(name), "%.*s", (int)(stop - from), from);
    if (conf_regions_find(lexer->regions != NULL ? lexer->regions : &none, name, &region, &words) !=
        0) {
        return conf_fail(lexer->err, &lexer->word, "%s", words.msg);
    }
    (void)snprintf(number, sizeof(number), "0x%" PRIx64, is_start ? region->start : region->size);
    return push(lexer, number, strlen(number));
}

/* One character of a word, or one $env{} or $asinfo. */
static int read_char(struct lexer *lexer)
{
    if (stands_here(lexer, ENV_OPEN)) {
        return read_env(lexer);
    }
    if (stands_here(lexer, ASINFO_OPEN)) {
        return read_asinfo(lexer);
    }
    return push(lexer, lexer->at++, 1);
}

/* Bytes of a line end at `at`: 0 if none is there. */
static size_t line_end_size(const struct lexer *lexer, const char *at)
{
    if (at < lexer->end && *at == '\n') {
        return 1;
    }
    return lexer->end - at >= 2 && at[0] == '\r' && at[1] == '\n' ? 2 : 0;
}

/* At the opening quote: read up to and with the closing one. */
static int read_quoted(struct lexer *lexer)
{
    uint32_t opened = lexer->line;
    int r = 0;

    lexer->word.is_quoted = true;
    lexer->at++;
    while (r == 0 && lexer->at < lexer->end && *lexer->at != '"') {
        size_t newline = line_end_size(lexer, lexer->at);

        if (newline != 0) {
            lexer->at += newline;
            lexer->line++;
            r = push(lexer, "\n", 1);
        } else if (*lexer->at == '\\' && line_end_size(lexer, lexer->at + 1) != 0) {
            lexer->at += 1 + line_end_size(lexer, lexer->at + 1);
            lexer->line++;
        } else if (*lexer->at == '\\' && lexer->end - lexer->at > 1 && lexer->at[1] == '"') {
            lexer->at += 2;
            r = push(lexer, "\"", 1);
        } else {
            r = read_char(lexer);
        }
    }
    if (r == 0 && lexer->at == lexer->end) {
        lexer->word.line = opened;
        return conf_fail(lexer->err, &lexer->word, "the quote that opens here is never closed");
    }
    lexer->at++;
    return r;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct lexer *lexer)
{
    bool in_comment = false;

    for (; lexer->at < lexer->end; lexer->at++) {
        char c = *lexer->at;

        if (c == '\n') {
            lexer->line++;
            in_comment = false;
        } else if (c == '#') {
            in_comment = true;
        } else if (!in_comment && !is_space(c)) {
            return;
        }
    }
}

static int read_word(struct lexer *lexer)
{
    int r = 0;

    word_begin(lexer);
    while (r == 0 && lexer->at < lexer->end && !is_space(*lexer->at) && *lexer->at != '#') {
        r = *lexer->at == '"' ? read_quoted(lexer) : read_char(lexer);
    }
    return r == 0 ? word_end(lexer) : r;
}

static int read_source(struct lexer *lexer)
{
    int r = 0;

    lexer->line = 1;
    word_begin(lexer);
    if (lexer->part->size > CONF_SOURCE_SIZE_MAX) {
        return conf_fail(lexer->err, &lexer->word, "the text is longer than %d bytes",
                         CONF_SOURCE_SIZE_MAX);
    }
    if (stands_here(lexer, UTF8_MARK)) {
        lexer->at += strlen(UTF8_MARK);
    }
    skip_space(lexer);
    while (r == 0 && lexer->at < lexer->end) {
        r = read_word(lexer);
        skip_space(lexer);
    }
    return r;
}

static int read_command_word(struct lexer *lexer, uint32_t number)
{
    int r = 0;

    lexer->line = number;
    word_begin(lexer);
    lexer->word.is_quoted = true; /* the shell has read the quotes */
    while (r == 0 && lexer->at < lexer->end) {
        r = read_char(lexer);
    }
    return r == 0 ? word_end(lexer) : r;
}

static int read_parts(struct lexer *lexer, const struct conf_part *parts, size_t part_count)
{
    uint32_t command_words = 0;
    int r = 0;

    if (part_count > CONF_PARTS_MAX) {
        return err_set(lexer->err, -ENOEXEC, "more than %d files and words on the command line",
                       CONF_PARTS_MAX);
    }
    for (size_t i = 0; r == 0 && i < part_count; i++) {
        lexer->part = &parts[i];
        lexer->at = parts[i].text;
        lexer->end = parts[i].text + parts[i].size;
        r = parts[i].name != NULL ? read_source(lexer) : read_command_word(lexer, ++command_words);
    }
    return r;
}

bool conf_parts_want_regions(const struct conf_part *parts, size_t part_count)
{
    for (size_t i = 0; i < part_count; i++) {
        if (memmem(parts[i].text, parts[i].size, ASINFO_OPEN, strlen(ASINFO_OPEN)) != NULL) {
            return true;
        }
    }
    return false;
}

int conf_words_read(struct conf_words *words, const struct conf_part *parts, size_t part_count,
                    const char *const *env, struct err *err)
{
    return conf_words_read_regions(words, parts, part_count, env, NULL, err);
}

int conf_words_read_regions(struct conf_words *words, const struct conf_part *parts,
                            size_t part_count, const char *const *env,
                            const struct conf_regions *regions, struct err *err)
{
    struct lexer lexer = {.words = words, .env = env, .regions = regions, .err = err};
    const char *text;
    int r;

    *words = (struct conf_words){0};
    r = read_parts(&lexer, parts, part_count);
    if (r != 0) {
        conf_words_fini(words);
        return r;
    }
    text = words->arena;
    for (size_t i = 0; i < words->count; i++) {
        words->list[i].text = text;
        text += strlen(text) + 1;
    }
    return 0;
}

void conf_words_fini(struct conf_words *words)
{
    free(words->list);
    free(words->arena);
    *words = (struct conf_words){0};
}

int conf_env_names(const struct conf_part *parts, size_t part_count, conf_env_name_fn on_name,
                   void *context, struct err *err)
{
    struct conf_words words = {0};
    struct lexer lexer = {.words = &words, .on_name = on_name, .context = context, .err = err};
    int r = read_parts(&lexer, parts, part_count);

    conf_words_fini(&words);
    return r;
}
