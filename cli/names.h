/* Which guests the arguments of a command mean: names, patterns of names, or all. */
#ifndef QVM_CLI_NAMES_H
#define QVM_CLI_NAMES_H

#include <stdbool.h>
#include <stddef.h>

struct cli;
struct client;
struct err;
struct msg_guest;
struct msg_guest_list;

struct names {
    char **list; /* NULL-ended, each name once, in the order of the arguments; owned */
    size_t count;
    size_t missed; /* patterns that match nothing: each was said */
};
void names_fini(struct names *names);

/* Whether it holds one of * ? [, which no name does. */
bool names_is_pattern(const char *argument);

/* Whether the guest called `name` is meant by `argument`. */
bool names_match(const char *argument, const char *name);

/* Whether --all was given, or one of `arguments` is a pattern: only qvmd knows then who is meant.
 */
bool names_are_open(const struct cli *cli, char *const *arguments, size_t count);

/* The guests of `guests` that are meant: every one that cli->all_means for --all, otherwise plain
 * names as they stand (also when no guest is called so) and what matches the patterns, as by
 * fnmatch(3). -ENOMEM. Ends with names_fini(), also after a failure. */
int names_choose(struct names *names, const struct cli *cli, char *const *arguments, size_t count,
                 const struct msg_guest_list *guests, struct err *err);

/* The same, asking qvmd for its guests if names_are_open(). */
int names_ask(struct names *names, const struct cli *cli, char *const *arguments, size_t count,
              struct client *client, struct err *err);

/* Say that there is no guest that `argument` means; returns the exit status. */
int names_fail(const char *argument);

/* What --all means: guests that could be started; in which there is something to end; that run;
 * that are paused; either of the two. */
bool names_can_start(const struct msg_guest *guest);
bool names_can_end(const struct msg_guest *guest);
bool names_can_pause(const struct msg_guest *guest);
bool names_can_resume(const struct msg_guest *guest);
bool names_can_reset(const struct msg_guest *guest);

/* The exit status when `failed` of `names` and of the missed did not end well, and the last that
 * did not had `status`. */
int names_status(const struct names *names, size_t failed, int status);

#endif
