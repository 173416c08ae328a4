#include "tests/guests/bare/vsock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/guests/bare/console.h"
#include "tests/guests/bare/interrupts.h"
#include "tests/guests/bare/machine.h"
#include "tests/guests/bare/queues.h"
#include "tests/guests/bare/text.h"
#include "tests/guests/bare/virtio.h"
#include "tests/guests/bare/virtio_registers.h"

enum { ID_VSOCK = 19, STREAM_SOCKETS = 1, NEEDS_RESET = 0x40 };
enum { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST };
enum { HOST = 2, STREAM = 1, BOTH = 3, HEADER = 44, BYTES = QUEUES_BUFFER - HEADER };

#define OWN_PORT 1234U

struct header {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port, len;
    uint16_t type, op;
    uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

struct packet {
    struct header header;
    uint8_t bytes[BYTES];
};

static uint64_t cid;
static volatile bool needs_reset;
/* The connection that there is: what the host has room for, and what we have had of it. */
static uint32_t host_alloc, host_forwarded, sent, forwarded;
static struct header kept; /* came while we waited for room; op 0: none */

static struct packet *packet_at(unsigned queue, unsigned i)
{
    return queues_buffer(queue, i);
}

/* Of either queue, or of a change. */
static void on_line(void)
{
    virtio_set(VIRTIO_INTERRUPT_ACK, virtio_get(VIRTIO_INTERRUPT_STATUS));
    needs_reset = (virtio_get(VIRTIO_STATUS) & NEEDS_RESET) != 0;
}

/* The descriptor that the device has used; QUEUES_SIZE: it asks for a reset. */
static uint16_t wait_for(unsigned queue)
{
    while (!queues_has_used(queue)) {
        interrupts_off();
        if (!queues_has_used(queue)) {
            interrupts_wait();
        }
        interrupts_on();
        if (needs_reset) {
            return QUEUES_SIZE;
        }
    }
    return queues_take(queue);
}

static bool open_device(uint64_t place, uint8_t gsi)
{
    if (!queues_open(place, ID_VSOCK, STREAM_SOCKETS)) {
        return false;
    }
    needs_reset = false;
    virtio_listen(gsi, on_line);
    cid = virtio_get(VIRTIO_CONFIG);
    queues_begin();
    return true;
}

/* Send a packet, and wait until the device has it. Its bytes are there already. */
static bool send(uint32_t own_port, uint32_t host_port, uint16_t op, uint32_t size)
{
    packet_at(QUEUES_TRANSMIT, 0)->header =
        (struct header){.src_cid = cid,
                        .dst_cid = HOST,
                        .src_port = own_port,
                        .dst_port = host_port,
                        .len = size,
                        .type = STREAM,
                        .op = op,
                        .flags = op == SHUTDOWN ? BOTH : 0,
                        .buf_alloc = BYTES, /* one packet at a time */
                        .fwd_cnt = forwarded};
    sent += size;
    queues_offer(QUEUES_TRANSMIT, 0, HEADER + size);
    return wait_for(QUEUES_TRANSMIT) != QUEUES_SIZE;
}

/* Wait for a packet: a copy of its header; its bytes are to be sent back. False: it is over. */
static bool receive_new(struct header *header)
{
    uint16_t i = wait_for(QUEUES_RECEIVE);

    if (i == QUEUES_SIZE) {
        return false;
    }
    *header = packet_at(QUEUES_RECEIVE, i)->header;
    for (uint32_t at = 0; at < header->len && at < BYTES; at++) {
        packet_at(QUEUES_TRANSMIT, 0)->bytes[at] = packet_at(QUEUES_RECEIVE, i)->bytes[at];
    }
    host_alloc = header->buf_alloc;
    host_forwarded = header->fwd_cnt;
    forwarded += header->op == RW ? header->len : 0;
    queues_offer(QUEUES_RECEIVE, i, QUEUES_BUFFER);
    return true;
}

static bool receive(struct header *header)
{
    if (kept.op == 0) {
        return receive_new(header);
    }
    *header = kept;
    kept.op = 0;
    return true;
}

/* What came goes back, as soon as the host has room. No more bytes come before: we have none. */
static void send_back(uint32_t own_port, uint32_t host_port, uint32_t size)
{
    struct header header;

    while (host_alloc - (sent - host_forwarded) < size) {
        if (!receive_new(&header)) {
            return;
        }
        if (header.op == SHUTDOWN || header.op == RST) {
            kept = header;
        }
        if (header.op == RST || (header.op == SHUTDOWN && header.flags == BOTH)) {
            return; /* nobody reads there any more */
        }
    }
    (void)send(own_port, host_port, RW, size);
}

/* Take connections to a port, and send back what comes, until so many are over. */
static void echo(uint32_t port, uint64_t count)
{
    struct header header;
    uint64_t bytes = 0;

    while (count > 0 && receive(&header)) {
        if (header.op == REQUEST) {
            bytes = sent = forwarded = 0;
            (void)send(header.dst_port, header.src_port, header.dst_port == port ? RESPONSE : RST,
                       0);
        } else if (header.op == RW) {
            bytes += header.len;
            send_back(port, header.src_port, header.len);
        } else if (header.op == SHUTDOWN && header.flags != BOTH) {
            (void)send(port, header.src_port, SHUTDOWN, 0); /* all that came was sent back */
        } else if (header.op == CREDIT_REQUEST) {
            (void)send(port, header.src_port, CREDIT_UPDATE, 0);
        } else if (header.op == SHUTDOWN || header.op == RST) {
            if (header.op == SHUTDOWN) {
                (void)send(port, header.src_port, RST, 0);
            }
            print("vsock: %u bytes\n", bytes);
            count--;
        }
    }
}

/* Connect to a port of the host, say hello, and tell what comes back; or, of several, nothing.
 * Returns whether anybody was there. */
static bool call(uint32_t port, uint32_t own_port, bool is_told)
{
    static const char hello[] = "hello";
    struct header header;
    uint64_t bytes = 0;
    bool was_there = false;

    sent = forwarded = 0;
    (void)send(own_port, port, REQUEST, 0);
    while (receive(&header)) {
        if (header.op == RST) {
            if (is_told) {
                print("vsock: reset after %u bytes\n", bytes);
            }
            return was_there;
        }
        if (header.op == RESPONSE) {
            was_there = true;
            for (uint32_t i = 0; i < sizeof(hello) - 1; i++) {
                packet_at(QUEUES_TRANSMIT, 0)->bytes[i] = (uint8_t)hello[i];
            }
            (void)send(own_port, port, RW, sizeof(hello) - 1);
        } else if (header.op == RW) {
            for (uint32_t i = 0; is_told && i < header.len; i++) {
                print("%c", (int)packet_at(QUEUES_TRANSMIT, 0)->bytes[i]);
            }
            bytes += header.len;
        } else if (header.op == CREDIT_REQUEST) {
            (void)send(own_port, port, CREDIT_UPDATE, 0);
        } else if (header.op == SHUTDOWN) {
            (void)send(own_port, port, SHUTDOWN, 0);
        }
    }
    return was_there;
}

/* Call until somebody was there so many times. */
static void call_until(uint32_t port, uint64_t count)
{
    uint32_t own_port = OWN_PORT;
    uint64_t tries = 0, made = 0;

    while (made < count && !needs_reset) {
        tries++;
        if (call(port, own_port++, false)) {
            print("vsock: call %u after %u tries\n", ++made, tries);
        }
    }
}

/* PLACE GSI listen PORT COUNT, PLACE GSI calls PORT COUNT, or PLACE GSI call PORT; over MMIO */
void vsock_command(const char *arguments)
{
    uint64_t place, gsi, port, count = 0;
    bool is_echo, is_until;

    if (!text_number(arguments, 16, &place, &arguments) ||
        !text_number(arguments, 10, &gsi, &arguments) || !open_device(place, (uint8_t)gsi)) {
        print("vsock: there is none\n");
        return;
    }
    arguments = text_skip_blanks(arguments);
    is_echo = text_starts(arguments, "listen ");
    is_until = text_starts(arguments, "calls ");
    if (!text_number(arguments + sizeof("call") - 1 + (is_echo ? 2 : 0) + (is_until ? 1 : 0), 10,
                     &port, &arguments) ||
        ((is_echo || is_until) && !text_number(arguments, 10, &count, NULL))) {
        print("vsock: PLACE GSI listen PORT COUNT, calls PORT COUNT, or call PORT\n");
        return;
    }
    print("vsock: cid %u\n", cid);
    if (is_echo) {
        echo((uint32_t)port, count);
    } else if (is_until) {
        call_until((uint32_t)port, count);
    } else {
        (void)call((uint32_t)port, OWN_PORT, true);
    }
    virtio_set(VIRTIO_STATUS, 0);
}
