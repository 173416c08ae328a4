/* How a qvm ended. */
#include "qvm-worker/exit_record.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/msg.h"

int exit_record_write(int fd, const struct exit_record *record)
{
    char message[EXIT_RECORD_MESSAGE_SIZE];
    struct msg_ending ending = {
        .reason = (int)record->reason, .status = record->status, .message = message};
    auto_free char *line = NULL;
    size_t size;
    ssize_t n;

    (void)strcpy(message, record->message);
    line = msg_encode_told(MSG_ending, &ending); /* it may quote a strange path */
    if (line == NULL) {
        return -ENOMEM;
    }
    size = strlen(line);
    line[size++] = '\n'; /* in the place of the final NUL */
    do {
        n = write(fd, line, size);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)size ? 0 : -EIO;
}
