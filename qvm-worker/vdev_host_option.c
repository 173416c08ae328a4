/* The options of one vdev context. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "proto/conf/value.h"
#include "qvm-worker/vdev_host_private.h"

#define IO_PORTS    0x10000u
#define FILTER_SIZE 16u /* of a log filter's name */

static int no_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "no memory for a vdev's options");
}

/* Is `text` PREFIX and more? Returns the rest, or NULL. */
static const char *after(const char *text, const char *prefix)
{
    size_t size = strlen(prefix);

    return strncmp(text, prefix, size) == 0 ? text + size : NULL;
}

/* How many bytes `loc` without LEN has: as the module's own region at that place, one otherwise. */
static uint64_t usual_size(const struct vdev_slot *slot, enum vdev_space space)
{
    const struct vdev_module *module = &slot->loaded->module;

    if (slot->region_count < module->default_region_count &&
        module->default_regions[slot->region_count].space == space) {
        return module->default_regions[slot->region_count].size;
    }
    return 1;
}

static int read_loc(struct vdev_slot *slot, const struct vdev_host_option *option, struct err *err)
{
    struct vdev_region region = {.space = VDEV_SPACE_IO};
    const char *text = after(option->argument, "io:");
    const char *comma;
    uint64_t end;

    if (after(option->argument, "pci:") != NULL) {
        return err_set(err, -EINVAL, "%s: loc '%s': PCI is not supported yet", option->where,
                       option->argument);
    }
    if (text == NULL) {
        region.space = VDEV_SPACE_MEMORY;
        text = after(option->argument, "mem:");
    }
    if (text == NULL) {
        return err_set(err, -EINVAL, "%s: loc '%s' is not io:PORT[,LEN] or mem:ADDRESS,LEN",
                       option->where, option->argument);
    }
    if (slot->region_count == VDEV_HOST_REGIONS_MAX) {
        return err_set(err, -E2BIG, "%s: more than %u places for one vdev", option->where,
                       VDEV_HOST_REGIONS_MAX);
    }
    comma = strchrnul(text, ',');
    region.size = usual_size(slot, region.space);
    if (conf_parse_number(text, (size_t)(comma - text), CONF_HEX, &region.start) != 0 ||
        (*comma == '\0' && region.space == VDEV_SPACE_MEMORY) ||
        (*comma == ',' &&
         conf_parse_number(comma + 1, strlen(comma + 1), CONF_DECIMAL, &region.size) != 0)) {
        return err_set(err, -EINVAL, "%s: loc '%s' is not io:PORT[,LEN] or mem:ADDRESS,LEN",
                       option->where, option->argument);
    }
    if (region.size == 0 || __builtin_add_overflow(region.start, region.size - 1, &end) ||
        (region.space == VDEV_SPACE_IO && end >= IO_PORTS)) {
        return err_set(err, -ERANGE, "%s: loc '%s' is empty, or leaves the address space",
                       option->where, option->argument);
    }
    slot->regions[slot->region_count++] = region;
    return 0;
}

static int read_intr(struct vdev_slot *slot, const struct vdev_host_option *option, struct err *err)
{
    const char *text = after(option->argument, "ioapic:");
    uint64_t lines = VDEV_HOST_GSI_COUNT;
    uint64_t line;

    if (text == NULL) {
        text = after(option->argument, "8259:");
        lines = 16;
    }
    if (strcmp(option->argument, "apic") == 0) {
        return err_set(err, -EINVAL,
                       "%s: 'intr apic' is for interrupt controllers; name a line, as "
                       "'intr ioapic:4'",
                       option->where);
    }
    if (text == NULL || conf_parse_number(text, strlen(text), CONF_DECIMAL, &line) != 0) {
        return err_set(err, -EINVAL, "%s: intr '%s' is not ioapic:LINE or 8259:LINE", option->where,
                       option->argument);
    }
    if (line >= lines) {
        return err_set(err, -ERANGE, "%s: intr '%s': the lines are 0 to %" PRIu64, option->where,
                       option->argument, lines - 1);
    }
    slot->intr_line = (uint32_t)line;
    return 0;
}

static int read_name(struct vdev_slot *slot, const struct vdev_host_option *option, struct err *err)
{
    size_t size = strlen(option->argument);
    const char *c = option->argument;

    while ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
           *c == '.' || *c == '-' || *c == '_') {
        c++;
    }
    if (size == 0 || size > VDEV_HOST_NAME_MAX || *c != '\0') {
        return err_set(err, -EINVAL,
                       "%s: '%s' is no name: letters, digits, '.', '-', '_', at most %u",
                       option->where, option->argument, VDEV_HOST_NAME_MAX);
    }
    (void)snprintf(slot->name, sizeof(slot->name), "%s", option->argument);
    slot->has_name = true;
    return 0;
}

