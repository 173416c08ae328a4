/* qvmd.conf: the host's devices that guests may have. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config_inside.h"
#include "proto/base/err.h"

#define NAME_MOST   63u
#define SERIAL_MOST 16u /* hexadecimal digits */

static bool is_name(const char *text)
{
    return isalpha((unsigned char)text[0]) && strlen(text) <= NAME_MOST &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
               strlen(text);
}

/* A name that could be an address or an id would be found as that. */
static int read_place(struct conf_scope *scope, const struct conf_word *option,
                      struct pool_device *row)
{
    const struct conf_word *name = conf_argument(scope, option);
    const struct conf_word *bdf = name != NULL ? conf_argument(scope, option) : NULL;

    if (bdf == NULL) {
        return -ENOEXEC;
    }
    if (!is_name(name->text)) {
        return conf_fail(scope->err, name,
                         "'%s' is no name for a device: a letter, then letters, digits, '.', '-', "
                         "'_', at most %u",
                         name->text, NAME_MOST);
    }
    if (!pci_is_bdf(bdf->text)) {
        return conf_fail(scope->err, bdf,
                         "device: '%s' is no PCI function: it is called "
                         "DOMAIN:BUS:DEVICE.FUNCTION, such as 0000:03:00.0",
                         bdf->text);
    }
    row->name = name->text;
    row->line = option->line;
    memcpy(row->bdf, bdf->text, strlen(bdf->text) + 1);
    return 0;
}

int config_device(struct conf_scope *scope, const struct conf_word *option)
{
    struct device_pool *pool = &((struct config *)scope->root)->devices;
    struct pool_device fresh = {.name = ""};
    const struct pool_device *same;
    struct pool_device *row = pool->list;
    int r = read_place(scope, option, &fresh);

    if (r != 0) {
        return r;
    }
    same = device_pool_at(pool, fresh.bdf);
    if (same != NULL && strcmp(same->name, fresh.name) != 0) {
        return conf_fail(scope->err, option, "device '%s' is '%s' already (line %u)", fresh.bdf,
                         same->name, same->line);
    }
    while (row < pool->list + pool->count && strcmp(row->name, fresh.name) != 0) {
        row++;
    }
    if (row == pool->list + DEVICE_POOL_MAX) {
        return conf_fail(scope->err, option, "more than %u devices", DEVICE_POOL_MAX);
    }
    pool->count += row == pool->list + pool->count;
    *row = fresh;
    scope->context = CONFIG_IN_DEVICE;
    scope->object = row;
    return 0;
}

int config_device_id(struct conf_scope *scope, const struct conf_word *option)
{
    struct pool_device *row = scope->object;
    const struct conf_word *word = conf_argument(scope, option);

    if (word == NULL) {
        return -ENOEXEC;
    }
    if (!device_id_parse(word->text, &row->vendor, &row->device)) {
        return conf_fail(scope->err, word,
                         "id: '%s' is no VENDOR:DEVICE of four hexadecimal digits each, such as "
                         "8086:10d3",
                         word->text);
    }
    return 0;
}

/* As lspci shows it, 00-11-22-ff-ff-33-44-55, or without the lines. */
int config_device_serial(struct conf_scope *scope, const struct conf_word *option)
{
    struct pool_device *row = scope->object;
    const struct conf_word *word = conf_argument(scope, option);
    char digits[SERIAL_MOST + 1];
    size_t count = 0;

    if (word == NULL) {
        return -ENOEXEC;
    }
    for (const char *at = word->text; *at != '\0'; at++) {
        if (*at != '-' && (!isxdigit((unsigned char)*at) || count == SERIAL_MOST)) {
            count = 0;
            break;
        }
        if (*at != '-') {
            digits[count++] = *at;
        }
    }
    digits[count] = '\0';
    row->serial = count > 0 ? strtoull(digits, NULL, 16) : 0;
    if (row->serial == 0) {
        return conf_fail(scope->err, word,
                         "serial: '%s' is no device serial number, such as "
                         "00-11-22-ff-ff-33-44-55",
                         word->text);
    }
    return 0;
}

int config_device_user(struct conf_scope *scope, const struct conf_word *option)
{
    struct pool_device *row = scope->object;

    return config_add_user(scope, option,
                           &(struct config_users){row->users, &row->user_count,
                                                  DEVICE_POOL_USERS_MAX, "for a device"});
}
