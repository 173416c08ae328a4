/* The registers of a PC16550D, as the guest sees them. Sections (8.x) are those of its data sheet,
 * see vdev-ser8250.c. */
#ifndef QVM_VDEVS_SER8250_H
#define QVM_VDEVS_SER8250_H

#include <qvm/vdev.h>

#define REGISTER_COUNT 8u
#define FIFO_SIZE      16u /* 8.4 */

/* Registers, table I; DLAB is LCR bit 7. */
#define RBR_THR 0u /* receiver buffer, transmitter holding; DLAB: divisor latch, low byte */
#define IER     1u /* interrupt enable; DLAB: divisor latch, high byte */
#define IIR_FCR 2u /* interrupt identification, FIFO control */
#define LCR     3u
#define MCR     4u
#define LSR     5u
#define MSR     6u
#define SCR     7u

/* 8.7 interrupt enable */
#define IER_RDA  0x01u /* received data available */
#define IER_THRE 0x02u
#define IER_RLS  0x04u /* receiver line status */
#define IER_MS   0x08u /* modem status */
#define IER_ALL  0x0fu

/* 8.6 interrupt identification, in falling priority; 8.5 FIFO control */
#define IIR_NONE    0x01u
#define IIR_RLS     0x06u
#define IIR_RDA     0x04u
#define IIR_TIMEOUT 0x0cu
#define IIR_THRE    0x02u
#define IIR_MS      0x00u
#define IIR_FIFOS   0xc0u
#define FCR_ENABLE  0x01u
#define FCR_CLEAR_R 0x02u

#define LCR_BREAK 0x40u /* 8.1 */
#define LCR_DLAB  0x80u

/* 8.8 modem control */
#define MCR_DTR  0x01u
#define MCR_RTS  0x02u
#define MCR_OUT1 0x04u
#define MCR_OUT2 0x08u /* on a PC it lets the interrupt through */
#define MCR_LOOP 0x10u
#define MCR_ALL  0x1fu

/* 8.3 line status */
#define LSR_DR   0x01u
#define LSR_OE   0x02u
#define LSR_BI   0x10u
#define LSR_THRE 0x20u
#define LSR_TEMT 0x40u
#define LSR_ERR  0x80u /* an error is somewhere in the FIFO */

/* 8.9 modem status: low half changes since the last read, high half lines */
#define MSR_DCTS 0x01u
#define MSR_DDSR 0x02u
#define MSR_TERI 0x04u
#define MSR_DDCD 0x08u
#define MSR_CTS  0x10u
#define MSR_DSR  0x20u
#define MSR_RI   0x40u
#define MSR_DCD  0x80u

/* The peer is always there and ready. */
#define MSR_CONNECTED (MSR_CTS | MSR_DSR | MSR_DCD)

#define DIVISOR_9600 12u /* at 1.8432 MHz, table III */

#define CLOCK_HZ           1843200u
#define CLOCKS_A_BIT       16u
#define TIMEOUT_CHARACTERS 4u           /* 8.11 */
#define TIMEOUT_NS_MAX     60000000000u /* more than any is */

/* 8.1, table II: what a character has beside its start bit and its first stop bit */
#define LCR_SIZE   0x03u /* 5 bits and so many more */
#define LCR_STOP   0x04u /* a second stop bit (with 5 bits half of one, counted whole here) */
#define LCR_PARITY 0x08u

#define LOOKS_FOR_DATA 16u /* reads of LSR without a write: who waits for data does that */

struct ser8250 {
    const struct vdev_services *host;
    struct vdev_slot *slot;

    uint8_t ier, fcr, lcr, mcr, scr;
    uint8_t lsr_errors; /* LSR_OE, LSR_BI: until LSR is read */
    uint8_t msr;
    uint16_t divisor;
    bool is_thre_pending; /* the THRE interrupt waits for IIR to be read or THR to be written */

    uint8_t fifo[FIFO_SIZE];
    uint32_t fifo_first, fifo_count;
    bool is_break[FIFO_SIZE]; /* this byte stands for a break */
    bool has_timed_out;       /* bytes have waited in the FIFO for four characters' time */
    uint64_t touched_ns;      /* when a byte last came into it, or was read */
    uint64_t untouched_ns;    /* as saved: how long ago that was */
    bool is_peer_waiting;     /* receive took less than it was given */
    bool is_receiving;        /* the guest has shown since its reset that it will read */
    uint32_t looks;           /* reads of LSR since the last write */

    uint64_t received, sent, overruns, breaks;
};

/* The line is as it is to be. */
void ser8250_update(struct ser8250 *serial);

bool ser8250_has_fifos(const struct ser8250 *serial);

/* As LSR reads, whose reading takes errors away. */
uint8_t ser8250_line_status(const struct ser8250 *serial);

void ser8250_state(void *device, vdev_state_fn add, void *context);
int ser8250_save(void *device);
int ser8250_restore(void *device);

#endif
