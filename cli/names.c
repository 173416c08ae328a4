/* Which guests the arguments of a command mean. */
#include "cli/names.h"

#include <errno.h>
#include <fnmatch.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/msg.h"

void names_fini(struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->list[i]);
    }
    free(names->list);
    *names = (struct names){0};
}

bool names_is_pattern(const char *argument)
{
    return strpbrk(argument, "*?[") != NULL;
}

bool names_match(const char *argument, const char *name)
{
    return names_is_pattern(argument) ? fnmatch(argument, name, 0) == 0
                                      : strcmp(argument, name) == 0;
}

bool names_are_open(const struct cli *cli, char *const *arguments, size_t count)
{
    bool is_open = cli->all;

    for (size_t i = 0; i < count; i++) {
        is_open = is_open || names_is_pattern(arguments[i]);
    }
    return is_open;
}

/* The names that are in the list already: a tree of tsearch(3). */
struct seen {
    void *tree;
};

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void forget(void *name)
{
    (void)name; /* the list owns it */
}

static void seen_fini(struct seen *seen)
{
    tdestroy(seen->tree, forget);
}

static int add(struct names *names, struct seen *seen, const char *name)
{
    char **list;

    if (tfind(name, &seen->tree, compare) != NULL) {
        return 0;
    }
    list = reallocarray(names->list, names->count + 2, sizeof(*list));
    if (list == NULL) {
        return -ENOMEM;
    }
    names->list = list;
    list[names->count] = strdup(name);
    if (list[names->count] == NULL || tsearch(list[names->count], &seen->tree, compare) == NULL) {
        free(list[names->count]);
        list[names->count] = NULL;
        return -ENOMEM;
    }
    list[++names->count] = NULL;
    return 0;
}

int names_fail(const char *argument)
{
    struct err err;

    if (names_is_pattern(argument)) {
        (void)err_set(&err, -ENOENT, "no guest's name matches '%s'", argument);
    } else {
        (void)err_set(&err, -ENOENT, "there is no guest '%s'", argument);
    }
    return cli_fail(&err);
}

static int add_matching(struct names *names, struct seen *seen, const char *pattern,
                        const struct msg_guest_list *guests)
{
    bool is_found = false;
    int r = 0;

    for (size_t i = 0; r == 0 && i < guests->guests_count; i++) {
        if (names_match(pattern, guests->guests[i].name)) {
            is_found = true;
            r = add(names, seen, guests->guests[i].name);
        }
    }
    if (!is_found) {
        names->missed++;
        (void)names_fail(pattern);
    }
    return r;
}

static int add_all(struct names *names, struct seen *seen, const struct cli *cli,
                   const struct msg_guest_list *guests)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < guests->guests_count; i++) {
        if (cli->all_means == NULL || cli->all_means(&guests->guests[i])) {
            r = add(names, seen, guests->guests[i].name);
        }
    }
    return r;
}

int names_choose(struct names *names, const struct cli *cli, char *const *arguments, size_t count,
                 const struct msg_guest_list *guests, struct err *err)
{
    __attribute__((cleanup(seen_fini))) struct seen seen = {0};
    int r = 0;

    *names = (struct names){.list = calloc(1, sizeof(*names->list))};
    if (names->list == NULL) {
        r = -ENOMEM;
    } else if (cli->all) {
        r = add_all(names, &seen, cli, guests);
    }
    for (size_t i = 0; r == 0 && i < count; i++) {
        r = names_is_pattern(arguments[i]) ? add_matching(names, &seen, arguments[i], guests)
                                           : add(names, &seen, arguments[i]);
    }
    return r == 0 ? 0 : err_set(err, r, "out of memory");
}

int names_ask(struct names *names, const struct cli *cli, char *const *arguments, size_t count,
              struct client *client, struct err *err)
{
    struct msg_guest_list guests = {0};
    int r = 0;

    *names = (struct names){0};
    if (names_are_open(cli, arguments, count)) {
        r = client_ask(client, METHOD_list, &(struct msg_list_params){0}, &guests, err);
    }
    r = r == 0 ? names_choose(names, cli, arguments, count, &guests, err) : r;
    msg_fini(MSG_guest_list, &guests);
    return r;
}

bool names_can_start(const struct msg_guest *guest)
{
    return !state_has_process((enum guest_state)guest->state);
}

bool names_can_end(const struct msg_guest *guest)
{
    return state_has_process((enum guest_state)guest->state) || guest->state == STATE_backoff;
}

bool names_can_pause(const struct msg_guest *guest)
{
    return guest->state == STATE_running;
}

bool names_can_resume(const struct msg_guest *guest)
{
    return guest->state == STATE_paused;
}

bool names_can_reset(const struct msg_guest *guest)
{
    return names_can_pause(guest) || names_can_resume(guest);
}

int names_status(const struct names *names, size_t failed, int status)
{
    if (failed + names->missed == 0) {
        return STATUS_OK;
    }
    if (names->count + names->missed > 1) {
        return STATUS_SOME_FAILED;
    }
    return names->missed > 0 ? cli_status(-ENOENT) : status;
}
