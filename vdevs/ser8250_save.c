/* What a serial port saves, how it is restored, and what it tells of itself. */
#include <stdio.h>

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
    VDEV_NUMBER(16, struct ser8250, has_timed_out, 1),
    VDEV_NUMBER(17, struct ser8250, untouched_ns, TIMEOUT_NS_MAX),
    {0},
};

int ser8250_save(void *device)
{
    struct ser8250 *serial = device;

    serial->untouched_ns = serial->host->now_ns(serial->slot) - serial->touched_ns;
    if (serial->untouched_ns > TIMEOUT_NS_MAX) {
        serial->untouched_ns = TIMEOUT_NS_MAX;
    }
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
    serial->has_timed_out =
        serial->has_timed_out && serial->fifo_count > 0 && ser8250_has_fifos(serial);
    serial->touched_ns = serial->host->now_ns(serial->slot) - serial->untouched_ns;
    serial->is_peer_waiting = false;
    serial->host->stream_resume(serial->slot); /* who waited is offered again */
    ser8250_update(serial);
    return 0;
}

static void add_number(vdev_state_fn add, void *context, const char *name, uint64_t number)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    add(context, name, text);
}

void ser8250_state(void *device, vdev_state_fn add, void *context)
{
    const struct ser8250 *serial = device;
    char text[96];

    (void)snprintf(text, sizeof(text), "ier=%02x fcr=%02x lcr=%02x mcr=%02x lsr=%02x msr=%02x",
                   serial->ier, serial->fcr, serial->lcr, serial->mcr, ser8250_line_status(serial),
                   serial->msr);
    add(context, "registers", text);
    add_number(add, context, "baud", 115200u / (serial->divisor != 0 ? serial->divisor : 1u));
    (void)snprintf(text, sizeof(text), "%u of %u%s", serial->fifo_count,
                   ser8250_has_fifos(serial) ? FIFO_SIZE : 1u,
                   serial->is_peer_waiting ? ", more is waiting" : "");
    add(context, "fifo", text);
    add_number(add, context, "sent", serial->sent);
    add_number(add, context, "received", serial->received);
    add_number(add, context, "overruns", serial->overruns);
    add_number(add, context, "breaks", serial->breaks);
}
