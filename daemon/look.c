#include "daemon/look.h"

#include <stdlib.h>

#include "daemon/hand/hand.h"
#include "daemon/host/inventory.h"
#include "proto/base/log.h"

#define LOOK_MS 10000

const char *look_root(void)
{
#ifdef QVM_CRASH_POINTS
    const char *root = getenv("QVM_HOST_ROOT");

    return root != NULL ? root : "";
#else
    return "";
#endif
}

static void on_looked(void *data, struct hand_result *result)
{
    struct look *look = data;
    struct pci_config configs[INVENTORY_LOOK_MAX];
    size_t count = 0;

    while (count < result->count && count < INVENTORY_LOOK_MAX) {
        configs[count] = result->files[count].config;
        count++;
    }
    if (result->err.code != 0) {
        log_warn("host: a device's configuration space is not known why=\"%s\"", result->err.msg);
    }
    if (look->inventory != NULL) {
        inventory_looked(look->inventory, configs, count);
    }
}

int look_at(struct look *look, const char (*bdfs)[PCI_BDF_SIZE], size_t count)
{
    struct err err = {0};
    int r = hand_look_at_devices(look->hands, look->root, bdfs, count, LOOK_MS, on_looked, look,
                                 NULL, &err);

    if (r < 0) {
        log_warn("host: nobody can look at devices why=\"%s\"", err.msg);
    }
    return r;
}
