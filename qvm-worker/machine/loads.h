/* Files to load, as the machine's callers have them and as the loader does. */
#ifndef QVM_WORKER_MACHINE_LOADS_H
#define QVM_WORKER_MACHINE_LOADS_H

struct loader_item;
struct machine_load;

/* `item` becomes `load`, never seen before. Its strings and descriptor are borrowed. */
void machine_load_item(const struct machine_load *load, struct loader_item *item);

#endif
