/* What commands that change a guest say: one line a guest, and what to do with many guests. */
#ifndef QVM_CLI_OUTCOME_H
#define QVM_CLI_OUTCOME_H

#include "cli/method.h"
#include "proto/msg.h"

struct batch;
struct cli;

#define OUTCOME_SILENT "" /* a `done` that says nothing */

/* Run the batch (on_result and context are set here) and tell each outcome as it comes back, its
 * note on stderr. `done` is what became of the guests ("defined"); NULL: their state says so. With
 * --strict a note that there was nothing to do is STATUS_WRONG_STATE. */
int outcome_batch(const struct cli *cli, const struct batch *batch, const char *done, char **names,
                  int count);

/* The same for a method whose params struct `params` has `name_slot` for the name; each guest may
 * take `patience_ms`. */
#define outcome_each(cli, patience_ms, method, params, name_slot, done, names, count)              \
    outcome_each_any(cli, patience_ms, method, method_body_##method(params), name_slot, done,      \
                     names, count)
int outcome_each_any(const struct cli *cli, int64_t patience_ms, enum msg_method method,
                     void *params, char **name_slot, const char *done, char **names, int count);

/* Ask for something that is done to several guests of qvmd's choice (result `outcomes`), and tell
 * what became of each: refusals on stderr. Returns STATUS_OK, the status of a refusal alone, or
 * STATUS_SOME_FAILED. */
#define outcome_several(cli, patience_ms, method, params)                                          \
    outcome_several_any(cli, patience_ms, method, method_body_##method(params))
int outcome_several_any(const struct cli *cli, int64_t patience_ms, enum msg_method method,
                        void *params);

/* A named value of a request; it is read and not owned. */
struct msg_value outcome_value(const char *name, const char *value);

#endif
