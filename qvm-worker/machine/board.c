/* Registers of the host bridge that change what the machine is. */
#include "qvm-worker/machine/board.h"

#include <string.h>

#include "qvm-worker/bus/bus.h"
#include "qvm-worker/memory/memory.h"
#include "qvm-worker/pci/pci.h"

#define HALF_MASK 3u  /* read enable, write enable: VM_SHADOW_READ, VM_SHADOW_WRITE */
#define LAST_64K  12u /* segment of 0xF0000: one half stands for four */

/* A write that RAM takes although reads find the ROM, as firmware copies itself: Intel 3 series,
 * 5.1.20. All others are lost; a read that comes here finds nothing. */
static void on_access(void *device, uint32_t region, uint64_t offset, uint32_t size,
                      uint64_t *value, bool is_write)
{
    const struct board *board = device;

    (void)region;
    if (!is_write) {
        *value = UINT64_MAX;
    } else if ((board->seen[offset / VM_SHADOW_SEGMENT] & VM_SHADOW_WRITE) != 0) {
        (void)memory_copy_in(board->memory, gpa(VM_SHADOW_START + offset), value, size);
    }
}

int board_init(struct board *board, const struct memory *memory, struct bus *bus, struct err *err)
{
    board->memory = memory;
    return bus_add(bus, BUS_MEMORY, VM_SHADOW_START, VM_SHADOW_END - VM_SHADOW_START, on_access,
                   board, 0, "guest RAM", err);
}

bool board_pam(struct board *board, const uint8_t *registers)
{
    for (uint32_t i = 0; i < VM_SHADOW_SEGMENTS; i++) {
        /* the first register's high half is the last 64 KiB; the others have two segments each */
        uint8_t reg = i < LAST_64K ? registers[1 + i / 2] : registers[0];
        bool is_high = i >= LAST_64K || i % 2 != 0;

        board->wanted[i] = (is_high ? reg >> 4 : reg) & HALF_MASK;
    }
    return memcmp(board->wanted, board->seen, sizeof(board->seen)) != 0;
}

int board_apply(struct board *board, struct vm *vm, struct err *err)
{
    memcpy(board->seen, board->wanted, sizeof(board->seen));
    return vm_shadow_set(vm, board->memory, board->seen, err);
}
