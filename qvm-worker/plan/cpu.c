/* `cpu`: one vCPU each, and where it runs on the host. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/plan/private.h"

#define CLUSTER_OF_ONE "_cpu-" /* and the number of a CPU */
#define PRIORITY_MAX   255u    /* of the language; Linux has less */
#define NAMES_SIZE     512

int plan_cpu_open(struct conf_scope *scope, const struct conf_word *option)
{
    struct plan *plan = plan_of(scope);
    struct plan_cpu *cpu;

    if (plan->cpu_count == MACHINE_CPUS_MAX) {
        return conf_fail(scope->err, option, "more than %u vCPUs", MACHINE_CPUS_MAX);
    }
    cpu = &plan->cpus[plan->cpu_count++];
    cpu->where = plan_where(plan, option, scope->err);
    scope->context = PLAN_IN_CPU;
    scope->object = cpu;
    return cpu->where != NULL ? 0 : -ENOMEM;
}

/* The next part of `*text`, up to a comma: its size; `*text` stands behind it, NULL at the end. */
static size_t next_part(const char **text, const char **part)
{
    size_t size = strcspn(*text, ",");

    *part = *text;
    *text = (*text)[size] == ',' ? *text + size + 1 : NULL;
    return size;
}

int plan_cpu_runmask(struct conf_scope *scope, const struct conf_word *option)
{
    struct placement *placement = &((struct plan_cpu *)scope->object)->placement;
    const struct conf_word *argument = conf_argument(scope, option);
    const char *text, *part;
    cpu_set_t cpus;

    if (argument == NULL) {
        return -ENOEXEC;
    }
    CPU_ZERO(&cpus);
    text = argument->text;
    while (text != NULL) {
        size_t size = next_part(&text, &part);
        uint64_t cpu;
        int r = conf_number_in(argument, "runmask", part, size, CONF_DECIMAL, 0,
                               PLACEMENT_CPUS_MAX - 1, &cpu, scope->err);

        if (r != 0) {
            return r;
        }
        CPU_SET(cpu, &cpus);
    }
    placement->cpus = cpus;
    placement->has_cpus = true;
    placement->cpus_where = plan_where(plan_of(scope), argument, scope->err);
    return placement->cpus_where != NULL ? 0 : -ENOMEM;
}

static int refuse_cluster(struct conf_scope *scope, const struct conf_word *name)
{
    const struct plan_host *host = plan_of(scope)->host;
    struct conf_nearest nearest = {.word = name->text};
    char names[NAMES_SIZE] = CLUSTER_OF_ONE "N";
    size_t used = strlen(names);

    for (size_t i = 0; i < host->cluster_count; i++) {
        conf_nearest_offer(&nearest, host->clusters[i].name);
        if (used < sizeof(names)) {
            used +=
                (size_t)snprintf(names + used, sizeof(names) - used, " %s", host->clusters[i].name);
        }
    }
    if (nearest.best != NULL) {
        return conf_fail(scope->err, name, "there is no cluster '%s'; did you mean '%s'?",
                         name->text, nearest.best);
    }
    return conf_fail(scope->err, name, "there is no cluster '%s' of host CPUs; there are: %s",
                     name->text, names);
}

static int find_cluster(struct conf_scope *scope, const struct conf_word *name, cpu_set_t *cpus)
{
    const struct plan_host *host = plan_of(scope)->host;
    const char *number = name->text + strlen(CLUSTER_OF_ONE);
    uint64_t cpu;

    for (size_t i = 0; i < host->cluster_count; i++) {
        if (strcmp(host->clusters[i].name, name->text) == 0) {
            *cpus = host->clusters[i].cpus;
            return 0;
        }
    }
    if (strncmp(name->text, CLUSTER_OF_ONE, strlen(CLUSTER_OF_ONE)) != 0) {
        return refuse_cluster(scope, name);
    }
    CPU_ZERO(cpus);
    if (conf_number_in(name, "cluster", number, strlen(number), CONF_DECIMAL, 0,
                       PLACEMENT_CPUS_MAX - 1, &cpu, scope->err) != 0) {
        return -ENOEXEC;
    }
    CPU_SET(cpu, cpus);
    return 0;
}

