/* A hand looks at functions of the host for the inventory: what their configuration space tells,
 * the kernel tells only while nobody resets them. Loop thread. */
#ifndef QVM_DAEMON_LOOK_H
#define QVM_DAEMON_LOOK_H

#include <stddef.h>

#include "daemon/host/pci.h"

struct hands;
struct inventory;

struct look {
    struct hands *hands;
    const char *root;            /* as of pci.h, for ever */
    struct inventory *inventory; /* who wants to know; NULL: nobody any more */
};

/* What is before "/sys": a test build reads a prepared machine, of which nothing changes if
 * QVM_HOST_STILL says so; a real one knows none but its own. */
const char *look_root(void);

/* As inventory_look_fn; lives until `hands` is gone. */
int look_at(struct look *look, const char (*bdfs)[PCI_BDF_SIZE], size_t count);

#endif
