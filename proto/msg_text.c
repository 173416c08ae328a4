/* Texts that are told to somebody. A sentence may quote a strange path, or was cut in the middle
 * of a character: that must not cost the whole message. */
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/msg_codec.h"

#define CHARACTER_MAX 4 /* bytes of one in UTF-8 */

/* Bytes of the character that `text` begins with; 0: it is none. */
static size_t character_size(const char *text, size_t size)
{
    for (size_t n = 1; n <= CHARACTER_MAX && n <= size; n++) {
        auto_json json_t *value = json_stringn(text, n);

        if (value != NULL) {
            return n;
        }
    }
    return 0;
}

json_t *msg_json_tell(const char *text)
{
    json_t *value = json_string(text);
    auto_free char *copy = value == NULL ? strdup(text) : NULL;
    size_t size = copy != NULL ? strlen(copy) : 0;

    if (copy == NULL) {
        return value;
    }
    for (size_t i = 0; i < size;) {
        size_t n = character_size(copy + i, size - i);

        if (n == 0) {
            copy[i] = '?';
            n = 1;
        }
        i += n;
    }
    return json_string(copy);
}