int plan_cpu_cluster(struct conf_scope *scope, const struct conf_word *option)
{
    struct placement *placement = &((struct plan_cpu *)scope->object)->placement;
    const struct conf_word *name = conf_argument(scope, option);
    cpu_set_t cpus;

    if (name == NULL || find_cluster(scope, name, &cpus) != 0) {
        return -ENOEXEC;
    }
    placement->cpus = cpus;
    placement->has_cpus = true;
    placement->cpus_where = plan_where(plan_of(scope), name, scope->err);
    return placement->cpus_where != NULL ? 0 : -ENOMEM;
}

/* All of a VM is in one partition: its memory cannot be in several. */
static int set_partition(struct conf_scope *scope, const struct conf_word *name)
{
    struct plan *plan = plan_of(scope);
    struct plan_cpu *cpu = scope->object;

    for (uint32_t i = 0; i < plan->cpu_count; i++) {
        const struct plan_cpu *other = &plan->cpus[i];

        if (other != cpu && other->partition != NULL && strcmp(other->partition, name->text) != 0) {
            return conf_fail(scope->err, name,
                             "partition '%s': the VM is in partition '%s' (%s), and can be in one",
                             name->text, other->partition, other->partition_where);
        }
    }
    cpu->partition = plan->partition = name->text;
    cpu->partition_where = plan_where(plan, name, scope->err);
    return cpu->partition_where != NULL ? 0 : -ENOMEM;
}

/* The row of the partition that the VM is in, or NULL. */
static const struct plan_partition *partition_of(const struct plan *plan)
{
    for (size_t i = 0; i < plan->host->partition_count; i++) {
        const struct plan_partition *row = &plan->host->partitions[i];

        if (plan->partition == NULL || strcmp(row->name, plan->partition) == 0) {
            return row; /* the default is the first */
        }
    }
    return NULL;
}

uint64_t plan_page_size(const struct plan *plan)
{
    const struct plan_partition *partition = partition_of(plan);

    return partition != NULL && partition->page_size > MEMORY_PAGE_SIZE ? partition->page_size
                                                                        : MEMORY_PAGE_SIZE;
}

bool plan_is_populated(const struct plan *plan)
{
    const struct plan_partition *partition = partition_of(plan);

    return plan->settings.is_populated || (partition != NULL && partition->is_populated);
}

int plan_cpu_partition(struct conf_scope *scope, const struct conf_word *option)
{
    static const struct plan_partition only[] = {{.name = PLAN_PARTITION}};
    const struct plan_host *host = plan_of(scope)->host;
    const struct plan_partition *list = host->partition_count > 0 ? host->partitions : only;
    size_t count = host->partition_count > 0 ? host->partition_count : ARRAY_LEN(only);
    const struct conf_word *name = conf_argument(scope, option);
    char names[NAMES_SIZE] = "";
    size_t used = 0;

    if (name == NULL) {
        return -ENOEXEC;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].name, name->text) == 0) {
            return set_partition(scope, name);
        }
        if (used < sizeof(names)) {
            used += (size_t)snprintf(names + used, sizeof(names) - used, " %s", list[i].name);
        }
    }
    return conf_fail(scope->err, name, "there is no partition '%s' on this host; there are:%s",
                     name->text, names);
}

static int refuse_sched(struct conf_scope *scope, const struct conf_word *word)
{
    return conf_fail(scope->err, word,
                     "sched '%s' is not PRIO[r|f|o], or NORMAL,LOW,REPL,PERIOD,BUDGETs with "
                     "nanoseconds",
                     word->text);
}

/* PRIO[r|f|o] */
static int read_priority(struct conf_scope *scope, const struct conf_word *word,
                         struct placement *to)
{
    size_t size = strlen(word->text);
    const char *last = size > 0 ? word->text + size - 1 : "";
    char letter = *last;
    bool has_letter = letter == 'r' || letter == 'f' || letter == 'o';
    uint64_t priority;

