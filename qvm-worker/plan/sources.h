/* The parts of a configuration (proto/conf/words.h), from a command line or from qvmd. */
#ifndef QVM_WORKER_PLAN_SOURCES_H
#define QVM_WORKER_PLAN_SOURCES_H

#include <stddef.h>

#include "proto/conf/words.h"

struct err;
struct msg_definition;

/* Owns all texts that the parts point to, or borrows them where it says so. */
struct sources {
    struct conf_part *parts;
    size_t count;
    const char *const *env; /* NULL-ended "NAME=VALUE" */
    /* private */
    char **texts;
    size_t text_count;
    const char **own_env;
};

/* Words and @FILEs of a command line, in their order; the files are read now. `words` and `env`
 * (the process's own) are borrowed. Relative paths of words start from the working directory.
 * -ENOENT, -EACCES, ...: a file cannot be read; `err` names it. */
int sources_from_command_line(struct sources *sources, const char *const *words, size_t count,
                              const char *const *env, struct err *err);

/* Words of a definition; @N stands for its source N. `definition` is borrowed. -EINVAL: there is
 * no source N. */
int sources_from_definition(struct sources *sources, const struct msg_definition *definition,
                            struct err *err);

void sources_fini(struct sources *sources);

#endif
