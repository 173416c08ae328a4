/* Shared memory regions: virtio 1.2, 2.10. Where they are is the transports' to say
 * (4.1.4.7, 4.2.2).
 */
#include "vdevs/virtio/registers.h"

int virtio_shared_check(const struct virtio *virtio)
{
    const struct virtio_type *type = virtio->type;
    bool is_good = type->shared_count <= VIRTIO_SHARED_MAX;

    for (uint32_t i = 0; i < type->shared_count && is_good; i++) {
        is_good = type->shared[i].size != 0 && type->shared[i].size % VIRTIO_SHARED_PAGE == 0 &&
                  type->shared[i].size <= UINT64_MAX / 16 &&
                  virtio_shared_find(virtio, type->shared[i].id) == &type->shared[i];
    }
    return is_good ? 0
                   : virtio->host->fail(virtio->slot, NULL,
                                        "it has too many shared memory regions, or wrong ones");
}

uint64_t virtio_shared_offset(const struct virtio *virtio, uint32_t index)
{
    uint64_t offset = 0;

    for (uint32_t i = 0; i < index; i++) {
        offset += virtio->type->shared[i].size;
    }
    return offset;
}

uint64_t virtio_shared_size(const struct virtio *virtio)
{
    return virtio_shared_offset(virtio, virtio->type->shared_count);
}

const struct virtio_shared *virtio_shared_find(const struct virtio *virtio, uint32_t id)
{
    for (uint32_t i = 0; i < virtio->type->shared_count; i++) {
        if (virtio->type->shared[i].id == id) {
            return &virtio->type->shared[i];
        }
    }
    return NULL;
}

/* The row that an access lies in, whole; shared_count: none. `offset` counts from it then. */
static uint32_t find_row(const struct virtio *virtio, uint64_t *offset, uint32_t size)
{
    uint32_t i = 0;

    while (i < virtio->type->shared_count && *offset >= virtio->type->shared[i].size) {
        *offset -= virtio->type->shared[i++].size;
    }
    if (i < virtio->type->shared_count && size > virtio->type->shared[i].size - *offset) {
        return virtio->type->shared_count;
    }
    return i;
}

uint64_t virtio_shared_read(struct virtio *virtio, uint64_t offset, uint32_t size)
{
    uint32_t row = find_row(virtio, &offset, size);

    return row < virtio->type->shared_count && virtio->type->shared_read != NULL
               ? virtio->type->shared_read(virtio, row, offset, size)
               : 0;
}

void virtio_shared_write(struct virtio *virtio, uint64_t offset, uint32_t size, uint64_t value)
{
    uint32_t row = find_row(virtio, &offset, size);

    if (row < virtio->type->shared_count && virtio->type->shared_write != NULL) {
        virtio->type->shared_write(virtio, row, offset, size, value);
    }
}
