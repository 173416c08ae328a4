/* What commands that change a guest say: one line a guest, and what to do with many guests. */
#ifndef QVM_CLI_OUTCOME_H
#define QVM_CLI_OUTCOME_H

#include "proto/msg.h"

struct cli;

#define OUTCOME_SILENT "" /* a `done` that says nothing */

/* Print the JSON of an outcome in the format asked for, its note on stderr. `done` is what became
 * of the guest ("defined"); NULL: its state says so. Returns the exit status: with --strict a note
 * that there was nothing to do is STATUS_WRONG_STATE. */
int outcome_print(const struct cli *cli, const char *name, const char *done, const char *json);

/* One request for each of `names`, many on the way at once, each reported as it comes back.
 * `params` is the method's params struct and `name_slot` its member for the name. Returns
 * STATUS_OK, the status of a guest alone, or STATUS_SOME_FAILED. */
int outcome_each(const struct cli *cli, int64_t patience_ms, enum msg_method method, void *params,
                 char **name_slot, const char *done, char **names, int count);

#endif
