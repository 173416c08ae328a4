/* Lists of CPUs. */
#include "proto/base/cpu_list.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One number, moving `*list` behind it. */
static int read_number(const char **list, unsigned long *number)
{
    char *end;

    if (!isdigit((unsigned char)**list)) {
        return -EINVAL;
    }
    errno = 0;
    *number = strtoul(*list, &end, 10);
    if (errno != 0 || *number >= CPU_LIST_MAX) {
        return -EINVAL;
    }
    *list = end;
    return 0;
}

/* "N" or "N-M". */
static int read_range(const char **rest, cpu_set_t *set)
{
    unsigned long first, last;

    if (read_number(rest, &first) != 0) {
        return -EINVAL;
    }
    last = first;
    if (**rest == '-') {
        (*rest)++;
        if (read_number(rest, &last) != 0 || last < first) {
            return -EINVAL;
        }
    }
    for (; first <= last; first++) {
        if (CPU_ISSET(first, set)) {
            return -EINVAL;
        }
        CPU_SET(first, set);
    }
    return 0;
}

int cpu_list_parse(const char *text, cpu_set_t *set)
{
    const char *rest = text;
    cpu_set_t read;

    CPU_ZERO(&read);
    while (*rest != '\0' && strcmp(rest, "\n") != 0) {
        if (rest != text && *rest++ != ',') {
            return -EINVAL;
        }
        if (read_range(&rest, &read) != 0) {
            return -EINVAL;
        }
    }
    *set = read;
    return 0;
}

const char *cpu_list_print(const cpu_set_t *set, char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < CPU_LIST_MAX && used < size; i++) {
        unsigned last = i;

        if (!CPU_ISSET(i, set)) {
            continue;
        }
        while (last + 1 < CPU_LIST_MAX && CPU_ISSET(last + 1, set)) {
            last++;
        }
        used += (size_t)snprintf(text + used, size - used, last > i ? "%s%u-%u" : "%s%u",
                                 used > 0 ? "," : "", i, last);
        i = last;
    }
    if (used >= size && size > 2) {
        (void)memcpy(text + size - 3, "..", 3);
    }
    return text;
}

bool cpu_list_has_all(const cpu_set_t *whole, const cpu_set_t *part)
{
    cpu_set_t both;

    CPU_AND(&both, whole, part);
    return CPU_EQUAL(&both, part) != 0;
}

int cpu_list_common(const cpu_set_t *one, const cpu_set_t *other)
{
    for (unsigned i = 0; i < CPU_LIST_MAX; i++) {
        if (CPU_ISSET(i, one) && CPU_ISSET(i, other)) {
            return (int)i;
        }
    }
    return -1;
}

void cpu_list_remove(cpu_set_t *set, const cpu_set_t *part)
{
    cpu_set_t both;

    CPU_AND(&both, set, part);
    CPU_XOR(set, set, &both);
}
