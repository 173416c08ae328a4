/* The control group of an instance, from before its process to after it.
 *
 * It has the name of a uid, not of a guest: a spare is born in it before anybody knows which guest
 * it will be, and groups cannot be renamed. Where all instances share a uid, because qvmd is not
 * root, it has the name of the instance's directory, and so it had in earlier versions. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cgroup/cgroup.h"
#include "daemon/guest/helper.h"
#include "daemon/guest/inside.h"
#include "daemon/guest/place.h"
#include "daemon/partition.h"
#include "daemon/worker/instance_dir.h"
#include "daemon/worker/spare.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"

#define GROUP_NAME_SIZE 32

static const char *group_of(uid_t uid, char name[GROUP_NAME_SIZE])
{
    (void)snprintf(name, GROUP_NAME_SIZE, "qvm.%u", uid);
    return name;
}

static bool has_uid_of_its_own(void)
{
    return geteuid() == 0;
}

int guests_cgroup_make(struct guests *guests, uid_t uid, int *cgroup_fd, struct err *err)
{
    char name[GROUP_NAME_SIZE];

    *cgroup_fd = -1;
    return guests->env.cgroups == NULL || !has_uid_of_its_own()
               ? 0
               : cgroup_make(guests->env.cgroups, group_of(uid, name), cgroup_fd, err);
}

void guests_cgroup_drop(struct guests *guests, uid_t uid)
{
    char name[GROUP_NAME_SIZE];

    if (guests->env.cgroups != NULL && has_uid_of_its_own()) {
        (void)cgroup_remove(guests->env.cgroups, group_of(uid, name), NULL); /* if it is empty */
    }
}

bool guests_cgroup_is_busy(const struct guests *guests, uid_t uid)
{
    char name[GROUP_NAME_SIZE];

    return guests->env.cgroups != NULL && has_uid_of_its_own() &&
           cgroup_remove(guests->env.cgroups, group_of(uid, name), NULL) == -EBUSY;
}

int guest_cgroup_make(struct guest *guest, struct err *err)
{
    struct guests *guests = guest->all;
    uid_t uid = guest->instance.uid;
    char name[GROUP_NAME_SIZE], old_name[INSTANCE_DIR_NAME_SIZE];

    cleanup_close(&guest->cgroup_fd);
    if (guests->env.cgroups == NULL) {
        return 0;
    }
    if (!has_uid_of_its_own()) {
        return cgroup_make(guests->env.cgroups,
                           instance_dir_name(guest->name, guest->instance.id, old_name),
                           &guest->cgroup_fd, err);
    }
    if (spares_has_uid(guests->spares, uid)) {
        guest->cgroup_fd = cgroup_open(guests->env.cgroups, group_of(uid, name));
    }
    return guest->cgroup_fd >= 0 ? 0 : guests_cgroup_make(guests, uid, &guest->cgroup_fd, err);
}

void guest_cgroup_find(struct guest *guest)
{
    const struct cgroups *cgroups = guest->all->env.cgroups;
    char name[GROUP_NAME_SIZE], old_name[INSTANCE_DIR_NAME_SIZE];

    cleanup_close(&guest->cgroup_fd);
    if (cgroups != NULL) {
        guest->cgroup_fd =
            cgroup_open(cgroups, instance_dir_name(guest->name, guest->instance.id, old_name));
    }
    if (cgroups != NULL && guest->cgroup_fd < 0 && has_uid_of_its_own()) {
        guest->cgroup_fd = cgroup_open(cgroups, group_of(guest->instance.uid, name));
    }
}

/* The CPUs and the memory nodes of its group. */
static int limit_cpus(const struct guest *guest, const struct partition *partition,
                      const struct place *place, struct err *err)
{
    cpu_set_t all = place_all(place);
    int r = 0;

    if (place->divides_cpus) {
        r = cgroup_set_cpus(guest->all->env.cgroups, guest->cgroup_fd, &all, err);
    }
    if (r == 0 && partition->node != PARTITION_NO_NODE) {
        r = cgroup_set_node(guest->all->env.cgroups, guest->cgroup_fd, (unsigned)partition->node,
                            err);
    }
    return r;
}

int guest_cgroup_limit(const struct guest *guest, const struct partition *partition,
                       const struct place *place, struct err *err)
{
    struct cgroup_limits limits = {.ram = guest->memory,
                                   .vcpus = guest->vcpus,
                                   .weight = CGROUP_WEIGHT_PER_VCPU,
                                   .helpers = (int64_t)guest_helpers_asked(guest)};
    int r;

    if (partition != NULL) {
        limits.weight = (unsigned)partition->weight;
        limits.page_size = partition_is_huge(partition) ? (int64_t)partition->page_size : 0;
    }

    if (guest->cgroup_fd < 0) {
        return partition == NULL || partition->node == PARTITION_NO_NODE
                   ? 0
                   : err_set(
                         err, -EOPNOTSUPP,
                         "memory of node %u wants control groups, which this host does not give",
                         (unsigned)partition->node);
    }
    r = cgroup_limit(guest->all->env.cgroups, guest->cgroup_fd, &limits, err);
    return r == 0 && partition != NULL ? limit_cpus(guest, partition, place, err) : r;
}

void guest_cgroup_end(struct guest *guest)
{
    if (!guest_helpers_are_ending(guest)) { /* else they have something to write first */
        cgroup_kill(guest->cgroup_fd);
    }
    cleanup_close(&guest->cgroup_fd);
}

static void remove_group(struct guests *guests, const char *guest, const char *name)
{
    struct err err = {0};

    if (!guests_cgroup_is_needed(guests, name) &&
        cgroup_remove(guests->env.cgroups, name, &err) < 0) {
        log_info("guest: left behind guest=%s why=\"%s\"", guest, err.msg);
        guests->has_leavings = true; /* tried again at the next reconciliation */
    }
}

void guests_cgroup_remove(struct guests *guests, const char *guest, int64_t instance, uid_t uid)
{
    char name[GROUP_NAME_SIZE], old_name[INSTANCE_DIR_NAME_SIZE];

    if (guests->env.cgroups == NULL) {
        return;
    }
    remove_group(guests, guest, instance_dir_name(guest, instance, old_name));
    if (has_uid_of_its_own()) {
        remove_group(guests, guest, group_of(uid, name));
    }
}

bool guest_cgroup_is_of(const char *group, const char *guest, int64_t instance, uid_t uid)
{
    char name[GROUP_NAME_SIZE], old_name[INSTANCE_DIR_NAME_SIZE];

    return strcmp(instance_dir_name(guest, instance, old_name), group) == 0 ||
           strcmp(group_of(uid, name), group) == 0;
}

bool guests_cgroup_is_needed(const struct guests *guests, const char *group)
{
    const struct guest *guest;
    unsigned uid;

    TAILQ_FOREACH(guest, &guests->list, link)
    {
        if (state_has_process(guest->state) &&
            guest_cgroup_is_of(group, guest->name, guest->instance.id, guest->instance.uid)) {
            return true;
        }
    }
    return guests_are_leaving(guests, group) ||
           (sscanf(group, "qvm.%u", &uid) == 1 && spares_has_uid(guests->spares, uid));
}

static int is_needed(void *context, const char *group)
{
    return guests_cgroup_is_needed(context, group);
}

void guests_cgroup_sweep(struct guests *guests)
{
    guests->has_leavings =
        guests->env.cgroups != NULL && cgroup_sweep(guests->env.cgroups, is_needed, guests) > 0;
}
