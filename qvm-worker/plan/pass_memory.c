/* `pass loc mem:`: memory of the host that is no RAM. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/conf/value.h"
#include "qvm-worker/hostmem/hostmem.h"
#include "qvm-worker/plan/private.h"

#define TEXT_MAX 64u

static int refuse(struct conf_scope *scope, const struct conf_word *word)
{
    return conf_fail(scope->err, word,
                     "loc '%s' is not mem:ADDRESS,LENGTH,ATTRIBUTES[=HOSTADDRESS], with attributes "
                     "of the letters rwxcdnm",
                     word->text);
}

/* What each letter wants, and whether that is how it is. */
static int check_attributes(struct conf_scope *scope, const struct conf_word *word,
                            const char *letters, size_t count)
{
    static const char known[] = "rwxcdnm";

    for (size_t i = 0; i < count; i++) {
        if (strchr(known, letters[i]) == NULL) {
            return refuse(scope, word);
        }
    }
    if (memchr(letters, 'r', count) == NULL || memchr(letters, 'w', count) == NULL) {
        return conf_fail(scope->err, word,
                         "loc '%s': memory of the host is given for reading and writing: it wants "
                         "'rw'",
                         word->text);
    }
    if (memchr(letters, 'd', count) != NULL || memchr(letters, 'm', count) != NULL ||
        memchr(letters, 'c', count) != NULL) {
        return conf_fail(scope->err, word,
                         "loc '%s': memory of a device is not cached, takes no part in DMA, and is "
                         "no memory for the guest to use: it can be 'r', 'w', 'x' and 'n'",
                         word->text);
    }
    return 0;
}

static int check_range(struct conf_scope *scope, const struct conf_word *word,
                       const struct plan_memory *memory)
{
    uint64_t bits = memory->guest | memory->host | memory->size;

    if (bits % HOSTMEM_PAGE != 0) {
        return conf_fail(scope->err, word, "loc '%s': addresses and length are multiples of 4 KiB",
                         word->text);
    }
    if (memory->host + memory->size < memory->host) {
        return refuse(scope, word);
    }
    return 0;
}

/* mem:ADDRESS,LENGTH is loc_parse's; behind it stand ,ATTRIBUTES and =HOSTADDRESS. */
static int parse(struct conf_scope *scope, const struct conf_word *word, struct plan_memory *memory)
{
    const char *equals = strchrnul(word->text, '=');
    const char *first = strchr(word->text, ',');
    const char *second = first != NULL ? strchr(first + 1, ',') : NULL;
    char text[TEXT_MAX] = "";
    struct err words = {0};
    struct loc loc = {0};
    int r;

    if (second == NULL || second > equals || (size_t)(second - word->text) >= sizeof(text)) {
        return refuse(scope, word);
    }
    memcpy(text, word->text, (size_t)(second - word->text));
    if (loc_parse(text, &loc, &words) != 0) {
        return conf_fail(scope->err, word, "%s", words.msg);
    }
    memory->guest = memory->host = loc.start;
    memory->size = loc.size;
    if (*equals == '=' &&
        conf_parse_number(equals + 1, strlen(equals + 1), CONF_HEX, &memory->host) != 0) {
        return refuse(scope, word);
    }
    r = check_attributes(scope, word, second + 1, (size_t)(equals - second) - 1);
    return r == 0 ? check_range(scope, word, memory) : r;
}

int plan_pass_memory(struct conf_scope *scope, const struct conf_word *word)
{
    struct plan *plan = plan_of(scope);
    struct plan_memory *memory = &plan->memories[plan->memory_count];
    int r;

    if (plan->memory_count == PLAN_MEMORIES_MAX) {
        return conf_fail(scope->err, word, "more than %u ranges of the host's memory",
                         PLAN_MEMORIES_MAX);
    }
    *memory = (struct plan_memory){.name = NULL};
    r = parse(scope, word, memory);
    for (uint32_t i = 0; r == 0 && i < plan->memory_count; i++) {
        const struct plan_memory *other = &plan->memories[i];

        if (memory->host < other->host + other->size && other->host < memory->host + memory->size) {
            r = conf_fail(scope->err, word, "loc '%s': the VM has some of it at %s already",
                          word->text, other->where);
        }
    }
    if (r != 0) {
        return r;
    }
    memory->name = plan_keep(plan, scope->err, "memory '%s' of the host", word->text);
    memory->where = plan_where(plan, word, scope->err);
    plan->memory_count++;
    return memory->name != NULL && memory->where != NULL ? 0 : -ENOMEM;
}
