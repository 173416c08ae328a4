#include "daemon/host/users.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void users_name(uid_t uid, char name[USERS_NAME_SIZE])
{
    FILE *file = fopen("/etc/passwd", "re");
    const struct passwd *entry = NULL;

    (void)snprintf(name, USERS_NAME_SIZE, "%u", uid);
    if (file == NULL) {
        return;
    }
    while ((entry = fgetpwent(file)) != NULL) {
        if (entry->pw_uid == uid) {
            (void)snprintf(name, USERS_NAME_SIZE, "%s", entry->pw_name);
            break;
        }
    }
    (void)fclose(file); /* only read from */
}

static int parse_uid(const char *text, uid_t *uid)
{
    unsigned long number;
    char *end = NULL;

    if (text[0] < '0' || text[0] > '9') {
        return -ENOENT;
    }
    errno = 0;
    number = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || number >= UINT32_MAX) {
        return -ENOENT;
    }
    *uid = (uid_t)number;
    return 0;
}

int users_find(const char *name, uid_t *uid)
{
    FILE *file = fopen("/etc/passwd", "re");
    const struct passwd *entry;
    bool is_found = false;

    if (file != NULL) {
        while (!is_found && (entry = fgetpwent(file)) != NULL) {
            is_found = strcmp(entry->pw_name, name) == 0;
            *uid = entry->pw_uid;
        }
        (void)fclose(file); /* only read from */
    }
    return is_found ? 0 : parse_uid(name, uid);
}

int users_find_group(const char *name, gid_t *gid)
{
    FILE *file = fopen("/etc/group", "re");
    const struct group *entry;
    bool is_found = false;

    if (file == NULL) {
        return -errno;
    }
    while (!is_found && (entry = fgetgrent(file)) != NULL) {
        is_found = strcmp(entry->gr_name, name) == 0;
        *gid = entry->gr_gid;
    }
    (void)fclose(file); /* only read from */
    return is_found ? 0 : -ENOENT;
}
