/* How a qvm ended, in the words of proto/states.def: for its exit status and its exit record. */
#ifndef QVM_WORKER_CONTROL_EXIT_RECORD_H
#define QVM_WORKER_CONTROL_EXIT_RECORD_H

#include "proto/words.h"

#define EXIT_RECORD_MESSAGE_SIZE 1024

struct exit_record {
    enum guest_reason reason;               /* REASON_none: has not ended */
    int status;                             /* enum exit_status, or 32-63 as a vdev chose */
    char message[EXIT_RECORD_MESSAGE_SIZE]; /* one sentence, or empty */
};

#define EXIT_RECORD_SIZE 8192 /* bytes of the file, always: the longest line fits */

/* Give the record its place in the file `fd` (O_RDWR), as large as it will ever be, and close `fd`:
 * whoever is in this process later has nothing to make the file longer with. If that fails (an
 * older qvmd gives a file that is only to be written) `fd` stays for exit_record_write(). */
void exit_record_prepare(int fd);

/* Write it as one JSON line (STRUCT(ending) of messages.def), filled up with spaces; to `fd` with
 * one write(2) if it has no place of its own. */
int exit_record_write(int fd, const struct exit_record *record);

#endif
