/* A serial port: the National PC16550D, as PCs have it (COM1).
 *
 * Section numbers (8.x) are those of National Semiconductor's data sheet PC16550D, "Universal
 * Asynchronous Receiver/Transmitter with FIFOs", June 1995. What has no meaning without a wire is
 * kept for the guest to read and does nothing, but that speed, word length and parity say how long
 * a character takes, and so when the FIFO's timeout is over. The transmitter is infinitely fast: it
 * is empty whenever the guest looks. */
#include "vdevs/ser8250.h"

#include <stdlib.h>
#include <string.h>

#include <qvm/vdev.h>

bool ser8250_has_fifos(const struct ser8250 *serial)
{
    return (serial->fcr & FCR_ENABLE) != 0;
}

/* Bytes that fit: without FIFOs the one of the receiver buffer. */
static uint32_t fifo_room(const struct ser8250 *serial)
{
    uint32_t size = ser8250_has_fifos(serial) ? FIFO_SIZE : 1;

    return serial->fifo_count < size ? size - serial->fifo_count : 0;
}

/* 8.4: the level in FCR's top bits at which received data raises its interrupt. */
static uint32_t trigger_level(const struct ser8250 *serial)
{
    static const uint8_t levels[] = {1, 4, 8, 14};

    return ser8250_has_fifos(serial) ? levels[serial->fcr >> 6] : 1;
}

uint8_t ser8250_line_status(const struct ser8250 *serial)
{
    uint8_t lsr = LSR_THRE | LSR_TEMT | serial->lsr_errors;

    lsr |= serial->fifo_count > 0 ? LSR_DR : 0;
    for (uint32_t i = 0; ser8250_has_fifos(serial) && i < serial->fifo_count; i++) {
        lsr |= serial->is_break[(serial->fifo_first + i) % FIFO_SIZE] ? LSR_ERR : 0;
    }
    return lsr;
}

/* 8.6, table IV: the highest pending interrupt. */
static uint8_t pending_interrupt(const struct ser8250 *serial)
{
    if ((serial->ier & IER_RLS) != 0 && serial->lsr_errors != 0) {
        return IIR_RLS;
    }
    if ((serial->ier & IER_RDA) != 0 && serial->fifo_count >= trigger_level(serial)) {
        return IIR_RDA;
    }
    if ((serial->ier & IER_RDA) != 0 && serial->has_timed_out) {
        return IIR_TIMEOUT;
    }
    if ((serial->ier & IER_THRE) != 0 && serial->is_thre_pending) {
        return IIR_THRE;
    }
    if ((serial->ier & IER_MS) != 0 && (serial->msr & 0x0f) != 0) {
        return IIR_MS;
    }
    return IIR_NONE;
}

/* 8.11, A: nobody has put anything into the FIFO, or read it, for as long as this. */
static uint64_t timeout_ns(const struct ser8250 *serial)
{
    uint64_t divisor = serial->divisor != 0 ? serial->divisor : 1;
    uint64_t bits = 7 + (serial->lcr & LCR_SIZE); /* start, 5 of data, stop */

    bits += (serial->lcr & LCR_STOP) != 0 ? 1 : 0;
    bits += (serial->lcr & LCR_PARITY) != 0 ? 1 : 0;
    return TIMEOUT_CHARACTERS * bits * divisor * CLOCKS_A_BIT * 1000000000u / CLOCK_HZ;
}

/* The timer is for who is told by an interrupt alone. */
static void watch_fifo(struct ser8250 *serial)
{
    uint64_t deadline_ns = 0;

    if (ser8250_has_fifos(serial) && serial->fifo_count > 0 && !serial->has_timed_out) {
        deadline_ns = serial->touched_ns + timeout_ns(serial);
        serial->has_timed_out = serial->host->now_ns(serial->slot) >= deadline_ns;
    }
    if (serial->has_timed_out || (serial->ier & IER_RDA) == 0) {
        deadline_ns = 0;
    }
    serial->host->timer(serial->slot, 0, deadline_ns);
}

