/* What a serial port saves, and how it is restored. */
#include <qvm/vdev_fields.h>

#include "vdevs/ser8250.h"

static const struct vdev_field fields[] = {
    VDEV_NUMBER(1, struct ser8250, ier, IER_ALL),
    VDEV_NUMBER(2, struct ser8250, fcr, 0),
    VDEV_NUMBER(3, struct ser8250, lcr, 0),
    VDEV_NUMBER(4, struct ser8250, mcr, MCR_ALL),
    VDEV_NUMBER(5, struct ser8250, scr, 0),
    VDEV_NUMBER(6, struct ser8250, msr, 0),
    VDEV_NUMBER(7, struct ser8250, lsr_errors, LSR_OE | LSR_BI),
    VDEV_NUMBER(8, struct ser8250, divisor, 0),
    VDEV_NUMBER(9, struct ser8250, is_thre_pending, 1),
    VDEV_BYTES(10, struct ser8250, fifo),
    VDEV_NUMBER(11, struct ser8250, fifo_first, FIFO_SIZE - 1),
    VDEV_NUMBER(12, struct ser8250, fifo_count, FIFO_SIZE),
    VDEV_BYTES(13, struct ser8250, is_break),
    VDEV_NUMBER(14, struct ser8250, is_receiving, 1),
    VDEV_NUMBER(15, struct ser8250, looks, LOOKS_FOR_DATA),
    {0},
};

int ser8250_save(void *device)
{
    const struct ser8250 *serial = device;

    return vdev_put_fields(serial->host, serial->slot, fields, 0, serial);
}

int ser8250_restore(void *device)
{
    struct ser8250 *serial = device;
    int r = vdev_get_fields(serial->host, serial->slot, fields, 0, serial);
    uint8_t *is_break = (uint8_t *)serial->is_break; /* bytes of strangers, no truths yet */

    for (uint32_t i = 0; i < FIFO_SIZE; i++) {
        is_break[i] = is_break[i] != 0;
    }
    if (r != 0) {
        return r;
    }
    serial->is_peer_waiting = false;
    serial->host->stream_resume(serial->slot); /* who waited is offered again */
    ser8250_update(serial);
    return 0;
}
