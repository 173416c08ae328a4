/* qvmd.conf: how the host is divided. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/config_inside.h"
#include "daemon/host/cpus.h"
#include "daemon/host/memory.h"
#include "daemon/host/topology.h"
#include "daemon/host/users.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define RESERVED_NAME "shared" /* the pool of vCPUs of those who name no partition */
#define NAME_MAX_SIZE 63u      /* bytes of a name of a partition, cluster or region */

/* The next word, as a name that guests say: they may also say _cpu-N, which is a cluster, too. */
static const struct conf_word *name_argument(struct conf_scope *scope,
                                             const struct conf_word *option)
{
    const struct conf_word *name = conf_argument(scope, option);

    if (name == NULL) {
        return NULL;
    }
    if (!isalpha((unsigned char)name->text[0]) || strlen(name->text) > NAME_MAX_SIZE ||
        strspn(name->text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") !=
            strlen(name->text)) {
        (void)conf_fail(scope->err, name,
                        "'%s' is no name for a %s: a letter, then letters, digits, '.', '-', '_', "
                        "at most %u",
                        name->text, option->text, NAME_MAX_SIZE);
        return NULL;
    }
    return name;
}

/* ---- CPUs ---- */

/* The next word as CPUs: a list, or the name of a cluster that was declared before. */
static const struct conf_word *read_cpus(struct conf_scope *scope, const struct conf_word *option,
                                         cpu_set_t *cpus)
{
    const struct config *config = scope->root;
    const struct conf_word *word = conf_argument(scope, option);

    if (word == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < config->partitions.cluster_count; i++) {
        if (strcmp(config->partitions.clusters[i].name, word->text) == 0) {
            *cpus = config->partitions.clusters[i].cpus;
            return word;
        }
    }
    if (isalpha((unsigned char)word->text[0])) {
        (void)conf_fail(scope->err, word, "%s: there is no cluster '%s'; it is declared before",
                        option->text, word->text);
        return NULL;
    }
    if (cpu_list_parse(word->text, cpus) != 0 || CPU_COUNT(cpus) == 0) {
        (void)conf_fail(scope->err, word, "%s: '%s' is no list of CPUs such as 2-3,5, each once",
                        option->text, word->text);
        return NULL;
    }
    return word;
}

int config_cluster(struct conf_scope *scope, const struct conf_word *option)
{
    struct config *config = scope->root;
    struct partitions *partitions = &config->partitions;
    const struct conf_word *name = name_argument(scope, option);
    struct partition_cluster *row = partitions->clusters;
    struct partition_cluster *end = row + partitions->cluster_count;
    cpu_set_t cpus, online;

    if (name == NULL || read_cpus(scope, option, &cpus) == NULL) {
        return -ENOEXEC;
    }
    if (cpus_online_set(&online, NULL) == 0 && !cpu_list_has_all(&online, &cpus)) {
        char there[CPU_LIST_TEXT_SIZE];

        return conf_fail(scope->err, name,
                         "cluster '%s' has CPUs that are not there, or offline; this host has %s",
                         name->text, cpu_list_print(&online, there, sizeof(there)));
    }
    while (row < end && strcmp(row->name, name->text) != 0) {
        row++;
    }
    if (row == partitions->clusters + PARTITION_CLUSTERS_MAX) {
        return conf_fail(scope->err, option, "more than %u clusters", PARTITION_CLUSTERS_MAX);
    }
    partitions->cluster_count += row == end;
    *row = (struct partition_cluster){.name = name->text, .cpus = cpus};
    return 0;
}

int config_housekeeping(struct conf_scope *scope, const struct conf_word *option)
{
    struct partitions *partitions = &((struct config *)scope->root)->partitions;
    const struct conf_word *word = read_cpus(scope, option, &partitions->said_housekeeping);

    partitions->has_housekeeping = true;
    partitions->housekeeping_word = word;
    return word != NULL ? 0 : -ENOEXEC;
}

int config_shared(struct conf_scope *scope, const struct conf_word *option)
{
    struct partition *partition = scope->object;

    partition->shared_word = read_cpus(scope, option, &partition->said_shared);
    partition->has_shared = true;
    return partition->shared_word != NULL ? 0 : -ENOEXEC;
}

int config_exclusive(struct conf_scope *scope, const struct conf_word *option)
{
    struct partition *partition = scope->object;

    partition->exclusive_word = read_cpus(scope, option, &partition->exclusive);
    return partition->exclusive_word != NULL ? 0 : -ENOEXEC;
}

/* ---- memory ---- */

int config_region(struct conf_scope *scope, const struct conf_word *option)
{
    struct partitions *partitions = &((struct config *)scope->root)->partitions;
    const struct conf_word *name = name_argument(scope, option);
    const struct conf_word *start = name != NULL ? conf_argument(scope, option) : NULL;
    const struct conf_word *size = start != NULL ? conf_argument(scope, option) : NULL;
    struct partition_region *row = partitions->regions;
    struct partition_region *end = row + partitions->region_count;
    struct partition_region region = {.name = name != NULL ? name->text : ""};

    if (size == NULL ||
        conf_number(start, "memory-region start", CONF_HEX, 0, INT64_MAX, &region.start,
                    scope->err) != 0 ||
        conf_number(size, "memory-region size", CONF_HEX, 1, (uint64_t)INT64_MAX - region.start,
                    &region.size, scope->err) != 0) {
        return -ENOEXEC;
    }
    while (row < end && strcmp(row->name, name->text) != 0) {
        row++;
    }
    if (row == partitions->regions + PARTITION_REGIONS_MAX) {
        return conf_fail(scope->err, option, "more than %u memory regions", PARTITION_REGIONS_MAX);
    }
    partitions->region_count += row == end;
    *row = region;
    return 0;
}

int config_memory(struct conf_scope *scope, const struct conf_word *option)
{
    struct partition *partition = scope->object;
    const struct conf_word *word = conf_argument(scope, option);

    partition->memory_word = word;
    return word != NULL ? conf_number(word, option->text, CONF_DECIMAL, 1u << 20, UINT64_C(1) << 52,
                                      &partition->memory, scope->err)
                        : -ENOEXEC;
}

int config_page_size(struct conf_scope *scope, const struct conf_word *option)
{
    struct partition *partition = scope->object;
    const struct conf_word *word = conf_argument(scope, option);
    char path[96];
    uint64_t size;

    if (word == NULL || conf_number(word, option->text, CONF_DECIMAL, PARTITION_PAGE_SIZE,
                                    UINT64_C(1) << 30, &size, scope->err) != 0) {
        return -ENOEXEC;
    }
    (void)snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB",
                   size >> 10);
    if (size != PARTITION_PAGE_SIZE && access(path, F_OK) != 0) {
        return conf_fail(scope->err, word, "page-size: this host has no pages of '%s'", word->text);
    }
    partition->page_size = size;
    return 0;
}

