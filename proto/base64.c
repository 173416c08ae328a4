/* Base64 of RFC 4648, section 4. */
#include "proto/base64.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const uint8_t *data, size_t size)
{
    char *text = malloc((size + 2) / 3 * 4 + 1);
    char *out = text;

    if (text == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < size; i += 3) {
        size_t have = size - i < 3 ? size - i : 3;
        uint32_t group = (uint32_t)data[i] << 16;

        group |= have > 1 ? (uint32_t)data[i + 1] << 8 : 0;
        group |= have > 2 ? data[i + 2] : 0;
        memset(out, '=', 4);
        for (size_t j = 0; j <= have; j++) {
            out[j] = alphabet[group >> (18 - 6 * j) & 63];
        }
        out += 4;
    }
    *out = '\0';
    return text;
}

/* The six bits of a character, or -1. */
static int sextet(char c)
{
    const char *at = c != '\0' ? strchr(alphabet, c) : NULL;

    return at != NULL ? (int)(at - alphabet) : -1;
}

/* Decode one group of four; returns how many bytes it holds, 0 if it is none. */
static size_t decode_group(const char *text, uint8_t out[3])
{
    size_t bytes = text[3] != '=' ? 3 : text[2] != '=' ? 2 : 1;
    uint32_t group = 0;

    for (size_t i = 0; i < 4; i++) {
        int bits = i <= bytes ? sextet(text[i]) : 0;

        if (bits < 0) {
            return 0;
        }
        group = group << 6 | (uint32_t)bits;
    }
    out[0] = (uint8_t)(group >> 16);
    out[1] = (uint8_t)(group >> 8);
    out[2] = (uint8_t)group;
    return bytes;
}

int base64_decode(const char *text, size_t max, uint8_t **data, size_t *size)
{
    size_t length = strlen(text);
    size_t used = 0;
    uint8_t *out;

    if (length % 4 != 0) {
        return -EINVAL;
    }
    if (length / 4 * 3 > max + 2) {
        return -EMSGSIZE;
    }
    out = malloc(length / 4 * 3 + 1);
    if (out == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < length; i += 4) {
        size_t bytes = decode_group(text + i, out + used);

        if (bytes == 0 || (bytes < 3 && i + 4 < length)) {
            free(out);
            return -EINVAL;
        }
        used += bytes;
    }
    if (used > max) {
        free(out);
        return -EMSGSIZE;
    }
    *data = out;
    *size = used;
    return 0;
}
