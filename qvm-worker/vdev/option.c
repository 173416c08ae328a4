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
#include "qvm-worker/vdev/backend.h"
#include "qvm-worker/vdev/ports.h"
#include "qvm-worker/vdev/private.h"
#include "qvm-worker/vdev/sockets.h"
#include "qvm-worker/vdev/tap_kernel.h"

#define LOC_TEXT_SIZE 80u
#define IO_PORTS      0x10000u
#define FILTER_SIZE   16u /* of a log filter's name */

static int no_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "no memory for a vdev's options");
}

/* How many bytes `loc` without LEN has: as the module's own region at that place, as it says of
 * other addresses, or, of ports, one. 0: not known. */
static uint64_t usual_size(const struct vdev_slot *slot, enum vdev_space space)
{
    const struct vdev_module *module = &slot->loaded->module;

    if (slot->region_count < module->default_region_count &&
        module->default_regions[slot->region_count].space == space) {
        return module->default_regions[slot->region_count].size;
    }
    return space == VDEV_SPACE_IO ? 1 : module->usual_size;
}

static int add_region(struct vdev_slot *slot, const struct loc *loc,
                      const struct vdev_host_option *option, struct err *err)
{
    struct vdev_region region = {.space = loc->kind == LOC_IO ? VDEV_SPACE_IO : VDEV_SPACE_MEMORY,
                                 .start = loc->start,
                                 .size = loc->size};
    uint64_t end;

    if (slot->region_count == VDEV_HOST_REGIONS_MAX) {
        return err_set(err, -E2BIG, "%s: more than %u places for one vdev", option->where,
                       VDEV_HOST_REGIONS_MAX);
    }
    if (!loc->has_size) {
        region.size = usual_size(slot, region.space);
    }
    if (region.size == 0) {
        return err_set(err, -EINVAL, "%s: loc '%s' wants a length: mem:ADDRESS,LEN", option->where,
                       option->argument);
    }
    if (__builtin_add_overflow(region.start, region.size - 1, &end) ||
        (region.space == VDEV_SPACE_IO && end >= IO_PORTS)) {
        return err_set(err, -ERANGE, "%s: loc '%s' is empty, or leaves the address space",
                       option->where, option->argument);
    }
    slot->regions[slot->region_count++] = region;
    return 0;
}

/* An address without a space before it is in that of the module's own places, or, if it has a usual
 * size and none of them, in memory. */
static const char *with_space(const struct vdev_slot *slot, const char *text,
                              char place[LOC_TEXT_SIZE])
{
    const struct vdev_module *module = &slot->loaded->module;
    uint32_t at = slot->region_count;
    bool is_default = at < module->default_region_count;
    bool is_port = is_default && module->default_regions[at].space == VDEV_SPACE_IO;

    if (strchr(text, ':') != NULL || (!is_default && module->usual_size == 0) ||
        strlen(text) >= LOC_TEXT_SIZE - sizeof("mem:")) {
        return text;
    }
    (void)snprintf(place, LOC_TEXT_SIZE, "%s:%s", is_port ? "io" : "mem", text);
    return place;
}

static int read_loc(struct vdev_slot *slot, const struct vdev_host_option *option, struct err *err)
{
    struct loc loc = {0};
    char place[LOC_TEXT_SIZE];
    int r = loc_parse(with_space(slot, option->argument, place), &loc, err);

    if (r != 0) {
        (void)loc_parse(option->argument, &loc, err); /* in the words that were given */
        (void)err_prefix(err, "%s: ", option->where);
        return r;
    }
    if (loc.kind != LOC_PCI) {
        return add_region(slot, &loc, option, err);
    }
    slot->is_on_pci = true;
    slot->pci = loc.pci;
    return 0;
}

/* The next line of the device; after the last the first again, so that the last ones win. */
static void set_line(struct vdev_slot *slot, const struct intr *intr, uint32_t gsi)
{
    if (slot->intr_given == slot->intr_count) {
        slot->intr_given = 0;
    }
    slot->intr_names[slot->intr_given] = *intr;
    slot->intrs[slot->intr_given++] = gsi;
}

static int read_line(struct vdev_slot *slot, const char *text, const char *where, struct err *err)
{
    struct intr intr = {0};
    uint32_t gsi = 0, count = 0;
    int r = intr_parse(text, &intr, err);

    if (r != 0) {
        (void)err_prefix(err, "%s: ", where);
        return r;
    }
    if (intr.kind == INTR_APIC && slot->loaded->module.is_controller) {
        return 0; /* where its messages go anyway */
    }
    if (intr.kind == INTR_APIC) {
        return err_set(err, -EINVAL,
                       "%s: 'intr apic' is for interrupt controllers; name a line, as "
                       "'intr ioapic:4'",
                       where);
    }
    r = vdev_host_find_line(slot->host, &intr, &gsi, &count);
    if (r == -ENOENT) {
        return err_set(err, -ENOENT,
                       "%s: intr '%s': there is no interrupt controller '%s' before this line; "
                       "there are: ioapic 8259",
                       where, text, intr.pic);
    }
    if (r != 0) {
        return err_set(err, -ERANGE, "%s: intr '%s': the lines are 0 to %u", where, text,
                       count - 1);
    }
    set_line(slot, &intr, gsi);
    return 0;
}

