/* Any bytes as NAME=VALUE of a setting: taken within its limits, or refused and nothing changed. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auto_free char *text = calloc(1, size + 2); /* two texts, each with its end */
    auto_free char *before = NULL, *after = NULL;
    struct msg_settings settings, copy = {0};
    struct err err = {0};
    char *value;
    int r;

    if (text == NULL) {
        return 0;
    }
    memcpy(text, data, size);
    value = text + strcspn(text, "=");
    value = *value == '=' ? (*value = '\0', value + 1) : value;
    settings_init(&settings);
    before = msg_encode(MSG_settings, &settings);
    r = settings_set(&settings, text, value, &err);
    after = msg_encode(MSG_settings, &settings);
    /* What was taken can be written and read again; what was not is as before. */
    if (before == NULL || after == NULL || settings_copy(&settings, &copy) != 0 ||
        (r != 0 && (strcmp(before, after) != 0 || err.msg[0] == '\0'))) {
        abort();
    }
    msg_fini(MSG_settings, &copy);
    msg_fini(MSG_settings, &settings);
    return 0;
}
