/* The bytes of a buffer, wherever its descriptors cut them. */
#include "vdevs/virtio/queue.h"

#include <string.h>

#include <qvm/vdev.h>

/* Copy `size` bytes at `offset` of `segments`, in one of the directions; returns how many. */
static size_t copy(const struct vdev_piece *segments, uint32_t count, uint64_t offset, void *to,
                   const void *from, size_t size)
{
    size_t done = 0;

    for (uint32_t i = 0; i < count && done < size; i++) {
        size_t part = segments[i].size;

        if (offset >= part) {
            offset -= part;
            continue;
        }
        part -= (size_t)offset;
        part = part < size - done ? part : size - done;
        if (to != NULL) {
            memcpy((uint8_t *)to + done, (const uint8_t *)segments[i].base + offset, part);
        } else {
            memcpy((uint8_t *)segments[i].base + offset, (const uint8_t *)from + done, part);
        }
        done += part;
        offset = 0;
    }
    return done;
}

size_t virtq_read(const struct virtq_chain *chain, uint64_t offset, void *to, size_t size)
{
    return copy(chain->segments, chain->read_count, offset, to, NULL, size);
}

size_t virtq_write(const struct virtq_chain *chain, uint64_t offset, const void *from, size_t size)
{
    return copy(chain->segments + chain->read_count, chain->write_count, offset, NULL, from, size);
}

uint32_t virtq_cut(struct virtq_chain *chain, bool is_write, uint64_t offset, uint64_t size,
                   struct vdev_piece **first)
{
    struct vdev_piece *at = chain->segments + (is_write ? chain->read_count : 0);
    uint64_t all = is_write ? chain->write_size : chain->read_size;
    uint32_t count = 0;

    if (size == 0 || offset > all || size > all - offset) {
        return 0;
    }
    while (offset >= at->size) {
        offset -= at->size;
        at++;
    }
    at->base = (uint8_t *)at->base + offset;
    at->size -= (size_t)offset;
    *first = at;
    for (; size > at->size; at++, count++) {
        size -= at->size;
    }
    at->size = (size_t)size;
    return count + 1;
}
