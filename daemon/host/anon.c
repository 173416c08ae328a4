/* What the kernel says a descriptor is that has no file. */
#include "daemon/host/anon.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PREFIX    "anon_inode:"
#define LINK_SIZE 128

bool anon_is(int fd, const char *name)
{
    char path[32], text[LINK_SIZE];
    ssize_t n;

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    n = readlink(path, text, sizeof(text) - 1);
    if (n < 0) {
        return false;
    }
    text[n] = '\0';
    return strncmp(text, PREFIX, strlen(PREFIX)) == 0 &&
           strncmp(text + strlen(PREFIX), name, strlen(name)) == 0;
}
