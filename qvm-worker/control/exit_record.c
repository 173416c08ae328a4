/* How a qvm ended. */
#include "qvm-worker/control/exit_record.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/msg.h"

static char *place; /* EXIT_RECORD_SIZE bytes of the file; NULL: not prepared */

void exit_record_prepare(int fd)
{
    void *mapped;

    /* with its memory: the last words are not to meet a full file system */
    if (posix_fallocate(fd, 0, EXIT_RECORD_SIZE) != 0) {
        return;
    }
    mapped = mmap(NULL, EXIT_RECORD_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        (void)!ftruncate(fd, 0); /* as it was; longer does no harm */
        return;
    }
    place = mapped;
    (void)close(fd); /* nothing was written to it */
}

static int put_in_place(const char *line, size_t size)
{
    if (size >= EXIT_RECORD_SIZE) {
        return -EMSGSIZE;
    }
    memset(place + size, ' ', EXIT_RECORD_SIZE - 1 - size);
    place[EXIT_RECORD_SIZE - 1] = '\n';
    memcpy(place, line, size);
    return 0;
}

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
    if (place != NULL) {
        return put_in_place(line, size);
    }
    line[size++] = '\n'; /* in the place of the final NUL */
    do {
        n = write(fd, line, size);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)size ? 0 : -EIO;
}
