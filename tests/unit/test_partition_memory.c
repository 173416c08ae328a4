/* Memory of partitions against that of a host with two nodes and huge pages. */
#include <errno.h>
#include <string.h>

#include "daemon/host/topology.h"
#include "daemon/partition.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/conf/words.h"
#include "tests/unit/unit.h"

#define MIB(n) ((int64_t)(n) << 20)

/* 2 GiB, of which 126 MiB are huge pages of node 1, and 1/8 of the rest is the host's. */
static const struct topology_huge all_pages = {.size = MIB(2), .total = 63, .free = 60};
static struct topology_memory nodes;

static void setup(void)
{
    nodes = (struct topology_memory){
        .node_count = 2, .huge_count = 1, .total = MIB(2048), .huge = {all_pages}};
    nodes.nodes[0] = (struct topology_node){.node = 0, .memory = MIB(1410), .huge_count = 1};
    nodes.nodes[1] = (struct topology_node){.node = 1, .memory = MIB(638), .huge_count = 1};
    nodes.nodes[0].huge[0] = (struct topology_huge){.size = MIB(2)};
    nodes.nodes[1].huge[0] = all_pages;
}

static const struct conf_part part = {.name = "q"};
static struct conf_word words[] = {
    {"", &part, 1, false}, {"", &part, 2, false}, {"", &part, 3, false}};

struct row {
    const char *name;
    int64_t memory;
    uint64_t node, page_size;
};
#define ANY PARTITION_NO_NODE

/* The host's partition, and those. */
static int settle(const struct row *rows, size_t count, struct partitions *partitions,
                  struct err *err)
{
    struct partition_host host = {.memory = MIB(1922) / 8 * 7, .total = MIB(1922), .nodes = &nodes};

    partitions_init(partitions);
    for (size_t i = 0; i < count; i++) {
        partitions->list[partitions->count++] =
            (struct partition){.name = rows[i].name,
                               .memory = (uint64_t)rows[i].memory,
                               .node = rows[i].node,
                               .page_size = rows[i].page_size,
                               .memory_word = &words[i]};
    }
    setup();
    return partitions_settle_memory(partitions, &host, err);
}

START_TEST(a_node_and_huge_pages_can_be_given_to_the_last_byte)
{
    const struct row rows[] = {
        {"near", MIB(448), 1, 4096}, {"huge", MIB(120), 1, MIB(2)}, {"huge2", MIB(6), ANY, MIB(2)}};
    struct partitions partitions;
    struct err err = {0};

    ck_assert_msg(settle(rows, 3, &partitions, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(partitions.list[1].pool, MIB(448));
    ck_assert_int_eq(partitions.list[2].pool, MIB(120));
    ck_assert_int_eq(partitions.list[0].pool, MIB(1922) / 8 * 7 - MIB(448)); /* no huge ones */
}
END_TEST

START_TEST(more_than_a_node_or_its_huge_pages_have_is_refused_with_what_is_left)
{
    static const struct {
        struct row rows[2];
        const char *sentence;
    } cases[] = {
        {{{"a", MIB(449), 1, 4096}, {"b", MIB(1), ANY, 4096}},
         "q:1: partition 'a' wants 449 MiB, and guests may have 448 MiB of node 1, of which 448 "
         "are left"},
        {{{"a", MIB(300), 1, 4096}, {"b", MIB(149), 1, 4096}},
         "q:1: partition 'a' wants 300 MiB, and guests may have 448 MiB of node 1, of which 299 "
         "are left"},
        {{{"a", MIB(128), ANY, MIB(2)}, {"b", MIB(1), ANY, 4096}},
         "q:1: partition 'a' wants 64 pages of 2 MiB, and this host has 63 of them, of which 63 "
         "are left"},
        {{{"a", MIB(2), 0, MIB(2)}, {"b", MIB(1), ANY, 4096}},
         "q:1: partition 'a' wants 1 pages of 2 MiB, and node 0 has 0 of them, of which 0 are "
         "left"},
        {{{"a", MIB(100), 1, MIB(2)}, {"b", MIB(28), ANY, MIB(2)}},
         "q:1: partition 'a' wants 50 pages of 2 MiB, and this host has 63 of them, of which 49 "
         "are left"},
        {{{"a", MIB(1), ANY, 4096}, {"b", MIB(3), ANY, MIB(2)}},
         "q:2: partition 'b' has pages of 2 MiB, and its memory is no multiple of that"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct partitions partitions;
        struct err err = {0};

        ck_assert_int_eq(settle(cases[i].rows, 2, &partitions, &err), -ENOEXEC);
        ck_assert_str_eq(err.msg, cases[i].sentence);
    }
}
END_TEST

START_TEST(pages_that_are_promised_or_of_another_node_are_not_free)
{
    struct partition partition = {.page_size = (uint64_t)MIB(2), .node = ANY};

    setup();
    ck_assert_int_eq(partition_free_pages(&partition, &nodes), 60);
    nodes.huge[0].reserved = 10;
    ck_assert_int_eq(partition_free_pages(&partition, &nodes), 50);
    partition.node = 0;
    ck_assert_int_eq(partition_free_pages(&partition, &nodes), 0);
    partition.node = 7; /* it is not there any more */
    ck_assert_int_eq(partition_free_pages(&partition, &nodes), 0);
}
END_TEST

START_TEST(ram_that_nothing_else_holds_is_populated)
{
    struct partition partition = {.page_size = PARTITION_PAGE_SIZE, .node = ANY};

    ck_assert(!partition_is_populated(&partition));
    partition.rt_priority = 1;
    ck_assert(partition_is_populated(&partition));
    partition = (struct partition){.page_size = PARTITION_PAGE_SIZE, .node = 0};
    ck_assert(partition_is_populated(&partition));
    partition = (struct partition){.page_size = (uint64_t)MIB(2), .node = ANY};
    ck_assert(partition_is_populated(&partition) && partition_is_huge(&partition));
}
END_TEST

UNIT_MAIN("partition_memory", a_node_and_huge_pages_can_be_given_to_the_last_byte,
          more_than_a_node_or_its_huge_pages_have_is_refused_with_what_is_left,
          pages_that_are_promised_or_of_another_node_are_not_free,
          ram_that_nothing_else_holds_is_populated)
