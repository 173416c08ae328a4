/* Saving the devices of a VM, and restoring them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/pci/pci.h"
#include "qvm-worker/vdev/private.h"

/* Fields of the list of one device. */
enum device_tag {
    TAG_NAME = 1,
    TAG_MODULE,
    TAG_FIELDS, /* a list: what the device itself put; nothing if that is nothing */
    TAG_PCI,    /* a list: of its PCI function */
};

int vdev_host_put(struct vdev_slot *slot, uint32_t tag, enum vdev_field_kind kind, const void *data,
                  size_t size)
{
    if (slot->writer == NULL) {
        return -EINVAL;
    }
    if (size > VDEV_FIELD_SIZE) {
        slot->writer->has_failed = true;
        return -E2BIG;
    }
    return fields_put(slot->writer, tag, kind, data, size);
}

int vdev_host_get(struct vdev_slot *slot, uint32_t tag, enum vdev_field_kind kind, void *data,
                  size_t size, uint64_t max)
{
    return slot->reader != NULL ? fields_get(slot->reader, tag, kind, data, size, max, slot->words)
                                : -EINVAL;
}

static int refuse_unsaved(const struct vdev_slot *slot, struct err *err)
{
    return err_set(err, -ENOTSUP, "%s: vdev '%s' cannot be saved: its module does not do that",
                   slot->where, slot->name);
}

/* What the device puts into `writer`. */
static int save_fields(struct vdev_slot *slot, struct fields_writer *writer, struct err *err)
{
    int r;

    if (slot->is_in_trouble) {
        return err_set(err, -EBUSY, "%s: vdev '%s' cannot be saved: its image has trouble",
                       slot->where, slot->name);
    }
    (void)pthread_mutex_lock(&slot->lock);
    slot->writer = writer;
    r = slot->loaded->ops.save(slot->device);
    slot->writer = NULL;
    (void)pthread_mutex_unlock(&slot->lock);
    if (r != 0 || writer->has_failed) {
        return err_set(err, r < 0 ? r : -EINVAL, "%s: vdev '%s' cannot be saved", slot->where,
                       slot->name);
    }
    return 0;
}

static int save_function(const struct vdev_slot *slot, struct fields_writer *of_device)
{
    struct fields_writer function = {0};
    int r = pci_function_save(slot->function, &function);

    r = r == 0 ? fields_put(of_device, TAG_PCI, VDEV_FIELD_BYTES, function.bytes, function.size)
               : r;
    fields_discard(&function);
    return r;
}

static int put_text(struct fields_writer *writer, uint32_t tag, const char *text)
{
    return fields_put(writer, tag, VDEV_FIELD_BYTES, text, strlen(text));
}

static int save_slot(struct vdev_slot *slot, struct fields_writer *all, struct err *err)
{
    struct fields_writer of_device = {.now_ns = all->now_ns}, own = {.now_ns = all->now_ns};
    int r = save_fields(slot, &own, err);

    if (r == 0) {
        r = put_text(&of_device, TAG_NAME, slot->name);
        r = r == 0 ? put_text(&of_device, TAG_MODULE, slot->loaded->name) : r;
        if (r == 0 && own.size > 0) {
            r = fields_put(&of_device, TAG_FIELDS, VDEV_FIELD_BYTES, own.bytes, own.size);
        }
        if (r == 0 && slot->function != NULL) {
            r = save_function(slot, &of_device);
        }
        r = r == 0
                ? fields_put(all, all->count + 1, VDEV_FIELD_BYTES, of_device.bytes, of_device.size)
                : r;
        r = r == 0 ? 0 : err_sys(err, r, "%s: vdev '%s' cannot be saved", slot->where, slot->name);
    }
    fields_discard(&own);
    fields_discard(&of_device);
    return r;
}

int vdev_host_save(struct vdev_host *host, struct fields_writer *writer, struct err *err)
{
    int r = 0;

    writer->now_ns = vdev_host_now(host);
    for (uint32_t i = 0; i < host->slot_count && r == 0; i++) {
        struct vdev_slot *slot = host->slots[i];

        if (slot->device != NULL) {
            r = slot->loaded->ops.save != NULL && slot->loaded->ops.restore != NULL
                    ? save_slot(slot, writer, err)
                    : refuse_unsaved(slot, err);
        }
    }
    return r;
}

/* What a list says of one device. */
struct found {
    bool is_there;
    const uint8_t *bytes; /* what the device put */
    size_t size;
    const uint8_t *pci; /* its function; NULL: it is none */
    size_t pci_size;
};

static bool is_text(struct fields_reader *reader, uint32_t tag, const char *text)
{
    size_t size = 0;
    const uint8_t *bytes = fields_find(reader, tag, &size);

    return bytes != NULL && size == strlen(text) && memcmp(bytes, text, size) == 0;
}

