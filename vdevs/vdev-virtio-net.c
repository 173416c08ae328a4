/* A network card: "Network Device", virtio 1.2, 5.1, on the tap or the peer that it is given.
 *
 * Pairs of queues, each with a lane of the network, and a queue for commands. What the driver
 * leaves to us (checksums, cutting large segments) goes with the frame to the other end; what this
 * end's driver did not agree to is done here before it gets the frame (net_frame.h). Headers are
 * copied once, from the driver and from the other end alike, and checked then: a frame that makes
 * no sense is dropped and counted.
 *
 * Sending waits for the other end, but not for ever: who does not read for WAIT_NS loses frames
 * from then on, until it reads again. What arrives while the driver is not there is lost. */
#include <inttypes.h>
#include <qvm/vdev_fields.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vdevs/virtio_net.h"

#define TYPE_NET 1u /* 5 */

/* What is offered, of 5.1.3 */
#define FEATURES                                                                                   \
    (VIRTIO_BIT(F_CSUM) | VIRTIO_BIT(F_GUEST_CSUM) | VIRTIO_BIT(F_MAC) |                           \
     VIRTIO_BIT(F_GUEST_TSO4) | VIRTIO_BIT(F_GUEST_TSO6) | VIRTIO_BIT(F_GUEST_ECN) |               \
     VIRTIO_BIT(F_HOST_TSO4) | VIRTIO_BIT(F_HOST_TSO6) | VIRTIO_BIT(F_HOST_ECN) |                  \
     VIRTIO_BIT(F_MRG_RXBUF) | VIRTIO_BIT(F_STATUS) | VIRTIO_BIT(F_CTRL_VQ) |                      \
     VIRTIO_BIT(F_CTRL_RX) | VIRTIO_BIT(F_MQ) | VIRTIO_BIT(F_CTRL_MAC_ADDR))
/* Of these, what a user's network cannot do for the driver. */
#define FEATURES_LEFT                                                                              \
    (VIRTIO_BIT(F_CSUM) | VIRTIO_BIT(F_HOST_TSO4) | VIRTIO_BIT(F_HOST_TSO6) |                      \
     VIRTIO_BIT(F_HOST_ECN))
#define FEATURES_MAX UINT64_C(0xffffff) /* those of a device type, 6 */

enum option {
    OPTION_TAP,
    OPTION_PEER,
    OPTION_MAC,
    OPTION_PEERFEATS,
    OPTION_QUEUES,
    OPTION_USER,
    OPTION_VHOST
};

static const struct vdev_option options[] = {
    [OPTION_TAP] = {.name = "tap",
                    .kind = VDEV_OPTION_TAP,
                    .doc =
                        "NAME[,BRIDGE] of the host's end, a tap, and the bridge it is a port of"},
    [OPTION_PEER] = {.name = "peer",
                     .kind = VDEV_OPTION_PEER,
                     .doc = "GUEST/VDEV: a cable to that vdev of another guest"},
    [OPTION_MAC] = {.name = "mac",
                    .kind = VDEV_OPTION_TEXT,
                    .doc = "XX:XX:XX:XX:XX:XX, its address; left out: one made of the names"},
    [OPTION_PEERFEATS] = {.name = "peerfeats",
                          .kind = VDEV_OPTION_NUMBER,
                          .max = FEATURES_MAX,
                          .doc = "offer these features alone, a bit each (virtio 1.2, 5.1.3)"},
    [OPTION_QUEUES] = {.name = "queues",
                       .kind = VDEV_OPTION_NETWORK_QUEUES,
                       .min = 1,
                       .max = LANES_MAX,
                       .fallback = "1",
                       .doc = "how many pairs of queues it has, and queues its tap"},
    [OPTION_USER] = {.name = "user",
                     .kind = VDEV_OPTION_USER,
                     .doc = "connect as a program of the owner's would: by passt"},
    [OPTION_VHOST] = {.name = "vhost",
                      .kind = VDEV_OPTION_VHOST,
                      .fallback = "auto",
                      .doc =
                          "on, off, auto (where it can): the host's kernel moves a tap's frames"},
    VIRTIO_OPTIONS,
    VIRTIO_LEGACY_OPTION,
    {.name = NULL},
};

/* ---- the queues ---- */

