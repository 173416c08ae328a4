/* What flash holds: in memory, in its file, and in saved state. */
#include <errno.h>
#include <string.h>

#include <qvm/vdev_fields.h>

#include "vdevs/flash.h"

#define WAIT_NS UINT64_C(10000000) /* that changes wait for more of them */
#define PIECES  16u                /* tags from there on: what it holds, where there is no file */

#define RETRY_NS  UINT64_C(100000000) /* until a file that did not take something is asked again */
#define NO_REGION UINT32_MAX          /* where no guest rings */
#define ROUNDS    6u /* of a drain: two for what is on its way, one each for a block and a flush */

enum { TOKEN_LOAD, TOKEN_WRITE, TOKEN_FLUSH };
enum { EVENT_WRITE };

int flash_open_event(const struct vdev_services *host, struct vdev_slot *slot)
{
    return host->doorbell(slot, NO_REGION, 0, 0, false, 0, EVENT_WRITE);
}

static void wait_for_more(struct flash *flash)
{
    flash->host->timer(flash->slot, 0, flash->host->now_ns(flash->slot) + WAIT_NS);
}

/* What it was to take goes to it later. The guest and the log are told once. */
static void fall_behind(struct flash *flash, int result)
{
    flash->host->timer(flash->slot, 0, flash->host->now_ns(flash->slot) + RETRY_NS);
    if (!flash->is_behind) {
        flash->is_behind = true;
        flash->status |= FLASH_PROGRAM_FAILED | FLASH_ERASE_FAILED;
        flash->host->log(flash->slot, VDEV_LOG_WARN,
                         "the file does not take what the guest changed (%s): it is tried again",
                         strerror(-result));
    }
}

static void end_write(struct flash *flash, int result)
{
    flash->is_writing = false;
    if (result != 0) {
        fall_behind(flash, result);
        return;
    }
    flash->changed = FLASH_NO_BLOCK;
    flash->needs_flush = true;
    wait_for_more(flash);
}

static void end_flush(struct flash *flash, int result)
{
    flash->is_flushing = false;
    if (result != 0) {
        flash->needs_flush = true;
        fall_behind(flash, result);
        return;
    }
    flash->is_behind = flash->is_behind && (flash->changed != FLASH_NO_BLOCK || flash->needs_flush);
    flash_write_soon(flash); /* its time may have come meanwhile */
}

void flash_io_done(void *device, uint64_t token, int result)
{
    struct flash *flash = device;

    flash->errors += result != 0;
    if (token == TOKEN_LOAD) {
        flash->is_broken |= result != 0;
    } else if (token == TOKEN_WRITE) {
        end_write(flash, result);
    } else {
        end_flush(flash, result);
    }
}

static void begin(struct flash *flash, enum vdev_io_kind kind, uint64_t token, uint64_t offset,
                  uint64_t size)
{
    struct vdev_piece piece = {flash->bytes + offset, size};
    struct vdev_io io = {.kind = kind,
                         .offset = offset,
                         .pieces = &piece,
                         .piece_count = kind == VDEV_IO_FLUSH ? 0 : 1,
                         .token = token};
    int r = flash->host->image_io(flash->slot, &io);

    if (r != 0) { /* the file is smaller than it was */
        flash_io_done(flash, token, r);
    }
}

/* The block is `changed` until the file has it. */
static void begin_write(struct flash *flash)
{
    flash->writes++;
    flash->is_writing = true;
    begin(flash, VDEV_IO_WRITE, TOKEN_WRITE, (uint64_t)flash->changed * FLASH_BLOCK, FLASH_BLOCK);
}

/* The changed block, then the host's disk: one thing at a time. */
static void go_on(struct flash *flash)
{
    if (flash->is_writing) {
        return;
    }
    if (flash->changed != FLASH_NO_BLOCK) {
        begin_write(flash);
    } else if (flash->needs_flush && !flash->is_flushing) {
        flash->needs_flush = false;
        flash->is_flushing = true;
        begin(flash, VDEV_IO_FLUSH, TOKEN_FLUSH, 0, 0);
    }
}

