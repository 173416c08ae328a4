/* A network card: what the driver commands (virtio 1.2, 5.1.6.5).
 *
 * A command is done before its buffer is used, or refused, and changes nothing then. */
#include <string.h>

#include "vdevs/virtio_net.h"

#define ROUND_COMMANDS 16u /* of one round: others want the lock, too */

enum { ANSWER_OK = 0, ANSWER_ERR = 1 };

enum { CLASS_RX = 0, CLASS_MAC = 1, CLASS_MQ = 4 };
enum { RX_PROMISC = 0, RX_ALLMULTI = 1 };
enum { MAC_TABLE_SET = 0, MAC_ADDR_SET = 1 };
enum { MQ_VQ_PAIRS_SET = 0 };

struct command {
    uint8_t class, what;
};

/* All that follows the command, if it is `size` bytes. */
static bool read_rest(const struct virtq_chain *chain, void *to, size_t size)
{
    return chain->read_size == sizeof(struct command) + size &&
           virtq_read(chain, sizeof(struct command), to, size) == size;
}

static bool set_mode(bool *mode, const struct virtq_chain *chain)
{
    uint8_t is_on;

    if (!read_rest(chain, &is_on, sizeof(is_on)) || is_on > 1) {
        return false;
    }
    *mode = is_on != 0;
    return true;
}

/* One of the two tables, from byte *at on. */
static bool read_table(const struct virtq_chain *chain, uint64_t *at,
                       struct net_addresses *addresses)
{
    uint32_t count;
    size_t size;

    if (virtq_read(chain, *at, &count, sizeof(count)) != sizeof(count)) {
        return false;
    }
    *at += sizeof(count);
    if (count > (chain->read_size - *at) / NET_MAC_SIZE) {
        return false;
    }
    addresses->is_any = count > NET_ADDRESSES_MAX;
    addresses->count = addresses->is_any ? 0 : count;
    size = (size_t)addresses->count * NET_MAC_SIZE;
    *at += (uint64_t)count * NET_MAC_SIZE;
    return virtq_read(chain, *at - (uint64_t)count * NET_MAC_SIZE, addresses->macs, size) == size;
}

static bool set_tables(struct net *net, const struct virtq_chain *chain)
{
    struct net_addresses ones = {0}, groups = {0};
    uint64_t at = sizeof(struct command);

    if (!read_table(chain, &at, &ones) || !read_table(chain, &at, &groups) ||
        at != chain->read_size) {
        return false;
    }
    net->filter.ones = ones;
    net->filter.groups = groups;
    return true;
}

static bool set_mac(struct net *net, const struct virtq_chain *chain)
{
    uint8_t mac[NET_MAC_SIZE];

    if (!read_rest(chain, mac, sizeof(mac)) || net_mac_is_group(mac)) {
        return false;
    }
    memcpy(net->config.mac, mac, sizeof(mac));
    return true;
}

/* 5.1.6.5.5: what waits for buffers of a queue that is used no more gets those of another. */
static bool set_pairs(struct net *net, const struct virtq_chain *chain)
{
    uint16_t count;

    if (!read_rest(chain, &count, sizeof(count)) || count < 1 || count > net->pair_count) {
        return false;
    }
    net_kernel_rest(net); /* it begins anew with as many */
    net->active_count = count;
    net_kernel_start(net);
    for (uint32_t i = 0; i < net->lane_count; i++) {
        net->virtio.host->ring(net->virtio.slot, EVENT_NETWORK + i);
    }
    return true;
}

static bool do_command(struct net *net, const struct virtq_chain *chain)
{
    const struct virtio *virtio = &net->virtio;
    struct command command;

    (void)virtq_read(chain, 0, &command, sizeof(command));
    if (command.class == CLASS_RX && virtio_has(virtio, F_CTRL_RX)) {
        switch (command.what) {
        case RX_PROMISC:
            return set_mode(&net->filter.is_promiscuous, chain);
        case RX_ALLMULTI:
            return set_mode(&net->filter.takes_groups, chain);
        default:
            return false;
        }
    }
    if (command.class == CLASS_MAC && command.what == MAC_TABLE_SET) {
        return virtio_has(virtio, F_CTRL_RX) && set_tables(net, chain);
    }
    if (command.class == CLASS_MAC && command.what == MAC_ADDR_SET) {
        return virtio_has(virtio, F_CTRL_MAC_ADDR) && set_mac(net, chain);
    }
    if (command.class == CLASS_MQ && command.what == MQ_VQ_PAIRS_SET) {
        return virtio_has(virtio, F_MQ) && set_pairs(net, chain);
    }
    return false;
}

void net_control(struct net *net)
{
    struct virtq_chain chain = {.segments = net->segments, .room = SEGMENTS_MAX};
    uint32_t count = 0, queue = net_control_queue(net);

    while (count < ROUND_COMMANDS && virtio_take_or_wait(&net->virtio, queue, &chain)) {
        uint8_t answer;

        if (chain.read_size < sizeof(struct command) || chain.write_size < sizeof(answer)) {
            virtio_need_reset(&net->virtio); /* nobody could be told */
            net_kernel_rest(net);
            return;
        }
        answer = do_command(net, &chain) ? ANSWER_OK : ANSWER_ERR;
        (void)virtq_write(&chain, 0, &answer, sizeof(answer));
        virtio_use(&net->virtio, queue, &chain, sizeof(answer));
        count++;
    }
    if ((net->virtio.status & VIRTIO_NEEDS_RESET) != 0) { /* its ring is none */
        net_kernel_rest(net);
    }
    virtio_tell(&net->virtio, queue);
    if (count == ROUND_COMMANDS) {
        net->virtio.host->ring(net->virtio.slot, queue);
    }
}
