/* The vdevs of one VM, from their context in the configuration to their end. */
#include "qvm-worker/vdev_host.h"

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
#include "qvm-worker/bus.h"
#include "qvm-worker/console.h"
#include "qvm-worker/vdev_host_private.h"

int vdev_host_create(int directory_fd, struct vdev_host **host, struct err *err)
{
    struct vdev_host *new = calloc(1, sizeof(*new));

    if (new == NULL) {
        return err_set(err, -ENOMEM, "no memory for vdevs");
    }
    new->directory_fd = directory_fd;
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
    free(slot->values);
    free(slot->where);
    if (slot->has_lock) {
        (void)pthread_mutex_destroy(&slot->lock); /* nobody holds it */
    }
    free(slot);
    host->held_slots--;
    free_host_when_empty(host);
}

void vdev_host_destroy(struct vdev_host *host)
{
    if (host == NULL) {
        return;
    }
    for (uint32_t i = host->slot_count; i-- > 0;) {
        struct vdev_slot *slot = host->slots[i];

        vdev_host_close_stream(slot);
        if (slot->device != NULL) {
            slot->loaded->ops.destroy(slot->device);
        }
    }
    host->is_destroyed = true;
    host->held_slots++; /* the host stays until all were told */
    for (uint32_t i = host->slot_count; i-- > 0;) {
        vdev_host_close_timer(host->slots[i]);
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

static bool overlap(const struct vdev_region *a, const struct vdev_region *b)
{
    const struct vdev_region *low = a->start < b->start ? a : b;
    const struct vdev_region *high = low == a ? b : a;

    return a->space == b->space && high->start - low->start < low->size;
}

/* What two vdevs cannot both have: ports, addresses, the console. */
static int check_against(const struct vdev_slot *slot, const struct vdev_slot *other,
                         struct err *err)
{
    for (uint32_t i = 0; i < slot->region_count; i++) {
        for (uint32_t j = 0; j < other->region_count; j++) {
            if (overlap(&slot->regions[i], &other->regions[j])) {
                return err_set(
                    err, -EEXIST, "%s: vdev '%s' at %s0x%" PRIx64 " overlaps vdev '%s' of %s",
                    slot->where, slot->name, slot->regions[i].space == VDEV_SPACE_IO ? "port " : "",
                    slot->regions[i].start, other->name, other->where);
            }
        }
    }
    if (slot->stream_kind == STREAM_CONSOLE && other->stream_kind == STREAM_CONSOLE) {
        return err_set(err, -EBUSY, "%s: the console belongs to vdev '%s' of %s", slot->need.where,
                       other->name, other->where);
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
    slot->granted_fd = -1;
    slot->timer_fd = -1;
    r = slot->where != NULL ? read_slot(slot, options, option_count, err)
                            : err_set(err, -ENOMEM, "no memory for a vdev");
    if (r != 0) {
        vdev_host_free_slot(slot);
        return r;
    }
    host->slots[host->slot_count++] = slot;
    return 0;
}

bool vdev_host_uses_console(const struct vdev_host *host)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        if (host->slots[i]->stream_kind == STREAM_CONSOLE ||
            host->slots[i]->stream_kind == STREAM_CONSOLE_BY_DEFAULT) {
            return true;
        }
    }
    return false;
}

const struct vdev_host_need *vdev_host_next_need(const struct vdev_host *host,
                                                 const struct vdev_host_need *previous)
{
    bool is_after = previous == NULL;

    for (uint32_t i = 0; i < host->slot_count; i++) {
        const struct vdev_slot *slot = host->slots[i];

        if (is_after && slot->stream_kind == STREAM_GRANTED) {
            return &slot->need;
        }
        is_after = is_after || &slot->need == previous;
    }
    return NULL;
}

void vdev_host_grant(struct vdev_host *host, const struct vdev_host_need *need, int fd)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        if (&host->slots[i]->need == need) {
            cleanup_close(&host->slots[i]->granted_fd);
            host->slots[i]->granted_fd = fd;
        }
    }
}

/* The console goes to who names it; else to the first that would have it by default. */
static void settle_console(struct vdev_host *host)
{
    bool is_taken = false;

    for (uint32_t i = 0; i < host->slot_count; i++) {
        is_taken = is_taken || host->slots[i]->stream_kind == STREAM_CONSOLE;
    }
    for (uint32_t i = 0; i < host->slot_count; i++) {
        struct vdev_slot *slot = host->slots[i];

        if (slot->stream_kind == STREAM_CONSOLE_BY_DEFAULT) {
            slot->stream_kind = is_taken ? STREAM_NONE : STREAM_CONSOLE;
            is_taken = true;
        }
    }
}

