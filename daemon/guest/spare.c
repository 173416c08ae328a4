/* What spares are made with. */
#include <unistd.h>

#include "daemon/cgroup/cgroup.h"
#include "daemon/guest/inside.h"
#include "daemon/worker/spare.h"

/* A spare is most probably the next instance: it gets the uid that this one would get. */
static uid_t pick_spare_uid(void *context)
{
    const struct guests *guests = context;
    const struct guest *guest;
    int64_t last = 0;

    if (geteuid() != 0) {
        return geteuid();
    }
    TAILQ_FOREACH(guest, &guests->list, link)
    {
        last = guest->instance.id > last ? guest->instance.id : last;
    }
    return guests_pick_uid(guests, last + 1);
}

/* While nothing may be started, nothing waits for it: a holder that is stopped waits for all that
 * lives below it. */
static bool are_wanted(void *context)
{
    const struct guests *guests = context;
    /* only what has a uid of its own has a group before it has a guest */
    bool may_fit =
        geteuid() == 0 || guests->env.cgroups == NULL || !cgroups_has_holder(guests->env.cgroups);

    return may_fit && guests->drain.reason == REASON_none;
}

static int make_group(void *context, uid_t uid, int *cgroup_fd)
{
    return guests_cgroup_make(context, uid, cgroup_fd, NULL);
}

/* Moving a process into a control group can take longer than making a new one in it. */
static bool is_fit(void *context, int cgroup_fd)
{
    const struct guests *guests = context;
    bool has_groups = guests->env.cgroups != NULL && cgroups_has_holder(guests->env.cgroups);

    return has_groups ? cgroup_is_there(cgroup_fd) : cgroup_fd < 0;
}

static void drop_group(void *context, uid_t uid)
{
    guests_cgroup_drop(context, uid);
}

int guests_make_spares(struct guests *guests, struct err *err)
{
    const struct spares_env env = {
        .loop = guests->env.loop,
        .count = guests->env.spares,
        .qvm_path = guests->env.qvm_path,
        .vdev_dir = guests->env.vdev_dir,
        .are_wanted = are_wanted,
        .pick_uid = pick_spare_uid,
        .make_group = make_group,
        .is_fit = is_fit,
        .drop_group = drop_group,
        .context = guests,
    };

    return spares_create(&env, &guests->spares, err);
}
