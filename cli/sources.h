/* A guest's definition from files and words of the command line: what `qvm FILE WORD...` would
 * read, as qvmd wants it. */
#ifndef QVM_CLI_SOURCES_H
#define QVM_CLI_SOURCES_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/conf/words.h"
#include "proto/msg.h"

struct err;

struct sources {
    char name[GUEST_NAME_MAX + 1];
    struct msg_definition definition; /* owned, as if decoded */
    struct conf_part *parts;          /* one for each word of the definition */
};

/* Whether `start ARGUMENT` means a file: it holds a `/`, ends in .qvmconf, or is an existing file
 * (not a directory) here. Everything else is a guest's name. */
bool sources_is_file(const char *argument);

/* Read `words` (the first is FILE, or @FILE; later ones are words, or @FILE), check all limits,
 * find the name after `system` (else FILE's name without directory and .qvmconf) and the values of
 * the $env{} names. -ENOEXEC with FILE:LINE or FILE in `err`; -EMSGSIZE with what is too long.
 * Ends with sources_fini(), also after a failure. */
int sources_read(struct sources *sources, char **words, int count, struct err *err);
void sources_fini(struct sources *sources);

#endif
