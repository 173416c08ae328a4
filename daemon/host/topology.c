/* CPUs, caches, nodes. */
#include "daemon/host/topology.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/host/sysfs.h"
#include "daemon/host/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define CPUS      "/sys/devices/system/cpu"
#define NODES     "/sys/devices/system/node"
#define LIST_SIZE 4096

/* A list of CPUs; what cannot be read has none. */
static void read_list(int dir_fd, const char *name, cpu_set_t *set)
{
    char text[LIST_SIZE];

    CPU_ZERO(set);
    if (sysfs_text(dir_fd, name, text, sizeof(text)) == 0) {
        (void)cpu_list_parse(text, set); /* "(null)" of a kernel without it is none */
    }
}

/* PREFIX and a number below `bound`, nothing behind it; -1: something else. */
static int number_of(const char *name, const char *prefix, unsigned bound)
{
    size_t length = strlen(prefix);
    unsigned long number;
    char *end;

    if (strncmp(name, prefix, length) != 0 || !isdigit((unsigned char)name[length])) {
        return -1;
    }
    errno = 0;
    number = strtoul(name + length, &end, 10);
    return errno == 0 && *end == '\0' && number < bound ? (int)number : -1;
}

/* ---- CPUs and caches ---- */

static int add_cache(struct topology *topology, const struct topology_cache *cache)
{
    struct topology_cache *grown =
        reallocarray(topology->caches, topology->cache_count + 1, sizeof(*grown));

    if (grown == NULL) {
        return -ENOMEM;
    }
    topology->caches = grown;
    topology->caches[topology->cache_count++] = *cache;
    return 0;
}

/* "48K", "2M" */
static int64_t cache_size(const char *text)
{
    char *unit;
    int64_t size = strtoll(text, &unit, 10);

    if (size <= 0 || size > INT_MAX) {
        return 0;
    }
    return *unit == 'K' ? size << 10 : *unit == 'M' ? size << 20 : size;
}

static int first_of(const cpu_set_t *set)
{
    for (unsigned cpu = 0; cpu < CPU_LIST_MAX; cpu++) {
        if (CPU_ISSET(cpu, set)) {
            return (int)cpu;
        }
    }
    return -1;
}

/* Caches that CPU `cpu` shares are told once, by the first that does. */
static int read_caches(const char *root, int cpu, struct topology *topology)
{
    char path[PATH_MAX], text[32];
    int r = 0;

    for (int index = 0; r == 0 && topology->cache_count < TOPOLOGY_CACHES_MAX; index++) {
        struct topology_cache cache = {0};
        auto_close int dir_fd = -1;

        (void)snprintf(path, sizeof(path), CPUS "/cpu%d/cache/index%d", cpu, index);
        dir_fd = sysfs_open(root, path);
        if (dir_fd < 0) {
            break;
        }
        read_list(dir_fd, "shared_cpu_list", &cache.cpus);
        if (first_of(&cache.cpus) != cpu) {
            continue;
        }
        cache.level = (int)sysfs_number(dir_fd, "level", 0);
        (void)sysfs_text(dir_fd, "type", text, sizeof(text)); /* empty then */
        cache.type = text[0] == 'D' ? "data" : text[0] == 'I' ? "instructions" : "both";
        (void)sysfs_text(dir_fd, "size", text, sizeof(text));
        cache.size = cache_size(text);
        r = add_cache(topology, &cache);
    }
    return r;
}

static int compare_caches(const void *a, const void *b)
{
    const struct topology_cache *left = a, *right = b;

    if (left->level != right->level) {
        return left->level - right->level;
    }
    if (strcmp(left->type, right->type) != 0) {
        return strcmp(left->type, right->type);
    }
    return first_of(&left->cpus) - first_of(&right->cpus);
}

static void read_cpu(const char *root, struct topology_cpu *cpu)
{
    char path[PATH_MAX];
    auto_close int dir_fd = -1;

    (void)snprintf(path, sizeof(path), CPUS "/cpu%d/topology", cpu->cpu);
    dir_fd = sysfs_open(root, path);
    if (dir_fd >= 0) {
        cpu->package = (int)sysfs_number(dir_fd, "physical_package_id", -1);
        cpu->core = (int)sysfs_number(dir_fd, "core_id", -1);
    }
}