/* In loopback OUT2 is not connected to the pin (8.8). */
void ser8250_update(struct ser8250 *serial)
{
    bool is_let_through = (serial->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

    watch_fifo(serial);
    serial->host->intr(serial->slot, 0, is_let_through && pending_interrupt(serial) != IIR_NONE);
}

/* 8.3: without room the byte in the receiver is lost, and the overrun is told. Without FIFOs the
 * new byte takes the place of the old. */
static void receive_byte(struct ser8250 *serial, uint8_t byte, bool is_break)
{
    uint32_t at;

    if (fifo_room(serial) == 0) {
        serial->lsr_errors |= LSR_OE;
        serial->overruns++;
        if (ser8250_has_fifos(serial)) {
            return;
        }
        serial->fifo_count = 0;
    }
    serial->touched_ns = serial->host->now_ns(serial->slot);
    at = (serial->fifo_first + serial->fifo_count) % FIFO_SIZE;
    serial->fifo[at] = byte;
    serial->is_break[at] = is_break;
    serial->fifo_count++;
    if (is_break && serial->fifo_count == 1) {
        serial->lsr_errors |= LSR_BI; /* errors show when their byte is at the top */
    }
}

static void clear_fifo(struct ser8250 *serial)
{
    serial->fifo_first = 0;
    serial->fifo_count = 0;
    serial->has_timed_out = false;
}

/* The peer obeys RTS as a terminal with a handshake does, but once only: before a driver has set up
 * its port, bytes would be thrown away by what it does to set it up. A driver without RTS shows
 * that it reads by the receiver's interrupt, or by asking for data again and again and writing
 * nothing; it may look at other registers meanwhile (EDK II: MCR and MSR each time). */
static void note_receiver(struct ser8250 *serial)
{
    bool is_ready = (serial->mcr & (MCR_RTS | MCR_LOOP)) == MCR_RTS;
    bool is_interrupted =
        (serial->ier & IER_RDA) != 0 && (serial->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

    serial->is_receiving =
        serial->is_receiving || is_ready || is_interrupted || serial->looks >= LOOKS_FOR_DATA;
}

static bool can_receive(const struct ser8250 *serial)
{
    return serial->is_receiving && fifo_room(serial) > 0 && (serial->mcr & MCR_LOOP) == 0;
}

/* Let the peer go on, if it waits and there is room. */
static void resume_peer(struct ser8250 *serial)
{
    if (serial->is_peer_waiting && can_receive(serial)) {
        serial->is_peer_waiting = false;
        serial->host->stream_resume(serial->slot);
    }
}

/* Between two interrupts a real line is low for a moment, and edge-triggered pins wait for it. The
 * caller's ser8250_update raises it again if something is pending. */
static void drop_interrupt(struct ser8250 *serial)
{
    serial->host->intr(serial->slot, 0, false);
}

/* 8.11, C and D: a read ends the timeout, and its time begins anew. */
static uint8_t read_rbr(struct ser8250 *serial)
{
    uint8_t byte = serial->fifo[serial->fifo_first % FIFO_SIZE];

    if (serial->fifo_count > 0) {
        serial->has_timed_out = false;
        serial->touched_ns = serial->host->now_ns(serial->slot);
        serial->fifo_first = (serial->fifo_first + 1) % FIFO_SIZE;
        serial->fifo_count--;
        if (serial->fifo_count > 0 && serial->is_break[serial->fifo_first]) {
            serial->lsr_errors |= LSR_BI;
        }
    }
    resume_peer(serial);
    return byte;
}

static void write_thr(struct ser8250 *serial, uint8_t byte)
{
    if ((serial->mcr & MCR_LOOP) != 0) {
        receive_byte(serial, byte, false);
    } else {
        serial->sent++;
        serial->host->stream_write(serial->slot, &byte, 1);
    }
    /* A FIFO raises one interrupt when it is empty, however many bytes went into it. */
    if (serial->is_thre_pending && !ser8250_has_fifos(serial)) {
        drop_interrupt(serial);
    }
    serial->is_thre_pending = true; /* sent already */
}

/* 8.5: FCR bits count only together with bit 0; a change of bit 0 clears both FIFOs. */
static void write_fcr(struct ser8250 *serial, uint8_t value)
{
    if (((serial->fcr ^ value) & FCR_ENABLE) != 0) {
        clear_fifo(serial);
    }
    if ((value & FCR_ENABLE) != 0 && (value & FCR_CLEAR_R) != 0) {
        clear_fifo(serial);
    }
    serial->fcr = (value & FCR_ENABLE) != 0 ? value & 0xc9u : 0;
    resume_peer(serial);
}

/* 8.8: in loopback the outputs feed the inputs: RTS CTS, DTR DSR, OUT1 RI, OUT2 DCD. */
static uint8_t modem_lines(const struct ser8250 *serial)
{
    uint8_t lines = 0;

    if ((serial->mcr & MCR_LOOP) == 0) {
        return MSR_CONNECTED;
    }
    lines |= (serial->mcr & MCR_RTS) != 0 ? MSR_CTS : 0;
    lines |= (serial->mcr & MCR_DTR) != 0 ? MSR_DSR : 0;
    lines |= (serial->mcr & MCR_OUT1) != 0 ? MSR_RI : 0;
    lines |= (serial->mcr & MCR_OUT2) != 0 ? MSR_DCD : 0;
    return lines;
}

static void write_mcr(struct ser8250 *serial, uint8_t value)
{
    uint8_t old = serial->msr;
    uint8_t lines;

    serial->mcr = value & MCR_ALL;
    lines = modem_lines(serial);
    serial->msr = (uint8_t)((old & 0x0fu) | lines);
    serial->msr |= ((old ^ lines) & MSR_CTS) != 0 ? MSR_DCTS : 0;
    serial->msr |= ((old ^ lines) & MSR_DSR) != 0 ? MSR_DDSR : 0;
    serial->msr |= ((old ^ lines) & MSR_DCD) != 0 ? MSR_DDCD : 0;
    serial->msr |= (old & MSR_RI) != 0 && (lines & MSR_RI) == 0 ? MSR_TERI : 0;
    resume_peer(serial);
}

/* 8.1: in loopback the transmitter's break comes back. */
static void write_lcr(struct ser8250 *serial, uint8_t value)
{
    bool begins_break = (value & LCR_BREAK) != 0 && (serial->lcr & LCR_BREAK) == 0;

    serial->lcr = value;
    if (begins_break && (serial->mcr & MCR_LOOP) != 0) {
        receive_byte(serial, 0, true);
    }
}

static uint8_t read_register(struct ser8250 *serial, uint64_t at)
{
    bool is_divisor = (serial->lcr & LCR_DLAB) != 0;
    uint8_t value;

    switch (at) {
    case RBR_THR:
        return is_divisor ? (uint8_t)serial->divisor : read_rbr(serial);
    case IER:
        return is_divisor ? (uint8_t)(serial->divisor >> 8) : serial->ier;
    case IIR_FCR:
        value = pending_interrupt(serial);
        if (value == IIR_THRE) {
            serial->is_thre_pending = false; /* 8.6, table IV: reset control */
        }
        return value | (ser8250_has_fifos(serial) ? IIR_FIFOS : 0);
    case LCR:
        return serial->lcr;
    case MCR:
        return serial->mcr;
    case LSR:
        value = ser8250_line_status(serial);
        serial->lsr_errors = 0;
        if (serial->fifo_count > 0) {
            serial->is_break[serial->fifo_first] = false;
        }
        return value;
    case MSR:
        value = serial->msr;
        serial->msr &= 0xf0;
        return value;
    case SCR:
        return serial->scr;
    default:
        return 0xff;
    }
}

static void write_register(struct ser8250 *serial, uint64_t at, uint8_t value)
{
    bool is_divisor = (serial->lcr & LCR_DLAB) != 0;

    switch (at) {
    case RBR_THR:
        if (is_divisor) {
            serial->divisor = (uint16_t)((serial->divisor & 0xff00u) | value);
        } else {
            write_thr(serial, value);
        }
        break;
    case IER:
        if (is_divisor) {
            serial->divisor = (uint16_t)((serial->divisor & 0x00ffu) | (unsigned)value << 8);
        } else {
            /* Enabling THRE while the holding register is empty raises it (8.7). */
            if ((value & ~serial->ier & IER_THRE) != 0) {
                serial->is_thre_pending = true;
            }
            serial->ier = value & IER_ALL;
        }
        break;
    case IIR_FCR:
        write_fcr(serial, value);
        break;
    case LCR:
        write_lcr(serial, value);
        break;
    case MCR:
        write_mcr(serial, value);
        break;
    case SCR:
        serial->scr = value;
        break;
    default: /* LSR and MSR: for the factory only (8.3); here nothing */
        break;
    }
}

/* Ports are bytes: a wider access reaches one register after the other. */
static uint64_t ser8250_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    struct ser8250 *serial = device;
    uint64_t value = 0;

    (void)region; /* there is one */
    watch_fifo(serial);
    for (uint32_t i = 0; i < size; i++) {
        value |= (uint64_t)read_register(serial, offset + i) << (8 * i);
    }
    serial->looks += offset == LSR && serial->looks < LOOKS_FOR_DATA ? 1 : 0;
    note_receiver(serial);
    resume_peer(serial);
    ser8250_update(serial);
    return value;
}

static void ser8250_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                          uint64_t value)
{
    struct ser8250 *serial = device;

    (void)region; /* as above */
    for (uint32_t i = 0; i < size; i++) {
        write_register(serial, offset + i, (uint8_t)(value >> (8 * i)));
    }
    serial->looks = 0;
    note_receiver(serial);
    resume_peer(serial);
    ser8250_update(serial);
}

