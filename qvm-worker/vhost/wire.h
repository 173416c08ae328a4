/* Messages of vhost-user as they go over the socket: for vhost.c and tests alone.
 *
 * Source: "Vhost-user Protocol" of the QEMU project: "Message Specification". Numbers have the byte
 * order of the machine; both ends are on one. */
#ifndef QVM_WORKER_VHOST_WIRE_H
#define QVM_WORKER_VHOST_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qvm-worker/vhost/vhost.h"

#define WIRE_BIT(n) (UINT64_C(1) << (n))

/* "Front-end message types" */
#define WIRE_GET_FEATURES          1u
#define WIRE_SET_FEATURES          2u
#define WIRE_SET_OWNER             3u
#define WIRE_SET_MEM_TABLE         5u
#define WIRE_SET_VRING_NUM         8u
#define WIRE_SET_VRING_ADDR        9u
#define WIRE_SET_VRING_BASE        10u
#define WIRE_GET_VRING_BASE        11u
#define WIRE_SET_VRING_KICK        12u
#define WIRE_SET_VRING_CALL        13u
#define WIRE_GET_PROTOCOL_FEATURES 15u
#define WIRE_SET_PROTOCOL_FEATURES 16u
#define WIRE_GET_QUEUE_NUM         17u
#define WIRE_SET_VRING_ENABLE      18u
#define WIRE_GET_CONFIG            24u
#define WIRE_SET_CONFIG            25u

/* Among the device's features; and features of the protocol */
#define WIRE_F_PROTOCOL_FEATURES 30u
#define WIRE_P_MQ                0u
#define WIRE_P_REPLY_ACK         3u
#define WIRE_P_CONFIG            9u
#define WIRE_P_OURS              (WIRE_BIT(WIRE_P_MQ) | WIRE_BIT(WIRE_P_REPLY_ACK) | WIRE_BIT(WIRE_P_CONFIG))

/* Flags of the header */
#define WIRE_VERSION      1u
#define WIRE_VERSION_MASK 3u
#define WIRE_REPLY        4u
#define WIRE_NEED_REPLY   8u

struct wire_header {
    uint32_t request, flags, size; /* of what follows */
};

struct wire_region {
    uint64_t guest, size, user, offset;
};

struct wire_memory {
    uint32_t count, padding;
    struct wire_region regions[VHOST_REGIONS_MAX];
};

struct wire_state {
    uint32_t index, number;
};

struct wire_address {
    uint32_t index, flags;
    uint64_t descriptors, used, available, log;
};

struct wire_config {
    uint32_t offset, size, flags;
    uint8_t bytes[VHOST_CONFIG_MAX];
};
#define WIRE_CONFIG_HEAD 12u

struct wire_message {
    struct wire_header header;
    union {
        uint64_t number;
        struct wire_state state;
        struct wire_address address;
        struct wire_memory memory;
        struct wire_config config;
    } __attribute__((packed)) payload;
} __attribute__((packed));
_Static_assert(offsetof(struct wire_message, payload) == sizeof(struct wire_header), "no gap");

static inline struct wire_message wire_message(uint32_t request, uint32_t size)
{
    return (struct wire_message){
        .header = {.request = request, .flags = WIRE_VERSION, .size = size}};
}

/* Whether a header begins an answer to `request` of `least` to `most` bytes. */
static inline bool wire_is_answer(const struct wire_header *header, uint32_t request,
                                  uint32_t least, uint32_t most)
{
    return header->request == request &&
           (header->flags & (WIRE_VERSION_MASK | WIRE_REPLY)) == (WIRE_VERSION | WIRE_REPLY) &&
           header->size >= least && header->size <= most;
}

#endif