/* Which node each CPU is of. */
static void read_places(const char *root, struct topology *topology)
{
    auto_dir DIR *dir = sysfs_list(root, NODES);
    const char *name;
    char path[PATH_MAX];
    cpu_set_t set;

    while ((name = sysfs_next(dir)) != NULL) {
        int node = number_of(name, "node", TOPOLOGY_NODES_MAX);
        auto_close int dir_fd = -1;

        (void)snprintf(path, sizeof(path), NODES "/%s", name);
        dir_fd = node >= 0 ? sysfs_open(root, path) : -1;
        if (dir_fd >= 0) {
            read_list(dir_fd, "cpulist", &set);
            for (size_t i = 0; i < topology->cpu_count; i++) {
                struct topology_cpu *cpu = &topology->cpus[i];

                cpu->node = CPU_ISSET((size_t)cpu->cpu, &set) ? node : cpu->node;
            }
        }
    }
}

/* "model name : TEXT" of proc_cpuinfo(5), of the first CPU. */
static void read_model(const char *root, char model[TOPOLOGY_MODEL_SIZE])
{
    static const char label[] = "model name";
    char path[PATH_MAX], text[4096];
    const char *at;

    (void)snprintf(path, sizeof(path), "%s/proc/cpuinfo", root);
    if (text_read(path, text, sizeof(text), NULL) < 0 || (at = strstr(text, label)) == NULL) {
        return;
    }
    at += strlen(label);
    at += strspn(at, " \t:");
    (void)snprintf(model, TOPOLOGY_MODEL_SIZE, "%.*s", (int)strcspn(at, "\n"), at);
    sysfs_harmless(model);
}

int topology_read(const char *root, struct topology *topology, struct err *err)
{
    auto_close int dir_fd = sysfs_open(root, CPUS);
    cpu_set_t possible, online, isolated, tickless;
    int r = 0;

    *topology = (struct topology){0};
    if (dir_fd < 0) {
        return err_sys(err, -errno, "cannot open '%s" CPUS "'", root);
    }
    read_list(dir_fd, "present", &possible);
    read_list(dir_fd, "online", &online);
    read_list(dir_fd, "isolated", &isolated);
    read_list(dir_fd, "nohz_full", &tickless);
    CPU_OR(&possible, &possible, &online);
    for (unsigned number = 0; r == 0 && number < CPU_LIST_MAX; number++) {
        struct topology_cpu *cpu = &topology->cpus[topology->cpu_count];

        if (!CPU_ISSET(number, &possible)) {
            continue;
        }
        topology->cpu_count++;
        *cpu = (struct topology_cpu){.cpu = (int)number,
                                     .node = -1,
                                     .package = -1,
                                     .core = -1,
                                     .is_online = CPU_ISSET(number, &online),
                                     .is_isolated = CPU_ISSET(number, &isolated),
                                     .is_tickless = CPU_ISSET(number, &tickless)};
        read_cpu(root, cpu);
        r = read_caches(root, cpu->cpu, topology);
    }
    if (r < 0) {
        topology_fini(topology);
        return err_set(err, r, "out of memory");
    }
    read_places(root, topology);
    read_model(root, topology->model);
    if (topology->cache_count > 0) {
        qsort(topology->caches, topology->cache_count, sizeof(*topology->caches), compare_caches);
    }
    return 0;
}

void topology_fini(struct topology *topology)
{
    free(topology->caches);
    *topology = (struct topology){0};
}

const struct topology_cpu *topology_cpu(const struct topology *topology, int cpu)
{
    for (size_t i = 0; i < topology->cpu_count; i++) {
        if (topology->cpus[i].cpu == cpu) {
            return &topology->cpus[i];
        }
    }
    return NULL;
}

/* ---- memory ---- */

/* What is at "hugepages-SIZEkB" below `path`, by size; returns how many. */
static size_t read_huge(const char *root, const char *path,
                        struct topology_huge list[TOPOLOGY_HUGE_MAX])
{
    static const char prefix[] = "hugepages-";
    auto_dir DIR *dir = sysfs_list(root, path);
    char whole[PATH_MAX], *end;
    const char *name;
    size_t count = 0;

