#include "qvm-worker/under_birth.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/msg.h"
#include "proto/spawn_fds.h"

#define SPAWN_SIZE_MAX (32u << 20) /* 16 sources of 256 KiB, escaped, fit */

int under_read_spawn(struct msg_spawn *spawn, struct err *err)
{
    auto_free char *text = NULL;
    struct stat stat;
    size_t size;

    if (fstat(SPAWN_FD_START, &stat) != 0) {
        return err_sys(err, -errno, "cannot read what qvmd wants");
    }
    if (stat.st_size <= 0 || stat.st_size > SPAWN_SIZE_MAX) {
        return err_set(err, -EINVAL, "what qvmd wants has %lld bytes", (long long)stat.st_size);
    }
    size = (size_t)stat.st_size;
    text = malloc(size);
    if (text == NULL || pread(SPAWN_FD_START, text, size, 0) != (ssize_t)size) {
        return err_set(err, -EIO, "cannot read what qvmd wants");
    }
    (void)close(SPAWN_FD_START); /* only read */
    return msg_decode(MSG_spawn, text, size, false, spawn, err);
}

bool under_find_log_end(void)
{
    struct stat stat;

    return fstat(SPAWN_FD_LOG_END, &stat) == 0 && S_ISSOCK(stat.st_mode);
}
