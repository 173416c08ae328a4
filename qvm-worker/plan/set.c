/* `set VAR VALUE`: the variables, each a typed row. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/plan/private.h"

static const char *const on_reboot_words[] = {"reset", "exit", NULL};
static const char *const summary_words[] = {"text", "json", NULL};
static const char *const on_crash_words[] = {"exit", "reset", NULL};
static const char *const acpi_words[] = {"auto", "reduced", "full", NULL};
static const char *const hypervisor_words[] = {"kvm", "qnx", NULL};

static const struct conf_option variables[] = {
    CONF_BOOL("populate", CONF_ANYWHERE, struct plan_settings, is_populated, "off",
              "allocate all guest RAM before the guest runs"),
    CONF_CHOICE("on-reboot", CONF_ANYWHERE, struct plan_settings, on_reboot, on_reboot_words,
                "reset", "a reboot resets the VM in its process, or ends the process"),
    CONF_CHOICE("on-crash", CONF_ANYWHERE, struct plan_settings, on_crash, on_crash_words, "exit",
                "a triple fault ends the process, or resets the VM as on a PC"),
    CONF_CHOICE("summary", CONF_ANYWHERE, struct plan_settings, summary, summary_words, "text",
                "what 'dryrun' says is for people, or for programs"),
    CONF_CHOICE("acpi", CONF_ANYWHERE, struct plan_settings, acpi, acpi_words, "auto",
                "hardware-reduced ACPI, or all of a PC's; auto: as the bootimage needs"),
    CONF_BOOL("exit-on-halt", CONF_ANYWHERE, struct plan_settings, exits_on_halt, "on",
              "a vCPU that halts leaves its host CPU to others, or keeps it"),
    CONF_CHOICE("hypervisor", CONF_ANYWHERE, struct plan_settings, hypervisor, hypervisor_words,
                "kvm", "whose name CPUID tells a guest that asks who hosts it"),
    CONF_NUMBER("cores", CONF_ANYWHERE, struct plan_settings, cores, 1, MACHINE_CPUS_MAX, NULL,
                "cores of a package; otherwise all vCPUs are in one"),
    CONF_NUMBER("threads", CONF_ANYWHERE, struct plan_settings, threads, 1, TOPOLOGY_THREADS_MAX,
                NULL, "threads of a core; otherwise one"),
    CONF_TEXT("uuid", CONF_ANYWHERE, struct plan_settings, identity.uuid, NULL,
              "the VM's UUID in SMBIOS; otherwise made of its name"),
    CONF_TEXT("manufacturer", CONF_ANYWHERE, struct plan_settings, identity.manufacturer, NULL,
              "the VM's manufacturer in SMBIOS"),
    CONF_TEXT("product", CONF_ANYWHERE, struct plan_settings, identity.product, NULL,
              "its product name there"),
    CONF_TEXT("serial", CONF_ANYWHERE, struct plan_settings, identity.serial, NULL,
              "its serial number there; otherwise its name"),
};

/* Variables of the language that have no meaning here, and why. */
static const struct {
    const char *name, *why;
} others[] = {
    {"fdt-dump-file", "device trees are for ARM, and this is a VM of x86"},
    {"grow-heap", "the heap of a process of Linux grows by itself"},
    {"message-block-timeout", "a vdev never waits for a message here"},
    {"slog-buffer", "the host's system logger has buffers of its own"},
    {"vdev-message-block-timeout", "a vdev never waits for a message here"},
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

bool plan_has_full_acpi(const struct plan *plan)
{
    if (plan->settings.acpi != PLAN_ACPI_AUTO) {
        return plan->settings.acpi == PLAN_ACPI_FULL;
    }
    for (uint32_t i = 0; i < plan->ram_count; i++) {
        if (plan->ram[i].is_rom) {
            return true;
        }
    }
    return false;
}

void plan_set_fallbacks(struct plan_settings *settings)
{
    conf_set_fallbacks(&grammar, CONF_ANYWHERE, settings);
}

static int refuse(struct conf_scope *scope, const struct conf_word *name)
{
    struct conf_nearest nearest = {.word = name->text};

    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (strcmp(others[i].name, name->text) == 0) {
            return conf_fail(scope->err, name, "'set %s' is not supported: %s", name->text,
                             others[i].why);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        conf_nearest_offer(&nearest, variables[i].name);
    }
    if (nearest.best != NULL) {
        return conf_fail(scope->err, name, "unknown variable '%s'; did you mean '%s'?", name->text,
                         nearest.best);
    }
    return conf_fail(scope->err, name, "unknown variable '%s'; 'set ?' lists them", name->text);
}

static bool is_text(const char *text)
{
    size_t size = strlen(text);

    for (size_t i = 0; i < size; i++) {
        if (text[i] < ' ' || text[i] > '~') {
            return false;
        }
    }
    return size > 0 && size <= SMBIOS_TEXT_MAX;
}

/* What its type does not say of a value. */
static int check(struct conf_scope *scope, const struct conf_option *row,
                 const struct conf_word *value)
{
    uint8_t uuid[16];

    if (row->offset == offsetof(struct plan_settings, identity.uuid)) {
        return smbios_parse_uuid(value->text, uuid) == 0
                   ? 0
                   : conf_fail(scope->err, value,
                               "'%s' is no UUID, as 123e4567-e89b-42d3-a456-426614174000 is",
                               value->text);
    }
    if (row->kind == CONF_KIND_TEXT && !is_text(value->text)) {
        return conf_fail(scope->err, value, "'%s' has 1 to %u characters of ASCII that print",
                         row->name, SMBIOS_TEXT_MAX);
    }
    if (row->offset == offsetof(struct plan_settings, cores) ||
        row->offset == offsetof(struct plan_settings, threads)) {
        struct plan *plan = plan_of(scope);

        plan->topology_where = plan_where(plan, value, scope->err);
        return plan->topology_where != NULL ? 0 : -ENOMEM;
    }
    if (row->offset == offsetof(struct plan_settings, exits_on_halt)) {
        struct plan *plan = plan_of(scope);

        plan->halt_where = plan_where(plan, value, scope->err);
        return plan->halt_where != NULL ? 0 : -ENOMEM;
    }
    return 0;
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
        value = conf_argument(scope, name);
        if (value == NULL || check(scope, &variables[i], value) != 0) {
            return -ENOEXEC;
        }
        return conf_set(&variables[i], value, &plan->settings, scope->err);
    }
    return refuse(scope, name);
}

