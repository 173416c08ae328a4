/* The codes of a keyboard's keys: "Keyboards (101- and 102-Key)", scan code sets 1 and 2. */
#include "vdevs/pckeyboard_keys.h"

#include <stddef.h>
#include <string.h>

#define EXTENDED  0xe0u
#define EXTENDED1 0xe1u
#define RELEASE_1 0x80u /* of set 1 */
#define KEY_PAUSE 119u

/* By the code of set 1: that of set 2. Linux' codes up to 88 are those of set 1. */
static const uint8_t set_2[0x60] = {
    [0x01] = 0x76, 0x16, 0x1e,          0x26, 0x25,          0x2e, 0x36,          0x3d,
    0x3e,          0x46, 0x45,          0x4e, 0x55,          0x66, [0x0f] = 0x0d, 0x15,
    0x1d,          0x24, 0x2d,          0x2c, 0x35,          0x3c, 0x43,          0x44,
    0x4d,          0x54, 0x5b,          0x5a, [0x1d] = 0x14, 0x1c, 0x1b,          0x23,
    0x2b,          0x34, 0x33,          0x3b, 0x42,          0x4b, 0x4c,          0x52,
    0x0e,          0x12, [0x2b] = 0x5d, 0x1a, 0x22,          0x21, 0x2a,          0x32,
    0x31,          0x3a, 0x41,          0x49, 0x4a,          0x59, 0x7c,          0x11,
    [0x39] = 0x29, 0x58, 0x05,          0x06, 0x04,          0x0c, 0x03,          0x0b,
    0x83,          0x0a, 0x01,          0x09, 0x77,          0x7e, [0x47] = 0x6c, 0x75,
    0x7d,          0x7b, 0x6b,          0x73, 0x74,          0x79, 0x69,          0x72,
    0x7a,          0x70, 0x71,          0x84, [0x56] = 0x61, 0x78, 0x07,          [0x5b] = 0x1f,
    0x27,          0x2f,
};

#define LAST_PLAIN_KEY 88u

/* Keys that the first PC did not have: the code of set 1 behind 0xe0. */
static const struct {
    uint8_t key, code;
} extended[] = {
    {96, 0x1c},  /* enter of the number pad */
    {97, 0x1d},  /* right control */
    {98, 0x35},  /* slash of the number pad */
    {99, 0x37},  /* print screen */
    {100, 0x38}, /* right alt */
    {102, 0x47}, /* home */
    {103, 0x48}, /* up */
    {104, 0x49}, /* page up */
    {105, 0x4b}, /* left */
    {106, 0x4d}, /* right */
    {107, 0x4f}, /* end */
    {108, 0x50}, /* down */
    {109, 0x51}, /* page down */
    {110, 0x52}, /* insert */
    {111, 0x53}, /* delete */
    {125, 0x5b}, /* left meta */
    {126, 0x5c}, /* right meta */
    {127, 0x5d}, /* menu */
};

static uint8_t extended_code(uint16_t key)
{
    for (size_t i = 0; i < sizeof(extended) / sizeof(extended[0]); i++) {
        if (extended[i].key == key) {
            return extended[i].code;
        }
    }
    return 0;
}

/* Pause is pressed and released at once, and says nothing when it is. */
static uint32_t pause_bytes(bool is_down, uint8_t scan_set, uint8_t bytes[KEY_BYTES_MAX])
{
    static const uint8_t of_1[] = {EXTENDED1, 0x1d, 0x45, EXTENDED1, 0x9d, 0xc5};
    static const uint8_t of_2[] = {EXTENDED1,   0x14, 0x77,        EXTENDED1,
                                   KEY_RELEASE, 0x14, KEY_RELEASE, 0x77};

    if (!is_down) {
        return 0;
    }
    memcpy(bytes, scan_set == 1 ? of_1 : of_2, scan_set == 1 ? sizeof(of_1) : sizeof(of_2));
    return (uint32_t)(scan_set == 1 ? sizeof(of_1) : sizeof(of_2));
}

uint32_t pckeyboard_key_bytes(uint16_t key, bool is_down, uint8_t scan_set,
                              uint8_t bytes[KEY_BYTES_MAX])
{
    uint8_t code = (uint8_t)(key <= LAST_PLAIN_KEY ? key : extended_code(key));
    uint32_t count = 0;

    if (key == KEY_PAUSE) {
        return pause_bytes(is_down, scan_set, bytes);
    }
    if (set_2[code] == 0) {
        return 0;
    }
    if (key > LAST_PLAIN_KEY) {
        bytes[count++] = EXTENDED;
    }
    if (scan_set == 1) {
        bytes[count++] = (uint8_t)(code | (is_down ? 0 : RELEASE_1));
        return count;
    }
    if (!is_down) {
        bytes[count++] = KEY_RELEASE;
    }
    bytes[count++] = code == 0x37 && key > LAST_PLAIN_KEY ? 0x7c : set_2[code];
    return count;
}

uint8_t pckeyboard_translate(uint8_t byte, bool is_release)
{
    uint8_t code = byte == 0x02 ? 0x41 : byte; /* F7 of older keyboards */

    for (uint32_t i = 1; i < sizeof(set_2); i++) {
        if (set_2[i] == byte && byte != 0) {
            code = (uint8_t)i;
            break;
        }
    }
    return (uint8_t)(code | (is_release ? RELEASE_1 : 0));
}
