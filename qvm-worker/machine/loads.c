/* Files to load. */
#include "qvm-worker/machine/loads.h"

#include "qvm-worker/loader/loader.h"
#include "qvm-worker/machine/machine.h"

void machine_load_item(const struct machine_load *load, struct loader_item *item)
{
    static const enum loader_kind kinds[] = {
        [MACHINE_LOAD_DETECT] = LOADER_DETECT, [MACHINE_LOAD_GUEST] = LOADER_GUEST,
        [MACHINE_LOAD_INITRD] = LOADER_INITRD, [MACHINE_LOAD_DATA] = LOADER_DATA,
        [MACHINE_LOAD_ACPI] = LOADER_ACPI,
    };

    *item = (struct loader_item){.kind = kinds[load->kind],
                                 .has_address = load->has_address,
                                 .address = load->address,
                                 .fd = load->fd,
                                 .path = load->path,
                                 .where = load->where};
}
