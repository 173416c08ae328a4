/* Users and groups by name, from /etc/passwd and /etc/group alone: directories behind NSS can
 * hang, and qvmd never waits. */
#ifndef QVM_DAEMON_HOST_USERS_H
#define QVM_DAEMON_HOST_USERS_H

#include <sys/types.h>

#define USERS_NAME_SIZE 65 /* bytes of a user's name with its end */

/* The name of `uid`, or its number as text. */
void users_name(uid_t uid, char name[USERS_NAME_SIZE]);

/* The uid of a name, or of a decimal number whoever has it. -ENOENT: there is no such user. */
int users_find(const char *name, uid_t *uid);

/* The gid of a group. -ENOENT: there is none; otherwise /etc/group cannot be read. */
int users_find_group(const char *name, gid_t *gid);

#endif
