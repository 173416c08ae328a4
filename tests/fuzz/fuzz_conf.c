/* Any bytes as a configuration: the lexer ends, within its limits, and every place is sane. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/conf/value.h"
#include "proto/conf/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_name(void *context, const char *name)
{
    (void)context;
    if (strlen(name) > CONF_ENV_NAME_MAX) {
        abort();
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const env[] = {"A=1", "B=two words", NULL};
    size_t half = size / 2;
    struct conf_part parts[] = {
        {.name = "f", .directory = "/", .text = (const char *)data, .size = half},
        {.text = (const char *)data + half, .size = size - half},
    };
    struct conf_words words;

    (void)conf_env_names(parts, 2, on_name, NULL, NULL);
    if (conf_words_read(&words, parts, 2, env, NULL) != 0) {
        return 0;
    }
    for (size_t i = 0; i < words.count; i++) {
        const struct conf_word *word = &words.list[i];
        struct conf_nearest nearest = {.word = word->text};
        size_t length = strlen(word->text);
        uint64_t value;
        bool is_on;

        if (length > CONF_WORD_MAX || word->line == 0) {
            abort();
        }
        (void)conf_parse_number(word->text, length, CONF_HEX, &value);
        (void)conf_parse_number(word->text, length, CONF_DECIMAL, &value);
        (void)conf_parse_bool(word->text, &is_on);
        conf_nearest_offer(&nearest, "cmdline");
    }
    conf_words_fini(&words);
    return 0;
}
