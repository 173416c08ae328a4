/* Registers of the host bridge that change what the machine is: who answers at 0xC0000-0xFFFFF
 * (PAM), and where configuration space is, which ACPI tells.
 *
 * A vCPU that writes them waits until the control thread has made it so: changes of memory slots
 * leave a hole for a moment, in which no vCPU may look. Only machines with firmware have this; in
 * others that part of memory is RAM for good. */
#ifndef QVM_WORKER_MACHINE_BOARD_H
#define QVM_WORKER_MACHINE_BOARD_H

#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/vm/vm.h"

struct bus;
struct err;
struct memory;

struct board {
    const struct memory *memory;
    uint8_t wanted[VM_SHADOW_SEGMENTS]; /* as the registers have it */
    uint8_t seen[VM_SHADOW_SEGMENTS];   /* as the processor finds it */
};

/* Claim the shadow on the bus: what memory slots do not take comes here. */
int board_init(struct board *board, const struct memory *memory, struct bus *bus, struct err *err);

/* The PAM registers were written (pci.h). Returns whether anything is to be done. */
bool board_pam(struct board *board, const uint8_t *registers);

/* Make it so. Control thread, no vCPU runs. */
int board_apply(struct board *board, struct vm *vm, struct err *err);

#endif