/* The set of filters in `F,F..`. */
static int read_filters(const struct vdev_host_option *option, unsigned *set, struct err *err)
{
    const char *text = option->argument;

    *set = 0;
    for (;;) {
        char filter[FILTER_SIZE];
        size_t size = strcspn(text, ",");
        int level;

        (void)snprintf(filter, sizeof(filter), "%.*s", (int)(size < INT_MAX ? size : 0), text);
        level = size < sizeof(filter) ? log_level_find(filter) : -1;
        if (level < 0) {
            return err_set(err, -EINVAL,
                           "%s: '%s' is no log filter; there are: fatal internal error warn info "
                           "debug verbose",
                           option->where, filter);
        }
        *set |= LOG_BIT((unsigned)level);
        if (text[size] == '\0') {
            return 0;
        }
        text += size + 1;
    }
}

static int read_log(struct vdev_slot *slot, const struct vdev_host_option *option, struct err *err)
{
    const char *to = option->second;
    int r = read_filters(option, &slot->log_set, err);

    if (r != 0) {
        return r;
    }
    slot->has_log = true;
    if (strcmp(to, "stdout") == 0) {
        slot->log_fd = STDOUT_FILENO;
    } else if (strcmp(to, "stderr") == 0) {
        slot->log_fd = STDERR_FILENO;
    } else if (strcmp(to, "none") == 0) {
        slot->log_fd = -1;
    } else {
        return err_set(err, -EINVAL, "%s: a log goes to stdout, stderr or none, not to '%s'",
                       option->where, to);
    }
    return 0;
}

static int read_hostdev(struct vdev_slot *slot, const struct vdev_value *value, bool is_fallback,
                        struct err *err)
{
    const char *text = value->text;
    struct vdev_host_need need = {.can_read = true, .can_write = true, .where = value->where};

    if (*text == '<' || *text == '>') {
        need.can_read = *text == '<';
        need.can_write = *text == '>';
        text++;
    }
    if (*text == '|') {
        need.kind = VDEV_HOST_NEED_COMMAND;
        need.can_read = *value->text == '<';
        need.can_write = !need.can_read;
        text++;
    }
    if (*text == '\0') {
        return err_set(err, -EINVAL, "%s: %s '%s' names no file", value->where,
                       slot->loaded->module.options[value->option].name, value->text);
    }
    need.path = text;
    need.device = slot->name;
    slot->need = need;
    slot->stream_kind = STREAM_GRANTED;
    if (need.kind == VDEV_HOST_NEED_FILE && strcmp(text, "-") == 0) {
        slot->stream_kind = is_fallback ? STREAM_CONSOLE_BY_DEFAULT : STREAM_CONSOLE;
    }
    return 0;
}

static int read_pair(const char *text, const struct vdev_option *row, struct vdev_value *value)
{
    const char *comma = strchr(text, ',');

    if (comma == NULL ||
        conf_parse_number(text, (size_t)(comma - text), CONF_HEX, &value->number[0]) != 0 ||
        conf_parse_number(comma + 1, strlen(comma + 1), CONF_HEX, &value->number[1]) != 0) {
        return -EINVAL;
    }
    return value->number[0] <= row->max && value->number[1] <= row->max ? 0 : -ERANGE;
}

/* Fill in the value by the kind of its row. */
static int read_value(struct vdev_slot *slot, struct vdev_value *value, bool is_fallback,
                      struct err *err)
{
    const struct vdev_option *row = &slot->loaded->module.options[value->option];
    const char *text = value->text;

    switch (row->kind) {
    case VDEV_OPTION_TEXT:
        return 0;
    case VDEV_OPTION_BOOL:
        if (conf_parse_bool(text, &value->boolean) != 0) {
            return err_set(err, -EINVAL, "%s: %s '%s' is neither on nor off", value->where,
                           row->name, text);
        }
        return 0;
    case VDEV_OPTION_NUMBER:
        if (conf_parse_number(text, strlen(text), CONF_DECIMAL, &value->number[0]) != 0 ||
            value->number[0] < row->min || value->number[0] > row->max) {
            return err_set(err, -EINVAL, "%s: %s '%s' is not a number from %" PRIu64 " to %" PRIu64,
                           value->where, row->name, text, row->min, row->max);
        }
        return 0;
    case VDEV_OPTION_PAIR:
        if (read_pair(text, row, value) != 0) {
            return err_set(err, -EINVAL,
                           "%s: %s '%s' is not two hexadecimal numbers up to 0x%" PRIx64
                           " with a comma between",
                           value->where, row->name, text, row->max);
        }
        return 0;
    case VDEV_OPTION_HOSTDEV:
        return read_hostdev(slot, value, is_fallback, err);
    }
    return 0;
}

