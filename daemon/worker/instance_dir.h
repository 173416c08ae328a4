/* The directory of one instance under the run directory: `guests/NAME.INSTANCE`, mode 0700.
 *
 * It holds the control socket, the exit record, which is read as a stranger's: bounded, and
 * checked, and how far the console was written down. The logs lie elsewhere: they outlive the
 * instance. */
#ifndef QVM_DAEMON_WORKER_INSTANCE_DIR_H
#define QVM_DAEMON_WORKER_INSTANCE_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct msg_ending;

#define INSTANCE_EXIT_FILE     "exit"
#define INSTANCE_IDENTITY_FILE "identity"     /* identity.h */
#define INSTANCE_IDENTITY_NEW  "identity.new" /* while it is written */
#define INSTANCE_CONSOLE_FILE  "console"
#define INSTANCE_KEPT_FILE     "kept" /* there: its qvm has files that qvmd must not have */
#define INSTANCE_EXIT_MAX      8192u  /* bytes of an exit record */
#define INSTANCE_DIR_NAME_SIZE 96     /* bytes of `NAME.INSTANCE` with its end */

/* `NAME.INSTANCE`; returns `text`. */
char *instance_dir_name(const char *guest, int64_t instance, char text[INSTANCE_DIR_NAME_SIZE]);

/* Make it, empty, below `guests_fd`; a descriptor of it (O_CLOEXEC, the caller's) in `*dir_fd`. */
int instance_dir_make(int guests_fd, const char *guest, int64_t instance, int *dir_fd,
                      struct err *err);
int instance_dir_open(int guests_fd, const char *guest, int64_t instance, int *dir_fd,
                      struct err *err);

/* Note, before its qvm gets one, that it has files that qvmd must not have; and whether it has. */
int instance_dir_set_kept(int dir_fd, struct err *err);
bool instance_dir_is_kept(int dir_fd);

/* Remove it with what we put into it. Nothing there is success. */
int instance_dir_remove(int guests_fd, const char *guest, int64_t instance, struct err *err);

/* Remove every directory of this form for which `is_needed` says no. */
void instance_dir_sweep(int guests_fd, int (*is_needed)(void *context, const char *dir_name),
                        void *context);

/* Whether a process listens in that directory, and if it can be told (otherwise 0), which. */
bool instance_dir_is_alive(int guests_fd, const char *dir_name, pid_t *pid);

/* Whether one listens in the directory of any instance of `guest`. */
bool instance_dir_find_alive(int guests_fd, const char *guest, pid_t *pid);

/* What the qvm left behind. -ENOENT: nothing; -EINVAL, -EBADMSG: no such record. */
int instance_dir_read_exit(int dir_fd, struct msg_ending *ending, struct err *err);

/* Empty an exit record that has grown beyond INSTANCE_EXIT_MAX: nobody would read it, and it takes
 * memory of the host. True: it had. */
bool instance_dir_bound_exit(int dir_fd);

/* How far the console was written down: an offset of the ring, and the end of its log then. */
int instance_dir_write_console(int dir_fd, uint64_t offset, uint64_t end);
int instance_dir_read_console(int dir_fd, uint64_t *offset, uint64_t *end);

#endif
