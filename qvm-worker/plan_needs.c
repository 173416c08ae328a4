/* What a plan asks of the host, each thing with its FILE:LINE. */
#include <errno.h>
#include <string.h>

#include "proto/base/err.h"
#include "qvm-worker/plan_private.h"

#define MEMORY_POOL "host"
#define CPU_POOL    "shared"
#define KVM_ID      "/dev/kvm"

static int add(struct plan *plan, const struct plan_need *need, struct err *err)
{
    if (plan->need_count == PLAN_NEEDS_MAX) {
        return err_set(err, -ENOEXEC, "%s: the VM asks for more than %d things", need->where,
                       PLAN_NEEDS_MAX);
    }
    plan->needs[plan->need_count++] = *need;
    return 0;
}

static int add_machine(struct plan *plan, struct err *err)
{
    struct plan_need memory = {RESOURCE_memory, MEMORY_POOL,        0,          false,
                               false,           plan->ram[0].where, UINT32_MAX, NULL};
    struct plan_need cpu = {RESOURCE_cpu, CPU_POOL,        plan->cpu_count, false,
                            false,        plan->cpu_where, UINT32_MAX,      NULL};
    struct plan_need kvm = {RESOURCE_kvm, KVM_ID, 0, true, true, plan->where, UINT32_MAX, NULL};
    int r;

    for (uint32_t i = 0; i < plan->ram_count; i++) {
        memory.amount += plan->ram[i].size; /* below 32 x MEMORY_ADDRESS_MAX: no overflow */
    }
    r = add(plan, &memory, err);
    r = r == 0 ? add(plan, &cpu, err) : r;
    return r == 0 ? add(plan, &kvm, err) : r;
}

static int add_loads(struct plan *plan, struct err *err)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < plan->load_count; i++) {
        struct plan_need need = {.kind = RESOURCE_file,
                                 .id = plan->loads[i].path,
                                 .is_readable = true,
                                 .where = plan->loads[i].where,
                                 .load = i};

        r = add(plan, &need, err);
    }
    return r;
}

/* The folder of the file that `where` ("FILE:LINE") names; NULL: it has none. */
static const char *directory_of(const struct plan *plan, const char *where)
{
    const char *colon = strrchr(where, ':');
    size_t size = colon != NULL ? (size_t)(colon - where) : strlen(where);
    const char *of_words = NULL;

    for (size_t i = 0; i < plan->part_count; i++) {
        const char *name = plan->parts[i].name;

        if (name == NULL) {
            of_words = plan->parts[i].directory;
        } else if (strlen(name) == size && memcmp(name, where, size) == 0) {
            return plan->parts[i].directory;
        }
    }
    return of_words;
}

static int add_device_need(struct plan *plan, const struct vdev_host_need *device, struct err *err)
{
    struct plan_need need = {.kind = RESOURCE_stream,
                             .id = device->path,
                             .is_readable = device->can_read,
                             .is_writable = device->can_write,
                             .where = device->where,
                             .load = UINT32_MAX,
                             .device = device};
    const char *directory = directory_of(plan, device->where);

    if (device->kind == VDEV_HOST_NEED_COMMAND) {
        return err_set(err, -ENOEXEC, "%s: 'hostdev \"|COMMAND\"' is not supported yet",
                       device->where);
    }
    if (need.id[0] != '/') {
        if (directory == NULL) {
            return err_set(err, -ENOEXEC,
                           "%s: path '%s' is relative, and there is no folder that it could start "
                           "from: give it from '/' on",
                           device->where, device->path);
        }
        need.id = plan_keep(plan, err, "%s/%s", strcmp(directory, "/") == 0 ? "" : directory,
                            device->path);
    }
    return need.id != NULL ? add(plan, &need, err) : -ENOMEM;
}

int plan_add_needs(struct plan *plan, struct err *err)
{
    const struct vdev_host_need *device = NULL;
    int r = add_machine(plan, err);

    r = r == 0 ? add_loads(plan, err) : r;
    while (r == 0 && (device = vdev_host_next_need(plan->vdevs, device)) != NULL) {
        r = add_device_need(plan, device, err);
    }
    return r;
}
