/* `set VAR VALUE`: the variables, each a typed row. */
#include <errno.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/plan_private.h"

static const char *const on_reboot_words[] = {"reset", "exit", NULL};
static const char *const on_crash_words[] = {"exit", "reset", NULL};

static const struct conf_option variables[] = {
    CONF_BOOL("populate", CONF_ANYWHERE, struct plan_settings, is_populated, "off",
              "allocate all guest RAM before the guest runs"),
    CONF_CHOICE("on-reboot", CONF_ANYWHERE, struct plan_settings, on_reboot, on_reboot_words,
                "reset", "a reboot resets the VM in its process, or ends the process"),
    CONF_CHOICE("on-crash", CONF_ANYWHERE, struct plan_settings, on_crash, on_crash_words, "exit",
                "a triple fault ends the process, or resets the VM as on a PC"),
    CONF_LATER("exit-on-halt", CONF_ANYWHERE, "end when all vCPUs have halted"),
    CONF_LATER("fdt-dump-file", CONF_ANYWHERE, "write the device tree to a file"),
    CONF_LATER("message-block-timeout", CONF_ANYWHERE, "how long a vdev may block"),
};

static const struct conf_grammar grammar = {.options = variables,
                                            .option_count = ARRAY_LEN(variables)};

static const char *type_of(const struct conf_option *row)
{
    switch (row->kind) {
    case CONF_KIND_BOOL:
        return "boolean";
    case CONF_KIND_NUMBER:
        return "number";
    case CONF_KIND_ADDRESS:
        return "address";
    case CONF_KIND_CHOICE:
        return "choice";
    case CONF_KIND_TEXT:
    case CONF_KIND_HANDLER:
    case CONF_KIND_LATER:
        break;
    }
    return "text";
}

void plan_set_fallbacks(struct plan_settings *settings)
{
    conf_set_fallbacks(&grammar, CONF_ANYWHERE, settings);
}

static int refuse(struct conf_scope *scope, const struct conf_word *name)
{
    struct conf_nearest nearest = {.word = name->text};

    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        conf_nearest_offer(&nearest, variables[i].name);
    }
    if (nearest.best != NULL) {
        return conf_fail(scope->err, name, "unknown variable '%s'; did you mean '%s'?", name->text,
                         nearest.best);
    }
    return conf_fail(scope->err, name, "unknown variable '%s'; 'set ?' lists them", name->text);
}

int plan_set(struct conf_scope *scope, const struct conf_word *option)
{
    struct plan *plan = ((struct plan_reading *)scope->root)->plan;
    const struct conf_word *name = conf_argument(scope, option);
    const struct conf_word *value;

    if (name == NULL) {
        return -ENOEXEC;
    }
    if (strcmp(name->text, "?") == 0) {
        plan->wants_settings = true;
        scope->next = scope->words->count; /* nothing else is read or done */
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        if (strcmp(variables[i].name, name->text) != 0) {
            continue;
        }
        if (variables[i].kind == CONF_KIND_LATER) {
            return conf_fail(scope->err, name, "'set %s' is not supported yet", name->text);
        }
        value = conf_argument(scope, name);
        return value != NULL ? conf_set(&variables[i], value, &plan->settings, scope->err)
                             : -ENOEXEC;
    }
    return refuse(scope, name);
}

void plan_list_settings(FILE *out)
{
    (void)fprintf(out, "%-12s %-8s %-8s %-7s %s\n", "VARIABLE", "TYPE", "CONTEXT", "DEFAULT",
                  "MEANING");
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        const struct conf_option *row = &variables[i];

        if (row->kind != CONF_KIND_LATER) {
            (void)fprintf(out, "%-12s %-8s %-8s %-7s %s\n", row->name, type_of(row), "vm",
                          row->fallback, row->doc);
        }
    }
}

void plan_print_settings(const struct plan_settings *settings, FILE *out)
{
    (void)fprintf(out, "set populate %s\n", settings->is_populated ? "on" : "off");
    (void)fprintf(out, "set on-reboot %s\n", on_reboot_words[settings->on_reboot]);
    (void)fprintf(out, "set on-crash %s\n", on_crash_words[settings->on_crash]);
}
