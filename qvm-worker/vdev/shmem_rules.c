/* The words of a configuration about memory that guests share. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/conf/value.h"
#include "qvm-worker/vdev/shmem_private.h"

#define RULE_SIZE 256u /* longest pattern and what stands before it */

static struct slot_shmem *make(struct vdev_slot *slot)
{
    if (slot->shmem == NULL) {
        slot->shmem = calloc(1, sizeof(*slot->shmem));
    }
    return slot->shmem;
}

static int add_rule(struct slot_shmem *shmem, const char *text, const char *where, struct err *err)
{
    struct shmem_rule *rule = &shmem->rules[shmem->rule_count];

    if (shmem->rule_count == SHMEM_RULES_MAX) {
        return err_set(err, -E2BIG, "%s: more than %u rules about shared memory", where,
                       SHMEM_RULES_MAX);
    }
    shmem->rule_count++;
    rule->text = strdup(text);
    rule->where = strdup(where);
    return rule->text != NULL && rule->where != NULL ? 0 : err_set(err, -ENOMEM, "out of memory");
}

/* NAME,SIZE: a size in bytes, K, M or G, of whole pages. */
static int read_create(struct slot_shmem *shmem, const struct vdev_value *value, struct err *err)
{
    const char *comma = strchr(value->text, ',');
    char name[SHMEM_NAME_MAX + 2] = "", rule[RULE_SIZE];
    uint64_t size = 0;

    if (comma != NULL) {
        (void)snprintf(name, sizeof(name), "%.*s", (int)(comma - value->text), value->text);
    }
    if (comma == NULL || !shmem_is_name(name)) {
        return err_set(err, -EINVAL,
                       "%s: create '%s' is not NAME,SIZE: a name has letters, digits, '.', '-', "
                       "'_', at most %u",
                       value->where, value->text, SHMEM_NAME_MAX);
    }
    if (conf_parse_number(comma + 1, strlen(comma + 1), CONF_DECIMAL, &size) != 0 || size == 0 ||
        size % SHMEM_PAGE != 0 || size > SHMEM_SIZE_MAX) {
        return err_set(err, -EINVAL,
                       "%s: create '%s': the size is a multiple of 4K, and at most %" PRIu64 "G",
                       value->where, value->text, SHMEM_SIZE_MAX >> 30);
    }
    (void)snprintf(rule, sizeof(rule), SHMEM_CREATE "%s,%" PRIu64, name, size);
    return add_rule(shmem, rule, value->where, err);
}

static int read_pattern(struct slot_shmem *shmem, const char *word, const struct vdev_value *value,
                        struct err *err)
{
    char rule[RULE_SIZE];
    int size = snprintf(rule, sizeof(rule), "%s%s", word, value->text);

    if (value->text[0] == '\0' || size >= (int)sizeof(rule)) {
        return err_set(err, -EINVAL, "%s: '%.40s' is no pattern of names: it has 1 to %zu bytes",
                       value->where, value->text, sizeof(rule) - 1 - strlen(word));
    }
    return add_rule(shmem, rule, value->where, err);
}

static int read_window(const struct vdev_slot *slot, struct slot_shmem *shmem,
                       struct vdev_value *value, struct err *err)
{
    const struct vdev_option *row = &slot->loaded->module.options[value->option];
    uint64_t size = 0;

    if (conf_parse_number(value->text, strlen(value->text), CONF_DECIMAL, &size) != 0 ||
        size < row->min || size > row->max || (size & (size - 1)) != 0) {
        return err_set(err, -EINVAL,
                       "%s: window '%s' is not a power of two from %" PRIu64 "K to %" PRIu64 "G",
                       value->where, value->text, row->min >> 10, row->max >> 30);
    }
    value->number[0] = shmem->window = size;
    return 0;
}

/* One device has all that is shared: what the VM may share is then said in one place. */
static int check_alone(const struct vdev_slot *slot, struct err *err)
{
    for (uint32_t i = 0; i < slot->host->slot_count; i++) {
        const struct vdev_slot *other = slot->host->slots[i];

        if (other != slot && other->shmem != NULL) {
            return err_set(err, -EEXIST,
                           "%s: a VM has one vdev that shares memory, and it is that of %s: it "
                           "shares up to %u regions",
                           slot->where, other->where, VDEV_SHMEM_MAX);
        }
    }
    return 0;
}

int vdev_host_read_shmem(struct vdev_slot *slot, struct vdev_value *value, struct err *err)
{
    const char *word = slot->loaded->module.options[value->option].name;
    struct slot_shmem *shmem = make(slot);
    int r;

    if (shmem == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    r = check_alone(slot, err);
    if (r != 0) {
        return r;
    }
    if (strcmp(word, "create") == 0) {
        return read_create(shmem, value, err);
    }
    if (strcmp(word, "window") == 0) {
        return read_window(slot, shmem, value, err);
    }
    return read_pattern(shmem, strcmp(word, "deny") == 0 ? SHMEM_DENY : SHMEM_ALLOW, value, err);
}

/* Who allows nothing by name allows everything that he does not deny. */
static bool allows_all(const struct slot_shmem *shmem)
{
    for (uint32_t i = 0; i < shmem->rule_count; i++) {
        if (strncmp(shmem->rules[i].text, SHMEM_ALLOW, strlen(SHMEM_ALLOW)) == 0) {
            return false;
        }
    }
    return true;
}

bool vdev_host_shmem_rule(const struct vdev_host *host, uint32_t index, const char **rule,
                          const char **where)
{
    const struct vdev_slot *slot = vdev_host_shmem_slot(host);

    if (slot == NULL || index > slot->shmem->rule_count ||
        (index == slot->shmem->rule_count && !allows_all(slot->shmem))) {
        return false;
    }
    if (index == slot->shmem->rule_count) {
        *rule = SHMEM_ALLOW "*";
        *where = slot->where;
        return true;
    }
    *rule = slot->shmem->rules[index].text;
    *where = slot->shmem->rules[index].where;
    return true;
}

uint64_t vdev_host_shmem_window(const struct vdev_host *host)
{
    const struct vdev_slot *slot = vdev_host_shmem_slot(host);

    return slot != NULL ? slot->shmem->window : 0;
}

void vdev_host_free_shmem(struct vdev_slot *slot)
{
    struct slot_shmem *shmem = take_ptr(slot->shmem);

    for (uint32_t i = 0; shmem != NULL && i < shmem->rule_count; i++) {
        free(shmem->rules[i].text);
        free(shmem->rules[i].where);
    }
    free(shmem);
}
