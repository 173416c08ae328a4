/* Interrupt lines that several may hold. */
#include "qvm-worker/bus/intr_lines.h"

void intr_lines_init(struct intr_lines *lines, intr_lines_set_fn set, void *context)
{
    *lines = (struct intr_lines){.set = set, .context = context};
    for (uint32_t i = 0; i < INTR_LINES_COUNT; i++) {
        (void)pthread_mutex_init(&lines->lines[i].lock, NULL); /* cannot fail for a plain one */
    }
}

void intr_lines_fini(struct intr_lines *lines)
{
    for (uint32_t i = 0; i < INTR_LINES_COUNT; i++) {
        (void)pthread_mutex_destroy(&lines->lines[i].lock); /* nobody holds it */
    }
}

void intr_lines_hold(struct intr_lines *lines, uint32_t gsi, bool is_held)
{
    uint32_t *holders;

    if (gsi >= INTR_LINES_COUNT) {
        return;
    }
    (void)pthread_mutex_lock(&lines->lines[gsi].lock);
    holders = &lines->lines[gsi].holders;
    *holders = is_held ? *holders + 1 : *holders - (*holders > 0 ? 1 : 0);
    if (*holders == (is_held ? 1 : 0)) {
        lines->set(lines->context, gsi, is_held);
    }
    (void)pthread_mutex_unlock(&lines->lines[gsi].lock);
}