static void net_kick(void *device, uint32_t queue)
{
    struct net *net = device;

    if (net->kernel.is_stopping) {
        return;
    }
    if (queue == net_control_queue(net)) {
        net_control(net);
    } else if (net->kernel.is_running) {
        return; /* it heard that itself, or will look */
    } else if (queue % 2 == 0) {
        net_receive_queue(net, queue);
    } else {
        net_send(net, queue / 2);
    }
}

static void stop_all(struct net *net)
{
    for (uint32_t i = 0; i < net->lane_count; i++) {
        net->lanes[i].frame_size = 0;
        net_send_stop(net, i);
    }
}

/* What waited for the other end, or came from it, is lost with it. */
static void look_at_link(struct net *net)
{
    bool is_up = net->virtio.host->network_is_up(net->virtio.slot);

    if (is_up == net_is_up(net)) {
        return;
    }
    net->config.status = is_up ? S_LINK_UP : 0;
    net->link_changes++;
    virtio_config_changed(&net->virtio);
    if (!is_up) {
        net_kernel_rest(net);
        stop_all(net);
        for (uint32_t i = 0; i < net->lane_count; i++) {
            net->virtio.host->ring(net->virtio.slot, QUEUE_TRANSMIT(i));
        }
    }
}

static void net_event(void *device, uint32_t event)
{
    struct net *net = device;
    uint32_t lane = event - EVENT_NETWORK;

    if (event >= EVENT_KERNEL) {
        net_kernel_event(net, event);
        return;
    }
    if (lane >= net->lane_count || net->kernel.is_stopping) {
        return; /* no event of ours; look at it again when all has stopped */
    }
    look_at_link(net);
    if (net->kernel.is_running) {
        return; /* of before it began */
    }
    net_receive(net, lane);
    if (net->lanes[lane].deadline_ns != 0) {
        net_send(net, lane);
    }
}

/* What waited was the driver's that is gone. */
static void net_stop(void *device, uint32_t queue)
{
    struct net *net = device;

    net_kernel_rest(net); /* all of them: a driver stops none alone while it does that */
    if (queue == net_control_queue(net)) {
        return; /* it keeps nothing */
    }
    if (queue % 2 == 0) {
        net_receive_stop(net, queue);
    } else {
        net_send_stop(net, queue / 2);
    }
}

/* 5.1.6.5.2.1: what a driver commanded is forgotten. */
static void net_forget(void *device)
{
    struct net *net = device;

    memcpy(net->config.mac, net->mac, sizeof(net->mac));
    net_filter_reset(&net->filter);
    net->active_count = 1; /* 5.1.6.5.6.2 */
    stop_all(net);
}

/* 5.1.4.3: a legacy driver without F_CTRL_MAC_ADDR writes its address here. */
static void net_config_write(void *device, uint32_t offset, uint32_t size, uint64_t value)
{
    struct net *net = device;
    uint8_t mac[NET_MAC_SIZE];

    memcpy(mac, net->config.mac, sizeof(mac));
    for (uint32_t i = 0; i < size && offset + i < sizeof(mac); i++) {
        mac[offset + i] = (uint8_t)(value >> (8 * i));
    }
    if (net->virtio.is_legacy && !virtio_has(&net->virtio, F_CTRL_MAC_ADDR) &&
        !net_mac_is_group(mac)) {
        memcpy(net->config.mac, mac, sizeof(mac));
    }
}

static void net_timer(void *device, uint32_t timer)
{
    (void)timer; /* there is one */
    net_send_late(device);
}

/* ---- the kernel's part ---- */

static void net_start(void *device)
{
    net_kernel_start(device);
}

/* While its queues stop, the driver has nothing to write. */
static void net_write(void *device, uint32_t region, uint64_t offset, uint32_t size, uint64_t value)
{
    struct net *net = device;

    if (!net->kernel.is_stopping) {
        virtio_write(device, region, offset, size, value);
        net_kernel_write(net);
    }
}

static void net_config_cap_write(void *device, uint32_t cap, uint32_t offset, uint32_t size,
                                 uint32_t value)
{
    const struct net *net = device;

    if (!net->kernel.is_stopping) {
        virtio_config_cap_write(device, cap, offset, size, value);
    }
}

