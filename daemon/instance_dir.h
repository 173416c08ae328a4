/* The directory of one instance under the run directory: `guests/NAME.INSTANCE`, mode 0700.
 *
 * It holds the control socket and the exit record, which is read as a stranger's: bounded, and
 * checked. The log lies elsewhere, one file for each guest, because it outlives the instance. */
#ifndef QVM_DAEMON_INSTANCE_DIR_H
#define QVM_DAEMON_INSTANCE_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct msg_ending;

#define INSTANCE_EXIT_FILE     "exit"
#define INSTANCE_EXIT_MAX      8192u      /* bytes of an exit record */
#define INSTANCE_LOG_MAX       (1u << 20) /* bytes of a log at which its older half goes */
#define INSTANCE_LOG_KEEP      (1u << 19) /* bytes that stay then */
#define INSTANCE_DIR_NAME_SIZE 96         /* bytes of `NAME.INSTANCE` with its end */

/* `NAME.INSTANCE`; returns `text`. */
char *instance_dir_name(const char *guest, int64_t instance, char text[INSTANCE_DIR_NAME_SIZE]);

/* Make it, empty, below `guests_fd`; a descriptor of it (O_CLOEXEC, the caller's) in `*dir_fd`. */
int instance_dir_make(int guests_fd, const char *guest, int64_t instance, int *dir_fd,
                      struct err *err);
int instance_dir_open(int guests_fd, const char *guest, int64_t instance, int *dir_fd,
                      struct err *err);

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

/* The log of a guest: for a new instance (the last one's becomes `NAME.log.1`), or to read. */
int instance_log_begin(int log_fd, const char *guest, int *fd, struct err *err);
int instance_log_open(int log_fd, const char *guest, int *fd, struct err *err);

/* The last `size` bytes at most, on the heap (with a NUL behind them). */
int instance_log_tail(int log_fd, const char *guest, size_t size, char **data, size_t *data_size,
                      struct err *err);

/* Keep a log that has grown beyond INSTANCE_LOG_MAX to its end. What is written at that moment
 * can be lost. Returns how many bytes went, 0, or a negative errno. */
int64_t instance_log_bound(int log_fd, const char *guest);

void instance_log_remove(int log_fd, const char *guest);

#endif
