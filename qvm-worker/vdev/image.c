/* The image behind a vdev's IMAGE option. */
#include <errno.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/image/image.h"
#include "qvm-worker/vdev/event_private.h"
#include "qvm-worker/vdev/private.h"

#define DRY_BLOCK 512u /* of an image that nobody opened */

/* Whichever of `hostdev` and `format` was read last. */
static void settle_need(struct vdev_slot *slot)
{
    bool is_helpers = slot->image_format == IMAGE_FORMAT_HELPER;

    slot->image_need.kind = is_helpers ? VDEV_HOST_NEED_HELPER : VDEV_HOST_NEED_IMAGE;
    slot->image_need.format = is_helpers ? slot->image_format_name : NULL;
}

/* A helper says that it failed, and not why. */
static int check_full(const struct vdev_slot *slot, const char *where, struct err *err)
{
    if (slot->image_format != IMAGE_FORMAT_HELPER || slot->image_keep != IMAGE_KEEP_FULL) {
        return 0;
    }
    return err_set(err, -EINVAL,
                   "%s: with 'format %s' nobody knows which errors mean that the host has no room: "
                   "say 'on-error pause' or 'on-error report'",
                   where, slot->image_format_name);
}

int vdev_host_read_format(struct vdev_slot *slot, const struct vdev_value *value, struct err *err)
{
    static const struct {
        const char *name;
        enum image_format format;
        bool keeps_blocks; /* a discard is nothing to qemu-storage-daemon, though it offers it */
    } rows[] = {{"raw", IMAGE_FORMAT_RAW, false},
                {"vhd", IMAGE_FORMAT_VHD, false},
                {"vhd-dynamic", IMAGE_FORMAT_HELPER, true},
                {"vhdx", IMAGE_FORMAT_HELPER, true},
                {"qcow2", IMAGE_FORMAT_HELPER, false}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (strcmp(value->text, rows[i].name) == 0) {
            slot->image_format = rows[i].format;
            slot->image_format_name = rows[i].name;
            slot->image_keeps_blocks = rows[i].keeps_blocks;
            settle_need(slot);
            return check_full(slot, value->where, err);
        }
    }
    return err_set(err, -EINVAL,
                   "%s: %s '%s' is not raw, vhd (a fixed one), vhd-dynamic, vhdx or qcow2",
                   value->where, slot->loaded->module.options[value->option].name, value->text);
}

int vdev_host_read_image(struct vdev_slot *slot, const struct vdev_value *value, struct err *err)
{
    const char *text = value->text;
    struct vdev_host_need need = {.kind = VDEV_HOST_NEED_IMAGE,
                                  .can_read = true,
                                  .can_write = *text != '<',
                                  .where = value->where,
                                  .device = slot->name};

    need.path = *text == '<' ? text + 1 : text;
    if (*need.path == '\0' || *need.path == '>' || *need.path == '|' ||
        strcmp(need.path, "-") == 0) {
        return err_set(err, -EINVAL, "%s: %s '%s' names no image: give PATH, or '<PATH' to read it",
                       value->where, slot->loaded->module.options[value->option].name, value->text);
    }
    slot->image_need = need;
    settle_need(slot);
    return 0;
}

int vdev_host_read_on_error(struct vdev_slot *slot, const struct vdev_value *value, struct err *err)
{
    static const char *const words[] = {
        [IMAGE_KEEP_NONE] = "report", [IMAGE_KEEP_FULL] = "full", [IMAGE_KEEP_ALL] = "pause"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(value->text, words[i]) == 0) {
            slot->image_keep = (enum image_keep)i;
            return check_full(slot, value->where, err);
        }
    }
    return err_set(err, -EINVAL,
                   "%s: %s '%s' is not 'report', 'full' (a host without room pauses the guest) or "
                   "'pause' (any error does)",
                   value->where, slot->loaded->module.options[value->option].name, value->text);
}

static int on_image_thread(void *context, struct err *err)
{
    const struct vdev_slot *slot = context;
    const struct vdev_host_env *env = &slot->host->env;

    return env->on_io_thread != NULL ? env->on_io_thread(env->context, VDEV_HOST_THREAD_PLAIN, err)
                                     : 0;
}

static void on_image_lost(void *context)
{
    (void)vdev_host_lose_helper(context);
}

int vdev_host_open_image(struct vdev_slot *slot, struct err *err)
{
    struct image_spec spec = {.path = slot->image_need.path,
                              .format = slot->image_format,
                              .is_read_only = !slot->image_need.can_write,
                              .may_ring = !slot->host->env.has_no_ring,
                              .keep = slot->image_keep,
                              .on_thread = on_image_thread,
                              .on_lost = slot->again != NULL ? on_image_lost : NULL,
                              .context = slot};
    int r;

    if (slot->image_need.path == NULL || slot->host->env.is_dry) {
        return 0;
    }
    if (slot->image_fd < 0) {
        return err_set(err, -ENODEV, "%s: '%s' was not given to vdev '%s'", slot->image_need.where,
                       slot->image_need.path, slot->name);
    }
    spec.fd = take_fd(&slot->image_fd);
    r = image_create(&spec, &slot->image, err);
    if (r != 0) {
        (void)err_prefix(err, slot->image_need.format != NULL ? "%s: '%s': " : "%s: ",
                         slot->image_need.where, slot->image_need.path);
    }
    return r;
}

