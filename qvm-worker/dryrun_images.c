/* `dryrun`: the files of a plan. */
#include "qvm-worker/dryrun_images.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/loader/loader.h"
#include "qvm-worker/machine/loads.h"
#include "qvm-worker/plan/plan.h"
#include "qvm-worker/tables/acpi.h"

static int open_all(const struct plan *plan, struct loader_item *items, struct err *err)
{
    for (uint32_t i = 0; i < plan->load_count; i++) {
        machine_load_item(&plan->loads[i], &items[i]);
        items[i].fd = open(items[i].path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (items[i].fd < 0) {
            return err_sys(err, -errno, "%s: cannot open '%s'", items[i].where, items[i].path);
        }
    }
    return 0;
}

static int check_tables(struct loader_item *items, uint32_t count, struct err *err)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < count; i++) {
        struct acpi_extra extra = {.path = items[i].path, .where = items[i].where};
        auto_free uint8_t *bytes = NULL;

        if (items[i].kind != LOADER_ACPI) {
            continue;
        }
        r = loader_read_acpi(&items[i], &bytes, &extra.size, err);
        extra.bytes = bytes;
        r = r == 0 ? acpi_check_extra(&extra, err) : r;
    }
    return r;
}

int dryrun_images(const struct plan *plan, const struct memory *memory, struct err *err)
{
    struct loader_item items[MACHINE_LOADS_MAX];
    struct loader loader = {.items = items,
                            .item_count = plan->load_count,
                            .cmdline = plan->cmdline,
                            .cmdline_where = plan->cmdline_where,
                            .where = plan->where,
                            .is_dry = true};
    struct loader_entry entry;
    int r;

    for (uint32_t i = 0; i < MACHINE_LOADS_MAX; i++) {
        items[i].fd = -1;
    }
    r = open_all(plan, items, err);
    r = r == 0 ? loader_load(&loader, memory, &entry, err) : r;
    r = r == 0 ? check_tables(items, plan->load_count, err) : r;
    for (uint32_t i = 0; i < MACHINE_LOADS_MAX; i++) {
        cleanup_close(&items[i].fd);
    }
    return r;
}