static const struct virtio_type type = {
    .id = TYPE_NET,
    .class_code = 0x020000, /* Ethernet controller */
    .options = options,
    .config_write = net_config_write,
    .kick = net_kick,
    .event = net_event,
    .stop = net_stop,
    .reset = net_forget,
    .start = net_start,
    .restored = net_start,
};

/* ---- the device ---- */

/* The option `mac`. */
static int read_mac(const struct vdev_services *host, struct vdev_slot *slot,
                    const struct vdev_value *value, uint8_t mac[NET_MAC_SIZE])
{
    const char *why = net_mac_read(value->text, mac);

    return why == NULL ? 0 : host->fail(slot, value, "mac '%s' %s", value->text, why);
}

/* What one of them is nothing without, of 5.1.3.1. */
static const struct {
    unsigned feature, needs;
} needed[] = {
    {F_GUEST_TSO4, F_GUEST_CSUM}, {F_GUEST_TSO6, F_GUEST_CSUM}, {F_HOST_TSO4, F_CSUM},
    {F_HOST_TSO6, F_CSUM},        {F_CTRL_RX, F_CTRL_VQ},       {F_CTRL_MAC_ADDR, F_CTRL_VQ},
};

/* Those that `peerfeats` leaves; it has an address, whatever it can. */
static uint64_t leave_features(uint64_t chosen)
{
    uint64_t features = FEATURES & (chosen | VIRTIO_BIT(F_MAC));

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if ((features & VIRTIO_BIT(needed[i].needs)) == 0) {
            features &= ~VIRTIO_BIT(needed[i].feature); /* 2.2.1 */
        }
    }
    return features;
}

static uint32_t read_queues(const struct vdev_config *config)
{
    uint32_t queues = 1;

    for (uint32_t i = 0; i < config->value_count; i++) {
        if (config->values[i].option == OPTION_QUEUES) {
            queues = (uint32_t)config->values[i].number[0];
        }
    }
    return queues;
}

/* What the features leave of queues and configuration. */
static uint64_t lay_out(struct net *net, uint64_t features)
{
    if (net->lane_count == 1) {
        features &= ~VIRTIO_BIT(F_MQ);
    }
    net->pair_count = (features & VIRTIO_BIT(F_MQ)) != 0 ? net->lane_count : 1;
    net->config.pairs_max = (uint16_t)net->pair_count;
    net->type = type;
    net->type.queue_count = 2 * net->pair_count + ((features & VIRTIO_BIT(F_CTRL_VQ)) != 0);
    net->type.queue_sizes = net->queue_sizes;
    for (uint32_t i = 0; i < QUEUES_MAX; i++) {
        net->queue_sizes[i] = QUEUE_SIZE;
    }
    return features;
}

static int set_up(struct net *net, const struct vdev_services *host, struct vdev_slot *slot,
                  const struct vdev_config *config)
{
    uint64_t features = FEATURES, left = 0;
    uint32_t config_size;
    int r = 0;

    net_mac_make(net->mac, config->system, config->name);
    for (uint32_t i = 0; i < config->value_count && r == 0; i++) {
        const struct vdev_value *value = &config->values[i];

        if (value->option == OPTION_MAC) {
            r = read_mac(host, slot, value, net->mac);
        } else if (value->option == OPTION_PEERFEATS) {
            features = leave_features(value->number[0]);
        } else if (value->option == OPTION_USER) {
            left = FEATURES_LEFT;
        }
    }
    if (r == 0 && !host->network(slot, EVENT_NETWORK)) {
        r = host->fail(slot, NULL,
                       "say what it is connected to: 'tap NAME', 'peer GUEST/VDEV', or 'user'");
    }
    if (r != 0) {
        return r;
    }
    features = lay_out(net, features & ~left);
    memcpy(net->config.mac, net->mac, sizeof(net->mac));
    net->config.status = host->network_is_up(slot) ? S_LINK_UP : 0;
    net->active_count = 1;
    net_filter_reset(&net->filter);
    config_size = (features & VIRTIO_BIT(F_MQ)) != 0 ? sizeof(net->config)
                                                     : offsetof(struct net_config, pairs_max);
    r = virtio_init(&net->virtio, &net->type, host, slot, config, features, &net->config,
                    config_size);
    return r == 0 ? net_kernel_create(net) : r;
}