void vdev_host_close_image(struct vdev_slot *slot)
{
    if (slot->image != NULL) {
        image_stop(slot->image);
        image_destroy(slot->image);
        slot->image = NULL;
    }
    cleanup_close(&slot->image_fd);
}

static struct vdev_slot *find_name(const struct vdev_host *host, const char *name)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        if (strcmp(host->slots[i]->name, name) == 0) {
            return host->slots[i];
        }
    }
    return NULL;
}

int vdev_host_resize_disk(struct vdev_host *host, const char *name, uint64_t *before, uint64_t *now,
                          struct err *err)
{
    struct vdev_slot *slot = find_name(host, name);
    int r;

    if (slot == NULL) {
        return err_set(err, -EINVAL, "the guest has no vdev '%s': 'show --vdevs' lists them", name);
    }
    if (slot->image == NULL || slot->device == NULL || slot->loaded->ops.image_grown == NULL) {
        return err_set(err, -EOPNOTSUPP, "vdev '%s' is no disk", name);
    }
    (void)pthread_mutex_lock(&slot->lock);
    *before = image_facts(slot->image)->size;
    r = image_grow(slot->image, slot->image_need.path, now, err);
    if (r == 0 && *now != *before) {
        slot->loaded->ops.image_grown(slot->device);
    }
    (void)pthread_mutex_unlock(&slot->lock);
    return r;
}

bool vdev_host_image(struct vdev_slot *slot, struct vdev_image *image)
{
    if (slot->image != NULL) {
        *image = *image_facts(slot->image);
    } else {
        *image = (struct vdev_image){.block = DRY_BLOCK};
        image->is_read_only = !slot->image_need.can_write;
    }
    image->keeps_blocks = slot->image_keeps_blocks;
    return slot->image_need.path != NULL;
}

/* For how long more are let come (coalesce.h). */
static void count(struct vdev_events *events, const struct vdev_io *io)
{
    events->begun++;
    for (uint32_t i = 0; i < io->piece_count; i++) {
        events->begun_bytes += io->pieces[i].size;
    }
}

int vdev_host_image_io(struct vdev_slot *slot, const struct vdev_io *io)
{
    int r = slot->image != NULL ? image_begin(slot->image, io) : -EINVAL;

    if (r == 0 && slot->events != NULL) {
        count(slot->events, io);
    }
    if (r == 0 && !slot->is_dispatching) {
        (void)image_submit(slot->image); /* else all together, when the operation is over */
    }
    return r;
}

void vdev_host_image_stop(struct vdev_slot *slot)
{
    if (slot->image != NULL) {
        image_stop(slot->image);
        slot->is_in_trouble = false;
    }
}

/* Once for all that fail before the VM goes on: what is in flight fails, too, as a rule. */
static void tell_trouble(struct vdev_slot *slot)
{
    const struct vdev_host_env *env = &slot->host->env;
    struct vdev_host_trouble trouble = {.device = slot->name, .path = slot->image_need.path};

    if (!slot->is_in_trouble && env->trouble != NULL &&
        image_kept(slot->image, &trouble.result) > 0) {
        slot->is_in_trouble = true;
        env->trouble(env->context, &trouble);
    }
}

/* The slot's lock is held. */
void vdev_host_take_transfers(struct vdev_slot *slot)
{
    uint64_t token = 0;
    int result = 0;

    while (image_take(slot->image, &token, &result)) {
        slot->loaded->ops.io_done(slot->device, token, result);
    }
    tell_trouble(slot);
}

void vdev_host_retry_transfers(struct vdev_slot *slot)
{
    if (slot->is_in_trouble) {
        slot->is_in_trouble = false;
        image_retry(slot->image);
        (void)image_submit(slot->image); /* what ends at once makes its descriptor readable */
    }
}

void vdev_host_image_settle(struct vdev_slot *slot)
{
    /* Nobody can wait here for another helper, also not when this one is lost meanwhile. */
    while (slot->image != NULL &&
           (image_finish(slot->image, 0) > 0 || image_fail_parked(slot->image))) {
        vdev_host_take_transfers(slot);
    }
}

void vdev_host_image_drop(struct vdev_slot *slot, bool (*is_meant)(void *context, uint64_t token),
                          void *context)
{
    if (slot->image != NULL) {
        image_drop(slot->image, is_meant, context);
        vdev_host_take_transfers(slot); /* nobody else is told of what ended meanwhile */
    }
}
