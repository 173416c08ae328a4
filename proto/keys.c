/* Names of keys. */
#include "proto/keys.h"

#include <errno.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

const struct key_word key_words[] = {
#define KEY(name_, code_) {name_, code_},
#include "proto/keys.def"
#undef KEY
};
const size_t key_word_count = ARRAY_LEN(key_words);

static const struct key_word *find(const char *name, size_t size)
{
    for (size_t i = 0; i < key_word_count; i++) {
        if (strlen(key_words[i].name) == size && memcmp(key_words[i].name, name, size) == 0) {
            return &key_words[i];
        }
    }
    return NULL;
}

int keys_parse(const char *text, uint16_t codes[KEYS_MAX], struct err *err)
{
    size_t count = 0;

    for (const char *at = text;;) {
        size_t size = strcspn(at, "-");
        const struct key_word *key = find(at, size);

        if (key == NULL) {
            return err_set(err, -EINVAL,
                           "'%.*s' of '%s' is no key; keys are like a, 1, ret, f1, "
                           "ctrl-alt-delete",
                           (int)size, at, text);
        }
        if (count == KEYS_MAX) {
            return err_set(err, -EINVAL, "'%s' is more than %u keys at once", text, KEYS_MAX);
        }
        for (size_t i = 0; i < count; i++) {
            if (codes[i] == key->code) {
                return err_set(err, -EINVAL, "'%s' presses '%s' twice", text, key->name);
            }
        }
        codes[count++] = key->code;
        if (at[size] == '\0') {
            return (int)count;
        }
        at += size + 1;
    }
}
