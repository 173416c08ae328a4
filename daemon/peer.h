/* Who is at the other end of a connection, and what that makes them.
 *
 * Credentials are those of the moment of connect() (unix(7): SO_PEERCRED, SO_PEERGROUPS). */
#ifndef QVM_DAEMON_PEER_H
#define QVM_DAEMON_PEER_H

#include <stddef.h>
#include <sys/types.h>

#define PEER_NO_GROUP   ((gid_t)-1)
#define PEER_GROUPS_MAX 65536 /* as many as the kernel allows (NGROUPS_MAX) */

/* The least role may nothing; the others are those of enum msg_role, plus one. */
enum peer_role { PEER_STRANGER, PEER_VIEWER, PEER_OPERATOR, PEER_ADMIN };

/* Members of a group have its role; the daemon's own user and root are admin. */
struct peer_policy {
    gid_t viewer_gid, operator_gid, admin_gid; /* PEER_NO_GROUP: nobody */
    uid_t daemon_uid;
};

struct peer {
    pid_t pid;
    uid_t uid;
    enum peer_role role;
};

/* The peer of a connected Unix socket. Returns 0 or a negative errno. */
int peer_read(int fd, const struct peer_policy *policy, struct peer *peer);

/* The best role that a user with these groups has. */
enum peer_role peer_role(const struct peer_policy *policy, uid_t uid, const gid_t *groups,
                         size_t count);

#endif
