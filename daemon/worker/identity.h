/* Who an instance is, kept beside the store: if the store is lost, it is rebuilt from there.
 *
 * One file in the instance's directory, which is qvmd's alone (mode 0700, on a file system that a
 * reboot empties): what its row says, what it holds, its definition. It is written before the
 * grant, that is before a guest of it can outlive qvmd, and goes with the directory. */
#ifndef QVM_DAEMON_WORKER_IDENTITY_H
#define QVM_DAEMON_WORKER_IDENTITY_H

#include <stdbool.h>

struct err;
struct msg_identity;

#define IDENTITY_MAX (32u << 20) /* bytes: the longest definition, escaped, fits */

bool identity_exists(int dir_fd);

/* `definition` is JSON text. */
int identity_write(int dir_fd, const struct msg_identity *identity, const char *definition,
                   struct err *err);

/* From the directory `dir_name`. `identity` (msg_fini) and `*definition` (free) are written on
 * success. -ENOENT: there is none; -EINVAL, -EBADMSG, -EMSGSIZE: it is none. */
int identity_read(int guests_fd, const char *dir_name, struct msg_identity *identity,
                  char **definition, struct err *err);

#endif
