/* A disk's requests: virtio 1.2, 5.2.6. */
#include "vdevs/virtio_blk.h"

#include <string.h>

void blk_forget_requests(struct blk *blk)
{
    blk->unused_count = 0;
    for (uint32_t i = REQUESTS_MAX; i-- > 0;) {
        blk->unused[blk->unused_count++] = (uint16_t)i;
    }
}

/* The request is over: its status, then the data's size with it. */
static void finish(struct blk *blk, const struct request *request, uint8_t status)
{
    struct virtq_chain chain = {.token = request->token};

    blk->error_count += status != S_OK;
    *request->status = status;
    virtio_use(&blk->virtio, request->queue, &chain, (status == S_OK ? request->written : 0) + 1);
}

/* Begin a transfer for `request`, which is copied; it ends in blk_io_done. */
static uint8_t begin(struct blk *blk, struct vdev_io *io, const struct request *request)
{
    const struct vdev_services *host = blk->virtio.host;
    uint16_t index;

    if (blk->unused_count == 0) { /* cannot be: the queues have no more descriptors */
        return S_IOERR;
    }
    index = blk->unused[blk->unused_count - 1];
    io->token = index;
    if (host->image_io(blk->virtio.slot, io) != 0) {
        return S_IOERR;
    }
    blk->unused_count--;
    blk->requests[index] = *request;
    return S_OK;
}

static bool is_on_disk(const struct blk *blk, uint64_t sector, uint64_t count)
{
    return sector <= blk->config.capacity && count <= blk->config.capacity - sector;
}

static void pay(struct blk *blk, uint64_t bytes)
{
    rate_take(&blk->bytes_rate, blk->virtio.host->now_ns(blk->virtio.slot), (uint32_t)bytes);
}

static uint8_t begin_transfer(struct blk *blk, struct virtq_chain *chain,
                              const struct blk_header *header, struct request *request)
{
    bool is_read = header->type == T_IN;
    uint64_t size = is_read ? chain->write_size - 1 : chain->read_size - HEADER_SIZE;
    struct vdev_piece *pieces = NULL;
    struct vdev_io io = {.kind = is_read ? VDEV_IO_READ : VDEV_IO_WRITE};

    if (size % SECTOR != 0 || !is_on_disk(blk, header->sector, size / SECTOR)) {
        return S_IOERR;
    }
    io.offset = header->sector * SECTOR; /* below the image's size: no overflow */
    io.piece_count = virtq_cut(chain, is_read, is_read ? 0 : HEADER_SIZE, size, &pieces);
    io.pieces = pieces;
    request->written = is_read ? (uint32_t)size : 0;
    request->is_flush_due = !is_read && !virtio_has(&blk->virtio, F_FLUSH);
    blk->read_count += is_read;
    blk->write_count += !is_read;
    blk->read_bytes += is_read ? size : 0;
    blk->write_bytes += is_read ? 0 : size;
    pay(blk, size);
    return begin(blk, &io, request);
}

/* Discard, or zeroes: 5.2.6.2 has which of what is wrong with them is told how. */
static uint8_t begin_range(struct blk *blk, const struct virtq_chain *chain, uint32_t type,
                           struct request *request)
{
    bool is_discard = type == T_DISCARD;
    struct blk_range range;
    struct vdev_piece piece = {0};
    struct vdev_io io = {.pieces = &piece, .piece_count = 1};

    if (!virtio_has(&blk->virtio, is_discard ? F_DISCARD : F_WRITE_ZEROES) ||
        chain->read_size != HEADER_SIZE + RANGE_SIZE) { /* one segment, as offered */
        return S_UNSUPP;
    }
    (void)virtq_read(chain, HEADER_SIZE, &range, sizeof(range)); /* it is there */
    if ((range.flags & ~(is_discard ? 0 : RANGE_UNMAP)) != 0) {
        return S_UNSUPP;
    }
    if (range.count > (is_discard ? DISCARD_MAX : ZEROES_MAX) ||
        !is_on_disk(blk, range.sector, range.count)) {
        return S_IOERR;
    }
    io.kind = is_discard ? VDEV_IO_DISCARD : range.flags != 0u ? VDEV_IO_ZERO : VDEV_IO_FILL;
    io.offset = range.sector * SECTOR;
    piece.size = (uint64_t)range.count * SECTOR;
    request->is_flush_due = !virtio_has(&blk->virtio, F_FLUSH);
    blk->discard_count++;
    blk->discard_bytes += piece.size;
    pay(blk, is_discard ? 0 : piece.size); /* zeroes are written where no hole can be */
    return piece.size == 0 ? begin(blk, &(struct vdev_io){.kind = VDEV_IO_FLUSH}, request)
                           : begin(blk, &io, request);
}

/* S_OK with nothing left to wait for is told by `is_over`. */
static uint8_t obey(struct blk *blk, struct virtq_chain *chain, const struct blk_header *header,
                    struct request *request, bool *is_over)
{
    struct vdev_io flush = {.kind = VDEV_IO_FLUSH};

