/* What a keyboard controller saves, and how it is restored. */
#include <qvm/vdev_fields.h>

#include "vdevs/pckeyboard.h"

static const struct vdev_field fields[] = {
    VDEV_BYTES(1, struct pckeyboard, ram),
    VDEV_NUMBER(2, struct pckeyboard, output_port, OUTPUT_NO_RESET | OUTPUT_A20),
    VDEV_NUMBER(3, struct pckeyboard, output, 0),
    VDEV_NUMBER(4, struct pckeyboard, output_status, 0),
    VDEV_NUMBER(5, struct pckeyboard, was_command, 1),
    VDEV_NUMBER(6, struct pckeyboard, command, 0),
    VDEV_NUMBER(7, struct pckeyboard, keyboard_command, 0),
    VDEV_NUMBER(8, struct pckeyboard, keyboard_sent, 0),
    VDEV_NUMBER(9, struct pckeyboard, is_release, 1),
    VDEV_NUMBER(10, struct pckeyboard, leds, 7),
    VDEV_NUMBER(11, struct pckeyboard, scan_set, 3),
    VDEV_NUMBER(12, struct pckeyboard, rate, 0x7f),
    VDEV_NUMBER(13, struct pckeyboard, is_scanning, 1),
    VDEV_NUMBER(14, struct pckeyboard, keys, 0),
    {0},
};

#define REPLY_TAGS    32u /* what is added to those of the queue's table */
#define KEYBOARD_TAGS 48u

static const struct vdev_field queue_fields[] = {
    VDEV_BYTES(1, struct queue, bytes),
    VDEV_BYTES(2, struct queue, status),
    VDEV_NUMBER(3, struct queue, first, QUEUE_SIZE - 1),
    VDEV_NUMBER(4, struct queue, count, QUEUE_SIZE),
    {0},
};

int pckeyboard_save(void *device)
{
    const struct pckeyboard *kbd = device;
    int r = vdev_put_fields(kbd->host, kbd->slot, fields, 0, kbd);

    r = r == 0 ? vdev_put_fields(kbd->host, kbd->slot, queue_fields, REPLY_TAGS, &kbd->replies) : r;
    return r == 0
               ? vdev_put_fields(kbd->host, kbd->slot, queue_fields, KEYBOARD_TAGS, &kbd->keyboard)
               : r;
}

int pckeyboard_restore(void *device)
{
    struct pckeyboard *kbd = device;
    int r = vdev_get_fields(kbd->host, kbd->slot, fields, 0, kbd);

    r = r == 0 ? vdev_get_fields(kbd->host, kbd->slot, queue_fields, REPLY_TAGS, &kbd->replies) : r;
    r = r == 0 ? vdev_get_fields(kbd->host, kbd->slot, queue_fields, KEYBOARD_TAGS, &kbd->keyboard)
               : r;
    if (r == 0) {
        kbd->ram[0] |= BYTE_AUX_OFF;
        pckeyboard_update(kbd);
    }
    return r;
}
