/* How much memory this machine has. */
#include "daemon/host/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/host/text.h"
#include "proto/base/err.h"

#define MEMINFO_SIZE 8192

int memory_total_of(const char *path, int64_t *bytes, struct err *err)
{
    static const char label[] = "MemTotal:";
    char text[MEMINFO_SIZE];
    int r = text_read(path, text, sizeof(text), err);
    const char *line;
    char *end;
    int64_t kib;

    if (r != 0) {
        return r;
    }
    line = strstr(text, label);
    if (line == NULL) {
        return err_set(err, -EINVAL, "'%s' has no MemTotal", path);
    }
    errno = 0;
    kib = strtoimax(line + strlen(label), &end, 10);
    if (errno != 0 || kib <= 0 || kib > INT64_MAX / 1024 || strncmp(end, " kB", 3) != 0) {
        return err_set(err, -EINVAL, "MemTotal in '%s' is not a number of kB", path);
    }
    *bytes = kib * 1024;
    return 0;
}

int memory_total(int64_t *bytes, struct err *err)
{
    return memory_total_of("/proc/meminfo", bytes, err);
}
