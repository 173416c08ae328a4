/* In the hand: becoming the guest's owner. */
#include "daemon/hand/inside.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/base/cleanup.h"

#define NOBODYS_GID 65534 /* of a uid that no user has */
#define GROUPS_MAX  65536 /* NGROUPS_MAX of Linux */

/* Look the user's groups up: this may ask the network, and wait. */
static int find_groups(const struct passwd *user, gid_t **groups, int *count)
{
    int room = 64;

    for (;;) {
        gid_t *grown = reallocarray(*groups, (size_t)room, sizeof(**groups));
        int found = room;

        if (grown == NULL) {
            return -ENOMEM;
        }
        *groups = grown;
        if (getgrouplist(user->pw_name, user->pw_gid, *groups, &found) >= 0) {
            *count = found;
            return 0;
        }
        if (room >= GROUPS_MAX) {
            return -E2BIG;
        }
        room = found > room ? found : 2 * room;
    }
}

/* Nothing is left but, for root, what its files need: it could read them all as itself. */
static int drop_capabilities(uid_t uid)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

    if (uid == 0) {
        data[0].permitted = 1u << CAP_DAC_OVERRIDE;
        data[0].effective = data[0].permitted;
    }
    return syscall(SYS_capset, &header, data) == 0 ? 0 : -errno;
}

static int change_user(uid_t uid, const struct passwd *user, struct err *err)
{
    auto_free gid_t *groups = NULL;
    gid_t gid = user != NULL ? user->pw_gid : NOBODYS_GID;
    int count = 0;
    int r = user != NULL && uid != 0 ? find_groups(user, &groups, &count) : 0;

    if (r != 0) {
        return err_sys(err, r, "cannot find the groups of uid %u", uid);
    }
    r = hand_bound(err);
    if (r != 0) {
        return r;
    }
    if (setgroups((size_t)count, groups) != 0 || setresgid(gid, gid, gid) != 0 ||
        setresuid(uid, uid, uid) != 0) {
        return err_sys(err, -errno, "cannot become uid %u", uid);
    }
    return 0;
}

/* Whom the kernel protects from its own user's other processes: they share the uid by now. */
static int drop_privileges(uid_t uid, bool was_root, struct err *err)
{
    int r = was_root ? drop_capabilities(uid) : 0;

    if (r == 0 && (prctl(PR_SET_DUMPABLE, 0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)) {
        r = -errno;
    }
    return r == 0 ? 0 : err_sys(err, r, "cannot drop the privileges of a hand");
}

int hand_become(uid_t uid, char user[HAND_USER_SIZE], struct err *err)
{
    /* root reads and writes by its capability alone: its groups give it nothing, and looking them
     * up would take most of a hand's time. */
    static char root_name[] = "root";
    static const struct passwd root = {.pw_name = root_name, .pw_uid = 0, .pw_gid = 0};
    const struct passwd *found = uid == 0 ? &root : getpwuid(uid);
    bool is_root = geteuid() == 0;
    int r;

    if (found != NULL) {
        (void)snprintf(user, HAND_USER_SIZE, "%s", found->pw_name);
    } else {
        (void)snprintf(user, HAND_USER_SIZE, "%u", uid);
    }
    if (!is_root && geteuid() != uid) {
        return err_set(err, -EPERM,
                       "only a qvmd that runs as root can open files as user '%s'; this one runs "
                       "as uid %u",
                       user, geteuid());
    }
    r = is_root ? change_user(uid, found, err) : 0;
    return r == 0 ? drop_privileges(uid, is_root, err) : r;
}