/* `intr LINE[,LINE...]`: the next lines of the device. */
static int read_intr(struct vdev_slot *slot, const struct vdev_host_option *option, struct err *err)
{
    const char *rest = option->argument;
    int r = 0;

    while (r == 0 && rest != NULL) {
        const char *comma = strchr(rest, ',');
        auto_free char *text = strndup(rest, comma != NULL ? (size_t)(comma - rest) : strlen(rest));

        r = text != NULL ? read_line(slot, text, option->where, err) : no_memory(err);
        rest = comma != NULL ? comma + 1 : NULL;
    }
    return r;
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

static int read_log(struct vdev_slot *slot, const struct vdev_host_option *option, struct err *err)
{
    const char *to = option->second;
    int r = conf_filters(option->argument, &slot->log_set, err);

    if (r != 0) {
        (void)err_prefix(err, "%s: ", option->where);
        return r;
    }
    slot->has_log = true;
    slot->log_fd = -1;
    slot->log_system = LOG_SYSTEM_COUNT;
    if (strcmp(to, "stdout") == 0) {
        slot->log_fd = STDOUT_FILENO;
    } else if (strcmp(to, "stderr") == 0) {
        slot->log_fd = STDERR_FILENO;
    } else if (strcmp(to, "slog") == 0 || strcmp(to, "syslog") == 0) {
        slot->log_system = LOG_SYSLOG;
    } else if (strcmp(to, "journal") == 0) {
        slot->log_system = LOG_JOURNAL;
    } else if (strcmp(to, "none") != 0) {
        return err_set(err, -EINVAL,
                       "%s: '%s' is no destination: stdout stderr slog syslog journal none",
                       option->where, to);
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

static int read_number(struct vdev_slot *slot, const struct vdev_option *row,
                       struct vdev_value *value, bool is_fallback, struct err *err)
{
    const char *text = value->text;

    if (conf_parse_number(text, strlen(text), CONF_DECIMAL, &value->number[0]) != 0 ||
        value->number[0] < row->min || value->number[0] > row->max) {
        return err_set(err, -EINVAL, "%s: %s '%s' is not a number from %" PRIu64 " to %" PRIu64,
                       value->where, row->name, text, row->min, row->max);
    }
    if (row->kind == VDEV_OPTION_CID) {
        vdev_host_read_cid(slot, value, is_fallback);
    }
    if (row->kind == VDEV_OPTION_NETWORK_QUEUES) {
        slot->network_queues = (uint32_t)value->number[0];
        slot->network_queues_where = value->where;
    }
    return 0;
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
    case VDEV_OPTION_IMAGE:
        return vdev_host_read_image(slot, value, err);
    case VDEV_OPTION_ON_ERROR:
        return vdev_host_read_on_error(slot, value, err);
    case VDEV_OPTION_FORMAT:
        return vdev_host_read_format(slot, value, err);
    case VDEV_OPTION_BOOL:
        if (conf_parse_bool(text, &value->boolean) != 0) {
            return err_set(err, -EINVAL, "%s: %s '%s' is neither on nor off", value->where,
                           row->name, text);
        }
        return 0;
    case VDEV_OPTION_NUMBER:
    case VDEV_OPTION_NETWORK_QUEUES:
    case VDEV_OPTION_CID:
        return read_number(slot, row, value, is_fallback, err);
    case VDEV_OPTION_PAIR:
        if (read_pair(text, row, value) != 0) {
            return err_set(err, -EINVAL,
                           "%s: %s '%s' is not two hexadecimal numbers up to 0x%" PRIx64
                           " with a comma between",
                           value->where, row->name, text, row->max);
        }
        return 0;
    case VDEV_OPTION_TAP:
    case VDEV_OPTION_PEER:
    case VDEV_OPTION_USER:
        return vdev_host_read_network(slot, value, err);
    case VDEV_OPTION_BACKEND:
    case VDEV_OPTION_FOLDER:
        return vdev_host_read_backend(slot, value, err);
    case VDEV_OPTION_LISTEN:
        return vdev_host_read_listen(slot, value, err);
    case VDEV_OPTION_HOSTDEV:
        return vdev_host_read_hostdev(slot, value, is_fallback, err);
    case VDEV_OPTION_FLAG:
        value->boolean = true;
        return 0;
    case VDEV_OPTION_SHMEM:
        return vdev_host_read_shmem(slot, value, err);
    case VDEV_OPTION_PORT:
        return vdev_host_read_port(slot, value, err);
    case VDEV_OPTION_VHOST:
        return vdev_host_read_vhost(slot, value, err);
    }
    return 0;
}

/* Where a value goes: in the place of the one that it repeats, or in a new place. */
static uint32_t place_value(struct vdev_slot *slot, uint32_t option)
{
    /* What an earlier hostdev says may go on for one direction. */
    if (!slot->loaded->module.options[option].may_repeat &&
        option != slot->loaded->hostdev_option) {
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

int vdev_host_refused_arguments(const char *word, const char **why)
{
    static const struct {
        const char *word;
        int arguments;
        const char *why;
    } words[] = {
        {"sched", 1,
         "real-time priorities are given to vCPUs alone, by qvm as by qvmd; the threads of vdevs "
         "run as those of any process"},
        {"hostvector", 1, "no process of Linux is told of interrupts by their vector"},
        {"delayed", 1, "it is for vdevs with a stream; have a disk there when the VM starts"},
        {"legacy", 0,
         "it has no legacy interface: virtio-balloon, -blk, -console, -entropy and -net have"},
    };

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(words[i].word, word) == 0) {
            if (why != NULL) {
                *why = words[i].why;
            }
            return words[i].arguments;
        }
    }
    return -ENOENT;
}

static int read_option(struct vdev_slot *slot, const struct vdev_host_option *option,
                       struct err *err)
{
    const struct loaded_module *loaded = slot->loaded;
    const char *why = NULL;

    if (strcmp(option->word, "loc") == 0) {
        return read_loc(slot, option, err);
    }
    if (strcmp(option->word, "intr") == 0 || strcmp(option->word, "intrmap") == 0) {
        return read_intr(slot, option, err);
    }
    if (strcmp(option->word, "name") == 0) {
        return read_name(slot, option, err);
    }
    if (strcmp(option->word, "log") == 0) {
        return read_log(slot, option, err);
    }
    if (strcmp(option->word, "batch") == 0 && loaded->hostdev_option != UINT32_MAX) {
        return vdev_host_read_batch(slot, option, err);
    }
    if (strcmp(option->word, "delayed") == 0 && loaded->hostdev_option != UINT32_MAX) {
        return vdev_host_read_delayed(slot, option, err);
    }
    for (uint32_t i = 0; i < loaded->option_count; i++) {
        if (strcmp(option->word, loaded->module.options[i].name) == 0) {
            return add_value(slot, i, option->argument != NULL ? option->argument : "",
                             option->where, false, err);
        }
    }
    if (vdev_host_refused_arguments(option->word, &why) >= 0) {
        return err_set(err, -ENOTSUP, "%s: '%s' of a vdev is not supported: %s", option->where,
                       option->word, why);
    }
    return err_set(err, -ENOENT, "%s: vdev '%s' has no option '%s'", option->where, loaded->name,
                   option->word);
}

/* On PCI: one line, which its place there decides. */
static int settle_function(struct vdev_slot *slot, struct err *err)
{
    const struct vdev_module *module = &slot->loaded->module;

    if (!module->can_pci) {
        return err_set(err, -EINVAL,
                       "%s: vdev '%s' is no PCI device: its 'loc' is io: or mem:", slot->where,
                       slot->loaded->name);
    }
    if (slot->region_count > 0) {
        return err_set(err, -EINVAL,
                       "%s: vdev '%s' is either on PCI or at io: and mem:", slot->where,
                       slot->loaded->name);
    }
    if (slot->intr_given > 0) {
        return err_set(err, -EINVAL,
                       "%s: vdev '%s' is on PCI, where its place decides which interrupt it has: "
                       "leave 'intr' out",
                       slot->where, slot->loaded->name);
    }
    slot->intr_count = 1;
    slot->intrs[0] = QVM_VDEV_NO_INTR;
    return 0;
}

/* Regions from `loc`, or the module's own. */
static int settle_regions(struct vdev_slot *slot, struct err *err)
{
    const struct vdev_module *module = &slot->loaded->module;

    if (!slot->is_on_pci && slot->region_count == 0 && module->is_pci_usual) {
        slot->is_on_pci = true;
    }
    if (slot->is_on_pci) {
        return settle_function(slot, err);
    }
    if (slot->region_count == 0 && module->default_region_count > 0) {
        memcpy(slot->regions, module->default_regions,
               module->default_region_count * sizeof(slot->regions[0]));
        slot->region_count = module->default_region_count;
        vdev_host_usual_place(slot);
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

/* The module's own lines; each `intr` takes the place of the next. */
static void settle_lines(struct vdev_slot *slot)
{
    const struct vdev_module *module = &slot->loaded->module;

    slot->intr_count = module->line_count != 0 ? module->line_count : 1;
    for (uint32_t i = 0; i < slot->intr_count; i++) {
        slot->intrs[i] = i == 0                          ? module->default_intr
                         : module->default_intrs != NULL ? module->default_intrs[i - 1]
                                                         : QVM_VDEV_NO_INTR;
    }
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
    settle_lines(slot);
    for (uint32_t i = 0; i < loaded->option_count && r == 0; i++) {
        if (loaded->module.options[i].fallback != NULL) {
            r = add_value(slot, i, loaded->module.options[i].fallback, "default", true, err);
        }
    }
    for (size_t i = 0; i < option_count && r == 0; i++) {
        r = read_option(slot, &options[i], err);
    }
    vdev_host_settle_delayed(slot);
    r = r == 0 ? vdev_host_settle_network(slot, err) : r;
    return r == 0 ? settle_regions(slot, err) : r;
}
