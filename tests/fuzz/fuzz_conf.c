/* Any bytes as a configuration: the lexer ends, within its limits, and every place is sane. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/conf/regions.h"
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

/* The same bytes as a /proc/iomem, and as filters. */
static void fuzz_iomem(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    struct conf_regions regions = {0};
    unsigned set;

    if (text != NULL) {
        (void)conf_regions_add_iomem(&regions, text);
        (void)conf_filters(text, &set, NULL);
    }
    if (regions.count > CONF_REGIONS_MAX) {
        abort();
    }
    conf_regions_fini(&regions);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const env[] = {"A=1", "B=two words", NULL};
    size_t half = size / 2;
    struct conf_part parts[] = {
        {.name = "f", .directory = "/", .text = (const char *)data, .size = half},
        {.text = (const char *)data + half, .size = size - half},
    };
    struct conf_regions regions = {0};
    struct conf_words words;

    (void)conf_env_names(parts, 2, on_name, NULL, NULL);
    if (conf_regions_add(&regions, "A", 1, 1) != 0 ||
        conf_words_read_regions(&words, parts, 2, env, &regions, NULL) != 0) {
        conf_regions_fini(&regions);
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
    fuzz_iomem(data, size);
    conf_words_fini(&words);
    conf_regions_fini(&regions);
    return 0;
}
