/* The codes of a keyboard's keys. Used by vdev-pckeyboard.c and pckeyboard_keys.c alone; the
 * reference is named in the former. */
#ifndef QVM_VDEVS_PCKEYBOARD_KEYS_H
#define QVM_VDEVS_PCKEYBOARD_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#define KEY_RELEASE   0xf0u /* of set 2: before the code of a key that is released */
#define KEY_BYTES_MAX 8u    /* what a key sends when it is pressed or released */

/* What the keyboard sends for a key of Linux' input-event-codes, in scan code set 1 or 2 (any
 * other: 2). Returns how many bytes; 0: there is no such key, or it says nothing when it is
 * released. */
uint32_t pckeyboard_key_bytes(uint16_t key, bool is_down, uint8_t scan_set,
                              uint8_t bytes[KEY_BYTES_MAX]);

/* "Keyboard Scan Code Translation": a byte of set 2 as the controller shows it; `is_release`: 0xf0
 * came before it. */
uint8_t pckeyboard_translate(uint8_t byte, bool is_release);

#endif