/* Which slot a device's list is of; UINT32_MAX: none. */
static uint32_t find_slot(const struct vdev_host *host, struct fields_reader *reader)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        if (host->slots[i]->device != NULL && is_text(reader, TAG_NAME, host->slots[i]->name)) {
            return i;
        }
    }
    return UINT32_MAX;
}

static int find_device(const struct vdev_host *host, const struct fields_row *row,
                       struct found *found, struct err *err)
{
    struct fields_reader reader;
    uint32_t i;
    int r = fields_open(&reader, row->value, row->size, 0, err);

    if (r != 0) {
        return r;
    }
    i = find_slot(host, &reader);
    if (i == UINT32_MAX || !is_text(&reader, TAG_MODULE, host->slots[i]->loaded->name)) {
        return err_set(err, -ENODEV, "device %u of it is not of this VM", row->tag);
    }
    if (found[i].is_there) {
        return err_set(err, -EEXIST, "vdev '%s' is there twice", host->slots[i]->name);
    }
    found[i].bytes = fields_find(&reader, TAG_FIELDS, &found[i].size);
    found[i].pci = fields_find(&reader, TAG_PCI, &found[i].pci_size);
    found[i].is_there = true;
    if ((found[i].pci != NULL) != (host->slots[i]->function != NULL)) {
        return err_set(err, -EINVAL, "vdev '%s' stands elsewhere", host->slots[i]->name);
    }
    return fields_close(&reader, err);
}

/* Each device of the VM, and no other. */
static int find_all(const struct vdev_host *host, const uint8_t *bytes, size_t size,
                    struct found *found, struct err *err)
{
    struct fields_reader reader;
    int r = fields_open(&reader, bytes, size, 0, err);

    for (uint32_t i = 0; r == 0 && i < reader.count; i++) {
        r = find_device(host, &reader.rows[i], found, err);
    }
    for (uint32_t i = 0; r == 0 && i < host->slot_count; i++) {
        const struct vdev_slot *slot = host->slots[i];

        if (slot->device != NULL && !found[i].is_there) {
            r = err_set(err, -ENODEV, "vdev '%s' is not in it", slot->name);
        } else if (slot->device != NULL && slot->loaded->ops.restore == NULL) {
            r = refuse_unsaved(slot, err);
        }
    }
    return r;
}

static int restore_slot(struct vdev_slot *slot, const struct found *found, struct err *err)
{
    struct fields_reader reader;
    struct err why = {0};
    int r = slot->function != NULL
                ? pci_function_restore(slot->function, found->pci, found->pci_size, &why)
                : 0;

    if (r == 0) {
        r = fields_open(&reader, found->bytes, found->size, vdev_host_now(slot->host), &why);
    }

    if (r == 0) {
        (void)pthread_mutex_lock(&slot->lock);
        slot->reader = &reader;
        slot->words = &why;
        r = slot->loaded->ops.restore(slot->device);
        slot->reader = NULL;
        slot->words = NULL;
        (void)pthread_mutex_unlock(&slot->lock);
        if (r == 0) {
            r = reader.has_failed ? why.code : fields_close(&reader, &why);
        }
    }
    if (r != 0) {
        return err_set(err, r < 0 ? r : -EINVAL, "vdev '%s' cannot be restored: %s", slot->name,
                       why.code != 0 ? why.msg : "its fields do not fit together");
    }
    return 0;
}

/* `bytes` are our own: what is checked does not change any more. */
static int restore_all(struct vdev_host *host, const uint8_t *bytes, size_t size, struct err *err)
{
    auto_free struct found *found = calloc(VDEV_HOST_DEVICES_MAX, sizeof(*found));
    int r;

    if (found == NULL) {
        return err_set(err, -ENOMEM, "no memory to restore vdevs");
    }
    r = find_all(host, bytes, size, found, err);
    for (uint32_t i = 0; r == 0 && i < host->slot_count; i++) {
        if (host->slots[i]->device != NULL) {
            r = restore_slot(host->slots[i], &found[i], err);
        }
    }
    return r;
}

int vdev_host_restore(struct vdev_host *host, const uint8_t *bytes, size_t size, struct err *err)
{
    auto_free uint8_t *own = size <= FIELDS_BYTES_MAX ? malloc(size + 1) : NULL;
    int r;

    vdev_host_hold_lines(host);
    vdev_host_reset(host);
    if (own == NULL) {
        r = err_set(err, size <= FIELDS_BYTES_MAX ? -ENOMEM : -E2BIG,
                    "no memory for %zu bytes of saved state", size);
    } else {
        if (size > 0) {
            memcpy(own, bytes, size);
        }
        r = restore_all(host, own, size, err);
    }
    if (r != 0) {
        vdev_host_reset(host);
    }
    vdev_host_release_lines(host);
    return r;
}
