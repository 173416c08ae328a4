/* Interrupt lines that several may hold: a line is high while anybody holds it.
 *
 * Threads: any, also under a device's lock; a leaf lock a line (bus.c), under which the line is
 * set, so that it is set in the order of the changes. */
#ifndef QVM_WORKER_BUS_INTR_LINES_H
#define QVM_WORKER_BUS_INTR_LINES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define INTR_LINES_COUNT 24u /* pins of an IOAPIC */

typedef void (*intr_lines_set_fn)(void *context, uint32_t gsi, bool is_high);

struct intr_lines {
    intr_lines_set_fn set;
    void *context;
    struct {
        pthread_mutex_t lock;
        uint32_t holders;
    } lines[INTR_LINES_COUNT];
};

void intr_lines_init(struct intr_lines *lines, intr_lines_set_fn set, void *context);
void intr_lines_fini(struct intr_lines *lines);

/* One holder more or less; each releases what it held, once. Lines that do not exist are ignored.
 */
void intr_lines_hold(struct intr_lines *lines, uint32_t gsi, bool is_held);

#endif
