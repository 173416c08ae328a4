/* The claims of a start: partition, CPUs, all that is asked for; and where its threads run. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/guest/ask.h"
#include "daemon/guest/device.h"
#include "daemon/host/pci_node.h"
#include "daemon/host/topology.h"
#include "daemon/partition.h"
#include "daemon/quota.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

/* The partition that an item names; `shared` is how vCPUs call the default one. */
static const struct partition *partition_of(const struct guest *guest, const struct wanted *item)
{
    bool is_default = item->kind == RESOURCE_cpu && strcmp(item->id, RESERVE_CPU_POOL) == 0;

    return partition_find(guest->all->env.partitions, is_default ? PARTITION_HOST : item->id);
}

static bool is_pool(const struct wanted *item)
{
    return item->kind == RESOURCE_cpu || item->kind == RESOURCE_memory;
}

/* ---- claims ---- */

/* The partition of the first item, which is that of all. */
static int check_partition(const struct guest *guest, size_t *bad, struct err *err)
{
    const struct partitions *partitions = guest->all->env.partitions;
    const struct partition *first = NULL;
    int r = 0;

    for (size_t i = 0; r == 0 && partitions != NULL && i < guest->ask->count; i++) {
        const struct wanted *item = &guest->ask->items[i];
        const struct partition *partition = is_pool(item) ? partition_of(guest, item) : NULL;

        if (!is_pool(item)) {
            continue;
        }
        *bad = i;
        if (partition == NULL) {
            r = err_set(err, -EINVAL, "there is no partition '%s'", item->id);
        } else if (first != NULL && partition != first) {
            r = err_set(err, -EINVAL, "its qvm asks for two partitions");
        } else if (!partition_takes(partition, guest->owner, geteuid())) {
            r = err_set(err, -EPERM, "partition '%s' (qvmd.conf:%u) is not for guests of %s",
                        partition->name, partition->line, guest->owner_name);
        } else if (item->kind == RESOURCE_cpu) {
            r = place_check(partitions, partition, &item->wish, err);
        }
        first = partition;
    }
    return r;
}

/* What is to be claimed, and for which item of the ask. */
#define NODES_MAX  512
#define CLAIMS_MAX (GUEST_ASK_MAX + CPU_LIST_MAX + HAND_DEVICES_MAX + NODES_MAX)
struct claims {
    struct reserve_item items[CLAIMS_MAX];
    size_t origin[CLAIMS_MAX];
    char ids[CPU_LIST_MAX][RESERVE_CPU_SIZE], names[CPU_LIST_MAX][RESERVE_CPU_SIZE];
    struct {
        char id[PCI_NODE_ID_SIZE], name[PCI_NODE_NAME_SIZE + PCI_BDF_SIZE + sizeof(" of ")];
    } nodes[NODES_MAX];
    size_t count, node_count;
    const struct guest_ask *ask;
    const char *crowded; /* the function whose nodes find no room, or NULL */
};

/* The host's CPUs that nobody else may have meanwhile. */
static cpu_set_t add_host_cpus(const struct guest *guest, struct claims *claims)
{
    const struct guest_ask *ask = guest->ask;
    cpu_set_t seen;

    CPU_ZERO(&seen);
    for (size_t i = 0; guest->all->env.partitions != NULL && i < ask->count; i++) {
        const struct wanted *item = &ask->items[i];
        cpu_set_t own;

        if (item->kind != RESOURCE_cpu) {
            continue;
        }
        own = place_exclusive(partition_of(guest, item), &item->wish);
        for (unsigned cpu = 0; cpu < CPU_LIST_MAX; cpu++) {
            if (CPU_ISSET(cpu, &own) && !CPU_ISSET(cpu, &seen)) {
                CPU_SET(cpu, &seen);
                (void)snprintf(claims->names[cpu], RESERVE_CPU_SIZE, "CPU %u", cpu);
                claims->origin[claims->count] = i;
                claims->items[claims->count++] =
                    (struct reserve_item){.kind = RESOURCE_hostcpu,
                                          .id = reserve_cpu_id((int)cpu, claims->ids[cpu]),
                                          .name = claims->names[cpu],
                                          .place = item->where,
                                          .is_exclusive = true};
            }
        }
    }
    return seen;
}

