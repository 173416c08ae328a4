/* Methods about what the machine has, whoever uses it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "daemon/device_pool.h"
#include "daemon/guest/guest.h"
#include "daemon/host/inventory.h"
#include "daemon/ops/inside.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/lend.h"

#define CPUS_SIZE   4096 /* of a list of every other CPU */
#define SERIAL_SIZE 24

#define FLAG_PORTS        0x100u /* the kernel's IORESOURCE_IO, IORESOURCE_PREFETCH */
#define FLAG_PREFETCHABLE 0x2000u

static void refuse_memory(struct reply *reply)
{
    struct err err = {0};

    (void)err_set(&err, -ENOMEM, "out of memory");
    reply_error(reply, &err);
}

/* What is empty is left out. */
static char *or_none(const char *text)
{
    return text != NULL && *text != '\0' ? lend(text) : NULL;
}

/* ---- CPUs and memory ---- */

/* Room for the answer; its messages point into it. */
struct machine {
    char kernel[256], online[CPUS_SIZE], isolated[CPUS_SIZE], tickless[CPUS_SIZE];
    struct topology_memory memory;
    struct msg_host_node nodes[TOPOLOGY_NODES_MAX];
    char node_cpus[TOPOLOGY_NODES_MAX][CPUS_SIZE];
    struct msg_huge_pages huge[TOPOLOGY_NODES_MAX + 1][TOPOLOGY_HUGE_MAX];
    struct msg_host_cache caches[TOPOLOGY_CACHES_MAX];
    char (*cache_cpus)[CPUS_SIZE]; /* owned */
    char deaf[ERR_MSG_SIZE];
};

/* How many different pairs of numbers the CPUs have; `has_core` false: packages alone. */
static int64_t count_different(const struct topology *topology, bool has_core)
{
    int64_t count = 0;

    for (size_t i = 0; i < topology->cpu_count; i++) {
        const struct topology_cpu *cpu = &topology->cpus[i];
        bool is_new = cpu->package >= 0 && (!has_core || cpu->core >= 0);

        for (size_t j = 0; is_new && j < i; j++) {
            is_new = topology->cpus[j].package != cpu->package ||
                     (has_core && topology->cpus[j].core != cpu->core);
        }
        count += is_new ? 1 : 0;
    }
    return count;
}

static void describe_cpus(const struct topology *topology, struct machine *room,
                          struct msg_host *host)
{
    cpu_set_t online, isolated, tickless;

    CPU_ZERO(&online);
    CPU_ZERO(&isolated);
    CPU_ZERO(&tickless);
    for (size_t i = 0; i < topology->cpu_count; i++) {
        const struct topology_cpu *cpu = &topology->cpus[i];
        size_t number = (size_t)cpu->cpu;

        if (cpu->is_online) {
            CPU_SET(number, &online);
        }
        if (cpu->is_isolated) {
            CPU_SET(number, &isolated);
        }
        if (cpu->is_tickless) {
            CPU_SET(number, &tickless);
        }
    }
    host->online = lend(cpu_list_print(&online, room->online, CPUS_SIZE));
    host->isolated = or_none(cpu_list_print(&isolated, room->isolated, CPUS_SIZE));
    host->tickless = or_none(cpu_list_print(&tickless, room->tickless, CPUS_SIZE));
    host->cpus = (int64_t)topology->cpu_count;
    host->packages = count_different(topology, false);
    host->cores = count_different(topology, true);
    host->model = or_none(topology->model);
}

static int describe_caches(const struct topology *topology, struct machine *room,
                           struct msg_host *host)
{
    room->cache_cpus = calloc(topology->cache_count + 1, CPUS_SIZE);
    if (room->cache_cpus == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < topology->cache_count; i++) {
        const struct topology_cache *cache = &topology->caches[i];

        room->caches[i] = (struct msg_host_cache){
            .level = cache->level,
            .type = lend(cache->type),
            .size = cache->size,
            .cpus = lend(cpu_list_print(&cache->cpus, room->cache_cpus[i], CPUS_SIZE)),
        };
    }
    host->caches = room->caches;
    host->caches_count = topology->cache_count;
    return 0;
}