    while (count < TOPOLOGY_HUGE_MAX && (name = sysfs_next(dir)) != NULL) {
        struct topology_huge huge = {0};
        auto_close int dir_fd = -1;
        size_t place = count;

        if (strncmp(name, prefix, strlen(prefix)) != 0) {
            continue;
        }
        huge.size = strtoll(name + strlen(prefix), &end, 10);
        (void)snprintf(whole, sizeof(whole), "%s/%s", path, name);
        dir_fd = sysfs_open(root, whole);
        if (huge.size <= 0 || huge.size > INT_MAX || strcmp(end, "kB") != 0 || dir_fd < 0) {
            continue;
        }
        huge.size *= 1024;
        huge.total = sysfs_number(dir_fd, "nr_hugepages", 0);
        huge.free = sysfs_number(dir_fd, "free_hugepages", 0);
        huge.reserved = sysfs_number(dir_fd, "resv_hugepages", 0);
        for (; place > 0 && list[place - 1].size > huge.size; place--) {
            list[place] = list[place - 1];
        }
        list[place] = huge;
        count++;
    }
    return count;
}

/* "Node 0 MemTotal:  1234 kB" in bytes, or "MemTotal: 1234 kB" of the whole machine. */
static int64_t meminfo_bytes(const char *text, const char *name)
{
    const char *line = strstr(text, name);
    int64_t kib = line != NULL ? strtoll(line + strlen(name), NULL, 10) : 0;

    return kib > 0 && kib < INT64_MAX / 1024 ? kib * 1024 : 0;
}

static int read_meminfo(const char *root, const char *path, int64_t *total, int64_t *left)
{
    char whole[PATH_MAX], text[8192];
    int r;

    (void)snprintf(whole, sizeof(whole), "%s%s", root, path);
    r = text_read(whole, text, sizeof(text), NULL);
    if (r == 0) {
        *total = meminfo_bytes(text, "MemTotal:");
        *left = meminfo_bytes(text, "MemFree:");
    }
    return r;
}

static void read_node(const char *root, struct topology_node *node)
{
    char path[PATH_MAX];
    auto_close int dir_fd = -1;

    (void)snprintf(path, sizeof(path), NODES "/node%d", node->node);
    dir_fd = sysfs_open(root, path);
    if (dir_fd < 0) {
        return;
    }
    read_list(dir_fd, "cpulist", &node->cpus);
    (void)sysfs_text(dir_fd, "distance", node->distances, sizeof(node->distances));
    (void)snprintf(path, sizeof(path), NODES "/node%d/meminfo", node->node);
    (void)read_meminfo(root, path, &node->memory, &node->free); /* 0 then */
    (void)snprintf(path, sizeof(path), NODES "/node%d/hugepages", node->node);
    node->huge_count = read_huge(root, path, node->huge);
}

int topology_read_memory(const char *root, struct topology_memory *memory, struct err *err)
{
    auto_dir DIR *dir = sysfs_list(root, NODES);
    bool is_there[TOPOLOGY_NODES_MAX] = {false};
    const char *name;

    *memory = (struct topology_memory){0};
    memory->huge_count = read_huge(root, "/sys/kernel/mm/hugepages", memory->huge);
    while ((name = sysfs_next(dir)) != NULL) {
        int number = number_of(name, "node", TOPOLOGY_NODES_MAX);

        if (number >= 0) {
            is_there[number] = true;
        }
    }
    for (size_t i = 0; i < TOPOLOGY_NODES_MAX; i++) {
        if (is_there[i]) {
            struct topology_node *node = &memory->nodes[memory->node_count++];

            node->node = (int)i;
            read_node(root, node);
        }
    }
    if (read_meminfo(root, "/proc/meminfo", &memory->total, &memory->free) < 0) {
        return err_set(err, -EIO, "cannot read '%s/proc/meminfo'", root);
    }
    if (memory->node_count == 0) { /* a kernel without NUMA */
        memory->node_count = 1;
        memory->nodes[0].memory = memory->total;
        memory->nodes[0].free = memory->free;
        memcpy(memory->nodes[0].huge, memory->huge, sizeof(memory->huge));
        memory->nodes[0].huge_count = memory->huge_count;
    }
    return 0;
}