int config_node(struct conf_scope *scope, const struct conf_word *option)
{
    struct partition *partition = scope->object;
    const struct conf_word *word = conf_argument(scope, option);
    char path[64];
    uint64_t node;

    if (word == NULL || conf_number(word, option->text, CONF_DECIMAL, 0, PARTITION_NO_NODE - 1,
                                    &node, scope->err) != 0) {
        return -ENOEXEC;
    }
    (void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%" PRIu64, node);
    if (access(path, F_OK) != 0) {
        return conf_fail(scope->err, word, "node: this host has no memory node %" PRIu64, node);
    }
    partition->node = node;
    return 0;
}

/* ---- the partition itself ---- */

int config_add_user(struct conf_scope *scope, const struct conf_word *option,
                    const struct config_users *list)
{
    const struct conf_word *user = conf_argument(scope, option);
    uid_t uid;

    if (user == NULL) {
        return -ENOEXEC;
    }
    if (users_find(user->text, &uid) < 0) {
        return conf_fail(scope->err, user, "there is no user '%s' in /etc/passwd", user->text);
    }
    if (*list->count == list->most) {
        return conf_fail(scope->err, option, "more than %zu times 'user' %s", list->most, list->of);
    }
    list->users[(*list->count)++] = uid;
    return 0;
}

int config_user(struct conf_scope *scope, const struct conf_word *option)
{
    struct partition *partition = scope->object;

    return config_add_user(scope, option,
                           &(struct config_users){partition->users, &partition->user_count,
                                                  PARTITION_USERS_MAX, "in a partition"});
}

int config_partition(struct conf_scope *scope, const struct conf_word *option)
{
    struct partitions *partitions = &((struct config *)scope->root)->partitions;
    const struct conf_word *name = name_argument(scope, option);
    struct partition *row = partitions->list;

    if (name == NULL) {
        return -ENOEXEC;
    }
    if (strcmp(name->text, RESERVED_NAME) == 0) {
        return conf_fail(scope->err, name, "no partition can be called '%s'", name->text);
    }
    while (row < partitions->list + partitions->count && strcmp(row->name, name->text) != 0) {
        row++;
    }
    if (row == partitions->list + PARTITIONS_MAX) {
        return conf_fail(scope->err, option, "more than %u partitions", PARTITIONS_MAX);
    }
    if (row == partitions->list + partitions->count) {
        partitions->count++;
        *row = (struct partition){.name = name->text};
        conf_set_fallbacks(scope->grammar, CONFIG_IN_PARTITION, row);
        row->page_size = PARTITION_PAGE_SIZE;
        row->node = PARTITION_NO_NODE;
    }
    row->line = option->line;
    scope->context = CONFIG_IN_PARTITION;
    scope->object = row;
    return 0;
}

/* Of the host's memory without its huge pages: all, and what guests may have. */
static void count_ordinary(const struct topology_memory *nodes, int64_t kept,
                           struct partition_host *host)
{
    for (size_t i = 0; i < nodes->huge_count; i++) {
        host->total -= nodes->huge[i].total * nodes->huge[i].size;
    }
    host->memory = host->total > kept ? host->total - kept : 0;
}

int config_settle(struct config *config, struct err *err)
{
    auto_free struct topology_memory *nodes = calloc(1, sizeof(*nodes));
    struct partition_host host = {.vcpus = config->cpus, .nodes = nodes};
    int r;

    if (nodes == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    r = memory_total(&host.total, err);
    r = r == 0 ? topology_read_memory("", nodes, err) : r;
    r = r == 0 ? cpus_online_set(&host.online, err) : r;
    if (r == 0) {
        count_ordinary(nodes, (int64_t)config->memory_reserve, &host);
        r = partitions_settle(&config->partitions, &host, err);
    }
    return r;
}