void plan_list_settings(FILE *out)
{
    (void)fprintf(out, "%-12s %-8s %-8s %-7s %s\n", "VARIABLE", "TYPE", "CONTEXT", "DEFAULT",
                  "MEANING");
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        const struct conf_option *row = &variables[i];

        (void)fprintf(out, "%-12s %-8s %-8s %-7s %s\n", row->name, type_of(row), "vm",
                      row->fallback != NULL ? row->fallback : "-", row->doc);
    }
}

void plan_each_setting(const struct plan_settings *settings, plan_setting_fn add, void *context)
{
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        const struct conf_option *row = &variables[i];
        const char *member = (const char *)settings + row->offset;
        char number[32];

        switch (row->kind) {
        case CONF_KIND_BOOL:
            add(context, row->name, *(const bool *)member ? "on" : "off");
            break;
        case CONF_KIND_CHOICE:
            add(context, row->name, row->choices[*(const unsigned *)(const void *)member]);
            break;
        case CONF_KIND_NUMBER:
        case CONF_KIND_ADDRESS:
            (void)snprintf(number, sizeof(number), "%" PRIu64,
                           *(const uint64_t *)(const void *)member);
            if (row->fallback != NULL || strcmp(number, "0") != 0) { /* it was given */
                add(context, row->name, number);
            }
            break;
        case CONF_KIND_TEXT:
            if (*(const char *const *)(const void *)member != NULL) {
                add(context, row->name, *(const char *const *)(const void *)member);
            }
            break;
        case CONF_KIND_HANDLER:
        case CONF_KIND_LATER:
            break;
        }
    }
}
