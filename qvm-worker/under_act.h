/* What operators want to be done to the VM, and the answers: pause, resume, reset, reboot, keys,
 * the sizes of console, balloon and disks.
 *
 * A reset is answered when it has happened. The calls that were done last are known by their keys:
 * who repeats one because qvmd died in between is answered, and nothing is done again. Control
 * thread. */
#ifndef QVM_WORKER_UNDER_ACT_H
#define QVM_WORKER_UNDER_ACT_H

#include <stddef.h>
#include <stdint.h>

#include "proto/msg.h"

struct console;
struct life;
struct control;
struct run;

#define UNDER_ACTS_MAX     16 /* that wait for a reset, the oldest are forgotten; that were done */
#define UNDER_ACT_KEY_SIZE 161

struct under_acts {
    struct {
        int64_t serial;
        char key[UNDER_ACT_KEY_SIZE];
    } waiting[UNDER_ACTS_MAX];
    size_t count;
    char done[UNDER_ACTS_MAX][UNDER_ACT_KEY_SIZE]; /* "": none */
    size_t done_count;                             /* since the start */
};

/* A packet CONTROL_pause, _resume, _reset_button, _reboot, _sendkey, _sendbreak,
 * _point, _console_size, _balloon or _resize. `run` NULL: nothing runs yet. */
void under_act(struct under_acts *acts, struct control *control, struct run *run,
               enum msg_control wish, const struct msg_act *act);

/* A packet CONTROL_dump; `fd` (-1: there is none) stays the caller's. */
void under_dump(struct under_acts *acts, struct control *control, struct run *run,
                const struct msg_act *act, int fd);

/* A packet CONTROL_input. */
struct msg_input;
void under_type(struct console *console, const struct msg_input *input);

/* A packet CONTROL_attach; its descriptor is taken by setting it to -1. */
void under_attach(const struct life *life, const struct msg_attach *attach, int *fds,
                  size_t fd_count);

/* The VM has been reset: who waited for that is answered. */
void under_acts_on_reset(struct under_acts *acts, struct control *control);

#endif
