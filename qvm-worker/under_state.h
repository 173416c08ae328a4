/* The answer to qvmd's query: the state of the VM and its vdevs as one packet. */
#ifndef QVM_WORKER_UNDER_STATE_H
#define QVM_WORKER_UNDER_STATE_H

struct control;
struct msg_query;
struct run;

/* `run` is NULL while the guest does not run: the answer is then empty. What does not fit into a
 * packet is left out, from the end. */
void under_send_state(struct control *control, struct run *run, const struct msg_query *query);

#endif
