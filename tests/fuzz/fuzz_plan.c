/* Any bytes as a configuration with all its options: refused in words with their place, or a plan
 * whose summaries can be told. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/conf/regions.h"
#include "qvm-worker/loc.h"
#include "qvm-worker/plan/json_out.h"
#include "qvm-worker/plan/plan.h"
#include "qvm-worker/vdev/host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct plan plan;

static void tell(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    struct json_out json = {.out = out};

    if (out == NULL) {
        return;
    }
    plan_print(&plan, out);
    json_out_open_object(&json, NULL);
    plan_json(&plan, &json);
    json_out_close_object(&json);
    (void)fclose(out);
    free(text);
}

static void check(int r, const struct err *err)
{
    if (r != 0 && r != -ENOEXEC && r != -ENOMEM) {
        abort();
    }
    if (r != 0 && (err->msg[0] == '\0' || strchr(err->msg, '\n') != NULL)) {
        abort();
    }
    if (plan.cpu_count > MACHINE_CPUS_MAX || plan.ram_count > MEMORY_RANGES_MAX ||
        plan.reserve_count > PLAN_RESERVES_MAX || plan.need_count > PLAN_NEEDS_MAX) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const env[] = {"A=1", "B=two words", NULL};
    static const struct plan_partition partitions[] = {{.name = "first"},
                                                       {.name = "second", .page_size = 2u << 20}};
    static const struct plan_cluster clusters[] = {{"fast", {{0x6}}}};
    size_t half = size / 2;
    const struct conf_part parts[] = {
        {.name = "f", .directory = "/", .text = (const char *)data, .size = half},
        {.name = "g", .text = (const char *)data + half, .size = size - half},
    };
    struct conf_regions regions = {0};
    struct plan_host host = {.clusters = clusters,
                             .cluster_count = ARRAY_LEN(clusters),
                             .partitions = partitions,
                             .partition_count = size % 2 == 0 ? ARRAY_LEN(partitions) : 0,
                             .env = env,
                             .regions = &regions};
    struct vdev_host *vdevs = NULL;
    struct err err = {0};
    auto_close int modules = open(VDEV_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r;

    if (conf_regions_add(&regions, "A", 0x100000, 0x1000) != 0 ||
        vdev_host_create(modules, &vdevs, NULL) != 0) {
        conf_regions_fini(&regions);
        return 0;
    }
    memset(&plan, 0, sizeof(plan));
    r = plan_read(&plan, parts, ARRAY_LEN(parts), &host, vdevs, &err);
    check(r, &err);
    if (r == 0 && !plan.wants_settings) {
        tell();
    }
    plan_fini(&plan);
    vdev_host_destroy(vdevs);
    conf_regions_fini(&regions);
    return 0;
}
