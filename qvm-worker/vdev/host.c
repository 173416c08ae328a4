/* The vdevs of one VM, from their context in the configuration to their end. */
#include "qvm-worker/vdev/host.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus/bus.h"
#include "qvm-worker/vdev/backend.h"
#include "qvm-worker/vdev/ports.h"
#include "qvm-worker/vdev/private.h"
#include "qvm-worker/vdev/sockets.h"
#include "qvm-worker/vdev/tap_kernel.h"

int vdev_host_create(int directory_fd, struct vdev_host **host, struct err *err)
{
    struct vdev_host *new = calloc(1, sizeof(*new));

    if (new == NULL) {
        return err_set(err, -ENOMEM, "no memory for vdevs");
    }
    new->directory_fd = directory_fd;
    atomic_init(&new->clock_ahead_ns, VDEV_HOST_CLOCK_START);
    for (uint32_t i = 0; i < VDEV_HOST_GSI_COUNT; i++) {
        (void)pthread_mutex_init(&new->lines[i].lock, NULL); /* cannot fail for a plain one */
    }
    *host = new;
    return 0;
}

static void free_host_when_empty(struct vdev_host *host)
{
    if (!host->is_destroyed || host->held_slots > 0) {
        return;
    }
    for (uint32_t i = 0; i < host->module_count; i++) {
        free(host->modules[i]);
    }
    for (uint32_t i = 0; i < VDEV_HOST_GSI_COUNT; i++) {
        (void)pthread_mutex_destroy(&host->lines[i].lock); /* nobody holds it */
    }
    free(host);
}

void vdev_host_free_slot(struct vdev_slot *slot)
{
    struct vdev_host *host = slot->host;

    for (uint32_t i = 0; i < slot->value_count; i++) {
        free(slot->value_strings[i].text);
        free(slot->value_strings[i].where);
    }
    free(slot->value_strings);
    free(slot->events);
    vdev_host_free_shmem(slot);
    vdev_host_close_backend(slot);
    vdev_host_close_sockets(slot);
    free(slot->connects);
    free(slot->again);
    vdev_host_free_ports(slot);
    free(slot->values);
    free(slot->where);
    free(slot->delayed_where);
    if (slot->has_lock) {
        (void)pthread_mutex_destroy(&slot->lock); /* nobody holds it */
    }
    free(slot);
    host->held_slots--;
    free_host_when_empty(host);
}

void vdev_host_closed_handle(struct vdev_slot *slot)
{
    if (--slot->open_handles == 0) {
        vdev_host_free_slot(slot);
    }
}

void vdev_host_destroy(struct vdev_host *host)
{
    if (host == NULL) {
        return;
    }
    for (uint32_t i = host->slot_count; i-- > 0;) {
        struct vdev_slot *slot = host->slots[i];

        vdev_host_close_stream(slot);
        vdev_host_close_ports(slot);
        vdev_host_stop_events(slot);
        slot->function = NULL; /* the buses may be gone */
        if (slot->device != NULL) {
            slot->loaded->ops.destroy(slot->device);
        }
        vdev_host_close_image(slot);
        vdev_host_close_vhost(slot);
        vdev_host_close_network(slot);
        vdev_host_close_backend(slot);
        vdev_host_close_sockets(slot);
    }
    host->is_destroyed = true;
    host->held_slots++; /* the host stays until all were told */
    for (uint32_t i = host->slot_count; i-- > 0;) {
        struct vdev_slot *slot = host->slots[i];

        slot->open_handles++; /* ours, until all were asked to close */
        vdev_host_close_timers(slot);
        vdev_host_close_events(slot);
        vdev_host_close_shmem(slot);
        vdev_host_close_connects(slot);
        vdev_host_close_again(slot);
        vdev_host_closed_handle(slot);
    }
    host->held_slots--;
    free_host_when_empty(host);
}

static struct vdev_slot *find_name(const struct vdev_host *host, const char *name)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        if (strcmp(host->slots[i]->name, name) == 0) {
            return host->slots[i];
        }
    }
    return NULL;
}

