/* Polled: nobody is told of anything by an interrupt. */
#include "tests/guests/bare/net.h"

#include <stdbool.h>
#include <stdint.h>

#include "tests/guests/bare/console.h"
#include "tests/guests/bare/queues.h"
#include "tests/guests/bare/text.h"
#include "tests/guests/bare/virtio.h"
#include "tests/guests/bare/virtio_registers.h"

enum { ID_NET = 1, FEATURE_MAC = 1 << 5 };
enum { HEAD = 12, ETHERNET = 14, IP = 20, UDP = 8, ARP = 28, BOOTP = 300 };
enum { TYPE_IP = 0x0800, TYPE_ARP = 0x0806, PORT_SERVER = 67, PORT_CLIENT = 68, OWN_PORT = 4321 };

#define COOKIE   0x63825363U
#define PATIENCE 200000000U /* readings of an index */

static uint8_t own_mac[6], router_mac[6];
static uint32_t own_ip, router_ip;

/* Behind virtio's header. */
static uint8_t *frame_of(unsigned queue, unsigned i)
{
    return (uint8_t *)queues_buffer(queue, i) + HEAD;
}

static void put(uint8_t *at, uint32_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        at[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    }
}

static uint32_t get(const uint8_t *at, unsigned bytes)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static void copy(uint8_t *to, const uint8_t *from, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        to[i] = from[i];
    }
}

static void fill(uint8_t *at, uint8_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        at[i] = value;
    }
}

/* The descriptor that the device has used; QUEUES_SIZE: none for a long time. */
static uint16_t wait_for(unsigned queue)
{
    for (uint32_t i = 0; i < PATIENCE; i++) {
        if (queues_has_used(queue)) {
            return queues_take(queue);
        }
        __asm__ volatile("pause");
    }
    return QUEUES_SIZE;
}

static bool open_device(uint64_t place)
{
    if (!queues_open(place, ID_NET, FEATURE_MAC)) {
        return false;
    }
    for (unsigned i = 0; i < sizeof(own_mac); i++) {
        own_mac[i] = (uint8_t)(virtio_config(i & ~3U) >> (8 * (i % 4)));
    }
    queues_begin();
    return true;
}

/* Send what lies behind Ethernet's header. */
static void send(const uint8_t to[6], uint16_t type, uint32_t size)
{
    uint8_t *frame = frame_of(QUEUES_TRANSMIT, 0);

    fill(frame - HEAD, 0, HEAD);
    copy(frame, to, 6);
    copy(frame + 6, own_mac, 6);
    put(frame + 12, type, 2);
    queues_offer(QUEUES_TRANSMIT, 0, HEAD + ETHERNET + size);
    (void)wait_for(QUEUES_TRANSMIT);
}

static void send_udp(const uint8_t to[6], uint32_t from_ip, uint32_t to_ip, const uint16_t ports[2],
                     uint32_t size)
{
    uint8_t *ip = frame_of(QUEUES_TRANSMIT, 0) + ETHERNET;
    uint32_t sum = 0;

    fill(ip, 0, IP + UDP);
    put(ip, 0x45, 1);
    put(ip + 2, IP + UDP + size, 2);
    put(ip + 8, 64 << 8 | 17, 2); /* how far, and UDP */
    put(ip + 12, from_ip, 4);
    put(ip + 16, to_ip, 4);
    for (unsigned i = 0; i < IP; i += 2) {
        sum += get(ip + i, 2);
    }
    sum = (sum & 0xffff) + (sum >> 16);
    put(ip + 10, ~(sum + (sum >> 16)) & 0xffff, 2);
    put(ip + IP, ports[0], 2);
    put(ip + IP + 2, ports[1], 2);
    put(ip + IP + 4, UDP + size, 2); /* without a sum: 0 */
    send(to, TYPE_IP, IP + UDP + size);
}

