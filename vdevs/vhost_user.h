/* A virtio device whose queues a back end outside works off, by vhost-user.
 *
 * The qvm knows the device's registers; queues and their doorbells and interrupts are the back
 * end's, which has guest memory. Split rings alone; a queue is enabled before DRIVER_OK or not at
 * all.
 *
 * Without its back end the device asks for a reset, and after that offers nothing: a driver that
 * looks then finds a device that it cannot have, and does not wait for it. */
#ifndef QVM_VDEVS_VHOST_USER_H
#define QVM_VDEVS_VHOST_USER_H

#include "vdevs/virtio/virtio.h"

#define VHOST_USER_TAG_SIZE  36u                        /* of a file system (virtio 1.2, 5.11.4) */
#define VHOST_USER_FS_CONFIG (VHOST_USER_TAG_SIZE + 4u) /* and how many queues are for requests */

struct vhost_user_kind {
    uint16_t id; /* virtio 1.2, 5 */
    uint32_t class_code;
    uint32_t queue_count, queue_size;
    uint32_t config_size; /* up to VDEV_BACKEND_CONFIG_MAX */
    const char *tag;      /* of a file system: its configuration is ours; NULL: the back end's */
    const char *missing;  /* what else to do where the back end has none */
};

/* 0, or what host->fail() returned. */
int vhost_user_check_tag(const struct vdev_services *host, struct vdev_slot *slot,
                         const struct vdev_value *tag);
int vhost_user_create(const struct vdev_services *host, struct vdev_slot *slot,
                      const struct vdev_config *config, const struct vhost_user_kind *kind,
                      void **device);

/* The other operations. */
void vhost_user_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                      uint64_t value);
void vhost_user_config_write(void *device, uint32_t cap, uint32_t offset, uint32_t size,
                             uint32_t value);
void vhost_user_state(void *device, vdev_state_fn add, void *context);

#define VHOST_USER_OPS                                                                             \
    .size = sizeof(struct vdev_ops), .destroy = free, .reset = virtio_reset, .read = virtio_read,  \
    .write = vhost_user_write, .event = virtio_event, .state = vhost_user_state,                   \
    .config_read = virtio_config_cap_read, .config_write = vhost_user_config_write

#endif