/* A peer of flesh and blood would overrun the FIFO; ours waits for room, unless loopback has cut
 * the wire: then it waits, too. */
static size_t ser8250_receive(void *device, const uint8_t *data, size_t count)
{
    struct ser8250 *serial = device;
    size_t n = 0;

    while (n < count && can_receive(serial)) {
        receive_byte(serial, data[n], false);
        n++;
    }
    serial->received += n;
    serial->is_peer_waiting = n < count;
    ser8250_update(serial);
    return n;
}

/* 8.3, bit 4: "only one zero character is loaded into the FIFO". A break does not wait for room. */
static bool ser8250_line_break(void *device)
{
    struct ser8250 *serial = device;

    if (!serial->is_receiving || (serial->mcr & MCR_LOOP) != 0) {
        return false;
    }
    serial->breaks++;
    receive_byte(serial, 0, true);
    ser8250_update(serial);
    return true;
}

/* Table II: reset configuration. */
static void ser8250_reset(void *device)
{
    struct ser8250 *serial = device;

    serial->ier = 0;
    serial->fcr = 0;
    serial->lcr = 0;
    serial->mcr = 0;
    serial->scr = 0;
    serial->lsr_errors = 0;
    serial->msr = MSR_CONNECTED;
    serial->divisor = DIVISOR_9600;
    serial->is_thre_pending = false;
    serial->is_receiving = false;
    serial->looks = 0;
    clear_fifo(serial);
    resume_peer(serial);
    ser8250_update(serial);
}

