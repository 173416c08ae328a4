/* Wakes qvmd when a qvm writes its exit record, so that nobody has to look at records that nobody
 * writes: one that grows beyond what is read takes memory of the host.
 *
 * A record is watched for one write; then it has to be added again. Loop thread. */
#ifndef QVM_DAEMON_GUEST_EXIT_WATCH_H
#define QVM_DAEMON_GUEST_EXIT_WATCH_H

struct err;
struct exit_watch;
struct uv_loop_s;

/* `on_write` is called after one or several records were written. */
int exit_watch_create(struct uv_loop_s *loop, void (*on_write)(void *context), void *context,
                      struct exit_watch **watch, struct err *err);

/* Watch the exit record in the directory of an instance. One that is watched already stays so. */
void exit_watch_add(struct exit_watch *watch, int dir_fd);

/* NULL is fine. The memory goes when the loop has run the closing of its handle. */
void exit_watch_destroy(struct exit_watch *watch);

#endif
