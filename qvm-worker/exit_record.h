/* How a qvm ended, in the words of proto/states.def: for its exit status and its exit record. */
#ifndef QVM_WORKER_EXIT_RECORD_H
#define QVM_WORKER_EXIT_RECORD_H

#include "proto/words.h"

#define EXIT_RECORD_MESSAGE_SIZE 1024

struct exit_record {
    enum guest_reason reason;               /* REASON_none: has not ended */
    int status;                             /* enum exit_status, or 32-63 as a vdev chose */
    char message[EXIT_RECORD_MESSAGE_SIZE]; /* one sentence, or empty */
};

/* Write it to `fd` as one JSON line (STRUCT(ending) of messages.def) with one write(2). */
int exit_record_write(int fd, const struct exit_record *record);

#endif
