#include "daemon/peer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "proto/base/cleanup.h"

static bool is_member(gid_t wanted, const gid_t *groups, size_t count)
{
    if (wanted == PEER_NO_GROUP) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (groups[i] == wanted) {
            return true;
        }
    }
    return false;
}

enum peer_role peer_role(const struct peer_policy *policy, uid_t uid, const gid_t *groups,
                         size_t count)
{
    if (uid == 0 || uid == policy->daemon_uid || is_member(policy->admin_gid, groups, count)) {
        return PEER_ADMIN;
    }
    if (is_member(policy->operator_gid, groups, count)) {
        return PEER_OPERATOR;
    }
    return is_member(policy->viewer_gid, groups, count) ? PEER_VIEWER : PEER_STRANGER;
}

/* All groups of the peer, its primary group first, on the heap. */
static int read_groups(int fd, gid_t primary, gid_t **groups, size_t *count)
{
    socklen_t size = 0;
    gid_t *list;

    /* With no room the kernel says how much it needs. */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) < 0 && errno != ERANGE) {
        return -errno;
    }
    if (size > PEER_GROUPS_MAX * sizeof(gid_t)) {
        return -E2BIG;
    }
    list = malloc(size + sizeof(gid_t));
    if (list == NULL) {
        return -ENOMEM;
    }
    list[0] = primary;
    if (size > 0 && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, list + 1, &size) < 0) {
        free(list);
        return -errno;
    }
    *groups = list;
    *count = 1 + size / sizeof(gid_t);
    return 0;
}

int peer_read(int fd, const struct peer_policy *policy, struct peer *peer)
{
    struct ucred cred;
    socklen_t size = sizeof(cred);
    auto_free gid_t *groups = NULL;
    size_t count = 0;
    int r;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0) {
        return -errno;
    }
    r = read_groups(fd, cred.gid, &groups, &count);
    if (r < 0) {
        return r;
    }
    *peer = (struct peer){
        .pid = cred.pid, .uid = cred.uid, .role = peer_role(policy, cred.uid, groups, count)};
    return 0;
}
