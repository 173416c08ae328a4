/* Several files on one command line, each of them a guest of its own. */
#ifndef QVM_CLI_FILES_H
#define QVM_CLI_FILES_H

#include <stdbool.h>
#include <stddef.h>

struct err;
struct msg_definition;
struct sources;

struct files {
    struct sources *sources;
    char **names; /* of the guests, NULL-ended */
    struct msg_definition **definitions;
    size_t count;
    size_t missed; /* files that could not be read: each was said */
};

/* Whether all `arguments`, two or more, end in .qvmconf. No word behind a FILE does: a further file
 * of the same guest is written @FILE. */
bool files_are_meant(char *const *arguments, int count);

/* Read each as sources_read() does. -EEXIST: two of them describe the same guest, and `err` names
 * them. -ENOMEM. Ends with files_fini(), also after a failure. */
int files_read(struct files *files, char **arguments, int count, struct err *err);
void files_fini(struct files *files);

/* The exit status of all when those that could be read had `status`. */
int files_status(const struct files *files, int status);

#endif
