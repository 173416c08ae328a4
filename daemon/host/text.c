/* Read small files of /proc and /sys. */
#include "daemon/host/text.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

int text_read(const char *path, char *text, size_t size, struct err *err)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    ssize_t n = 1;

    if (fd < 0) {
        return err_sys(err, -errno, "cannot open '%s'", path);
    }
    while (n > 0 && used < size - 1) {
        n = read(fd, text + used, size - 1 - used);
        if (n < 0) {
            return err_sys(err, -errno, "cannot read '%s'", path);
        }
        used += (size_t)n;
    }
    text[used] = '\0';
    return 0;
}