static int settle_name(struct vdev_slot *slot, struct err *err)
{
    const struct vdev_host *host = slot->host;
    const struct vdev_slot *other;

    if (!slot->has_name) {
        (void)snprintf(slot->name, sizeof(slot->name), "%s", slot->loaded->name);
        for (unsigned n = 2; find_name(host, slot->name) != NULL; n++) {
            (void)snprintf(slot->name, sizeof(slot->name), "%.*s-%u",
                           (int)(VDEV_HOST_NAME_MAX - 11), slot->loaded->name, n);
        }
    }
    other = find_name(host, slot->name);
    if (other != NULL) {
        return err_set(err, -EEXIST, "%s: the name '%s' is taken by the vdev of %s", slot->where,
                       slot->name, other->where);
    }
    (void)snprintf(slot->bus_name, sizeof(slot->bus_name), "vdev %s", slot->name);
    return 0;
}

bool vdev_host_overlap(const struct vdev_region *a, const struct vdev_region *b)
{
    const struct vdev_region *low = a->start < b->start ? a : b;
    const struct vdev_region *high = low == a ? b : a;

    return a->space == b->space && high->start - low->start < low->size;
}

/* Whether two needs name the same file, as far as their words tell: relative paths start from the
 * folder of the file that they stand in. Links are found by the locks. */
static bool is_same_path(const struct vdev_host_need *a, const struct vdev_host_need *b)
{
    if (a->path == NULL || b->path == NULL || strcmp(a->path, b->path) != 0) {
        return false;
    }
    size_t size = strcspn(a->where, ":");
    return *a->path == '/' ||
           (size == strcspn(b->where, ":") && strncmp(a->where, b->where, size) == 0);
}

/* What two vdevs cannot both have: ports, addresses, the console, an image that is written. */
static int check_against(const struct vdev_slot *slot, const struct vdev_slot *other,
                         struct err *err)
{
    for (uint32_t i = 0; i < slot->region_count; i++) {
        for (uint32_t j = 0; j < other->region_count; j++) {
            if (vdev_host_overlap(&slot->regions[i], &other->regions[j])) {
                return err_set(
                    err, -EEXIST, "%s: vdev '%s' at %s0x%" PRIx64 " overlaps vdev '%s' of %s",
                    slot->where, slot->name, slot->regions[i].space == VDEV_SPACE_IO ? "port " : "",
                    slot->regions[i].start, other->name, other->where);
            }
        }
    }
    if (vdev_host_has_console(slot) && vdev_host_has_console(other)) {
        return err_set(
            err, -EBUSY, "%s: the console belongs to vdev '%s' of %s",
            slot->streams[slot->streams[STREAM_OUTPUT].kind == STREAM_CONSOLE ? STREAM_OUTPUT
                                                                              : STREAM_INPUT]
                .need.where,
            other->name, other->where);
    }
    if (is_same_path(&slot->image_need, &other->image_need) &&
        (slot->image_need.can_write || other->image_need.can_write)) {
        return err_set(
            err, -EBUSY,
            "%s: the image '%s' belongs to vdev '%s' of %s; two may have it if both only "
            "read it: '<%s'",
            slot->image_need.where, slot->image_need.path, other->name, other->where,
            slot->image_need.path);
    }
    return 0;
}

static int read_slot(struct vdev_slot *slot, const struct vdev_host_option *options,
                     size_t option_count, struct err *err)
{
    int r = vdev_host_read_options(slot, options, option_count, err);

    if (r == 0) {
        r = settle_name(slot, err);
    }
    for (uint32_t i = 0; i < slot->host->slot_count && r == 0; i++) {
        r = check_against(slot, slot->host->slots[i], err);
    }
    return r;
}

