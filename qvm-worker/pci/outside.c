/* Bytes of a function's configuration space that somebody else has: see function.h. */
#include <string.h>

#include "qvm-worker/pci/pci_private.h"

static bool is_outside(const struct pci_function *function, uint32_t at)
{
    return function->space.outside[at] != 0;
}

/* How many of the bytes from `at` on have the same owner, of those before `end`. */
static uint32_t run_of(const struct pci_function *function, uint32_t at, uint32_t end)
{
    uint32_t next = at + 1;

    while (next < end && is_outside(function, next) == is_outside(function, at)) {
        next++;
    }
    return next - at;
}

uint32_t pci_outside_read(struct pci_function *function, uint32_t at, uint32_t size, uint32_t value)
{
    for (uint32_t i = at, count; i < at + size; i += count) {
        count = run_of(function, i, at + size);
        if (is_outside(function, i)) {
            uint32_t part = function->ops->outside_read(function->context, i, count);

            memcpy((uint8_t *)&value + (i - at), &part, count);
        }
    }
    return value;
}

void pci_outside_write(struct pci_function *function, uint32_t at, uint32_t size, uint32_t value)
{
    for (uint32_t i = at, count; i < at + size; i += count) {
        count = run_of(function, i, at + size);
        if (is_outside(function, i)) {
            function->ops->outside_write(function->context, i, count, value >> (8 * (i - at)));
        }
    }
}
