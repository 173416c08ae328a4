/* The keyboard controller's state: for vdev-pckeyboard.c and pckeyboard_save.c alone. Headings are
 * those of the reference that is named in the former. */
#ifndef QVM_VDEVS_PCKEYBOARD_H
#define QVM_VDEVS_PCKEYBOARD_H

#include <qvm/vdev.h>

#define RAM_SIZE     32u
#define BYTE_AUX_OFF 0x20u /* cannot be cleared: there is no such port */

/* "Output Port" */
#define OUTPUT_NO_RESET 0x01u
#define OUTPUT_A20      0x02u

#define QUEUE_SIZE 16u /* "Buffer": 16 bytes; what does not fit is lost */

/* Bytes on their way to the output buffer, each with the status bits that it brings. */
struct queue {
    uint8_t bytes[QUEUE_SIZE], status[QUEUE_SIZE];
    uint32_t first, count;
};

struct pckeyboard {
    const struct vdev_services *host;
    struct vdev_slot *slot;

    uint8_t ram[RAM_SIZE];
    uint8_t output_port;
    uint8_t output, output_status; /* the output buffer; STATUS_OBF: it is full */
    bool was_command;              /* the last write went to port 0x64 */
    uint8_t command;               /* of the controller, that waits for its data; 0: none */
    struct queue replies;          /* of the controller: go first */

    struct queue keyboard;
    uint8_t keyboard_command; /* that waits for its data; 0: none */
    uint8_t keyboard_sent;    /* the last byte, for RESEND */
    bool is_release;          /* 0xf0 was translated: the next byte shows it */
    uint8_t leds, scan_set, rate;
    bool is_scanning;
    uint64_t keys; /* pressed or released since the reset */
};

/* The output buffer and the line are as they are to be. */
void pckeyboard_update(struct pckeyboard *kbd);

int pckeyboard_save(void *device);
int pckeyboard_restore(void *device);

#endif
