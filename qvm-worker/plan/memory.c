/* `ram`, `rom`, `load`, `cmdline`: what lies in guest memory. */
#include <errno.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/plan/private.h"

/* `ram` and `rom`. */
int plan_ram(struct conf_scope *scope, const struct conf_word *option)
{
    struct plan *plan = plan_of(scope);
    const struct conf_word *argument = conf_argument(scope, option);
    struct memory_range range = {.is_rom = strcmp(option->text, "rom") == 0};
    const char *length, *comma;
    int r = 0;

    if (argument == NULL) {
        return -ENOEXEC;
    }
    if (plan->ram_count == MEMORY_RANGES_MAX) {
        return conf_fail(scope->err, option, "more than %u times 'ram' and 'rom'",
                         MEMORY_RANGES_MAX);
    }
    comma = strchr(argument->text, ',');
    length = comma != NULL ? comma + 1 : argument->text;
    range.has_start = comma != NULL;
    if (comma != NULL) {
        r = conf_number_in(argument, range.is_rom ? "rom start" : "ram start", argument->text,
                           (size_t)(comma - argument->text), CONF_HEX, 0, MEMORY_ADDRESS_MAX - 1,
                           &range.start, scope->err);
    }
    if (r == 0) {
        r = conf_number_in(argument, range.is_rom ? "rom length" : "ram length", length,
                           strlen(length), CONF_DECIMAL, MEMORY_PAGE_SIZE, MEMORY_ADDRESS_MAX,
                           &range.size, scope->err);
    }
    if (r != 0) {
        return r;
    }
    range.where = plan_where(plan, argument, scope->err);
    if (range.where == NULL) {
        return -ENOMEM;
    }
    plan->ram[plan->ram_count++] = range;
    return memory_check(plan->ram, plan->ram_count, scope->err) == 0 ? 0 : -ENOEXEC;
}

/* [ADDR,]PATH: what stands before the first comma is an address if it can be one. */
static int add_load(struct conf_scope *scope, const struct conf_word *option,
                    enum machine_load_kind kind)
{
    struct plan *plan = plan_of(scope);
    const struct conf_word *argument = conf_argument(scope, option);
    struct machine_load load = {.kind = kind, .fd = -1};
    const char *path, *comma;

    if (argument == NULL) {
        return -ENOEXEC;
    }
    if (plan->load_count == MACHINE_LOADS_MAX) {
        return conf_fail(scope->err, option, "more than %u times 'load'", MACHINE_LOADS_MAX);
    }
    path = argument->text;
    comma = strchr(path, ',');
    if (comma != NULL &&
        conf_parse_number(path, (size_t)(comma - path), CONF_HEX, &load.address) == 0) {
        load.has_address = true;
        path = comma + 1;
    }
    if (kind == MACHINE_LOAD_DATA && !load.has_address) {
        return conf_fail(scope->err, argument, "'data load' wants an address: ADDR,PATH");
    }
    load.path = plan_path(plan, argument, path, scope->err);
    load.where = load.path != NULL ? plan_where(plan, argument, scope->err) : NULL;
    if (load.where == NULL) {
        return -ENOEXEC;
    }
    plan->loads[plan->load_count++] = load;
    return 0;
}

int plan_load(struct conf_scope *scope, const struct conf_word *option)
{
    return add_load(scope, option, MACHINE_LOAD_DETECT);
}

/* The kinds that stand before `load`. */
static const struct {
    const char *name;
    enum machine_load_kind kind;
} load_kinds[] = {
    {"guest", MACHINE_LOAD_GUEST},
    {"initrd", MACHINE_LOAD_INITRD},
    {"data", MACHINE_LOAD_DATA},
    {"acpi", MACHINE_LOAD_ACPI},
};

const char *plan_load_name(enum machine_load_kind kind)
{
    for (size_t i = 0; i < ARRAY_LEN(load_kinds); i++) {
        if (load_kinds[i].kind == kind) {
            return load_kinds[i].name;
        }
    }
    return "";
}

int plan_load_kind(struct conf_scope *scope, const struct conf_word *option)
{
    const struct conf_word *load = conf_next(scope);

    if (load == NULL || strcmp(load->text, "load") != 0) {
        return conf_fail(scope->err, option, "'%s' wants 'load' behind it: %s load [ADDR,]PATH",
                         option->text, option->text);
    }
    for (size_t i = 0; i < ARRAY_LEN(load_kinds); i++) {
        if (strcmp(load_kinds[i].name, option->text) == 0) {
            return add_load(scope, load, load_kinds[i].kind);
        }
    }
    return conf_fail(scope->err, option, "'%s' is no kind of file", option->text);
}

int plan_cmdline(struct conf_scope *scope, const struct conf_word *option)
{
    struct plan *plan = plan_of(scope);
    const struct conf_word *text = conf_argument(scope, option);

    if (text == NULL) {
        return -ENOEXEC;
    }
    plan->cmdline = text->text;
    plan->cmdline_where = plan_where(plan, text, scope->err);
    return plan->cmdline_where != NULL ? 0 : -ENOMEM;
}
