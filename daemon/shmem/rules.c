/* What configurations say about regions of shared memory, as qvms ask for it. */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/shmem/shmem.h"

/* What follows `word` in the rule; NULL: it is another one. */
static const char *after(const char *rule, const char *word)
{
    size_t size = strlen(word);

    return strncmp(rule, word, size) == 0 ? rule + size : NULL;
}

int shmem_read_create(const char *rule, char name[SHMEM_NAME_MAX + 1], uint64_t *size)
{
    const char *rest = after(rule, SHMEM_CREATE);
    const char *comma = rest != NULL ? strchr(rest, ',') : NULL;
    char *end = NULL;

    if (rest == NULL || comma == NULL || (size_t)(comma - rest) > SHMEM_NAME_MAX ||
        comma[1] < '0' || comma[1] > '9') {
        return -EINVAL;
    }
    memcpy(name, rest, (size_t)(comma - rest));
    name[comma - rest] = '\0';
    errno = 0;
    *size = strtoull(comma + 1, &end, 10);
    return errno == 0 && *end == '\0' && shmem_is_name(name) ? 0 : -EINVAL;
}

bool shmem_is_allowed(const char *const *rules, size_t count, const char *name)
{
    bool is_allowed = false;

    for (size_t i = 0; i < count; i++) {
        const char *allowed = after(rules[i], SHMEM_ALLOW), *denied = after(rules[i], SHMEM_DENY);
        char created[SHMEM_NAME_MAX + 1];
        uint64_t size;

        if (denied != NULL && fnmatch(denied, name, 0) == 0) {
            return false;
        }
        is_allowed =
            is_allowed || (allowed != NULL && fnmatch(allowed, name, 0) == 0) ||
            (shmem_read_create(rules[i], created, &size) == 0 && strcmp(created, name) == 0);
    }
    return is_allowed;
}