/* The next frame of that type, and of UDP to that port; NULL: none comes. */
static const uint8_t *receive(uint16_t type, uint16_t port)
{
    static uint8_t kept[QUEUES_BUFFER];

    for (;;) {
        uint16_t i = wait_for(QUEUES_RECEIVE);

        if (i == QUEUES_SIZE) {
            return NULL;
        }
        copy(kept, frame_of(QUEUES_RECEIVE, i), QUEUES_BUFFER - HEAD);
        queues_offer(QUEUES_RECEIVE, i, QUEUES_BUFFER);
        if (get(kept + 12, 2) == type &&
            (type != TYPE_IP ||
             (kept[ETHERNET + 9] == 17 && get(kept + ETHERNET + IP + 2, 2) == port))) {
            return kept + ETHERNET;
        }
    }
}

/* DHCP: a server offers an address, and that is taken. */
static bool find_address(void)
{
    static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint16_t ports[] = {PORT_CLIENT, PORT_SERVER};
    uint8_t *bootp = frame_of(QUEUES_TRANSMIT, 0) + ETHERNET + IP + UDP;
    const uint8_t *answer, *option;

    fill(bootp, 0, BOOTP);
    put(bootp, 0x01010600, 4); /* a request, by Ethernet */
    put(bootp + 4, 0x1234, 4);
    put(bootp + 10, 0x8000, 2); /* the answer is for all */
    copy(bootp + 28, own_mac, 6);
    put(bootp + 236, COOKIE, 4);
    put(bootp + 240, 0x350101ff, 4); /* "discover" */
    send_udp(all, 0, 0xffffffff, ports, BOOTP);
    answer = receive(TYPE_IP, PORT_CLIENT);
    if (answer == NULL) {
        return false;
    }
    own_ip = get(answer + IP + UDP + 16, 4);
    for (option = answer + IP + UDP + 240; option[0] != 0xff; option += 2 + option[1]) {
        if (option[0] == 3) {
            router_ip = get(option + 2, 4);
        }
    }
    return true;
}

static bool find_router(void)
{
    static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t *arp = frame_of(QUEUES_TRANSMIT, 0) + ETHERNET;
    const uint8_t *answer;

    fill(arp, 0, ARP);
    put(arp, 0x00010800, 4);
    put(arp + 4, 0x06040001, 4); /* who has */
    copy(arp + 8, own_mac, 6);
    put(arp + 14, own_ip, 4);
    put(arp + 24, router_ip, 4);
    send(all, TYPE_ARP, ARP);
    answer = receive(TYPE_ARP, 0);
    if (answer == NULL) {
        return false;
    }
    copy(router_mac, answer + 8, 6);
    return true;
}

/* PLACE PORT WORD: say it to that port of the router, and print what comes back */
void net_command(const char *arguments)
{
    uint64_t place, port;
    uint16_t ports[2] = {OWN_PORT, 0};
    uint8_t *data = frame_of(QUEUES_TRANSMIT, 0) + ETHERNET + IP + UDP;
    const uint8_t *answer;
    uint32_t size = 0;

    if (!text_number(arguments, 16, &place, &arguments) ||
        !text_number(arguments, 10, &port, &arguments) || !open_device(place)) {
        print("net: PLACE PORT WORD\n");
        return;
    }
    arguments = text_skip_blanks(arguments);
    if (!find_address()) {
        print("net: no address\n");
        return;
    }
    print("net: address %x, router %x\n", (uint64_t)own_ip, (uint64_t)router_ip);
    if (!find_router()) {
        print("net: no router\n");
        return;
    }
    while (arguments[size] != '\0') {
        data[size] = (uint8_t)arguments[size];
        size++;
    }
    ports[1] = (uint16_t)port;
    send_udp(router_mac, own_ip, router_ip, ports, size);
    answer = receive(TYPE_IP, OWN_PORT);
    print("net: answer: ");
    for (uint32_t i = IP + UDP; answer != NULL && i < get(answer + 2, 2); i++) {
        print("%c", (int)answer[i]);
    }
    print("\n");
    virtio_set(VIRTIO_STATUS, 0);
}