static void ser8250_timer(void *device, uint32_t timer)
{
    (void)timer; /* there is one */
    ser8250_update(device);
}

static int ser8250_create(const struct vdev_services *host, struct vdev_slot *slot,
                          const struct vdev_config *config, void **device)
{
    struct ser8250 *serial;

    if (config->regions[0].size != REGISTER_COUNT) {
        return host->fail(slot, NULL, "a serial port has 8 registers, 'loc' gives %llu",
                          (unsigned long long)config->regions[0].size);
    }
    serial = calloc(1, sizeof(*serial));
    if (serial == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    serial->host = host;
    serial->slot = slot;
    ser8250_reset(serial);
    *device = serial;
    return 0;
}

static const struct vdev_option options[] = {
    {.name = "hostdev",
     .kind = VDEV_OPTION_HOSTDEV,
     .fallback = "-",
     .doc = "the wire's other end"},
    {.name = NULL},
};

static const struct vdev_region default_regions[] = {{VDEV_SPACE_IO, 0x3f8, REGISTER_COUNT}};

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = ser8250_create,
    .destroy = free,
    .reset = ser8250_reset,
    .read = ser8250_read,
    .write = ser8250_write,
    .receive = ser8250_receive,
    .timer = ser8250_timer,
    .state = ser8250_state,
    .save = ser8250_save,
    .restore = ser8250_restore,
    .line_break = ser8250_line_break,
};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "ser8250",
    .doc = "serial port (16550A)",
    .options = options,
    .default_regions = default_regions,
    .default_region_count = 1,
    .default_intr = 4,
    .acpi_hid = "PNP0501",
    .ops = &ops,
};

QVM_VDEV_EXPORT(module);
