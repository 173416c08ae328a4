/* Signals of people and scripts as events of the control thread (qvm(8), SIGNALS).
 *
 * They are blocked in all threads and read from a descriptor, so no handler ever runs. */
#ifndef QVM_WORKER_SIGNALS_H
#define QVM_WORKER_SIGNALS_H

struct err;
struct signals;
struct uv_loop_s;

typedef void (*signals_fn)(void *context, int signal);

/* Block SIGTERM SIGINT SIGHUP SIGQUIT SIGCONT SIGUSR1 SIGUSR2 (and ignore SIGPIPE) in the calling
 * thread and those that it makes later; from then on `on_signal` gets them. */
int signals_create(struct uv_loop_s *loop, signals_fn on_signal, void *context,
                   struct signals **signals, struct err *err);

/* While the loop cannot run (RAM is being populated): if a signal that asks for the end has come,
 * the process ends by it, here. */
void signals_end_if_asked(void);

/* The memory goes when the loop has run the closing of its handle. NULL is fine. */
void signals_destroy(struct signals *signals);

#endif