    *is_over = false;
    switch (header->type) {
    case T_IN:
    case T_OUT:
        return begin_transfer(blk, chain, header, request);
    case T_DISCARD:
    case T_WRITE_ZEROES:
        return begin_range(blk, chain, header->type, request);
    case T_FLUSH:
        blk->flush_count++;
        return begin(blk, &flush, request);
    case T_GET_ID:
        *is_over = true;
        request->written = (uint32_t)virtq_write(
            chain, 0, blk->id, chain->write_size - 1 < ID_SIZE ? chain->write_size - 1 : ID_SIZE);
        return S_OK;
    default:
        return S_UNSUPP;
    }
}

/* False: it is no request at all. */
static bool take_request(struct blk *blk, uint16_t queue, struct virtq_chain *chain)
{
    struct request request = {.token = chain->token, .queue = queue};
    struct blk_header header;
    const struct vdev_piece *last;
    bool is_over;
    uint8_t status;

    if (chain->write_size == 0 || virtq_read(chain, 0, &header, sizeof(header)) != sizeof(header)) {
        return false;
    }
    last = &chain->segments[chain->read_count + chain->write_count - 1];
    request.status = (uint8_t *)last->base + last->size - 1;
    rate_take(&blk->requests_rate, blk->virtio.host->now_ns(blk->virtio.slot), 1);
    status = obey(blk, chain, &header, &request, &is_over);
    if (status != S_OK || is_over) {
        finish(blk, &request, status);
    }
    return true;
}

/* Whether requests must wait; the timer brings them back. */
static bool is_held(struct blk *blk)
{
    const struct vdev_services *host = blk->virtio.host;
    uint64_t now_ns, requests_ns, bytes_ns;

    if (blk->requests_rate.per_second == 0 && blk->bytes_rate.per_second == 0) {
        return false;
    }
    now_ns = host->now_ns(blk->virtio.slot);
    requests_ns = rate_wait_ns(&blk->requests_rate, now_ns);
    bytes_ns = rate_wait_ns(&blk->bytes_rate, now_ns);
    if (requests_ns == 0 && bytes_ns == 0) {
        blk->is_waiting = false;
        return false;
    }
    blk->wait_count += !blk->is_waiting;
    blk->is_waiting = true;
    host->timer(blk->virtio.slot, 0, now_ns + (requests_ns > bytes_ns ? requests_ns : bytes_ns));
    return true;
}

void blk_kick(void *device, uint32_t queue)
{
    struct blk *blk = device;
    struct virtq_chain chain = {.segments = blk->segments, .room = SEGMENTS_MAX};
    uint64_t end = blk->read_bytes + blk->write_bytes + ROUND_BYTES;
    uint32_t left = ROUND_MAX;

    while (left > 0 && !is_held(blk) && virtio_take_or_wait(&blk->virtio, queue, &chain)) {
        left--;
        if (!take_request(blk, (uint16_t)queue, &chain)) {
            virtio_need_reset(&blk->virtio);
        }
        left = blk->read_bytes + blk->write_bytes < end ? left : 0;
    }
    virtio_tell(&blk->virtio, queue);
    if (left == 0) {
        blk->virtio.host->ring(blk->virtio.slot, queue);
    }
}

/* On another thread than kicks: those ring. Who is first may take all that there is, so each time
 * it is another one. */
void blk_timer(void *device, uint32_t timer)
{
    struct blk *blk = device;

    (void)timer;
    blk->first_queue = (blk->first_queue + 1) % blk->type.queue_count;
    for (uint32_t i = 0; i < blk->type.queue_count; i++) {
        blk->virtio.host->ring(blk->virtio.slot, (blk->first_queue + i) % blk->type.queue_count);
    }
}

void blk_io_done(void *device, uint64_t token, int result)
{
    struct blk *blk = device;
    struct request request = blk->requests[token];
    struct vdev_io flush = {.kind = VDEV_IO_FLUSH};

    blk->unused[blk->unused_count++] = (uint16_t)token;
    if (result == 0 && request.is_flush_due) {
        request.is_flush_due = false;
        if (begin(blk, &flush, &request) == S_OK) {
            return;
        }
        result = -1;
    }
    finish(blk, &request, (uint8_t)(result == 0 ? S_OK : S_IOERR));
    virtio_tell(&blk->virtio, request.queue);
}

struct stopping {
    struct blk *blk;
    uint32_t queue;
};

static bool is_of_stopping(void *context, uint64_t token)
{
    const struct stopping *stopping = context;
    struct blk *blk = stopping->blk;

    if (blk->requests[token].queue != stopping->queue) {
        return false;
    }
    blk->unused[blk->unused_count++] = (uint16_t)token;
    return true;
}

/* One of several queues may stop alone (2.6.1): the requests of the others go on. */
void blk_stop(void *device, uint32_t queue)
{
    struct blk *blk = device;

    if (blk->type.queue_count > 1) {
        blk->virtio.host->image_drop(blk->virtio.slot, is_of_stopping,
                                     &(struct stopping){blk, queue});
    } else {
        blk->virtio.host->image_stop(blk->virtio.slot);
        blk_forget_requests(blk);
    }
}