void flash_event(void *device, uint32_t event)
{
    (void)event;
    go_on(device);
}

void flash_timer(void *device, uint32_t timer)
{
    (void)timer;
    flash_write_soon(device);
}

void flash_write_soon(struct flash *flash)
{
    if (flash->changed != FLASH_NO_BLOCK || flash->needs_flush) {
        flash->host->ring(flash->slot, EVENT_WRITE);
    }
}

/* What the file has is read when somebody wants to know it. */
void flash_load(struct flash *flash)
{
    if (flash->is_loaded) {
        return;
    }
    flash->is_loaded = true;
    if (flash->has_file) {
        begin(flash, VDEV_IO_READ, TOKEN_LOAD, 0, flash->size);
        flash->host->image_settle(flash->slot);
    }
    if (flash->is_broken) {
        memset(flash->bytes, FLASH_ERASED, flash->size);
    }
}

static bool has_more(const struct flash *flash)
{
    return flash->is_writing || flash->is_flushing || flash->changed != FLASH_NO_BLOCK ||
           flash->needs_flush;
}

bool flash_drain(struct flash *flash)
{
    for (uint32_t i = 0; has_more(flash) && i < ROUNDS; i++) {
        go_on(flash);
        flash->host->image_settle(flash->slot);
    }
    return !has_more(flash);
}

void flash_begin_again(struct flash *flash)
{
    flash->needs_flush |= flash->is_flushing;
    flash->is_writing = false;
    flash->is_flushing = false;
    flash_write_soon(flash);
}

bool flash_prepare(struct flash *flash, uint32_t block)
{
    if (flash->is_read_only || flash->is_broken) {
        flash->status |= FLASH_PROTECTED;
        return false;
    }
    if (!flash->has_file) {
        return true;
    }
    if (flash->is_writing) {
        flash->host->image_settle(flash->slot);
    }
    if (!flash->is_behind && flash->changed != FLASH_NO_BLOCK && flash->changed != block) {
        begin_write(flash);
        flash->host->image_settle(flash->slot);
    }
    if (flash->is_behind) {
        return false;
    }
    if (flash->changed == FLASH_NO_BLOCK) {
        wait_for_more(flash);
    }
    flash->changed = block;
    return true;
}

static const struct vdev_field fields[] = {
    VDEV_NUMBER(1, struct flash, mode, FLASH_QUERY), VDEV_NUMBER(2, struct flash, command, 0),
    VDEV_NUMBER(3, struct flash, status, 0),         VDEV_NUMBER(4, struct flash, programs, 0),
    VDEV_NUMBER(5, struct flash, erases, 0),         {0},
};

static uint32_t piece_size(const struct flash *flash, uint32_t offset)
{
    return flash->size - offset < VDEV_FIELD_SIZE ? flash->size - offset : VDEV_FIELD_SIZE;
}

/* What it holds is in its file, or is saved with it; what neither has cannot be saved. */
int flash_save(void *device)
{
    struct flash *flash = device;
    int r;

    if (!flash_drain(flash)) {
        return -EIO;
    }
    r = vdev_put_fields(flash->host, flash->slot, fields, 0, flash);
    for (uint32_t at = 0; r == 0 && !flash->has_file && at < flash->size; at += VDEV_FIELD_SIZE) {
        r = flash->host->put(flash->slot, PIECES + at / VDEV_FIELD_SIZE, VDEV_FIELD_BYTES,
                             flash->bytes + at, piece_size(flash, at));
    }
    return r;
}

int flash_restore(void *device)
{
    struct flash *flash = device;
    int r = vdev_get_fields(flash->host, flash->slot, fields, 0, flash);

    for (uint32_t at = 0; r == 0 && !flash->has_file && at < flash->size; at += VDEV_FIELD_SIZE) {
        r = flash->host->get(flash->slot, PIECES + at / VDEV_FIELD_SIZE, VDEV_FIELD_BYTES,
                             flash->bytes + at, piece_size(flash, at), 0);
        r = r == -ENOENT ? 0 : r;
    }
    return r;
}
