/* Put together what can be without KVM and without rights. */
#include "qvm-worker/dryrun.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus.h"
#include "qvm-worker/machine_places.h"
#include "qvm-worker/memory.h"
#include "qvm-worker/plan.h"
#include "qvm-worker/power.h"
#include "qvm-worker/vdev_host.h"

static void print_memory(const struct memory *memory, FILE *out)
{
    uint32_t count = 0;
    const struct memory_region *regions = memory_regions(memory, &count);

    (void)fprintf(out, "memory map:\n");
    for (uint32_t i = 0; i < count; i++) {
        (void)fprintf(out, "  0x%012" PRIx64 "-0x%012" PRIx64 " %s\n", regions[i].start,
                      regions[i].start + regions[i].size - 1,
                      regions[i].is_ram ? "RAM" : "firmware area");
    }
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

static void on_power(void *context)
{
    (void)context;
}

static void on_pulse(void *context, uint32_t gsi)
{
    on_intr(context, gsi, false);
}

/* What the machine itself has on the bus, then the vdevs. */
static int fill_bus(const struct plan *plan, struct vdev_host *vdevs, struct uv_loop_s *loop,
                    const struct memory *memory, struct bus *bus, struct err *err)
{
    static const struct power_ops ops = {on_power, on_power, on_pulse};
    struct power *power = NULL;
    int r = machine_places_claim(bus, memory, err);

    r = r == 0 ? power_create(bus, &ops, NULL, &power, err) : r;
    r = r == 0 ? make_vdevs(plan, vdevs, loop, bus, err) : r;
    power_destroy(power);
    return r;
}

int dryrun(const struct plan *plan, struct vdev_host *vdevs, struct uv_loop_s *loop, FILE *out,
           struct err *err)
{
    struct memory *memory = NULL;
    struct bus *bus = bus_create();
    int r;

    if (bus == NULL) {
        return err_set(err, -ENOMEM, "no memory left");
    }
    plan_print(plan, out);
    r = memory_create(plan->ram, plan->ram_count, &memory, err);
    if (r == 0) {
        print_memory(memory, out);
        r = check_files(plan, err);
    }
    r = r == 0 ? fill_bus(plan, vdevs, loop, memory, bus, err) : r;
    memory_destroy(memory);
    bus_destroy(bus);
    return r;
}