int vdev_host_add(struct vdev_host *host, const char *module, const char *where,
                  const struct vdev_host_option *options, size_t option_count, struct err *err)
{
    struct vdev_slot *slot;
    int r = vdev_host_load(host, module, where, err);

    if (r != 0) {
        return r;
    }
    if (host->slot_count == VDEV_HOST_DEVICES_MAX) {
        return err_set(err, -E2BIG, "%s: more than %u vdevs", where, VDEV_HOST_DEVICES_MAX);
    }
    slot = calloc(1, sizeof(*slot));
    if (slot == NULL) {
        return err_set(err, -ENOMEM, "no memory for a vdev");
    }
    host->held_slots++;
    slot->host = host;
    slot->loaded = vdev_host_find_module(host, module);
    slot->where = strdup(where);
    slot->streams[STREAM_OUTPUT].fd = -1;
    slot->streams[STREAM_INPUT].fd = -1;
    slot->image_fd = -1;
    for (uint32_t i = 0; i < VDEV_NETWORK_QUEUES_MAX; i++) {
        slot->network_fds[i] = -1;
    }
    r = slot->where != NULL ? read_slot(slot, options, option_count, err)
                            : err_set(err, -ENOMEM, "no memory for a vdev");
    if (r != 0) {
        vdev_host_free_slot(slot);
        return r;
    }
    host->slots[host->slot_count++] = slot;
    return 0;
}

const char *vdev_host_logs_to(const struct vdev_host *host, enum log_system system)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        if (host->slots[i]->has_log && host->slots[i]->log_system == system) {
            return host->slots[i]->where;
        }
    }
    return NULL;
}

bool vdev_host_uses_console(const struct vdev_host *host)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        if (vdev_host_has_console(host->slots[i]) ||
            host->slots[i]->streams[STREAM_OUTPUT].kind == STREAM_CONSOLE_BY_DEFAULT) {
            return true;
        }
    }
    return false;
}

/* The console goes to who names it; else to the first that would have it by default. */
static void settle_console(struct vdev_host *host)
{
    bool is_taken = false;

    for (uint32_t i = 0; i < host->slot_count; i++) {
        is_taken = is_taken || vdev_host_has_console(host->slots[i]);
    }
    for (uint32_t i = 0; i < host->slot_count; i++) {
        struct vdev_slot *slot = host->slots[i];

        if (slot->streams[STREAM_OUTPUT].kind == STREAM_CONSOLE_BY_DEFAULT) {
            slot->streams[STREAM_OUTPUT].kind = is_taken ? STREAM_NONE : STREAM_CONSOLE;
            is_taken = true;
        }
    }
}

void vdev_host_access(void *device, uint32_t region, uint64_t offset, uint32_t size,
                      uint64_t *value, bool is_write)
{
    struct vdev_slot *slot = device;
    uint64_t mask = size < 8 ? (UINT64_C(1) << (8 * size)) - 1 : UINT64_MAX;

    if (is_write && vdev_host_answer(slot, region, offset, size, *value & mask)) {
        return;
    }
    (void)pthread_mutex_lock(&slot->lock);
    if (is_write) {
        slot->loaded->ops.write(slot->device, region, offset, size, *value & mask);
    } else {
        *value = slot->loaded->ops.read(slot->device, region, offset, size) & mask;
    }
    (void)pthread_mutex_unlock(&slot->lock);
}

static int create_device(struct vdev_slot *slot, struct err *err)
{
    const struct vdev_host_env *env = &slot->host->env;
    struct err why = {0};
    struct vdev_config config = {
        .size = sizeof(config),
        .name = slot->name,
        .values = slot->values,
        .value_count = slot->value_count,
        .regions = slot->regions,
        .region_count = slot->region_count,
        .place = slot->is_on_pci ? VDEV_PLACE_PCI : VDEV_PLACE_BUS,
        .intr_count = slot->intr_count,
        .cpu_count = env->cpu_count,
        .ram_below_4g = env->ram_below_4g,
        .ram_above_4g = env->ram_above_4g,
        .system = env->system,
    };
    void *device = NULL;
    int r;

    memcpy(config.intrs, slot->intrs, sizeof(config.intrs));
    slot->words = &why;
    (void)pthread_mutex_lock(&slot->lock);
    r = slot->loaded->ops.create(&vdev_host_services, slot, &config, &device);
    (void)pthread_mutex_unlock(&slot->lock);
    slot->words = NULL;
    if (r != 0 && why.code == 0) {
        return err_sys(err, r < 0 ? r : -EINVAL, "%s: vdev '%s' cannot be made", slot->where,
                       slot->name);
    }
    if (r != 0) {
        return err_set(err, r < 0 ? r : -EINVAL, "%s", why.msg);
    }
    if (device == NULL) {
        return err_set(err, -ELIBBAD, "%s: vdev '%s' is broken: it made no device", slot->where,
                       slot->name);
    }
    slot->device = device;
    return vdev_host_check_function(slot, err);
}