void guest_know_cpus(struct guest *guest, const cpu_set_t *cpus)
{
    CPU_ZERO(&guest->own_cpus);
    if (cpus != NULL) {
        guest->own_cpus = *cpus;
    }
    (void)cpu_list_print(&guest->own_cpus, guest->own_cpus_text, sizeof(guest->own_cpus_text));
}

/* Whole IOMMU groups, function by function. */
static void add_devices(const struct guest_ask *ask, struct claims *claims)
{
    for (size_t i = 0; ask->taking != NULL && i < ask->taking->count; i++) {
        size_t item = ask->taking->origin[i];

        claims->origin[claims->count] = item;
        claims->items[claims->count++] = (struct reserve_item){.kind = RESOURCE_device,
                                                               .id = ask->taking->devices[i].bdf,
                                                               .place = ask->items[item].where,
                                                               .is_exclusive = true};
    }
}

static void add_node(void *data, const struct pci_node *node)
{
    struct claims *claims = data;
    const struct taking *taking = claims->ask->taking;
    size_t i = 0;

    while (i < taking->count && strcmp(taking->devices[i].bdf, node->bdf) != 0) {
        i++;
    }
    if (i == taking->count) {
        return;
    }
    if (claims->node_count == NODES_MAX) {
        claims->crowded = taking->devices[i].bdf;
        return;
    }
    (void)snprintf(claims->nodes[claims->node_count].id, sizeof(claims->nodes[0].id), "%s",
                   node->id);
    (void)snprintf(claims->nodes[claims->node_count].name, sizeof(claims->nodes[0].name),
                   "%s of %s", node->name, node->bdf);
    claims->origin[claims->count] = taking->origin[i];
    claims->items[claims->count++] =
        (struct reserve_item){.kind = RESOURCE_node,
                              .id = claims->nodes[claims->node_count].id,
                              .name = claims->nodes[claims->node_count].name,
                              .place = claims->ask->items[taking->origin[i]].where,
                              .is_exclusive = true};
    claims->node_count++;
}

/* What the nodes of its functions lead to: the lines of a serial card, a disk and its partitions.
 * These go with the function, and come back with it. */
static int add_nodes(struct claims *claims, struct err *err)
{
    if (claims->ask->taking == NULL) {
        return 0;
    }
    pci_each_node("", add_node, claims);
    return claims->crowded == NULL
               ? 0
               : err_set(err, -E2BIG,
                         "more than %d device nodes belong to its devices: '%s' has no room",
                         NODES_MAX, claims->crowded);
}

/* Huge pages are there, which other programs of the host take as well. What is short by the time
 * they are touched is told by the qvm. */
static int check_pages(const struct guest *guest, const struct claims *claims, size_t *bad,
                       struct err *err)
{
    auto_free struct topology_memory *nodes = NULL;
    const struct partition *partition = NULL;
    int64_t wanted = 0, left;
    char node[32] = "";
    int r;

    for (size_t i = 0; guest->all->env.partitions != NULL && i < claims->count; i++) {
        if (claims->items[i].kind == RESOURCE_memory) {
            partition = partition_find(guest->all->env.partitions, claims->items[i].id);
            wanted += claims->items[i].amount;
            *bad = i;
        }
    }
    if (partition == NULL || !partition_is_huge(partition)) {
        return 0;
    }
    nodes = calloc(1, sizeof(*nodes));
    r = nodes != NULL ? topology_read_memory("", nodes, err)
                      : err_set(err, -ENOMEM, "out of memory");
    if (r < 0) {
        return r;
    }
    wanted /= (int64_t)partition->page_size;
    left = partition_free_pages(partition, nodes);
    if (wanted <= left) {
        return 0;
    }
    if (partition->node != PARTITION_NO_NODE) {
        (void)snprintf(node, sizeof(node), " on node %u", (unsigned)partition->node);
    }
    return err_set(err, -ENOSPC,
                   "partition '%s': %" PRId64 " %s of %" PRIu64 " MiB %s missing%s: %" PRId64
                   " are asked for, and %" PRId64 " of the host's are free",
                   partition->name, wanted - left, wanted - left == 1 ? "page" : "pages",
                   partition->page_size >> 20, wanted - left == 1 ? "is" : "are", node, wanted,
                   left);
}

