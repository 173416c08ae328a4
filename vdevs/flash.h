/* Inside the flash: its commands (vdev-flash.c), and what it holds (flash_file.c). */
#ifndef QVM_VDEVS_FLASH_H
#define QVM_VDEVS_FLASH_H

#include <stdbool.h>
#include <stdint.h>

#include <qvm/vdev.h>

#define FLASH_BLOCK     4096u
#define FLASH_ERASED    0xffu
#define FLASH_NO_BLOCK  UINT32_MAX
#define FLASH_QUERY_END 0x36u /* JESD68.01 and the table of Intel's commands */

enum flash_mode { FLASH_ARRAY, FLASH_STATUS, FLASH_ID, FLASH_QUERY };

/* What has become of commands: Intel's bits of the status. */
enum {
    FLASH_PROTECTED = 0x02,
    FLASH_PROGRAM_FAILED = 0x10,
    FLASH_ERASE_FAILED = 0x20,
    FLASH_READY = 0x80
};

struct flash {
    const struct vdev_services *host;
    struct vdev_slot *slot;
    uint8_t *bytes;
    uint32_t size;
    bool has_file, is_read_only;
    bool is_loaded; /* the file has been read, or could not be */
    bool is_broken; /* it could not: nothing is written to it */
    bool is_writing, is_flushing, needs_flush;
    bool is_behind;   /* the file did not take the block, or its flush: nothing changes meanwhile */
    uint32_t changed; /* the block that the file does not have yet, or FLASH_NO_BLOCK */
    uint8_t mode;     /* enum flash_mode: what is read */
    uint8_t command;  /* whose second cycle comes next; 0: none */
    uint8_t status;
    uint8_t query[FLASH_QUERY_END];
    uint32_t reads; /* of the array in a row */
    bool is_shown;  /* the guest reads it without us */
    uint64_t shows;
    uint64_t programs, erases, writes, errors;
};

/* During create: what goes to the file by itself has an event. 0 or -errno. */
int flash_open_event(const struct vdev_services *host, struct vdev_slot *slot);

/* Have what the file holds; called before anything is looked at. It waits for the host once. */
void flash_load(struct flash *flash);

/* A block is about to change: what changed before is in the file, for which it waits. False: it
 * cannot be changed, and the status says so. */
bool flash_prepare(struct flash *flash, uint32_t block);

/* What waits for more goes to the file soon. */
void flash_write_soon(struct flash *flash);

/* All that was changed is in the file and on the host's disk. It waits for the host. False: the
 * file did not take it, after some attempts. */
bool flash_drain(struct flash *flash);

/* The host forgot what was on its way: it goes to the file once more. */
void flash_begin_again(struct flash *flash);

/* Operations of the module. */
void flash_event(void *device, uint32_t event);
void flash_timer(void *device, uint32_t timer);
void flash_io_done(void *device, uint64_t token, int result);
int flash_save(void *device);
int flash_restore(void *device);

#endif
