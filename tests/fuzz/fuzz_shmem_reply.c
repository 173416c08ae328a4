/* What a program of the host reads of its qvmd: any line. */
#include <stdint.h>
#include <string.h>

#include "lib/reply.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct reply_value line = {(const char *)data, (const char *)data + size};
    struct reply_value error = reply_member(line, "error");
    char text[64];

    (void)reply_number(reply_member(reply_member(line, "result"), "client"), 0);
    reply_text(reply_member(error, "message"), text, sizeof(text));
    if (memchr(text, '\0', sizeof(text)) == NULL) {
        __builtin_trap();
    }
    reply_text(reply_member(reply_member(error, "data"), "name"), text, 1);
    return 0;
}
