/* The same request for many guests: over one connection, many on the way at once. */
#ifndef QVM_CLI_BATCH_H
#define QVM_CLI_BATCH_H

#include <stdbool.h>

#include "cli/method.h"
#include "proto/msg.h"

struct cli;

#define BATCH_AT_ONCE_MAX    1000 /* requests sent and not answered; qvmd lets one have 1,024 */
#define BATCH_HEAVY_ONCE_MAX 16   /* of those that make processes, or have large answers */

struct batch {
    enum msg_method method; /* this and `params` by BATCH_REQUEST */
    void *params;           /* the method's params struct */
    char **name_slot;       /* its member for the name */
    /* One for each name, and the member for it; NULL: none. */
    struct msg_definition *const *definitions;
    struct msg_definition **definition_slot;
    int64_t patience_ms; /* CLIENT_FOR_EVER: without limit */
    bool is_for_each;    /* each guest may take as long; otherwise all together */
    bool in_order;       /* results are given out in the order of the names */
    bool is_heavy;       /* BATCH_HEAVY_ONCE_MAX */
    bool is_one;         /* one question about all: over as soon as the answer is known */
    bool any;            /* of that question: one that went well answers it, not one that did not */
    /* The result for `name`, JSON; printed already if JSON is asked for. Returns its status. */
    int (*on_result)(void *context, const char *name, const char *json);
    void *context;
};

/* Initializers of a struct batch: the method and its params. */
#define BATCH_REQUEST(method_, params_)                                                            \
    .method = (method_), .params = method_body_##method_(params_)

/* Ask for each guest that the arguments mean (names.h) and say the refusals. With -o json, a
 * pattern, --all or several names make a JSON list of the results; there, and with -o jsonl,
 * outcomes and refusals are named_outcome of qvm-api(7), so that each says whose it is. An
 * interruption tells how far it came. Returns STATUS_OK, the status of a guest alone or of the one
 * question, or STATUS_SOME_FAILED. */
int batch_run(const struct cli *cli, const struct batch *batch, char *const *arguments, int count);

#endif
