/* Flash memory on the bus, in which firmware keeps what it has to remember: EFI its variables.
 *
 * A part of eight bits with Intel's commands and one kind of erase blocks, as a driver finds it by
 * CFI (JEDEC JESD68.01, JEP137; Intel StrataFlash 28F640J3, "Bus operations", "Commands"). Of the
 * status SR.7 is low behind a Clear Status until the next command is done, which is how EDK II
 * tells flash from RAM and ROM (OvmfPkg/QemuFlashFvbServicesRuntimeDxe).
 *
 * What it holds is in memory, and goes to the file of `hostdev` block by block, in the order in
 * which the guest changed it: a block is written before another changes, so whatever ends the qvm
 * leaves what flash has after a power cut. A guest that changes the next block waits for that. The
 * last block follows when the guest reads the array again, or some time later. What the file does
 * not take is tried again; until it has it, the guest changes nothing and sees that it fails.
 *
 * Who reads the array for a while gets it as memory, which costs no exit; the first command takes
 * it away. It would be slower to do that for each of the few reads between two commands. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vdevs/flash.h"

#define LARGEST   (16u << 20)
#define PAGE      4096u
#define READS_MAX 64u /* of the array, one by one, before it is shown as memory */

enum command {
    COMMAND_PROGRAM_OLD = 0x10,
    COMMAND_ERASE = 0x20,
    COMMAND_PROGRAM = 0x40,
    COMMAND_CLEAR_STATUS = 0x50,
    COMMAND_LOCK = 0x60,
    COMMAND_READ_STATUS = 0x70,
    COMMAND_READ_ID = 0x90,
    COMMAND_QUERY = 0x98,
    COMMAND_CONFIRM = 0xd0,
};

/* JESD68.01: what differs from one to another. */
enum { QUERY_SIZE = 0x27, QUERY_BLOCKS = 0x2d };

static const struct vdev_option options[] = {
    {.name = "hostdev",
     .kind = VDEV_OPTION_IMAGE,
     .doc = "the file with what it holds: [<]PATH, with < nothing can be changed"},
    {.name = NULL},
};

/* Programming makes ones zeroes, and never the other way. */
static void program(struct flash *flash, uint64_t offset, uint32_t size, uint64_t value)
{
    flash->programs++;
    for (uint32_t i = 0; i < size; i++) {
        if (flash_prepare(flash, (uint32_t)((offset + i) / FLASH_BLOCK))) {
            flash->bytes[offset + i] &= (uint8_t)(value >> (8 * i));
        } else {
            flash->status |= FLASH_PROGRAM_FAILED;
        }
    }
    flash->status |= FLASH_READY;
}

static void erase(struct flash *flash, uint64_t offset)
{
    uint32_t block = (uint32_t)(offset / FLASH_BLOCK);

    flash->erases++;
    if (flash_prepare(flash, block)) {
        memset(flash->bytes + (size_t)block * FLASH_BLOCK, FLASH_ERASED, FLASH_BLOCK);
    } else {
        flash->status |= FLASH_ERASE_FAILED;
    }
    flash->status |= FLASH_READY;
}

static void read_array(struct flash *flash)
{
    flash->mode = FLASH_ARRAY;
    flash_write_soon(flash);
}

static void hide(struct flash *flash)
{
    flash->reads = 0;
    if (flash->is_shown) {
        flash->is_shown = false;
        (void)flash->host->memory_show(flash->slot, 0, 0, flash->bytes, 0); /* it was there */
    }
}

static void count_read(struct flash *flash)
{
    if (!flash->is_shown && flash->reads < READS_MAX && ++flash->reads == READS_MAX) {
        flash->is_shown =
            flash->host->memory_show(flash->slot, 0, 0, flash->bytes, flash->size) == 0;
        flash->shows += flash->is_shown ? 1 : 0;
    }
}