/* With where the devices belong: before they are taken from there. */
static int claim_all(const struct guest *guest, const struct reserve_limits *limits,
                     const struct claims *claims, size_t *bad, struct err *err)
{
    struct store *store = guest->all->env.store;
    auto_tx struct store_tx tx = {0};
    int r = store_begin(store, &tx, err);

    if (r == 0) {
        r = reserve_claim(store, limits, guest->instance.id, claims->items, claims->count, bad,
                          err);
    }
    r = r == 0 ? check_pages(guest, claims, bad, err) : r;
    if (r == 0) {
        r = guest_devices_write(guest, guest->ask->taking, err);
    }
    return r == 0 ? store_commit(&tx, err) : r;
}

int guest_ask_claim(struct guest *guest, size_t *bad, struct err *err)
{
    const struct guest_ask *ask = guest->ask;
    struct reserve_limits limits = *guest->all->env.limits;
    auto_free struct claims *claims = calloc(1, sizeof(*claims));
    size_t bad_claim = SIZE_MAX;
    cpu_set_t own;
    int r;

    if (claims == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    r = check_partition(guest, bad, err);
    r = r == 0 ? guest_devices_find(guest, &guest->ask->taking, bad, err) : r;
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < ask->count; i++) {
        const struct wanted *item = &ask->items[i];

        if (item->kind == RESOURCE_kvm || item->kind == RESOURCE_logger ||
            item->kind == RESOURCE_device) {
            continue; /* shared by all; or more than was asked for, see below */
        }
        claims->origin[claims->count] = i;
        claims->items[claims->count++] = (struct reserve_item){
            .kind = item->kind,
            .id = *item->identity != '\0' ? item->identity : item->id,
            .name = ask_path(item),
            .place = item->where,
            .amount = item->amount,
            .is_exclusive = item->is_exclusive || item->kind == RESOURCE_listen,
        };
    }
    limits.quota = quota_of(guest->all->env.quotas, guest->owner, geteuid());
    own = add_host_cpus(guest, claims);
    add_devices(ask, claims);
    claims->ask = ask;
    r = add_nodes(claims, err);
    r = r == 0 ? claim_all(guest, &limits, claims, &bad_claim, err) : r;
    if (r == 0) {
        guest_know_cpus(guest, &own);
    } else {
        *bad = bad_claim < claims->count ? claims->origin[bad_claim] : ask->count;
    }
    return r;
}

/* ---- the place ---- */

/* Where the kernel is to run its threads; `wishes` has room for all items. */
static struct place place_of(const struct guest *guest, struct place_wish *wishes,
                             const struct partition **partition)
{
    const struct partitions *partitions = guest->all->env.partitions;
    const struct guest_ask *ask = guest->ask;
    struct place place = {.wishes = wishes,
                          .divides_cpus = partitions->binds_threads,
                          .housekeeping = partitions->housekeeping};

    for (size_t i = 0; i < ask->count; i++) {
        if (ask->items[i].kind == RESOURCE_cpu) {
            wishes[place.count++] = ask->items[i].wish;
            *partition = partition_of(guest, &ask->items[i]);
            place.shared = (*partition)->shared;
        }
    }
    return place;
}

/* Its group, then its threads: a change of the group would undo what was said to them. */
int guest_ask_place(const struct guest *guest, struct err *err)
{
    auto_free struct place_wish *wishes = calloc(guest->ask->count, sizeof(*wishes));
    const struct partition *partition = NULL;
    struct place place;
    int r;

    if (guest->all->env.partitions == NULL) {
        return guest_cgroup_limit(guest, NULL, NULL, err);
    }
    if (wishes == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    place = place_of(guest, wishes, &partition);
    r = guest_cgroup_limit(guest, partition, &place, err);
    return r == 0 && place_matters(&place) ? place_apply(&place, &guest->instance, err) : r;
}

/* The first vCPUs that want something special: they are most probably to blame. */
size_t guest_ask_placed(const struct guest_ask *ask)
{
    size_t found = ask->count;

    for (size_t i = ask->count; i-- > 0;) {
        const struct wanted *item = &ask->items[i];

        if (item->kind == RESOURCE_cpu &&
            (found == ask->count || item->wish.has_cpus || item->wish.policy != PLACE_NORMAL)) {
            found = i;
        }
    }
    return found;
}
