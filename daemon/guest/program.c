/* Programs of the host that share regions of memory with guests.
 *
 * What a program is told may end it, or another one, as its connection is cut when it does not
 * read: so nobody is told while a list is walked, but from the loop, and the list is begun anew
 * then. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/guest/inside.h"
#include "daemon/guest/program.h"
#include "daemon/host/users.h"
#include "daemon/shmem/shmem.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

struct guests_program {
    TAILQ_ENTRY(guests_program) link;
    struct guests *all;
    struct guests_program_env env;
    int64_t id; /* negative: never that of an instance */
    bool is_joined, has_news;
    char region[SHMEM_NAME_MAX + 1];
    struct {
        guests_joined_fn done; /* NULL: it waits for nothing */
        void *data;
        uint64_t size;
        ino_t memory;
        unsigned client;
    } wish;
};

struct guests_program *guests_program_create(struct guests *guests,
                                             const struct guests_program_env *env)
{
    struct guests_program *program = calloc(1, sizeof(*program));

    if (program != NULL) {
        program->all = guests;
        program->env = *env;
        program->id = --guests->last_program;
        TAILQ_INSERT_TAIL(&guests->programs, program, link);
    }
    return program;
}

static int say_why(const struct guests_program *program, enum shmem_status status, uid_t owner,
                   struct err *err)
{
    const char *region = program->region;
    char name[USERS_NAME_SIZE];

    users_name(owner, name);
    switch (status) {
    case SHMEM_DOES_NOT_EXIST:
        return program->wish.memory == 0
                   ? err_set(err, -ENODATA,
                             "there is no region '%s' of shared memory; a guest makes one with "
                             "'create' of its vdev shmem, a program with a size",
                             region)
                   : err_set(err, -ENODATA,
                             "region '%s' of shared memory ended with the qvmd that made it, as no "
                             "guest was attached; join it anew",
                             region);
    case SHMEM_NO_PERMISSION:
        return err_set(
            err, -EPERM,
            "region '%s' of shared memory belongs to user '%s': he and admins may join it", region,
            name);
    case SHMEM_TOO_MANY:
        return err_set(err, -EAGAIN, "region '%s' of shared memory has its %u clients", region,
                       SHMEM_CLIENTS);
    case SHMEM_FAILED:
        return err_set(err, -EBUSY,
                       "number %u of region '%s' of shared memory is another client's by now; "
                       "join it anew",
                       program->wish.client, region);
    default:
        return err_set(err, -ENOSPC,
                       "region '%s' of shared memory cannot be made with %llu bytes: a region has "
                       "whole pages of %u bytes, at most %llu, a user at most %u regions, the host "
                       "%u",
                       region, (unsigned long long)program->wish.size, SHMEM_PAGE,
                       (unsigned long long)SHMEM_SIZE_MAX, SHMEM_OWNER_MAX, SHMEM_REGIONS_MAX);
    }
}

/* Answer it; it may be gone afterwards. */
static void answer(struct guests_program *program)
{
    guests_joined_fn done = program->wish.done;
    struct shmem *shmem = guests_shared(program->all);
    struct shmem_wish wish = {.name = program->region,
                              .size = program->wish.size,
                              .most = UINT64_MAX,
                              .room = UINT64_MAX,
                              .owner = program->env.uid,
                              .instance = program->id,
                              .memory = program->wish.memory,
                              .client = program->wish.client};
    uid_t owner = program->env.uid;
    struct shmem_given given = {0};
    enum shmem_status status = SHMEM_NO_MEMORY;
    struct err err = {0};

    program->wish.done = NULL;
    if (shmem != NULL) {
        (void)shmem_owner(shmem, program->region, &owner); /* none: it would be his */
        wish.owner = program->env.is_admin ? owner : wish.owner;
        status = shmem_attach(shmem, &wish, &given);
    }
    if (status != SHMEM_OK) {
        (void)say_why(program, status, owner, &err);
        done(program->wish.data, NULL, &err);
        return;
    }
    program->is_joined = true;
    done(program->wish.data,
         &(struct guests_joined){.client = given.client,
                                 .size = given.size,
                                 .fds = given.fds,
                                 .fd_count = SHMEM_FD_COUNT},
         NULL);
}

static struct guests_program *next_ready(const struct guests *guests)
{
    struct guests_program *program;

    TAILQ_FOREACH(program, &guests->programs, link)
    {
        if (program->wish.done != NULL &&
            !guests_shmem_is_awaited(guests, program->env.is_admin ? NULL : &program->env.uid)) {
            return program;
        }
    }
    return NULL;
}

void guests_programs_go_on(struct guests *guests)
{
    struct guests_program *program;

    while ((program = next_ready(guests)) != NULL) {
        answer(program);
    }
}

void guests_program_join(struct guests_program *program, const struct msg_shmem_join_params *wanted,
                         guests_joined_fn done, void *data)
{
    struct err err = {0};

    if (program->is_joined || program->wish.done != NULL) {
        (void)err_set(&err, -EALREADY,
                      "this connection is that of a client of region '%s': another region takes "
                      "another connection",
                      program->region);
    } else if (!shmem_is_name(wanted->region)) {
        (void)err_set(&err, -EINVAL, "region: a name has 1 to %u letters, digits, '.', '-' and '_'",
                      SHMEM_NAME_MAX);
    } else {
        (void)snprintf(program->region, sizeof(program->region), "%s", wanted->region);
        program->wish.done = done;
        program->wish.data = data;
        program->wish.size = (uint64_t)wanted->size;
        program->wish.memory = (ino_t)wanted->memory;
        program->wish.client = (unsigned)wanted->client;
        guests_programs_go_on(program->all);
        return;
    }
    done(data, NULL, &err);
}

void guests_program_end(struct guests_program *program, bool stays)
{
    struct guests *guests;
    struct err err = {0};

    if (program == NULL) {
        return;
    }
    guests = program->all;
    TAILQ_REMOVE(&guests->programs, program, link);
    if (program->is_joined && !stays) {
        shmem_detach(guests->shmem, program->region, program->id);
    }
    if (program->wish.done != NULL) {
        (void)err_set(&err, -ECANCELED, "the connection or its qvmd has ended");
        program->wish.done(program->wish.data, NULL, &err);
    }
    free(program);
}

/* ---- what they are told ---- */

static struct guests_program *next_with_news(const struct guests *guests)
{
    struct guests_program *program;

    TAILQ_FOREACH(program, &guests->programs, link)
    {
        if (program->has_news) {
            return program;
        }
    }
    return NULL;
}

static void on_news(uv_timer_t *timer)
{
    const struct guests *guests = timer->data;
    struct guests_program *program;

    while ((program = next_with_news(guests)) != NULL) {
        program->has_news = false;
        program->env.changed(program->env.data, program->region);
    }
}

static struct guests_program *find_program(const struct guests *guests, int64_t id)
{
    struct guests_program *program;

    TAILQ_FOREACH(program, &guests->programs, link)
    {
        if (program->id == id) {
            return program;
        }
    }
    return NULL;
}

void guests_program_changed(struct guests *guests, int64_t id)
{
    struct guests_program *program = find_program(guests, id);

    if (program != NULL) {
        program->has_news = true;
        (void)uv_timer_start(&guests->program_timer, on_news, 0, 0); /* fails when closing */
    }
}

pid_t guests_program_pid(const struct guests *guests, int64_t id)
{
    const struct guests_program *program = find_program(guests, id);

    return program != NULL ? program->env.pid : 0;
}