static int build_slot(struct vdev_slot *slot, struct err *err)
{
    int r;

    (void)pthread_mutex_init(&slot->lock, NULL); /* cannot fail for a plain one */
    slot->has_lock = true;
    r = vdev_host_open_timers(slot, err);
    if (r == 0) {
        r = vdev_host_open_again(slot, err);
    }
    if (r == 0) {
        r = vdev_host_open_stream(slot, err);
    }
    if (r == 0) {
        r = vdev_host_open_ports(slot, err);
    }
    if (r == 0) {
        r = vdev_host_open_image(slot, err);
    }
    if (r == 0) {
        r = vdev_host_open_network(slot, err);
    }
    if (r == 0) {
        r = vdev_host_open_vhost(slot, err);
    }
    if (r == 0) {
        r = vdev_host_open_backend(slot, err);
    }
    if (r == 0) {
        r = vdev_host_open_sockets(slot, err);
    }
    if (r == 0) {
        r = create_device(slot, err);
    }
    for (uint32_t i = 0; i < slot->region_count && r == 0; i++) {
        const struct vdev_region *region = &slot->regions[i];

        r = bus_add(slot->host->env.bus, region->space == VDEV_SPACE_IO ? BUS_IO : BUS_MEMORY,
                    region->start, region->size, vdev_host_access, slot, i, slot->bus_name, err);
        if (r != 0) {
            (void)err_prefix(err, "%s: ", slot->where);
        }
    }
    if (r == 0) {
        r = vdev_host_listen_events(slot, err);
    }
    if (r == 0) {
        r = vdev_host_open_shmem(slot, err);
    }
    if (r == 0) {
        r = vdev_host_open_connects(slot, err);
    }
    if (r == 0) {
        r = vdev_host_add_level_port(slot, err);
    }
    if (r == 0) {
        vdev_host_listen_stream(slot);
        vdev_host_listen_ports(slot);
    }
    return r;
}

int vdev_host_build(struct vdev_host *host, const struct vdev_host_env *env, struct err *err)
{
    int r = 0;

    host->env = *env;
    settle_console(host);
    if (env->pci != NULL) {
        r = vdev_host_reserve_pci(host, err);
    }
    for (uint32_t i = 0; i < host->slot_count && r == 0; i++) {
        r = host->slots[i]->is_in_kernel ? 0 : build_slot(host->slots[i], err);
    }
    for (uint32_t i = 0; i < host->slot_count && r == 0; i++) { /* they began side by side */
        r = vdev_host_await_events(host->slots[i], err);
    }
    return r;
}

static void reset_slot(void *context)
{
    struct vdev_slot *slot = context;

    if (slot->device == NULL) {
        return; /* KVM's */
    }
    (void)pthread_mutex_lock(&slot->lock);
    vdev_host_quiet(slot);
    vdev_host_forget_held_inputs(slot);
    slot->loaded->ops.reset(slot->device);
    (void)pthread_mutex_unlock(&slot->lock);
}

void vdev_host_reset(struct vdev_host *host)
{
    for (uint32_t i = host->slot_count; i-- > 0;) {
        reset_slot(host->slots[i]);
    }
}

bool vdev_host_device(const struct vdev_host *host, size_t i, struct vdev_host_device *device)
{
    struct vdev_slot *slot;

    if (i >= host->slot_count) {
        return false;
    }
    slot = host->slots[i];
    *device = (struct vdev_host_device){
        .name = slot->name,
        .module = slot->loaded->name,
        .where = slot->where,
        .is_implied = slot->is_implied,
        .acpi_hid = slot->loaded->module.acpi_hid,
        .is_level = slot->loaded->module.has_level_lines,
        .regions = slot->regions,
        .region_count = slot->region_count,
        .pci = slot->is_on_pci ? &slot->pci : NULL,
        .intr_names = slot->intr_names,
        .intrs = slot->intrs,
        .intr_count = slot->intr_count,
        .context = slot,
        .reset = reset_slot,
    };
    return true;
}