/* Where a value goes: in the place of the one that it repeats, or in a new place. */
static uint32_t place_value(struct vdev_slot *slot, uint32_t option)
{
    if (!slot->loaded->module.options[option].may_repeat) {
        for (uint32_t i = 0; i < slot->value_count; i++) {
            if (slot->values[i].option == option) {
                return i;
            }
        }
    }
    return slot->value_count++;
}

static int add_value(struct vdev_slot *slot, uint32_t option, const char *text, const char *where,
                     bool is_fallback, struct err *err)
{
    uint32_t at = place_value(slot, option);
    struct value_strings *strings = &slot->value_strings[at];

    free(strings->text);
    free(strings->where);
    strings->text = strdup(text);
    strings->where = strdup(where);
    slot->values[at] =
        (struct vdev_value){.option = option, .text = strings->text, .where = strings->where};
    if (strings->text == NULL || strings->where == NULL) {
        return no_memory(err);
    }
    return read_value(slot, &slot->values[at], is_fallback, err);
}

static int read_option(struct vdev_slot *slot, const struct vdev_host_option *option,
                       struct err *err)
{
    const struct loaded_module *loaded = slot->loaded;

    if (strcmp(option->word, "loc") == 0) {
        return read_loc(slot, option, err);
    }
    if (strcmp(option->word, "intr") == 0) {
        return read_intr(slot, option, err);
    }
    if (strcmp(option->word, "name") == 0) {
        return read_name(slot, option, err);
    }
    if (strcmp(option->word, "log") == 0) {
        return read_log(slot, option, err);
    }
    for (uint32_t i = 0; i < loaded->option_count; i++) {
        if (strcmp(option->word, loaded->module.options[i].name) == 0) {
            return add_value(slot, i, option->argument, option->where, false, err);
        }
    }
    if (vdev_host_option_arguments(slot->host, loaded->name, option->word) >= 0) {
        return err_set(err, -ENOTSUP, "%s: '%s' of a vdev is not supported yet", option->where,
                       option->word);
    }
    return err_set(err, -ENOENT, "%s: vdev '%s' has no option '%s'", option->where, loaded->name,
                   option->word);
}

/* Regions from `loc`, or the module's own. */
static int settle_regions(struct vdev_slot *slot, struct err *err)
{
    const struct vdev_module *module = &slot->loaded->module;

    if (slot->region_count == 0 && module->default_region_count > 0) {
        memcpy(slot->regions, module->default_regions,
               module->default_region_count * sizeof(slot->regions[0]));
        slot->region_count = module->default_region_count;
    }
    if (slot->region_count == 0) {
        return err_set(err, -EINVAL, "%s: vdev '%s' needs a 'loc'", slot->where,
                       slot->loaded->name);
    }
    if (module->default_region_count > 0 && slot->region_count != module->default_region_count) {
        return err_set(err, -EINVAL, "%s: vdev '%s' has %u places, 'loc' gives %u", slot->where,
                       slot->loaded->name, module->default_region_count, slot->region_count);
    }
    return 0;
}

int vdev_host_read_options(struct vdev_slot *slot, const struct vdev_host_option *options,
                           size_t option_count, struct err *err)
{
    const struct loaded_module *loaded = slot->loaded;
    int r = 0;

    if (option_count > VDEV_HOST_OPTIONS_MAX) {
        return err_set(err, -E2BIG, "%s: more than %u options of one vdev", slot->where,
                       VDEV_HOST_OPTIONS_MAX);
    }
    slot->values = calloc(loaded->option_count + option_count + 1, sizeof(slot->values[0]));
    slot->value_strings =
        calloc(loaded->option_count + option_count + 1, sizeof(slot->value_strings[0]));
    if (slot->values == NULL || slot->value_strings == NULL) {
        return no_memory(err);
    }
    slot->intr_line = loaded->module.default_intr;
    for (uint32_t i = 0; i < loaded->option_count && r == 0; i++) {
        if (loaded->module.options[i].fallback != NULL) {
            r = add_value(slot, i, loaded->module.options[i].fallback, "default", true, err);
        }
    }
    for (size_t i = 0; i < option_count && r == 0; i++) {
        r = read_option(slot, &options[i], err);
    }
    return r == 0 ? settle_regions(slot, err) : r;
}