    if (conf_parse_number(word->text, size - (has_letter ? 1 : 0), CONF_DECIMAL, &priority) != 0) {
        return refuse_sched(scope, word);
    }
    if (letter == 'o') {
        to->policy = PLACEMENT_NORMAL;
        return 0;
    }
    if (priority < 1 || priority > PLACEMENT_PRIORITY_MAX) {
        return conf_fail(scope->err, word,
                         "sched '%s': the real-time priorities of this host are 1 to %u",
                         word->text, PLACEMENT_PRIORITY_MAX);
    }
    to->policy = letter == 'f' ? PLACEMENT_FIFO : PLACEMENT_ROUND_ROBIN;
    to->priority = (uint32_t)priority;
    return 0;
}

/* NORMAL,LOW,REPL,PERIOD,BUDGETs: Linux has no priorities for it, and no count of replenishments.
 */
static int read_sporadic(struct conf_scope *scope, const struct conf_word *word,
                         struct placement *to)
{
    static const struct {
        const char *name;
        uint64_t min, max;
    } bounds[] = {{"normal priority", 1, PRIORITY_MAX},
                  {"low priority", 1, PRIORITY_MAX},
                  {"number of replenishments", 1, UINT32_MAX},
                  {"period", PLACEMENT_PERIOD_MIN_NS, PLACEMENT_PERIOD_MAX_NS},
                  {"budget", PLACEMENT_BUDGET_MIN_NS, PLACEMENT_PERIOD_MAX_NS}};
    uint64_t values[ARRAY_LEN(bounds)];
    const char *text = word->text, *part;

    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        bool is_last = i == ARRAY_LEN(bounds) - 1;
        size_t size = text != NULL ? next_part(&text, &part) : 0;

        if (size == 0 || is_last != (text == NULL) ||
            conf_parse_number(part, size - (is_last ? 1 : 0), CONF_DECIMAL, &values[i]) ==
                -EINVAL) {
            return refuse_sched(scope, word);
        }
        if (conf_number_in(word, "sched", part, size - (is_last ? 1 : 0), CONF_DECIMAL,
                           bounds[i].min, bounds[i].max, &values[i], NULL) != 0) {
            return conf_fail(scope->err, word,
                             "sched '%s': its %s is not between %" PRIu64 " and %" PRIu64 "%s",
                             word->text, bounds[i].name, bounds[i].min, bounds[i].max,
                             i >= 3 ? " nanoseconds" : "");
        }
    }
    if (values[4] > values[3]) {
        return conf_fail(scope->err, word, "sched '%s': the budget is longer than its period",
                         word->text);
    }
    to->policy = PLACEMENT_DEADLINE;
    to->period_ns = values[3];
    to->budget_ns = values[4];
    return 0;
}

int plan_cpu_sched(struct conf_scope *scope, const struct conf_word *option)
{
    struct placement *placement = &((struct plan_cpu *)scope->object)->placement;
    const struct conf_word *word = conf_argument(scope, option);
    struct placement fresh;
    size_t size;
    int r;

    if (word == NULL) {
        return -ENOEXEC;
    }
    fresh = *placement;
    fresh.priority = 0;
    fresh.period_ns = fresh.budget_ns = 0;
    size = strlen(word->text);
    r = size > 0 && word->text[size - 1] == 's' ? read_sporadic(scope, word, &fresh)
                                                : read_priority(scope, word, &fresh);
    if (r != 0) {
        return r;
    }
    *placement = fresh;
    placement->sched_where = plan_where(plan_of(scope), word, scope->err);
    return placement->sched_where != NULL ? 0 : -ENOMEM;
}

const char *plan_policy_name(enum placement_policy policy)
{
    static const char *const names[] = {[PLACEMENT_NORMAL] = "normal",
                                        [PLACEMENT_ROUND_ROBIN] = "round-robin",
                                        [PLACEMENT_FIFO] = "fifo",
                                        [PLACEMENT_DEADLINE] = "deadline"};

    return names[policy];
}

bool plan_runs_alike(const struct plan_cpu *a, const struct plan_cpu *b)
{
    const struct placement *p = &a->placement, *q = &b->placement;

    return p->has_cpus == q->has_cpus && (!p->has_cpus || CPU_EQUAL(&p->cpus, &q->cpus)) &&
           p->policy == q->policy && p->priority == q->priority && p->period_ns == q->period_ns &&
           p->budget_ns == q->budget_ns &&
           (a->partition == b->partition || (a->partition != NULL && b->partition != NULL &&
                                             strcmp(a->partition, b->partition) == 0));
}