static void describe_huge(const struct topology_huge *from, size_t count, struct msg_huge_pages *to)
{
    for (size_t i = 0; i < count; i++) {
        to[i] = (struct msg_huge_pages){.size = from[i].size,
                                        .total = from[i].total,
                                        .free = from[i].free,
                                        .reserved = from[i].reserved};
    }
}

static void describe_nodes(struct machine *room, struct msg_host *host)
{
    struct topology_memory *memory = &room->memory;

    for (size_t i = 0; i < memory->node_count; i++) {
        struct topology_node *node = &memory->nodes[i];

        describe_huge(node->huge, node->huge_count, room->huge[i]);
        room->nodes[i] = (struct msg_host_node){
            .node = node->node,
            .cpus = or_none(cpu_list_print(&node->cpus, room->node_cpus[i], CPUS_SIZE)),
            .memory = node->memory,
            .free = node->free,
            .distances = or_none(node->distances),
            .huge_pages = room->huge[i],
            .huge_pages_count = node->huge_count};
    }
    host->memory = memory->total;
    host->free = memory->free;
    describe_huge(memory->huge, memory->huge_count, room->huge[TOPOLOGY_NODES_MAX]);
    host->huge_pages = room->huge[TOPOLOGY_NODES_MAX];
    host->huge_pages_count = memory->huge_count;
    host->nodes = room->nodes;
    host->nodes_count = memory->node_count;
}

static void describe_functions(const struct pci_table *table, struct msg_host *host)
{
    host->devices = (int64_t)(table->count + table->left_out);
    for (size_t i = 0; i < table->count; i++) {
        int group = table->list[i].iommu_group;
        bool is_new = group >= 0;

        for (size_t j = 0; is_new && j < i; j++) {
            is_new = table->list[j].iommu_group != group;
        }
        host->iommu_groups += is_new ? 1 : 0;
    }
}

void op_host(struct ops *ops, struct reply *reply, const void *params)
{
    struct inventory *inventory = ops->env.inventory;
    const struct topology *topology = inventory_topology(inventory);
    const struct pci_table *table = inventory_pci(inventory);
    auto_free struct machine *room = calloc(1, sizeof(*room));
    struct msg_host host = {0};
    struct utsname kernel;
    struct err err = {0};

    (void)params; /* has no members */
    if (room == NULL || topology == NULL || table == NULL ||
        describe_caches(topology, room, &host) < 0) {
        refuse_memory(reply);
        return;
    }
    (void)uname(&kernel); /* cannot fail */
    (void)snprintf(room->kernel, sizeof(room->kernel), "%s %s %s", kernel.sysname, kernel.release,
                   kernel.machine);
    host.kernel = room->kernel;
    describe_cpus(topology, room, &host);
    describe_functions(table, &host);
    if (inventory_deaf(inventory) != NULL) {
        (void)snprintf(room->deaf, sizeof(room->deaf), "%s", inventory_deaf(inventory));
        host.deaf = room->deaf;
    }
    if (topology_read_memory(inventory_root(inventory), &room->memory, &err) == 0) {
        describe_nodes(room, &host);
        reply_result(reply, MSG_host, &host);
    } else {
        reply_error(reply, &err);
    }
    free(room->cache_cpus);
}

/* ---- devices ---- */

/* What the message of one function points into. */
struct device_room {
    struct msg_device_bar bars[PCI_BARS];
    struct reserve_holder holder;
    char serial[SERIAL_SIZE];
    struct err refusal;
};

static size_t describe_bars(const struct pci_function *function, struct msg_device_bar *bars)
{
    size_t count = 0;

    for (size_t i = 0; i < PCI_BARS; i++) {
        const struct pci_bar *bar = &function->bars[i];

        if (bar->size > 0 && bar->size <= INT64_MAX && bar->start <= INT64_MAX) {
            bars[count++] = (struct msg_device_bar){
                .bar = (int64_t)i,
                .kind = lend((bar->flags & FLAG_PORTS) != 0          ? "ports"
                             : (bar->flags & FLAG_PREFETCHABLE) != 0 ? "prefetchable memory"
                                                                     : "memory"),
                .start = (int64_t)bar->start,
                .size = (int64_t)bar->size};
        }
    }
    return count;
}

