/* What this machine has, kept in memory and followed while qvmd runs: PCI functions and CPUs.
 *
 * Devices that come and go are heard of from the kernel; where that is not permitted, all is read
 * anew when it is asked for, and what has changed is noticed then. Loop thread. */
#ifndef QVM_DAEMON_HOST_INVENTORY_H
#define QVM_DAEMON_HOST_INVENTORY_H

#include <stdbool.h>
#include <stddef.h>

#include "daemon/host/pci.h"
#include "daemon/host/topology.h"

struct err;
struct inventory;
struct uv_loop_s;

/* Hears of a function that has appeared, or vanished: it is then as it was last seen. Calls nothing
 * of the inventory. */
typedef void (*inventory_fn)(void *context, const struct pci_function *function, bool is_there);

/* Have somebody who may wait read the configuration spaces of these, and tell inventory_looked(),
 * later. A negative errno: not now. */
#define INVENTORY_LOOK_MAX 32
typedef int (*inventory_look_fn)(void *context, const char (*bdfs)[PCI_BDF_SIZE], size_t count);

struct inventory_env {
    struct uv_loop_s *loop;
    const char *root; /* before "/sys" and "/proc": "" on the machine itself */
    bool is_told;     /* messages come by inventory_hear() alone */
    inventory_fn on_change;
    inventory_look_fn look; /* NULL: nobody looks, and nothing of that is known */
    void *context;
};

/* Read all. That nothing can be heard from the kernel is no failure: see inventory_deaf(). */
int inventory_create(const struct inventory_env *env, struct inventory **inventory,
                     struct err *err);

/* Closes its handle in the loop, and is freed when that is done. NULL is fine. */
void inventory_destroy(struct inventory *inventory);

/* The functions, and what the host does with them now. Borrowed until the loop turns; NULL: memory
 * is out. */
const struct pci_table *inventory_pci(struct inventory *inventory);

/* The look is over: what the first `count` of them told. What could not be told of the next one
 * took too long; those behind it have their turn again. */
void inventory_looked(struct inventory *inventory, const struct pci_config *configs, size_t count);

/* The CPUs, borrowed like that. */
const struct topology *inventory_topology(struct inventory *inventory);

/* What it was made with. */
const char *inventory_root(const struct inventory *inventory);

/* Why nothing is heard from the kernel, or NULL. */
const char *inventory_deaf(const struct inventory *inventory);

/* A message of the kernel's came; `text[size]` is writable. */
void inventory_hear(struct inventory *inventory, char *text, size_t size);

#endif