static void first_cycle(struct flash *flash, uint8_t command)
{
    switch (command) {
    case COMMAND_PROGRAM_OLD:
    case COMMAND_PROGRAM:
    case COMMAND_ERASE:
    case COMMAND_LOCK:
        flash->command = command;
        flash->mode = FLASH_STATUS;
        break;
    case COMMAND_READ_STATUS:
        flash->mode = FLASH_STATUS;
        break;
    case COMMAND_READ_ID:
        flash->mode = FLASH_ID;
        break;
    case COMMAND_QUERY:
        flash->mode = FLASH_QUERY;
        break;
    case COMMAND_CLEAR_STATUS:
        flash->status = 0;
        read_array(flash);
        break;
    default: /* Read Array is 0xff */
        read_array(flash);
    }
}

static void second_cycle(struct flash *flash, uint64_t offset, uint32_t size, uint64_t value)
{
    uint8_t command = flash->command;

    flash->command = 0;
    if (command == COMMAND_PROGRAM || command == COMMAND_PROGRAM_OLD) {
        program(flash, offset, size, value);
    } else if (command == COMMAND_ERASE && (uint8_t)value == COMMAND_CONFIRM) {
        erase(flash, offset);
    } else if (command == COMMAND_LOCK) {
        flash->status |= FLASH_READY; /* no block is locked, or can be */
    } else {
        flash->status |=
            FLASH_ERASE_FAILED | FLASH_PROGRAM_FAILED | FLASH_READY; /* a wrong sequence */
    }
}

static void flash_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                        uint64_t value)
{
    struct flash *flash = device;

    (void)region;
    flash_load(flash);
    if (flash->command != 0) {
        second_cycle(flash, offset, size, value);
    } else {
        first_cycle(flash, (uint8_t)value);
    }
    if (flash->mode != FLASH_ARRAY) {
        hide(flash);
    }
}

static uint8_t read_byte(const struct flash *flash, uint64_t offset)
{
    switch (flash->mode) {
    case FLASH_STATUS:
        return flash->status;
    case FLASH_QUERY:
        return offset < FLASH_QUERY_END ? flash->query[offset] : 0;
    case FLASH_ID: /* Intel's, of a 64 Mbit part; 2 and on: not locked */
        return offset % FLASH_BLOCK == 0 ? 0x89 : offset % FLASH_BLOCK == 1 ? 0x17 : 0;
    default:
        return flash->bytes[offset];
    }
}

static uint64_t flash_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    struct flash *flash = device;
    uint64_t value = 0;

    (void)region;
    flash_load(flash);
    for (uint32_t i = 0; i < size; i++) {
        value |= (uint64_t)read_byte(flash, offset + i) << (8 * i);
    }
    if (flash->mode == FLASH_ARRAY) {
        count_read(flash);
    }
    return value;
}

static void describe(struct flash *flash)
{
    static const uint8_t words[] = {[0x10] = 'Q',
                                    'R',
                                    'Y',
                                    0x01,
                                    0,
                                    0x31,
                                    0, /* Intel's commands; its table at 0x31 */
                                    [0x1b] = 0x45,
                                    0x55,
                                    0,
                                    0,
                                    7,
                                    0,
                                    10,
                                    0,
                                    4,
                                    0,
                                    4,
                                    0, /* volts; times as powers of two */
                                    [0x2c] = 1,
                                    [0x31] = 'P',
                                    'R',
                                    'I',
                                    '1',
                                    '0'};
    uint32_t blocks = flash->size / FLASH_BLOCK - 1;

    memcpy(flash->query, words, sizeof(words));
    while (UINT64_C(1) << flash->query[QUERY_SIZE] < flash->size) {
        flash->query[QUERY_SIZE]++;
    }
    flash->query[QUERY_BLOCKS] = (uint8_t)blocks;
    flash->query[QUERY_BLOCKS + 1] = (uint8_t)(blocks >> 8);
    flash->query[QUERY_BLOCKS + 3] = FLASH_BLOCK / 256;
}

