/* Put together what can be without KVM and without rights. */
#include "qvm-worker/dryrun.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus.h"
#include "qvm-worker/memory.h"
#include "qvm-worker/plan.h"
#include "qvm-worker/vdev_host.h"

static int print_memory(const struct plan *plan, FILE *out, struct err *err)
{
    struct memory *memory = NULL;
    int r = memory_create(plan->ram, plan->ram_count, &memory, err);
    const struct memory_region *regions;
    uint32_t count;

    if (r != 0) {
        return r;
    }
    regions = memory_regions(memory, &count);
    (void)fprintf(out, "memory map:\n");
    for (uint32_t i = 0; i < count; i++) {
        (void)fprintf(out, "  0x%012" PRIx64 "-0x%012" PRIx64 " %s\n", regions[i].start,
                      regions[i].start + regions[i].size - 1,
                      regions[i].is_ram ? "RAM" : "firmware area");
    }
    memory_destroy(memory);
    return 0;
}

/* Files are looked at; the ends of serial lines are not opened, since that can have effects. */
static int check_files(const struct plan *plan, struct err *err)
{
    for (uint32_t i = 0; i < plan->need_count; i++) {
        const struct plan_need *need = &plan->needs[i];
        auto_close int fd = -1;
        struct stat stat;

        if (need->kind != RESOURCE_file) {
            continue;
        }
        fd = open(need->id, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0 || fstat(fd, &stat) != 0) {
            return err_sys(err, -errno, "%s: cannot open '%s'", need->where, need->id);
        }
        if (!S_ISREG(stat.st_mode)) {
            return err_set(err, -EINVAL, "%s: '%s' is no regular file", need->where, need->id);
        }
    }
    return 0;
}

static void on_intr(void *context, uint32_t gsi, bool is_high)
{
    (void)context;
    (void)gsi;
    (void)is_high;
}

static void on_request(void *context, enum vdev_request request, uint32_t value)
{
    (void)context;
    (void)request;
    (void)value;
}

static int make_vdevs(const struct plan *plan, struct vdev_host *vdevs, struct uv_loop_s *loop,
                      struct bus *bus, struct err *err)
{
    struct vdev_host_env env = {.loop = loop,
                                .bus = bus,
                                .cpu_count = plan->cpu_count,
                                .intr = on_intr,
                                .request = on_request};

    for (uint32_t i = 0; i < plan->need_count; i++) {
        if (plan->needs[i].device != NULL) {
            int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

            if (fd < 0) {
                return err_sys(err, -errno, "cannot open /dev/null");
            }
            vdev_host_grant(vdevs, plan->needs[i].device, fd);
        }
    }
    return vdev_host_build(vdevs, &env, err);
}

int dryrun(const struct plan *plan, struct vdev_host *vdevs, struct uv_loop_s *loop, FILE *out,
           struct err *err)
{
    struct bus *bus = bus_create();
    int r;

    if (bus == NULL) {
        return err_set(err, -ENOMEM, "no memory left");
    }
    plan_print(plan, out);
    r = print_memory(plan, out, err);
    r = r == 0 ? check_files(plan, err) : r;
    r = r == 0 ? make_vdevs(plan, vdevs, loop, bus, err) : r;
    bus_destroy(bus);
    return r;
}
