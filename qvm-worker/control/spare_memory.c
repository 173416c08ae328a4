/* Memory of the host, without an account. */
#include "qvm-worker/control/spare_memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/sysinfo.h>

#include "proto/base/err.h"
#include "qvm-worker/plan/plan.h"

#define MEMINFO "/proc/meminfo" /* proc(5) */

#define MIB_SHIFT 20
#define KIB_SHIFT 10

/* What could be given away without swapping; UINT64_MAX: it is not told. */
static uint64_t available(void)
{
    FILE *file = fopen(MEMINFO, "re");
    uint64_t kib = UINT64_MAX >> KIB_SHIFT;
    char line[128];

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1) {
            break;
        }
    }
    if (file != NULL) {
        (void)fclose(file); /* it was only read */
    }
    return kib << KIB_SHIFT;
}

int spare_memory_check(const struct plan_need *need, struct err *err)
{
    struct sysinfo info;
    uint64_t bytes;

    if (sysinfo(&info) == 0 && need->amount <= (uint64_t)info.freeram * info.mem_unit) {
        return 0; /* the usual case; the file takes a hundred times as long */
    }
    bytes = available();
    if (need->amount <= bytes) {
        return 0;
    }
    return err_set(err, -ENOSPC,
                   "%s: %" PRIu64 " MiB of memory are asked for, and this host has %" PRIu64
                   " MiB left for it",
                   need->where, need->amount >> MIB_SHIFT, bytes >> MIB_SHIFT);
}
