/* How the host's memory is divided: ordinary memory and huge pages, of all nodes and of one. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "daemon/host/topology.h"
#include "daemon/partition.h"
#include "proto/base/err.h"
#include "proto/conf/words.h"

#define MIB_SHIFT 20
#define NODE_TEXT 24

static const struct topology_node *node_of(const struct topology_memory *nodes, uint64_t number)
{
    for (size_t i = 0; i < nodes->node_count; i++) {
        if (nodes->nodes[i].node == (int)number) {
            return &nodes->nodes[i];
        }
    }
    return NULL;
}

static const struct topology_huge *huge_in(const struct topology_huge *list, size_t count,
                                           uint64_t page_size)
{
    for (size_t i = 0; i < count; i++) {
        if ((uint64_t)list[i].size == page_size) {
            return &list[i];
        }
    }
    return NULL;
}

/* Pages of that size on that node, or on all of them (PARTITION_NO_NODE); NULL: none. */
static const struct topology_huge *huge_of(const struct topology_memory *nodes, uint64_t node,
                                           uint64_t page_size)
{
    const struct topology_node *one;

    if (node == PARTITION_NO_NODE) {
        return huge_in(nodes->huge, nodes->huge_count, page_size);
    }
    one = node_of(nodes, node);
    return one != NULL ? huge_in(one->huge, one->huge_count, page_size) : NULL;
}

int64_t partition_free_pages(const struct partition *partition, const struct topology_memory *nodes)
{
    const struct topology_huge *all = huge_of(nodes, PARTITION_NO_NODE, partition->page_size);
    const struct topology_huge *own = huge_of(nodes, partition->node, partition->page_size);
    int64_t most = all != NULL && all->free > all->reserved ? all->free - all->reserved : 0;

    if (own == NULL) {
        return 0;
    }
    return own->free < most ? own->free : most;
}

/* Bytes that guests may have of that kind on that node, or in all (PARTITION_NO_NODE). Of a node's
 * ordinary memory the host keeps as large a part as of all. */
static int64_t bytes_of(const struct partition_host *host, uint64_t node, uint64_t page_size)
{
    const struct topology_huge *huge;
    const struct topology_node *one;
    int64_t bytes;

    if (page_size > PARTITION_PAGE_SIZE) {
        huge = host->nodes != NULL ? huge_of(host->nodes, node, page_size) : NULL;
        return huge != NULL ? huge->total * huge->size : 0;
    }
    one = node != PARTITION_NO_NODE && host->nodes != NULL ? node_of(host->nodes, node) : NULL;
    if (one == NULL || host->total <= 0) {
        return host->memory;
    }
    bytes = one->memory;
    for (size_t i = 0; i < one->huge_count; i++) {
        bytes -= one->huge[i].total * one->huge[i].size;
    }
    return bytes <= 0 ? 0 : (int64_t)((double)bytes * (double)host->memory / (double)host->total);
}

/* What is left of it after those behind `index`. */
static int64_t left_of(const struct partitions *partitions, size_t index, uint64_t node,
                       int64_t bytes)
{
    uint64_t page_size = partitions->list[index].page_size;

    for (size_t i = index + 1; i < partitions->count; i++) {
        const struct partition *other = &partitions->list[i];

        if (other->page_size == page_size && (node == PARTITION_NO_NODE || other->node == node)) {
            bytes -= other->pool;
        }
    }
    return bytes > 0 ? bytes : 0;
}

static int refuse(const struct partition *partition, uint64_t node, int64_t all, int64_t left,
                  struct err *err)
{
    int64_t size = (int64_t)partition->page_size;
    char where[NODE_TEXT] = "this host";

    if (node != PARTITION_NO_NODE) {
        (void)snprintf(where, sizeof(where), "node %u", (unsigned)node);
    }
    if (partition_is_huge(partition)) {
        return conf_fail(err, partition->memory_word,
                         "partition '%s' wants %" PRId64 " pages of %" PRId64
                         " MiB, and %s has %" PRId64 " of them, of which %" PRId64 " are left",
                         partition->name, (int64_t)partition->memory / size, size >> MIB_SHIFT,
                         where, all / size, left / size);
    }
    return conf_fail(err, partition->memory_word,
                     "partition '%s' wants %" PRId64 " MiB, and guests may have %" PRId64
                     " MiB of %s, of which %" PRId64 " are left",
                     partition->name, (int64_t)partition->memory >> MIB_SHIFT, all >> MIB_SHIFT,
                     where, left >> MIB_SHIFT);
}

/* One partition, when those behind it have theirs. */
static int settle(struct partitions *partitions, size_t index, const struct partition_host *host,
                  struct err *err)
{
    struct partition *partition = &partitions->list[index];
    const uint64_t places[] = {PARTITION_NO_NODE, partition->node};
    int64_t most = INT64_MAX;

    if (partition->memory % partition->page_size != 0 && partition_is_huge(partition)) {
        return conf_fail(err, partition->memory_word,
                         "partition '%s' has pages of %" PRIu64
                         " MiB, and its memory is no multiple of that",
                         partition->name, partition->page_size >> MIB_SHIFT);
    }
    for (size_t i = 0; i < 1 + (size_t)(partition->node != PARTITION_NO_NODE); i++) {
        int64_t all = bytes_of(host, places[i], partition->page_size);
        int64_t left = left_of(partitions, index, places[i], all);

        if ((int64_t)partition->memory > left) {
            return refuse(partition, places[i], all, left, err);
        }
        most = left < most ? left : most;
    }
    partition->pool = index == 0 && partition->memory == 0 ? most : (int64_t)partition->memory;
    return 0;
}

int partitions_settle_memory(struct partitions *partitions, const struct partition_host *host,
                             struct err *err)
{
    int r = 0;

    for (size_t i = partitions->count; r == 0 && i-- > 0;) {
        r = settle(partitions, i, host, err);
    }
    return r;
}
