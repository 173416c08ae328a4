/* How the host is divided among guests. */
#include "daemon/partition.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/conf/words.h"

void partitions_init(struct partitions *partitions)
{
    memset(partitions, 0, sizeof(*partitions));
    partitions->count = 1;
    partitions->list[0] = (struct partition){.name = PARTITION_HOST,
                                             .weight = PARTITION_WEIGHT,
                                             .page_size = PARTITION_PAGE_SIZE,
                                             .node = PARTITION_NO_NODE};
}

const struct partition *partition_find(const struct partitions *partitions, const char *name)
{
    for (size_t i = 0; i < partitions->count; i++) {
        if (strcmp(partitions->list[i].name, name) == 0) {
            return &partitions->list[i];
        }
    }
    return NULL;
}

bool partition_takes(const struct partition *partition, uid_t owner, uid_t daemon_uid)
{
    for (size_t i = 0; i < partition->user_count; i++) {
        if (partition->users[i] == owner) {
            return true;
        }
    }
    return partition->user_count == 0 || owner == 0 || owner == daemon_uid;
}

bool partition_is_huge(const struct partition *partition)
{
    return partition->page_size > PARTITION_PAGE_SIZE;
}

bool partition_is_populated(const struct partition *partition)
{
    return partition_is_huge(partition) || partition->node != PARTITION_NO_NODE ||
           partition->rt_priority > 0 || partition->has_deadline;
}

const struct partition *partition_of_cpu(const struct partitions *partitions, int cpu)
{
    for (size_t i = 0; i < partitions->count; i++) {
        const struct partition *partition = &partitions->list[i];

        if (CPU_ISSET((size_t)cpu, &partition->exclusive) ||
            (partition->has_shared && CPU_ISSET((size_t)cpu, &partition->said_shared))) {
            return partition;
        }
    }
    return NULL;
}

/* ---- CPUs ---- */

static int check_online(const cpu_set_t *cpus, const cpu_set_t *online,
                        const struct conf_word *word, struct err *err)
{
    char there[CPU_LIST_TEXT_SIZE], missing[CPU_LIST_TEXT_SIZE];
    cpu_set_t lacking = *cpus;

    if (word == NULL || cpu_list_has_all(online, cpus)) {
        return 0;
    }
    cpu_list_remove(&lacking, online);
    return conf_fail(err, word, "CPU %s is not there, or offline; this host has %s",
                     cpu_list_print(&lacking, missing, sizeof(missing)),
                     cpu_list_print(online, there, sizeof(there)));
}

/* Nobody else may have what one partition has for itself, nor may two share CPUs. */
static int check_apart(const struct partitions *partitions, size_t index, struct err *err)
{
    const struct partition *one = &partitions->list[index];
    int common = one->has_shared ? cpu_list_common(&one->exclusive, &one->said_shared) : -1;

    if (common >= 0) {
        return conf_fail(err, one->exclusive_word, "CPU %d is both shared and exclusive in '%s'",
                         common, one->name);
    }
    if (partitions->has_housekeeping) {
        common = cpu_list_common(&one->exclusive, &partitions->said_housekeeping);
        if (common >= 0) {
            return conf_fail(err, one->exclusive_word,
                             "CPU %d is for housekeeping, and cannot be exclusive", common);
        }
    }
    for (size_t i = 0; i < index; i++) {
        const struct partition *other = &partitions->list[i];
        const struct conf_word *word = one->exclusive_word;

        common = cpu_list_common(&one->exclusive, &other->exclusive);
        if (common < 0) {
            common = cpu_list_common(&one->exclusive, &other->said_shared);
        }
        if (common < 0) {
            word = one->shared_word;
            common = cpu_list_common(&one->said_shared, &other->exclusive);
        }
        if (common < 0) {
            common = cpu_list_common(&one->said_shared, &other->said_shared);
        }
        if (common >= 0) {
            return conf_fail(err, word, "CPU %d belongs to partition '%s' (line %u)", common,
                             other->name, other->line);
        }
    }
    return 0;
}

static int check_cpus(const struct partitions *partitions, const cpu_set_t *online, struct err *err)
{
    int r = partitions->has_housekeeping ? check_online(&partitions->said_housekeeping, online,
                                                        partitions->housekeeping_word, err)
                                         : 0;

    for (size_t i = 0; r == 0 && i < partitions->count; i++) {
        const struct partition *partition = &partitions->list[i];

        r = check_online(&partition->exclusive, online, partition->exclusive_word, err);
        if (r == 0 && partition->has_shared) {
            r = check_online(&partition->said_shared, online, partition->shared_word, err);
        }
        r = r == 0 ? check_apart(partitions, i, err) : r;
    }
    return r;
}

static int settle_cpus(struct partitions *partitions, const cpu_set_t *online, struct err *err)
{
    const struct conf_word *last = NULL;
    cpu_set_t nobodys = *online, common = *online;
    int r = check_cpus(partitions, online, err);

    if (r != 0) {
        return r;
    }
    partitions->rt_priority = 0;
    partitions->divides_cpus = partitions->has_housekeeping;
    for (size_t i = 0; i < partitions->count; i++) {
        struct partition *partition = &partitions->list[i];

        if (partition->rt_priority > partitions->rt_priority) {
            partitions->rt_priority = partition->rt_priority;
        }
        cpu_list_remove(&nobodys, &partition->exclusive);
        cpu_list_remove(&common, &partition->exclusive);
        if (partition->has_shared) {
            cpu_list_remove(&nobodys, &partition->said_shared);
        }
        if (CPU_COUNT(&partition->exclusive) > 0) {
            last = partition->exclusive_word;
        }
        partitions->divides_cpus = partitions->divides_cpus || partition->has_shared ||
                                   CPU_COUNT(&partition->exclusive) > 0;
    }
    partitions->binds_threads = partitions->binds_threads || partitions->divides_cpus;
    if (CPU_COUNT(&common) == 0 && last != NULL) {
        return conf_fail(err, last, "no CPU would be left for the host itself");
    }
    partitions->housekeeping =
        partitions->has_housekeeping ? partitions->said_housekeeping : common;
    for (size_t i = 0; i < partitions->count; i++) {
        struct partition *partition = &partitions->list[i];
        bool has_own = partition->has_shared || CPU_COUNT(&partition->exclusive) > 0;

        partition->shared = has_own ? partition->said_shared : nobodys;
    }
    return 0;
}

/* ---- numbers of vCPUs ---- */

static void settle_vcpus(struct partitions *partitions, uint64_t vcpus)
{
    for (size_t i = 0; i < partitions->count; i++) {
        struct partition *partition = &partitions->list[i];
        int64_t cpus = CPU_COUNT(&partition->shared) + CPU_COUNT(&partition->exclusive);

        partition->vcpus_most = cpus * PARTITION_CPUS_FACTOR;
        if (partition->vcpus != 0) {
            partition->vcpus_most = (int64_t)partition->vcpus;
        } else if (i == 0 && vcpus != 0) {
            partition->vcpus_most = (int64_t)vcpus;
        }
    }
}

int partitions_settle(struct partitions *partitions, const struct partition_host *host,
                      struct err *err)
{
    int r = settle_cpus(partitions, &host->online, err);

    r = r == 0 ? partitions_settle_memory(partitions, host, err) : r;
    if (r == 0) {
        settle_vcpus(partitions, host->vcpus);
    }
    return r;
}
