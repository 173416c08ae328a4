#include "tests/fake/start.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/spawn_fds.h"

/* What follows `before` in the text, up to the next quote. */
static void copy(char *to, size_t size, const char *text, const char *before)
{
    const char *found = strstr(text, before);

    if (found != NULL) {
        found += strlen(before);
        (void)snprintf(to, size, "%.*s", (int)strcspn(found, "\""), found);
    }
}

void fake_start_read(struct fake_start *start)
{
    static char text[1 << 20];
    ssize_t n = pread(SPAWN_FD_START, text, sizeof(text) - 1, 0);
    const char *found;

    text[n > 0 ? n : 0] = '\0';
    copy(start->nonce, sizeof(start->nonce), text, "\"nonce\":\"");
    copy(start->text, sizeof(start->text), text, "\"text\":\"");
    found = strstr(text, "\"instance\":");
    start->instance = found != NULL ? strtol(found + strlen("\"instance\":"), NULL, 10) : 0;
}