static int net_create(const struct vdev_services *host, struct vdev_slot *slot,
                      const struct vdev_config *config, void **device)
{
    uint32_t lanes = read_queues(config);
    struct net *net = calloc(1, sizeof(*net) + lanes * sizeof(net->lanes[0]));
    int r;

    if (net == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    net->lane_count = lanes;
    r = set_up(net, host, slot, config);
    if (r != 0) {
        free(net);
        return r;
    }
    *device = net;
    return 0;
}

static void net_state(void *device, vdev_state_fn add, void *context)
{
    const struct net *net = device;
    const uint8_t *mac = net->config.mac; /* as its driver has it */
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {
        {"received-frames", net->in_frames}, {"received-bytes", net->in_bytes},
        {"received-lost", net->in_dropped},  {"received-unwanted", net->in_unwanted},
        {"sent-frames", net->out_frames},    {"sent-bytes", net->out_bytes},
        {"sent-lost", net->out_dropped},     {"link-changes", net->link_changes},
    };
    char text[32];

    virtio_state(device, add, context);
    (void)snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
                   mac[3], mac[4], mac[5]);
    add(context, "mac", text);
    add(context, "link", net_is_up(net) ? "up" : "down");
    add(context, "back-end",
        net->kernel.is_running ? "vhost-net"
        : net->kernel.is_there ? "vhost-net, at rest"
                               : "qvm");
    (void)snprintf(text, sizeof(text), "%u of %u", net_pairs(net), net->pair_count);
    add(context, "pairs", text);
    for (uint32_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        (void)snprintf(text, sizeof(text), "%" PRIu64, counts[i].value);
        add(context, counts[i].name, text);
    }
}

/* Beside those of virtio. */
static const struct vdev_field fields[] = {
    VDEV_BYTES(0x1000, struct net, config.mac),
    VDEV_NUMBER(0x1001, struct net, filter.is_promiscuous, 1),
    VDEV_NUMBER(0x1002, struct net, filter.takes_groups, 1),
    VDEV_NUMBER(0x1003, struct net, filter.ones.is_any, 1),
    VDEV_NUMBER(0x1004, struct net, filter.ones.count, NET_ADDRESSES_MAX),
    VDEV_BYTES(0x1005, struct net, filter.ones.macs),
    VDEV_NUMBER(0x1006, struct net, filter.groups.is_any, 1),
    VDEV_NUMBER(0x1007, struct net, filter.groups.count, NET_ADDRESSES_MAX),
    VDEV_BYTES(0x1008, struct net, filter.groups.macs),
    VDEV_NUMBER(0x1009, struct net, active_count, LANES_MAX),
    {0},
};

static int net_save(void *device)
{
    struct net *net = device;
    int r;

    virtio_kernel_look(&net->kernel);
    r = virtio_save(device);
    return r == 0 ? vdev_put_fields(net->virtio.host, net->virtio.slot, fields, 0, net) : r;
}

static int net_restore(void *device)
{
    struct net *net = device;
    int r = vdev_get_fields(net->virtio.host, net->virtio.slot, fields, 0, net);

    if (r == 0 && net_mac_is_group(net->config.mac)) {
        r = net->virtio.host->fail(net->virtio.slot, NULL, "its address is that of a group");
    }
    if (r == 0 && (net->active_count < 1 || net->active_count > net->pair_count)) {
        r = net->virtio.host->fail(net->virtio.slot, NULL, "it has not so many pairs of queues");
    }
    return r == 0 ? virtio_restore(device) : r;
}

static const struct vdev_ops ops = {
    .size = sizeof(struct vdev_ops),
    .read = virtio_read,
    .write = net_write,
    .event = virtio_event,
    .config_read = virtio_config_cap_read,
    .config_write = net_config_cap_write,
    .reset = virtio_reset,
    .save = net_save,
    .restore = net_restore,
    .create = net_create,
    .destroy = free,
    .timer = net_timer,
    .state = net_state,
};

static const struct vdev_module module = {
    VIRTIO_MODULE,      .name = "virtio-net", .doc = "a network card (virtio 1.2, 5.1)",
    .options = options, .ops = &ops,          .has_io_thread = true,
    .timer_count = 1,
};

QVM_VDEV_EXPORT(module);