static int check(const struct vdev_services *host, struct vdev_slot *slot,
                 const struct vdev_config *config, const struct vdev_image *image)
{
    uint64_t size = config->regions[0].size;

    if (config->region_count != 1 || config->regions[0].space != VDEV_SPACE_MEMORY) {
        return host->fail(slot, NULL, "flash has one place, in memory: loc mem:ADDRESS,LENGTH");
    }
    if (size == 0 || size % FLASH_BLOCK != 0 || size > LARGEST ||
        config->regions[0].start % FLASH_BLOCK != 0) {
        return host->fail(
            slot, NULL,
            "flash is made of blocks of 4 KiB, 16 MiB at most: it cannot have %" PRIu64
            " bytes at 0x%" PRIx64,
            size, config->regions[0].start);
    }
    if (image->size != 0 && image->size != size) {
        return host->fail(slot, NULL,
                          "the file has %" PRIu64 " bytes, and the flash %" PRIu64
                          ": 'loc mem:ADDRESS,LENGTH' must give it the file's size",
                          image->size, size);
    }
    return 0;
}

static int flash_create(const struct vdev_services *host, struct vdev_slot *slot,
                        const struct vdev_config *config, void **device)
{
    struct vdev_image image = {0};
    bool has_file = host->image(slot, &image);
    struct flash *flash;

    if (!has_file) {
        image = (struct vdev_image){0};
    }
    if (check(host, slot, config, &image) != 0) {
        return -EINVAL;
    }
    if (has_file && flash_open_event(host, slot) != 0) {
        return host->fail(slot, NULL, "the flash cannot write its file by itself");
    }
    flash = calloc(1, sizeof(*flash));
    if (flash != NULL) {
        flash->bytes = aligned_alloc(PAGE, config->regions[0].size);
    }
    if (flash == NULL || flash->bytes == NULL) {
        free(flash);
        return host->fail(slot, NULL, "no memory");
    }
    flash->host = host;
    flash->slot = slot;
    flash->size = (uint32_t)config->regions[0].size;
    flash->has_file = has_file;
    flash->is_read_only = image.is_read_only;
    flash->changed = FLASH_NO_BLOCK;
    flash->status = FLASH_READY;
    memset(flash->bytes, FLASH_ERASED, flash->size);
    describe(flash);
    *device = flash;
    return 0;
}

static void flash_destroy(void *device)
{
    struct flash *flash = device;

    if (!flash_drain(flash)) {
        flash->host->log(flash->slot, VDEV_LOG_WARN,
                         "the file lacks what the guest changed last: it did not take it");
    }
    free(flash->bytes);
    free(flash);
}

/* What it holds stays, as without power, and goes to the file still: the host forgot transfers. */
static void flash_reset(void *device)
{
    struct flash *flash = device;

    flash->command = 0;
    flash->status = FLASH_READY;
    flash->mode = FLASH_ARRAY;
    flash_begin_again(flash);
}

static int restore(void *device)
{
    struct flash *flash = device;
    int r = flash_restore(device);

    if (flash->mode != FLASH_ARRAY) {
        hide(flash);
    }
    return r;
}

static void flash_state(void *device, vdev_state_fn add, void *context)
{
    static const char *const modes[] = {"array", "status", "id", "query"};
    const struct flash *flash = device;
    const struct {
        const char *name;
        uint64_t count;
    } counts[] = {{"programs", flash->programs},
                  {"erases", flash->erases},
                  {"shown-as-memory", flash->shows},
                  {"blocks-written", flash->writes},
                  {"errors", flash->errors}};
    char text[32];

    add(context, "reads", modes[flash->mode]);
    (void)snprintf(text, sizeof(text), "0x%02x", flash->status);
    add(context, "status", text);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        (void)snprintf(text, sizeof(text), "%" PRIu64, counts[i].count);
        add(context, counts[i].name, text);
    }
}

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = flash_create,
    .destroy = flash_destroy,
    .reset = flash_reset,
    .read = flash_read,
    .write = flash_write,
    .timer = flash_timer,
    .state = flash_state,
    .save = flash_save,
    .restore = restore,
    .event = flash_event,
    .io_done = flash_io_done,
};

/* Below the code of Debian's OVMF of 2 MiB. */
static const struct vdev_region regions[] = {
    {.space = VDEV_SPACE_MEMORY, .start = 0xffe00000, .size = 128 << 10}};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "flash",
    .doc = "flash memory in which firmware keeps its variables",
    .options = options,
    .default_regions = regions,
    .default_region_count = 1,
    .default_intr = QVM_VDEV_NO_INTR,
    .ops = &ops,
    .has_io_thread = true,
    .shows_memory = true,
};

QVM_VDEV_EXPORT(module);
