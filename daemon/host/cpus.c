/* Which CPUs this machine has. */
#include "daemon/host/cpus.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/host/text.h"
#include "proto/base/err.h"

#define ONLINE    "/sys/devices/system/cpu/online"
#define CPUS_MOST 65536
#define LIST_SIZE 4096

/* One number, moving `*list` behind it. */
static int read_number(const char **list, long *number)
{
    char *end;

    if (!isdigit((unsigned char)**list)) {
        return -EINVAL;
    }
    errno = 0;
    *number = strtol(*list, &end, 10);
    if (errno != 0 || *number >= CPUS_MOST) {
        return -EINVAL;
    }
    *list = end;
    return 0;
}

int cpus_count_list(const char *list, int *count, struct err *err)
{
    const char *rest = list;
    long sum = 0;
    bool is_whole = false;
    long next = 0; /* the list goes upward: nothing is counted twice */

    for (;;) {
        long first;
        long last;

        if (read_number(&rest, &first) != 0) {
            break;
        }
        last = first;
        if (*rest == '-') {
            rest++;
            if (read_number(&rest, &last) != 0) {
                break;
            }
        }
        if (first < next || last < first) {
            break;
        }
        sum += last - first + 1;
        next = last + 1;
        if (*rest != ',') {
            is_whole = *rest == '\0' || strcmp(rest, "\n") == 0;
            break;
        }
        rest++;
    }
    if (!is_whole) {
        return err_set(err, -EINVAL, "'%s' is not a list of CPUs", list);
    }
    *count = (int)sum;
    return 0;
}

int cpus_online(int *count, struct err *err)
{
    char text[LIST_SIZE];
    int r = text_read(ONLINE, text, sizeof(text), err);

    return r == 0 ? cpus_count_list(text, count, err) : r;
}

int cpus_online_set(cpu_set_t *cpus, struct err *err)
{
    char text[LIST_SIZE];
    int r = text_read(ONLINE, text, sizeof(text), err);

    if (r == 0 && cpu_list_parse(text, cpus) != 0) {
        r = err_set(err, -EINVAL, "'" ONLINE "' is no list of CPUs below %u", CPU_LIST_MAX);
    }
    return r;
}