/* As PCI Express writes it: the highest byte first. */
static void print_serial(uint64_t serial, char text[SERIAL_SIZE])
{
    for (unsigned i = 0; serial != 0 && i < 8; i++) {
        (void)snprintf(text + (size_t)3 * i, SERIAL_SIZE - (size_t)3 * i, "%02x%s",
                       (unsigned)(serial >> (56 - 8 * i) & 0xff), i < 7 ? "-" : "");
    }
}

static int describe_device(const struct ops *ops, const struct pci_table *table,
                           struct pci_function *from, struct device_room *room,
                           struct msg_device *to, struct err *err)
{
    int r = reserve_find(ops->env.store, RESOURCE_device, from->bdf, &room->holder, err);
    const struct pool_device *row =
        ops->env.devices != NULL ? device_pool_at(ops->env.devices, from->bdf) : NULL;

    print_serial(from->config.serial, room->serial);
    *to = (struct msg_device){
        .bdf = from->bdf,
        .vendor = from->vendor,
        .device = from->device,
        .subvendor = from->subvendor,
        .subdevice = from->subdevice,
        .class = from->class,
        .revision = from->revision,
        .bridge = from->config.is_bridge,
        .serial = or_none(room->serial),
        .driver = or_none(from->driver),
        .iommu_group = from->iommu_group,
        .node = from->node,
        .reset = or_none(from->reset),
        .interrupt_pin = from->config.interrupt_pin,
        .vfs = from->vfs,
        .vfs_max = from->vfs_most,
        .physical = or_none(from->physical),
        .bars = room->bars,
        .bars_count = describe_bars(from, room->bars),
        .use = or_none(from->use),
        .pool = row != NULL ? lend(row->name) : NULL,
    };
    if (r == 0) {
        to->guest = room->holder.guest;
        to->pid = room->holder.pid;
    } else if (r == -ENOENT) {
        bool is_aside = guests_device_is_well(ops->env.guests, from->bdf, &room->refusal) < 0;

        to->trouble = is_aside ? room->refusal.msg : NULL;
        to->refusal =
            is_aside || pci_judge(table, from, &room->refusal) < 0 ? room->refusal.msg : NULL;
    }
    return r == -ENOENT ? 0 : r;
}

void op_devices(struct ops *ops, struct reply *reply, const void *params)
{
    const struct pci_table *table = inventory_pci(ops->env.inventory);
    size_t count = table != NULL ? table->count : 0;
    auto_free struct device_room *rooms = calloc(count + 1, sizeof(*rooms));
    struct msg_device_list answer = {.devices = calloc(count + 1, sizeof(*answer.devices))};
    struct err err = {0};
    int r = 0;

    (void)params; /* has no members */
    if (table == NULL || rooms == NULL || answer.devices == NULL) {
        refuse_memory(reply);
        free(answer.devices);
        return;
    }
    for (size_t i = 0; r == 0 && i < count; i++) {
        r = describe_device(ops, table, &table->list[i], &rooms[i], &answer.devices[i], &err);
        answer.devices_count++;
    }
    if (r == 0) {
        answer.left_out = (int64_t)table->left_out;
        reply_result(reply, MSG_device_list, &answer);
    } else {
        reply_error(reply, &err);
    }
    free(answer.devices);
}

static void on_cleared(void *data, const char *bdf, const char *note, const struct err *err)
{
    if (err != NULL) {
        reply_error(data, err);
    } else {
        reply_result(
            data, MSG_cleared,
            &(struct msg_cleared){.device = lend(bdf), .note = note != NULL ? lend(note) : NULL});
    }
}

void op_device_clear(struct ops *ops, struct reply *reply, const void *params)
{
    const struct msg_device_params *wanted = params;
    const struct pci_table *table = inventory_pci(ops->env.inventory);
    struct guest_caller caller = ops_caller(reply);
    struct err err = {0};

    if (pci_is_bdf(wanted->device) && table != NULL && pci_find(table, wanted->device) == NULL &&
        guests_device_is_well(ops->env.guests, wanted->device, &err) == 0) {
        (void)err_set(&err, -ENXIO, "there is no PCI function '%s'", wanted->device);
        reply_error(reply, &err);
        return;
    }
    guests_device_clear(ops->env.guests, wanted->device, &caller, on_cleared, reply);
}