static void on_access(void *device, uint32_t region, uint64_t offset, uint32_t size,
                      uint64_t *value, bool is_write)
{
    struct vdev_slot *slot = device;
    uint64_t mask = size < 8 ? (UINT64_C(1) << (8 * size)) - 1 : UINT64_MAX;

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
    struct err words = {0};
    struct vdev_config config = {
        .size = sizeof(config),
        .name = slot->name,
        .values = slot->values,
        .value_count = slot->value_count,
        .regions = slot->regions,
        .region_count = slot->region_count,
        .intr_line = slot->intr_line,
        .cpu_count = env->cpu_count,
        .ram_below_4g = env->ram_below_4g,
        .ram_above_4g = env->ram_above_4g,
    };
    void *device = NULL;
    int r;

    slot->create_err = &words;
    (void)pthread_mutex_lock(&slot->lock);
    r = slot->loaded->ops.create(&vdev_host_services, slot, &config, &device);
    (void)pthread_mutex_unlock(&slot->lock);
    slot->create_err = NULL;
    if (r != 0 && words.code == 0) {
        return err_sys(err, r < 0 ? r : -EINVAL, "%s: vdev '%s' cannot be made", slot->where,
                       slot->name);
    }
    if (r != 0) {
        return err_set(err, r < 0 ? r : -EINVAL, "%s", words.msg);
    }
    if (device == NULL) {
        return err_set(err, -ELIBBAD, "%s: vdev '%s' is broken: it made no device", slot->where,
                       slot->name);
    }
    slot->device = device;
    return 0;
}

static int build_slot(struct vdev_slot *slot, struct err *err)
{
    int r;

    (void)pthread_mutex_init(&slot->lock, NULL); /* cannot fail for a plain one */
    slot->has_lock = true;
    r = vdev_host_open_timer(slot, err);
    if (r == 0) {
        r = vdev_host_open_stream(slot, err);
    }
    if (r == 0) {
        r = create_device(slot, err);
    }
    for (uint32_t i = 0; i < slot->region_count && r == 0; i++) {
        const struct vdev_region *region = &slot->regions[i];

        r = bus_add(slot->host->env.bus, region->space == VDEV_SPACE_IO ? BUS_IO : BUS_MEMORY,
                    region->start, region->size, on_access, slot, i, slot->bus_name, err);
        if (r != 0) {
            (void)err_prefix(err, "%s: ", slot->where);
        }
    }
    if (r == 0) {
        vdev_host_listen_stream(slot);
    }
    return r;
}

int vdev_host_build(struct vdev_host *host, const struct vdev_host_env *env, struct err *err)
{
    int r = 0;

    host->env = *env;
    settle_console(host);
    for (uint32_t i = 0; i < host->slot_count && r == 0; i++) {
        r = build_slot(host->slots[i], err);
    }
    return r;
}

static void reset_slot(void *context)
{
    struct vdev_slot *slot = context;

    (void)pthread_mutex_lock(&slot->lock);
    vdev_host_set_timer(slot, 0);
    vdev_host_set_intr(slot, false);
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
        .acpi_hid = slot->loaded->module.acpi_hid,
        .regions = slot->regions,
        .region_count = slot->region_count,
        .intr_line = slot->intr_line,
        .context = slot,
        .reset = reset_slot,
    };
    return true;
}

/* vdev_state_fn for one device. */
struct state_of {
    vdev_host_state_fn add;
    void *context;
    const char *device;
};

static void add_state(void *context, const char *name, const char *value)
{
    const struct state_of *of = context;

    of->add(of->context, of->device, name, value);
}

static void host_state(const struct vdev_slot *slot, struct state_of *of)
{
    char text[64];

    for (uint32_t i = 0; i < slot->region_count; i++) {
        (void)snprintf(text, sizeof(text), "%s:0x%" PRIx64 ",%" PRIu64,
                       slot->regions[i].space == VDEV_SPACE_IO ? "io" : "mem",
                       slot->regions[i].start, slot->regions[i].size);
        add_state(of, "loc", text);
    }
    if (slot->intr_line != QVM_VDEV_NO_INTR) {
        (void)snprintf(text, sizeof(text), "ioapic:%u %s", slot->intr_line,
                       slot->is_high ? "high" : "low");
        add_state(of, "intr", text);
    }
    if (slot->loaded->hostdev_option != UINT32_MAX) {
        add_state(of, "hostdev", slot->stream_kind == STREAM_NONE ? "none" : slot->need.path);
    }
    if (slot->stream != NULL) {
        struct console_stats stats;

        console_get_stats(slot->stream, &stats);
        (void)snprintf(text, sizeof(text), "%" PRIu64, stats.written);
        add_state(of, "bytes-out", text);
        (void)snprintf(text, sizeof(text), "%" PRIu64, stats.lost);
        add_state(of, "bytes-lost", text);
    }
}

void vdev_host_state(struct vdev_host *host, vdev_host_state_fn add, void *context)
{
    for (uint32_t i = 0; i < host->slot_count; i++) {
        struct vdev_slot *slot = host->slots[i];
        struct state_of of = {.add = add, .context = context, .device = slot->name};

        if (slot->device == NULL) {
            continue;
        }
        (void)pthread_mutex_lock(&slot->lock);
        host_state(slot, &of);
        slot->loaded->ops.state(slot->device, add_state, &of);
        (void)pthread_mutex_unlock(&slot->lock);
    }
}
