/* A folder of the host as a file system (virtio 1.2, 5.11): a helper of the host works its queues
 * off, by vhost-user. */
#include <stdlib.h>

#include "vdevs/vhost_user.h"

#define TYPE_FS     26u
#define CLASS_CODE  0x018000u
#define QUEUE_COUNT 2u /* for what is urgent, and for requests */
#define QUEUE_SIZE  128u

enum { OPTION_TAG, OPTION_HOSTDEV };

static int fs_create(const struct vdev_services *host, struct vdev_slot *slot,
                     const struct vdev_config *config, void **device)
{
    struct vhost_user_kind kind = {.id = TYPE_FS,
                                   .class_code = CLASS_CODE,
                                   .queue_count = QUEUE_COUNT,
                                   .queue_size = QUEUE_SIZE,
                                   .config_size = VHOST_USER_FS_CONFIG,
                                   .missing = ""};
    bool has_folder = false;

    for (uint32_t i = 0; i < config->value_count; i++) {
        const struct vdev_value *value = &config->values[i];

        if (value->option == OPTION_TAG && vhost_user_check_tag(host, slot, value) != 0) {
            return -1;
        }
        if (value->option == OPTION_TAG) {
            kind.tag = value->text;
        }
        has_folder = has_folder || value->option == OPTION_HOSTDEV;
    }
    if (!has_folder) {
        return host->fail(slot, NULL, "say which folder the guest is to have: 'hostdev FOLDER'");
    }
    if (kind.tag == NULL) {
        return host->fail(slot, NULL, "say by which name the guest mounts its folder: 'tag NAME'");
    }
    return vhost_user_create(host, slot, config, &kind, device);
}

static const struct vdev_option options[] = {
    [OPTION_TAG] = {.name = "tag",
                    .kind = VDEV_OPTION_TEXT,
                    .doc = "the name by which the guest mounts it, up to 36 bytes"},
    [OPTION_HOSTDEV] = {.name = "hostdev",
                        .kind = VDEV_OPTION_FOLDER,
                        .doc = "FOLDER that the guest shares, or <FOLDER, which it only reads"},
    {.name = NULL},
};

static const struct vdev_ops ops = {VHOST_USER_OPS, .create = fs_create};

static const struct vdev_module module = {
    VIRTIO_MODULE,      .name = "virtio-fs", .doc = "a folder of the host (virtio)",
    .options = options, .ops = &ops,         .has_io_thread = true,
};

QVM_VDEV_EXPORT(module);
